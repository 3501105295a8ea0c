// The nearest few rows of each row, sorted by squared distance and then by index, so that the order
// in which neighbours are offered does not matter.
#include "metrics.h"

#include <math.h>

sr_status sr_lists_create(size_t n, size_t length, size_t limit, sr_lists *out) {
    size_t count;
    *out = (sr_lists){.n = n, .length = length, .limit = limit};
    if (!sr_size_mul(n, length, &count))
        return sr_fail(SR_ERROR_MEMORY, "%zu neighbours of %zu rows do not fit in memory", length,
                       n);
    out->square = sr_alloc(count, sizeof(double));
    out->index = sr_alloc(count, sizeof(size_t));
    if (!out->square || !out->index) {
        sr_lists_clear(out);
        return SR_ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        out->square[i] = INFINITY;
        out->index[i] = SIZE_MAX;
    }
    return SR_OK;
}

void sr_lists_clear(sr_lists *lists) {
    sr_free(lists->square);
    sr_free(lists->index);
    *lists = (sr_lists){0};
}

void sr_lists_offer(sr_lists *lists, size_t row, double square, size_t index) {
    if (lists->length == 0 || index >= lists->limit)
        return;
    double *squares = lists->square + row * lists->length;
    size_t *indices = lists->index + row * lists->length, at = lists->length;
    while (at > 0 &&
           (square < squares[at - 1] || (square == squares[at - 1] && index < indices[at - 1])))
        at--;
    if (at == lists->length)
        return;
    for (size_t i = lists->length - 1; i > at; i--) {
        squares[i] = squares[i - 1];
        indices[i] = indices[i - 1];
    }
    squares[at] = square;
    indices[at] = index;
}

void sr_lists_merge(sr_lists *lists, const sr_lists *other) {
    for (size_t row = 0; row < lists->n; row++)
        for (size_t i = 0; i < other->length; i++)
            sr_lists_offer(lists, row, other->square[row * other->length + i],
                           other->index[row * other->length + i]);
}

double sr_lists_square(const sr_lists *lists, size_t row, size_t count, const uint8_t *groups,
                       size_t g) {
    double last = INFINITY;
    for (size_t i = 0; i < lists->length; i++) {
        size_t index = lists->index[row * lists->length + i];
        if (index == SIZE_MAX)
            break;
        if (groups && groups[index] == g)
            continue;
        last = lists->square[row * lists->length + i];
        if (count-- == 0)
            break;
    }
    return last;
}
