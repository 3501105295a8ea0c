// Whole Hessians, and what is read from them: in the plane in closed form, else row by row through
// LAPACK.
#include "density/work.h"
#include "energy/lanczos.h"

#include <lapacke.h>
#include <math.h>
#include <omp.h>
#include <string.h>

void sr_density_gradient(const sr_density_job *job, sr_density_scratch *s, size_t rows,
                         const float *x, float *g) {
    sr_energy_evaluate(job->energy, s->workspace, rows, x, NULL, g);
}

void sr_density_product(const sr_density_job *job, sr_density_scratch *s, size_t rows,
                        const float *x, const float *v, float *hv) {
    sr_energy_hessian_vector(job->energy, s->workspace, rows, x, v, NULL, NULL, hv);
}

void sr_density_plane_hessian(const sr_density_job *job, sr_density_scratch *s, const float *x,
                              double *h) {
    for (size_t axis = 0; axis < 2; axis++) {
        for (size_t i = 0; i < s->rows; i++) {
            s->v[2 * i] = axis == 0;
            s->v[2 * i + 1] = axis == 1;
        }
        sr_density_product(job, s, s->rows, x, s->v, s->hv);
        for (size_t i = 0; i < s->rows; i++) {
            if (axis == 0) {
                h[3 * i] = s->hv[2 * i];
                h[3 * i + 1] = 0.5 * s->hv[2 * i + 1];
            } else {
                h[3 * i + 1] += 0.5 * s->hv[2 * i];
                h[3 * i + 2] = s->hv[2 * i + 1];
            }
        }
    }
}

// ---- one Hessian of any dimension ---------------------------------------------------------------

// h (dim, dim) at one state x, symmetrised; v, hv, copies (tile, dim).
static void whole_hessian(const sr_energy *energy, sr_energy_workspace *workspace, const float *x,
                          float *copies, float *v, float *hv, double *h) {
    const size_t dim = sr_energy_dim(energy), tile = sr_energy_tile(energy);
    const size_t most = dim < tile ? dim : tile; // always so many: what is known of x serves again
    for (size_t i = 0; i < most; i++)
        memcpy(copies + i * dim, x, dim * sizeof *x);
    for (size_t first = 0; first < dim; first += most) {
        const size_t rows = dim - first < most ? dim - first : most;
        memset(v, 0, most * dim * sizeof *v);
        for (size_t i = 0; i < rows; i++)
            v[i * dim + first + i] = 1.0f;
        if (first == 0)
            sr_energy_hessian_vector(energy, workspace, most, copies, v, NULL, NULL, hv);
        else
            sr_energy_hessian_again(energy, workspace, most, copies, v, hv);
        for (size_t i = 0; i < rows * dim; i++)
            h[first * dim + i] = hv[i];
    }
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < i; j++)
            h[i * dim + j] = h[j * dim + i] = 0.5 * (h[i * dim + j] + h[j * dim + i]);
}

sr_status sr_hessian(sr_team *team, size_t n, const float *x, double *h) {
    const sr_energy *energy = sr_team_energy(team);
    const size_t dim = sr_energy_dim(energy), tile = sr_energy_tile(energy);
    const unsigned threads = sr_team_threads(team);
    sr_status status = sr_energy_check_hessian(energy);
    for (unsigned t = 0; !status && t < threads; t++)
        status = sr_energy_reserve_hessian(sr_team_workspace(team, t));
    if (status)
        return status;
    const size_t each = tile * dim;
    float *memory = sr_alloc(threads, 3 * each * sizeof *memory);
    if (!memory)
        return SR_ERROR_MEMORY;
#pragma omp parallel num_threads(threads)
    {
        const unsigned thread = (unsigned)omp_get_thread_num();
        float *own = memory + 3 * each * thread;
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < n; i++)
            whole_hessian(energy, sr_team_workspace(team, thread), x + i * dim, own, own + each,
                          own + 2 * each, h + i * dim * dim);
    }
    sr_free(memory);
    return SR_OK;
}

// ---- determinants -------------------------------------------------------------------------------

static void fail(sr_density_scratch *s, size_t row, uint32_t mark) {
    if (!s->failed[row])
        s->failed[row] = mark;
}

static void plane_log_det(const sr_density_job *job, sr_density_scratch *s, const float *x,
                          double weight, uint32_t mark) {
    const double step = job->dynamics->step_size;
    sr_density_plane_hessian(job, s, x, s->hessian);
    for (size_t i = 0; i < s->rows; i++) {
        const double *h = s->hessian + 3 * i;
        const double value =
            log(fabs((1 - step * h[0]) * (1 - step * h[2]) - step * step * h[1] * h[1]));
        if (isfinite(value))
            s->det[i] += weight * value;
        else
            fail(s, i, mark);
    }
}

