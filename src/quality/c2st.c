// Classifier two-sample test (Lopez-Paz and Oquab 2017): a logistic classifier is trained to tell
// real rows from fake ones on a random half of each, its accuracy is measured on the other halves.
// The first min(n, m) rows of each take part, so that chance is 1/2. With N rows held out the
// accuracy of chance is normal with mean 1/2 and variance 1 / (4 N); the interval is Wilson's,
// given the classifier.
//
// Features are brought to mean 0 and variance 1 on the training rows; the loss is the mean
// cross-entropy plus |w|^2 / (2 rows) (scikit-learn's C = 1), minimised by L-BFGS (Nocedal 1980).
#include "metrics.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#define BLOCK 256      // rows whose part of the gradient is one sum
#define STEPS 60       // of L-BFGS: the accuracy does not move any more
#define MEMORY 8       // pairs of L-BFGS
#define TOLERANCE 1e-4 // on the gradient's largest component

typedef struct logistic {
    size_t n, dim;       // rows, features without the constant
    const float *x;      // (n, dim)
    const float *label;  // (n): +1 real, -1 fake
    float *part, *slope; // (blocks, dim), (n): scratch
    float *narrow;       // (dim): w in fp32
    unsigned threads;
} logistic;

// Loss at w (dim + 1; the last is the constant), gradient (dim + 1).
static double loss_of(const logistic *l, const double *w, double *gradient) {
    size_t n = l->n, dim = l->dim, blocks = (n + BLOCK - 1) / BLOCK;
    double loss = 0, constant = 0;
    for (size_t d = 0; d < dim; d++)
        l->narrow[d] = (float)w[d];
#pragma omp parallel for schedule(dynamic) num_threads(l->threads)
    for (size_t b = 0; b < blocks; b++) {
        size_t first = b * BLOCK, count = n - first < BLOCK ? n - first : BLOCK;
        const float *x = l->x + first * dim;
        float *slope = l->slope + first;
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)count, (int)dim, 1.0f, x, (int)dim, l->narrow,
                    1, 0.0f, slope, 1);
        for (size_t i = 0; i < count; i++) { // margins, then minus the derivative of the loss
            double margin = l->label[first + i] * (slope[i] + w[dim]);
            slope[i] = (float)margin;
        }
        for (size_t d = 0; d < dim; d++)
            l->part[b * dim + d] = 0;
        float scaled[BLOCK];
        for (size_t i = 0; i < count; i++)
            scaled[i] = (float)(-l->label[first + i] / (1 + exp((double)slope[i])));
        cblas_sgemv(CblasRowMajor, CblasTrans, (int)count, (int)dim, 1.0f, x, (int)dim, scaled, 1,
                    0.0f, l->part + b * dim, 1);
    }
    memset(gradient, 0, (dim + 1) * sizeof *gradient);
    for (size_t i = 0; i < n; i++) {
        double margin = l->slope[i];
        loss += margin > 0 ? log1p(exp(-margin)) : -margin + log1p(exp(margin));
        constant -= l->label[i] / (1 + exp(margin));
    }
    for (size_t b = 0; b < blocks; b++)
        for (size_t d = 0; d < dim; d++)
            gradient[d] += l->part[b * dim + d];
    for (size_t d = 0; d < dim; d++) {
        gradient[d] = (gradient[d] + w[d]) / (double)n;
        loss += w[d] * w[d] / 2;
    }
    gradient[dim] = constant / (double)n;
    return loss / (double)n;
}

