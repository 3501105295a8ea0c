// One step undone: x with x - s grad E(x) = y. First the fixed point x <- y + s grad E(x), a
// contraction where s ||H|| < 1; a row whose residual no longer falls goes on by Newton's method on
// r(x) = x - s grad E(x) - y, whose matrix I - s H is symmetric: solved by two-dimensional
// elimination in the plane, else by conjugate residuals (Saad, Iterative Methods, 6.8), which need
// no definiteness. Steps are halved until the residual falls.
#include "density/work.h"

#include <math.h>
#include <string.h>

#define STALLED 0.9       // a fixed-point step that leaves more of the residual counts as a stall;
#define STALLED_PLANE 0.5 // in the plane Newton's steps are cheap
#define STALLS 3          // so many of them end the fixed point
#define NEWTON 30         // steps at most
#define RESIDUALS 60      // steps of conjugate residuals at most
#define FORCING 0.05      // they stop at this share of the residual
#define HALVINGS 8

static void residual_of(const sr_density_job *job, const sr_density_scratch *s, const float *x,
                        const float *g, size_t i, double *r) {
    const double step = job->dynamics->step_size;
    for (size_t j = 0; j < s->dim; j++)
        r[j] = x[j] - step * g[j] - s->y[i * s->dim + j];
}

static double largest(size_t dim, const double *r) {
    double most = 0;
    for (size_t j = 0; j < dim; j++)
        most = isnan(r[j]) || fabs(r[j]) > most ? fabs(r[j]) : most;
    return most;
}

static double tolerance_of(const sr_density_job *job, const sr_density_scratch *s, size_t i) {
    double most = 1;
    for (size_t j = 0; j < s->dim; j++)
        most = fmax(most, fabs((double)s->y[i * s->dim + j]));
    return job->options->tolerance * most;
}

// ---- batches of rows ----------------------------------------------------------------------------

// The states of the rows in s->index as one batch in s->a.
static void gather(sr_density_scratch *s, size_t count, const float *from) {
    for (size_t k = 0; k < count; k++)
        memcpy(s->a + k * s->dim, from + s->index[k] * s->dim, s->dim * sizeof *from);
}

// Residuals (into s->residual and, row by row, s->r) of the rows in s->index.
static void residuals(const sr_density_job *job, sr_density_scratch *s, size_t count) {
    gather(s, count, s->x);
    sr_density_gradient(job, s, count, s->a, s->b);
    for (size_t k = 0; k < count; k++) {
        const size_t i = s->index[k];
        s->spent[i]++;
        residual_of(job, s, s->x + i * s->dim, s->b + k * s->dim, i, s->r + i * s->dim);
        s->residual[i] = largest(s->dim, s->r + i * s->dim);
    }
}

// ---- the fixed point ----------------------------------------------------------------------------

// Leaves in s->index the rows that are not done; how many.
static size_t fixed_point(const sr_density_job *job, sr_density_scratch *s, size_t count) {
    const double least = s->dim == 2 ? STALLED_PLANE : STALLED;
    double *before = s->row, *stalls = s->row + job->tile; // stalls < 0: done
    for (size_t i = 0; i < s->rows; i++) {
        before[i] = INFINITY;
        stalls[i] = s->failed[i] ? -1 : 0;
    }
    for (size_t step = 0; step < job->options->iterations && count > 0; step++) {
        residuals(job, s, count);
        size_t kept = 0;
        for (size_t k = 0; k < count; k++) {
            const uint32_t i = s->index[k];
            if (s->residual[i] <= tolerance_of(job, s, i)) {
                stalls[i] = -1;
                continue;
            }
            stalls[i] += !(s->residual[i] < least * before[i]);
            before[i] = s->residual[i];
            if (stalls[i] >= STALLS || !isfinite(s->residual[i]))
                continue;
            s->index[kept++] = i;
            for (size_t j = 0; j < s->dim; j++) // x - r = y + s grad E(x)
                s->x[i * s->dim + j] -= (float)s->r[i * s->dim + j];
        }
        count = kept;
    }
    count = 0;
    for (size_t i = 0; i < s->rows; i++)
        if (stalls[i] >= 0)
            s->index[count++] = (uint32_t)i;
    return count;
}