// log |det(I - s H)| of one state by LU with partial pivots (LAPACK); h is overwritten.
static bool matrix_log_det(size_t dim, double step, double *h, int *pivots, double *out) {
    for (size_t i = 0; i < dim * dim; i++)
        h[i] *= -step;
    for (size_t i = 0; i < dim; i++)
        h[i * dim + i] += 1;
    if (LAPACKE_dgetrf(LAPACK_COL_MAJOR, (int)dim, (int)dim, h, (int)dim, pivots) != 0)
        return false; // a pivot that is zero, or what is no number
    *out = 0;
    for (size_t i = 0; i < dim; i++)
        *out += log(fabs(h[i * dim + i]));
    return isfinite(*out);
}

static void exact_log_det(const sr_density_job *job, sr_density_scratch *s, const float *x,
                          double weight, uint32_t mark) {
    for (size_t i = 0; i < s->rows; i++) {
        double value;
        if (s->failed[i])
            continue;
        whole_hessian(job->energy, s->workspace, x + i * s->dim, s->a, s->v, s->hv, s->hessian);
        if (matrix_log_det(s->dim, job->dynamics->step_size, s->hessian, s->pivots, &value))
            s->det[i] += weight * value;
        else
            fail(s, i, mark);
    }
}

// ---- estimates ----------------------------------------------------------------------------------

// Probe p of row `row` at a step: independent entries of mean 0 and variance 1.
static void draw_probe(const sr_density_job *job, uint64_t row, size_t step, size_t p, float *v) {
    const sr_stream stream = sr_stream_make(job->options->seed, SR_PURPOSE_PROBE, step);
    if (job->options->probe == SR_PROBE_GAUSSIAN) {
        job->kernels->normal(stream, row, (uint32_t)p, job->dim, v);
        return;
    }
    job->kernels->uniform(stream, row, (uint32_t)p, job->dim, v);
    for (size_t j = 0; j < job->dim; j++)
        v[j] = v[j] < 0.5f ? -1.0f : 1.0f;
}

// Terms of the series that are taken: options.terms, and each further one with probability
// roulette.
static size_t draw_terms(const sr_density_job *job, uint64_t row, size_t step, size_t p) {
    enum { MOST = 64 };
    float chance[MOST];
    const sr_stream stream = sr_stream_make(job->options->seed, SR_PURPOSE_PROBE, ~(uint64_t)step);
    size_t terms = job->options->terms;
    job->kernels->uniform(stream, row, (uint32_t)p, MOST, chance);
    for (size_t i = 0; i < MOST && (double)chance[i] < job->options->roulette; i++)
        terms++;
    return terms;
}

// -sum_j (s^j / j) v^T H^j v / P(j terms are taken), v one probe for each row (Chen et al. 2019,
// eq. 6 and 8); of the trace method the first term alone. Rows that need no further term leave the
// batch.
static void estimate(const sr_density_job *job, sr_density_scratch *s, size_t first, size_t step,
                     size_t p, const float *x, double weight, uint32_t mark) {
    const size_t dim = s->dim;
    const bool series = job->options->method == SR_LOG_DET_SERIES;
    double *sums = s->det + p * job->tile, *terms = s->row;
    size_t active = 0, most = 1;
    for (size_t i = 0; i < s->rows; i++) {
        if (s->failed[i])
            continue;
        const size_t count = series ? draw_terms(job, first + i, step, p) : 1;
        most = count > most ? count : most;
        terms[i] = (double)count;
        s->index[active] = (uint32_t)i;
        memcpy(s->a + active * dim, x + i * dim, dim * sizeof *x);
        draw_probe(job, first + i, step, p, s->b + active * dim);
        active++;
    }
    memcpy(s->v, s->b, active * dim * sizeof *s->v);
    double power = weight, share = 1;
    for (size_t j = 1; j <= most && active > 0; j++) {
        size_t kept = 0;
        power *= job->dynamics->step_size;
        share *= j > job->options->terms ? job->options->roulette : 1;
        sr_density_product(job, s, active, s->a, s->v, s->hv);
        for (size_t k = 0; k < active; k++) {
            const uint32_t i = s->index[k];
            const double value = sr_dot(dim, s->b + k * dim, s->hv + k * dim);
            sums[i] -= power / (double)j / share * value;
            if (!isfinite(sums[i]))
                fail(s, i, mark);
            if ((double)j + 1 > terms[i] || s->failed[i])
                continue;
            s->index[kept] = i;
            memmove(s->a + kept * dim, s->a + k * dim, dim * sizeof *x);
            memmove(s->b + kept * dim, s->b + k * dim, dim * sizeof *x);
            memmove(s->v + kept * dim, s->hv + k * dim, dim * sizeof *x);
            kept++;
        }
        active = kept;
    }
}

void sr_density_log_det(const sr_density_job *job, sr_density_scratch *s, size_t first, size_t step,
                        const float *x, double weight, uint32_t mark) {
    if (job->options->method != SR_LOG_DET_EXACT) {
        for (size_t p = 0; p < job->options->probes; p++)
            estimate(job, s, first, step, p, x, weight, mark);
    } else if (s->dim == 2) {
        plane_log_det(job, s, x, weight, mark);
    } else {
        exact_log_det(job, s, x, weight, mark);
    }
}