static double dot(size_t n, const double *a, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

// direction = -H gradient by the two loops; s, y (MEMORY, n) hold the last `kept` pairs.
static void two_loops(size_t n, size_t kept, size_t newest, const double *s, const double *y,
                      const double *gradient, double *direction) {
    double alpha[MEMORY], scale = 1;
    for (size_t d = 0; d < n; d++)
        direction[d] = -gradient[d];
    for (size_t k = 0; k < kept; k++) {
        size_t at = (newest + MEMORY - k) % MEMORY;
        const double *a = s + at * n, *b = y + at * n;
        alpha[at] = dot(n, a, direction) / dot(n, a, b);
        for (size_t d = 0; d < n; d++)
            direction[d] -= alpha[at] * b[d];
        if (k == 0)
            scale = dot(n, a, b) / dot(n, b, b);
    }
    for (size_t d = 0; d < n; d++)
        direction[d] *= scale;
    for (size_t k = kept; k-- > 0;) {
        size_t at = (newest + MEMORY - k) % MEMORY;
        const double *a = s + at * n, *b = y + at * n;
        double beta = dot(n, b, direction) / dot(n, a, b);
        for (size_t d = 0; d < n; d++)
            direction[d] += (alpha[at] - beta) * a[d];
    }
}

// w (dim + 1), from 0. work: (2 MEMORY + 4) x (dim + 1).
static void minimise(const logistic *l, double *w, double *work) {
    size_t n = l->dim + 1, kept = 0, newest = 0;
    double *gradient = work, *next = work + n, *next_gradient = work + 2 * n,
           *direction = work + 3 * n, *s = work + 4 * n, *y = s + MEMORY * n;
    double loss = loss_of(l, w, gradient);
    for (int step = 0; step < STEPS; step++) {
        double largest = 0, rate = 1, found = INFINITY;
        for (size_t d = 0; d < n; d++)
            largest = fmax(largest, fabs(gradient[d]));
        if (largest < TOLERANCE)
            return;
        two_loops(n, kept, newest, s, y, gradient, direction);
        double slope = dot(n, gradient, direction);
        for (int halving = 0; halving < 30; halving++, rate /= 2) { // Armijo
            for (size_t d = 0; d < n; d++)
                next[d] = w[d] + rate * direction[d];
            found = loss_of(l, next, next_gradient);
            if (found <= loss + 1e-4 * rate * slope)
                break;
        }
        if (!(found < loss))
            return; // as low as fp32 products can tell
        size_t at = kept ? (newest + 1) % MEMORY : 0;
        for (size_t d = 0; d < n; d++) {
            s[at * n + d] = next[d] - w[d];
            y[at * n + d] = next_gradient[d] - gradient[d];
        }
        if (dot(n, s + at * n, y + at * n) > 0) {
            newest = at;
            kept += kept < MEMORY;
        }
        loss = found;
        memcpy(w, next, n * sizeof *w);
        memcpy(gradient, next_gradient, n * sizeof *gradient);
    }
}

// x (2 half, dim) and label: `half` real rows from place `first` of their shuffle, then fake ones.
static void gather(const sr_rows *real, const sr_rows *fake, size_t *const order[2], size_t first,
                   size_t half, float *x, float *label, unsigned threads) {
#pragma omp parallel for num_threads(threads)
    for (size_t i = 0; i < 2 * half; i++) {
        const sr_rows *from = i < half ? real : fake;
        size_t row = order[i >= half][first + i % half];
        memcpy(x + i * real->dim, from->x + row * real->dim, real->dim * sizeof *x);
        label[i] = i < half ? 1 : -1;
    }
}

// shift, scale (dim) of the training rows; a constant feature counts for nothing.
static void standards(size_t n, size_t dim, const float *x, double *shift, double *scale,
                      unsigned threads) {
    memset(shift, 0, dim * sizeof *shift);
    memset(scale, 0, dim * sizeof *scale);
#pragma omp parallel for num_threads(threads)
    for (size_t first = 0; first < dim; first += BLOCK) {
        size_t last = dim - first < BLOCK ? dim : first + BLOCK;
        for (size_t i = 0; i < n; i++)
            for (size_t d = first; d < last; d++)
                shift[d] += x[i * dim + d] / (double)n;
        for (size_t i = 0; i < n; i++)
            for (size_t d = first; d < last; d++)
                scale[d] += (x[i * dim + d] - shift[d]) * (x[i * dim + d] - shift[d]) / (double)n;
        for (size_t d = first; d < last; d++)
            scale[d] = scale[d] > 1e-14 * shift[d] * shift[d] ? 1 / sqrt(scale[d]) : 0;
    }
}

static void standardise(size_t n, size_t dim, float *x, const double *shift, const double *scale,
                        unsigned threads) {
#pragma omp parallel for num_threads(threads)
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < dim; d++)
            x[i * dim + d] = (float)((x[i * dim + d] - shift[d]) * scale[d]);
}