// ---- Newton -------------------------------------------------------------------------------------

// (I - s H) u = r of the plane's rows: s->u.
static void solve_plane(const sr_density_job *job, sr_density_scratch *s, size_t count) {
    const double step = job->dynamics->step_size;
    const size_t rows = s->rows;
    gather(s, count, s->x);
    s->rows = count;
    sr_density_plane_hessian(job, s, s->a, s->hessian);
    s->rows = rows;
    for (size_t k = 0; k < count; k++) {
        const size_t i = s->index[k];
        const double *h = s->hessian + 3 * k, *r = s->r + 2 * i;
        const double a = 1 - step * h[0], b = -step * h[1], d = 1 - step * h[2];
        const double determinant = a * d - b * b;
        s->u[2 * i] = (d * r[0] - b * r[1]) / determinant;
        s->u[2 * i + 1] = (a * r[1] - b * r[0]) / determinant;
        s->spent[i] += 4; // two products of two gradients each
    }
}

static double dot(size_t dim, const double *a, const double *b) {
    double sum = 0;
    for (size_t j = 0; j < dim; j++)
        sum += a[j] * b[j];
    return sum;
}

// H in (row index[k]) into row k of s->hv, at the batch's states in s->a.
static void apply(const sr_density_job *job, sr_density_scratch *s, size_t count,
                  const double *in) {
    for (size_t k = 0; k < count; k++)
        for (size_t j = 0; j < s->dim; j++)
            s->v[k * s->dim + j] = (float)in[s->index[k] * s->dim + j];
    sr_density_product(job, s, count, s->a, s->v, s->hv);
    for (size_t k = 0; k < count; k++)
        s->spent[s->index[k]] += 2;
}

// Conjugate residuals on (I - s H) u = r, all rows of the batch abreast: u from 0; p is the
// direction, q its image.
static void solve_krylov(const sr_density_job *job, sr_density_scratch *s, size_t count) {
    double *linear = s->linear, *image = s->image; // the residual of the system, and A times it
    const size_t dim = s->dim;
    const double step = job->dynamics->step_size;
    double *energy = s->row, *target = s->row + job->tile; // r . A r; where to stop
    gather(s, count, s->x);
    for (size_t k = 0; k < count; k++) {
        const size_t i = s->index[k] * dim;
        memset(s->u + i, 0, dim * sizeof *s->u);
        memcpy(linear + i, s->r + i, dim * sizeof *linear);
        target[s->index[k]] = FORCING * sqrt(dot(dim, s->r + i, s->r + i));
    }
    apply(job, s, count, linear);
    for (size_t k = 0; k < count; k++) {
        const size_t i = s->index[k] * dim;
        for (size_t j = 0; j < dim; j++) {
            image[i + j] = linear[i + j] - step * s->hv[k * dim + j];
            s->p[i + j] = linear[i + j];
            s->q[i + j] = image[i + j];
        }
        energy[s->index[k]] = dot(dim, linear + i, image + i);
    }
    for (size_t iteration = 0; iteration < RESIDUALS; iteration++) {
        bool all = true;
        for (size_t k = 0; k < count; k++) {
            const size_t row = s->index[k], i = row * dim;
            const double square = dot(dim, s->q + i, s->q + i);
            if (!(square > 0) || sqrt(dot(dim, linear + i, linear + i)) <= target[row])
                continue;
            const double length = energy[row] / square;
            for (size_t j = 0; j < dim; j++) {
                s->u[i + j] += length * s->p[i + j];
                linear[i + j] -= length * s->q[i + j];
            }
            all = false;
        }
        if (all)
            return;
        apply(job, s, count, linear);
        for (size_t k = 0; k < count; k++) {
            const size_t row = s->index[k], i = row * dim;
            for (size_t j = 0; j < dim; j++)
                image[i + j] = linear[i + j] - step * s->hv[k * dim + j];
            const double next = dot(dim, linear + i, image + i);
            const double ratio = energy[row] != 0 ? next / energy[row] : 0;
            for (size_t j = 0; j < dim; j++) {
                s->p[i + j] = linear[i + j] + ratio * s->p[i + j];
                s->q[i + j] = image[i + j] + ratio * s->q[i + j];
            }
            energy[row] = next;
        }
    }
}

