// The exact median of n x m distances without keeping them: radix selection. Distances are not
// negative, so their order is the order of their bits as integers; four sweeps count 16 bits each,
// from the top down, and a fifth finds the next larger value when the median is the mean of two.
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

static void visit_digit(void *user, unsigned thread, size_t row, size_t first, size_t count,
                        const double *distance) {
    histogram *h = user;
    uint64_t *bins = h->count + thread * DIGITS;
    for (size_t j = 0; j < count; j++) {
        uint64_t bits = bits_of(distance[j]);
        if ((bits & h->mask) == h->prefix)
            bins[bits >> h->shift & (DIGITS - 1)]++;
    }
}

static void visit_successor(void *user, unsigned thread, size_t row, size_t first, size_t count,
                            const double *distance) {
    histogram *h = user;
    for (size_t j = 0; j < count; j++) {
        if (distance[j] <= h->value)
            h->at_most[8 * thread]++;
        else if (distance[j] < h->next[8 * thread])
            h->next[8 * thread] = distance[j];
    }
}

// The value of the given rank (from 0) among all distances.
static double select_rank(const sr_points *p, const sr_points *q, unsigned threads, uint64_t rank,
                          histogram *h) {
    h->mask = h->prefix = 0;
    for (int shift = 64 - DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
        h->shift = (unsigned)shift;
        memset(h->count, 0, threads * DIGITS * sizeof *h->count);
        sr_distance_sweep(p, q, threads, visit_digit, h);
        uint64_t digit = 0;
        for (;; digit++) {
            uint64_t in_bin = 0;
            for (unsigned t = 0; t < threads; t++)
                in_bin += h->count[t * DIGITS + digit];
            if (rank < in_bin || digit == DIGITS - 1)
                break;
            rank -= in_bin;
        }
        h->prefix |= digit << shift;
        h->mask |= (uint64_t)(DIGITS - 1) << shift;
    }
    double value;
    memcpy(&value, &h->prefix, sizeof value);
    return value;
}

sr_status sr_median_distance(const sr_points *p, const sr_points *q, unsigned threads,
                             double *median) {
    size_t total;
    if (!sr_size_mul(p->n, q->n, &total))
        return sr_fail(SR_ERROR_ARGUMENT, "%zu x %zu distances are too many to count", p->n, q->n);
    histogram h = {.count = sr_alloc(threads, DIGITS * sizeof(uint64_t)),
                   .at_most = sr_alloc(threads, 8 * sizeof(uint64_t)),
                   .next = sr_alloc(threads, 8 * sizeof(double))};
    sr_status status = SR_OK;
    if (!h.count || !h.at_most || !h.next) {
        status = SR_ERROR_MEMORY;
        goto done;
    }
    double low = select_rank(p, q, threads, (total - 1) / 2, &h), high = low;
    if (total % 2 == 0) {
        h.value = low;
        for (unsigned t = 0; t < threads; t++)
            h.next[8 * t] = INFINITY;
        sr_distance_sweep(p, q, threads, visit_successor, &h);
        uint64_t at_most = 0;
        double next = INFINITY;
        for (unsigned t = 0; t < threads; t++) {
            at_most += h.at_most[8 * t];
            next = fmin(next, h.next[8 * t]);
        }
        if (at_most <= total / 2)
            high = next;
    }
    *median = (low + high) / 2;
done:
    sr_free(h.count);
    sr_free(h.at_most);
    sr_free(h.next);
    return status;
}