// Rows on the right side of w; a margin of exactly 0 counts half.
static double right_rows(size_t n, size_t dim, const float *x, const float *label, const double *w,
                         unsigned threads) {
    size_t halves = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : halves)
    for (size_t i = 0; i < n; i++) {
        double margin = w[dim];
        for (size_t d = 0; d < dim; d++)
            margin += w[d] * x[i * dim + d];
        margin *= label[i];
        halves += margin > 0 ? 2 : margin == 0;
    }
    return (double)halves / 2;
}

static void store(double right, double rows, sr_metric_values *out, bool errors) {
    double accuracy = right / rows, z = 1.959963984540054, square = z * z / rows;
    double centre = (accuracy + square / 2) / (1 + square);
    double half = z / (1 + square) * sqrt(accuracy * (1 - accuracy) / rows + square / (4 * rows));
    out->value[SR_C2ST_ACCURACY] = accuracy;
    out->c2st_rows = (size_t)rows;
    out->c2st_p = 0.5 * erfc((accuracy - 0.5) * 2 * sqrt(rows) * M_SQRT1_2);
    if (!errors)
        return;
    out->error[SR_C2ST_ACCURACY] = sqrt(accuracy * (1 - accuracy) / rows);
    // at 0 and 1 rounding would leave the value outside
    out->low[SR_C2ST_ACCURACY] = fmin(centre - half, accuracy);
    out->high[SR_C2ST_ACCURACY] = fmax(centre + half, accuracy);
}

sr_status sr_metric_c2st(const sr_rows *real, const sr_rows *fake, const sr_metric_options *options,
                         unsigned threads, sr_metric_values *out) {
    size_t dim = real->dim, least = real->n < fake->n ? real->n : fake->n, half = least / 2,
           test = least - half, rows = 2 * test; // test >= half: the larger sizes the arrays
    size_t *order[2] = {sr_alloc(least, sizeof(size_t)), sr_alloc(least, sizeof(size_t))};
    float *x = sr_alloc(rows, dim * sizeof *x), *label = sr_alloc(rows, sizeof *label);
    double *w = sr_alloc(dim + 1, sizeof *w), *standard = sr_alloc(2 * dim, sizeof *standard);
    double *work = sr_alloc(2 * MEMORY + 4, (dim + 1) * sizeof *work);
    logistic l = {.n = 2 * half,
                  .dim = dim,
                  .x = x,
                  .label = label,
                  .threads = threads,
                  .part = sr_alloc((rows + BLOCK - 1) / BLOCK, dim * sizeof(float)),
                  .slope = sr_alloc(rows, sizeof(float)),
                  .narrow = sr_alloc(dim, sizeof(float))};
    sr_status status = SR_ERROR_MEMORY;
    if (order[0] && order[1] && x && label && w && standard && work && l.part && l.slope &&
        l.narrow) {
        sr_shuffle(options->seed, 3, least, order[0]);
        sr_shuffle(options->seed, 4, least, order[1]);
        gather(real, fake, order, 0, half, x, label, threads);
        standards(2 * half, dim, x, standard, standard + dim, threads);
        standardise(2 * half, dim, x, standard, standard + dim, threads);
        minimise(&l, w, work);
        gather(real, fake, order, half, test, x, label, threads);
        standardise(rows, dim, x, standard, standard + dim, threads);
        store(right_rows(rows, dim, x, label, w, threads), (double)rows, out, !options->no_errors);
        status = SR_OK;
    }
    for (int set = 0; set < 2; set++)
        sr_free(order[set]);
    sr_free(x);
    sr_free(label);
    sr_free(w);
    sr_free(standard);
    sr_free(work);
    sr_free(l.part);
    sr_free(l.slope);
    sr_free(l.narrow);
    return status == SR_OK ? SR_OK : sr_fail_context(status, "c2st_accuracy: ");
}