// x - length u for every row of the batch, length halved until the residual falls; rows that no
// length helps leave the batch.
static size_t move(const sr_density_job *job, sr_density_scratch *s, size_t count) {
    const size_t dim = s->dim;
    double *length = s->row + 2 * job->tile, *before = s->row + 3 * job->tile;
    for (size_t k = 0; k < count; k++) {
        const size_t i = s->index[k];
        before[i] = s->residual[i];
        length[i] = 1;
        memcpy(s->c + i * dim, s->x + i * dim, dim * sizeof *s->x);
        for (size_t j = 0; j < dim; j++)
            s->x[i * dim + j] = (float)(s->c[i * dim + j] - s->u[i * dim + j]);
    }
    residuals(job, s, count);
    for (size_t half = 0; half < HALVINGS; half++) {
        size_t worse = 0;
        for (size_t k = 0; k < count; k++) {
            const size_t i = s->index[k];
            if (s->residual[i] < before[i])
                continue;
            worse++;
            length[i] *= 0.5;
            for (size_t j = 0; j < dim; j++)
                s->x[i * dim + j] = (float)(s->c[i * dim + j] - length[i] * s->u[i * dim + j]);
        }
        if (worse == 0)
            break;
        residuals(job, s, count);
    }
    size_t kept = 0;
    for (size_t k = 0; k < count; k++) {
        const uint32_t i = s->index[k];
        if (s->residual[i] < before[i]) {
            s->index[kept++] = i;
            continue;
        }
        memcpy(s->x + i * dim, s->c + i * dim, dim * sizeof *s->x);
        s->residual[i] = before[i];
    }
    return kept;
}

// Newton's steps for the rows in s->index from where they stand; leaves those that are not done.
static size_t newton(const sr_density_job *job, sr_density_scratch *s, size_t count) {
    residuals(job, s, count);
    for (size_t step = 0; step < NEWTON && count > 0; step++) {
        size_t kept = 0;
        for (size_t k = 0; k < count; k++) {
            const uint32_t i = s->index[k];
            if (!(s->residual[i] <= tolerance_of(job, s, i)) && isfinite(s->residual[i]))
                s->index[kept++] = i;
        }
        count = kept;
        if (count == 0)
            break;
        if (s->dim == 2)
            solve_plane(job, s, count);
        else
            solve_krylov(job, s, count);
        count = move(job, s, count);
    }
    count = 0;
    for (size_t i = 0; i < s->rows; i++)
        if (!s->failed[i] && !(s->residual[i] <= tolerance_of(job, s, i)))
            s->index[count++] = (uint32_t)i;
    return count;
}

void sr_density_invert(const sr_density_job *job, sr_density_scratch *s, uint32_t mark) {
    size_t count = 0;
    for (size_t i = 0; i < s->rows; i++)
        if (!s->failed[i])
            s->index[count++] = (uint32_t)i;
    memcpy(s->x, s->y, s->rows * s->dim * sizeof *s->x);
    count = fixed_point(job, s, count);
    if (count > 0)
        count = newton(job, s, count);
    for (size_t k = 0; k < count; k++) { // once more, from y itself
        const size_t i = s->index[k] * s->dim;
        memcpy(s->x + i, s->y + i, s->dim * sizeof *s->x);
    }
    if (count > 0)
        count = newton(job, s, count);
    for (size_t k = 0; k < count; k++)
        s->failed[s->index[k]] = mark;
}
