// The median of n x m distances without keeping them: radix selection. Squared distances are not
// negative, so their order is the order of their bits as integers; four sweeps count 16 bits each,
// from the top down, and a fifth finds the next larger value when the median is the mean of two.
//
// For problems of the fast path five more sweeps would cost more than all else, and a bandwidth
// needs no seven digits: there it is the median between 2,048 evenly spaced rows of each set (the
// median heuristic is customarily taken on far fewer: Gretton et al. 2012), to 20 bits, which two
// sweeps tell.
#include "metrics.h"

#include <math.h>
#include <string.h>

#define DIGIT_BITS 16
#define DIGITS ((size_t)1 << DIGIT_BITS)

typedef struct histogram {
    unsigned shift;        // of the digit that is counted
    uint64_t mask, prefix; // only values with these higher bits count
    uint64_t *count;       // (threads, DIGITS)
    double value;          // successor(): the value whose successor is sought,
    uint64_t *at_most;     // (threads, 8): numbers of values <= it, a cache line apart
    double *next;          // (threads, 8): the least value above it
} histogram;

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void visit_digit(void *user, unsigned thread, const sr_tile *t) {
    histogram *h = user;
    uint64_t *bins = h->count + thread * DIGITS;
    for (size_t i = 0; i < t->rows; i++)
        for (size_t j = 0; j < t->columns; j++) {
            uint64_t bits = bits_of(t->square[i * SR_TILE + j]);
            if ((bits & h->mask) == h->prefix)
                bins[bits >> h->shift & (DIGITS - 1)]++;
        }
}

static void visit_successor(void *user, unsigned thread, const sr_tile *t) {
    histogram *h = user;
    for (size_t i = 0; i < t->rows; i++)
        for (size_t j = 0; j < t->columns; j++) {
            double square = t->square[i * SR_TILE + j];
            if (square <= h->value)
                h->at_most[8 * thread]++;
            else if (square < h->next[8 * thread])
                h->next[8 * thread] = square;
        }
}

// The value of the given rank (from 0) among all squared distances: all of its digits, or the first
// two and the middle of what the others may be.
static sr_status select_rank(const sr_side *p, const sr_side *q, sr_work *work, uint64_t rank,
                             histogram *h, double *value) {
    const int last = p->exact ? 0 : 64 - 2 * DIGIT_BITS;
    h->mask = h->prefix = 0;
    for (int shift = 64 - DIGIT_BITS; shift >= last; shift -= DIGIT_BITS) {
        h->shift = (unsigned)shift;
        memset(h->count, 0, work->threads * DIGITS * sizeof *h->count);
        sr_status status = sr_pair_sweep(p, q, false, work, visit_digit, h);
        if (status != SR_OK)
            return status;
        uint64_t digit = 0;
        for (;; digit++) {
            uint64_t in_bin = 0;
            for (unsigned t = 0; t < work->threads; t++)
                in_bin += h->count[t * DIGITS + digit];
            if (rank < in_bin || digit == DIGITS - 1)
                break;
            rank -= in_bin;
        }
        h->prefix |= digit << shift;
        h->mask |= (uint64_t)(DIGITS - 1) << shift;
    }
    h->prefix |= last && h->prefix ? (uint64_t)1 << (last - 1) : 0; // 0 is 0
    memcpy(value, &h->prefix, sizeof *value);
    return SR_OK;
}

// The least value above `low`, or `low` again where more than total / 2 values are <= low.
static sr_status successor(const sr_side *p, const sr_side *q, sr_work *work, uint64_t total,
                           histogram *h, double low, double *high) {
    h->value = low;
    for (unsigned t = 0; t < work->threads; t++)
        h->next[8 * t] = INFINITY;
    sr_status status = sr_pair_sweep(p, q, false, work, visit_successor, h);
    uint64_t at_most = 0;
    double next = INFINITY;
    for (unsigned t = 0; t < work->threads; t++) {
        at_most += h->at_most[8 * t];
        next = fmin(next, h->next[8 * t]);
    }
    *high = at_most <= total / 2 ? next : low;
    return status;
}

static sr_status median_of(const sr_side *p, const sr_side *q, sr_work *work, double *median) {
    size_t total;
    if (!sr_size_mul(p->rows->n, q->rows->n, &total))
        return sr_fail(SR_ERROR_ARGUMENT, "%zu x %zu distances are too many to count", p->rows->n,
                       q->rows->n);
    histogram h = {.count = sr_alloc(work->threads, DIGITS * sizeof(uint64_t)),
                   .at_most = sr_alloc(work->threads, 8 * sizeof(uint64_t)),
                   .next = sr_alloc(work->threads, 8 * sizeof(double))};
    double low = 0, high = 0;
    sr_status status = h.count && h.at_most && h.next ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = select_rank(p, q, work, (total - 1) / 2, &h, &low);
    high = low;
    if (status == SR_OK && total % 2 == 0 && p->exact)
        status = successor(p, q, work, total, &h, low, &high);
    *median = (sqrt(low) + sqrt(high)) / 2;
    sr_free(h.count);
    sr_free(h.at_most);
    sr_free(h.next);
    return status;
}

// `count` evenly spaced rows of x, in memory that the caller frees.
static float *spaced_rows(const sr_rows *x, size_t count) {
    float *out = sr_alloc(count, x->dim * sizeof *out);
    for (size_t i = 0; i < count && out; i++)
        memcpy(out + i * x->dim, x->x + i * x->n / count * x->dim, x->dim * sizeof *out);
    return out;
}

static sr_rows spaced(const sr_rows *x, bool exact) {
    sr_rows part = *x;
    part.n = exact || x->n < SR_MEDIAN_ROWS ? x->n : SR_MEDIAN_ROWS;
    part.x = spaced_rows(x, part.n);
    return part;
}

sr_status sr_median_distance(const sr_rows *real, const sr_rows *fake, sr_work *work,
                             double *median) {
    bool exact = sr_pairs_exact(real->n, fake->n, real->dim);
    sr_rows a = spaced(real, exact), b = spaced(fake, exact);
    sr_side p = {0}, q = {0};
    sr_frame around = {0}, *frame = exact ? NULL : &around;
    sr_status status = a.x && b.x ? SR_OK : SR_ERROR_MEMORY;
    if (status == SR_OK && frame)
        status = sr_work_frame(work, real, fake, frame);
    if (status == SR_OK)
        status = sr_side_create(&a, frame, sr_work_threads(work), &p);
    if (status == SR_OK)
        status = sr_side_create(&b, frame, sr_work_threads(work), &q);
    if (status == SR_OK)
        status = median_of(&p, &q, work, median);
    sr_side_clear(&p);
    sr_side_clear(&q);
    sr_free((float *)(uintptr_t)a.x);
    sr_free((float *)(uintptr_t)b.x);
    return status;
}
