// The nearest few rows of each row, sorted by squared distance and then by index, so that the order
// in which neighbours are offered does not matter.
//
// On the fast path the distances offered are off by up to `error` of the row. A list is then longer
// by SPARE places and keeps all that may be among the nearest: what is not further than the
// estimate at place length - 1 by more than twice the error. sr_lists_settle computes the few that
// are kept exactly. Where more are that near than there are places (rows that coincide but for
// rounding), the list is settled at once, and what is offered later is computed as it comes.
#include "metrics.h"

#include <math.h>

#define SPARE 8

sr_status sr_lists_create(size_t length, size_t limit, const sr_side *own, const sr_side *other,
                          sr_lists *out) {
    size_t count, n = own->rows->n, places = length && !own->exact ? length + SPARE : length;
    *out = (sr_lists){.n = n, .length = length, .places = places, .limit = limit};
    out->own = own;
    out->other = other;
    for (size_t i = 0; i < other->rows->n; i++)
        out->error = fmax(out->error, other->error[i]);
    if (!sr_size_mul(n, places, &count))
        return sr_fail(SR_ERROR_MEMORY, "%zu neighbours of %zu rows do not fit in memory", length,
                       n);
    out->square = sr_alloc(count, sizeof(double));
    out->index = sr_alloc(count, sizeof(size_t));
    out->reach = sr_alloc(length ? n : 0, sizeof(double));
    out->settled = sr_alloc(length ? n : 0, sizeof(bool));
    if (!out->square || !out->index || !out->reach || !out->settled) {
        sr_lists_clear(out);
        return SR_ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        out->square[i] = INFINITY;
        out->index[i] = SIZE_MAX;
    }
    for (size_t i = 0; i < n && length; i++) {
        out->reach[i] = INFINITY;
        out->settled[i] = own->exact;
    }
    return SR_OK;
}

void sr_lists_clear(sr_lists *lists) {
    sr_free(lists->square);
    sr_free(lists->index);
    sr_free(lists->reach);
    sr_free(lists->settled);
    *lists = (sr_lists){0};
}

static double exact_square(const sr_lists *lists, size_t row, size_t index) {
    const sr_rows *own = lists->own->rows, *other = lists->other->rows;
    return sr_square_exact(own->dim, own->x + row * own->dim, other->x + index * own->dim);
}

// Puts a pair in its place among the first `places` of a row's; the last falls out.
static void insert(size_t places, double *squares, size_t *indices, double square, size_t index) {
    size_t at = places;
    while (at > 0 &&
           (square < squares[at - 1] || (square == squares[at - 1] && index < indices[at - 1])))
        at--;
    if (at == places)
        return;
    for (size_t i = places - 1; i > at; i--) {
        squares[i] = squares[i - 1];
        indices[i] = indices[i - 1];
    }
    squares[at] = square;
    indices[at] = index;
}

// The row's estimates become exact, and only `length` of them stay.
static void settle(sr_lists *lists, size_t row) {
    double *squares = lists->square + row * lists->places;
    size_t *indices = lists->index + row * lists->places;
    for (size_t i = 0; i < lists->places && indices[i] != SIZE_MAX; i++) {
        size_t index = indices[i];
        double square = squares[i] > lists->reach[row] ? INFINITY : exact_square(lists, row, index);
        squares[i] = INFINITY;
        indices[i] = SIZE_MAX;
        insert(i + 1, squares, indices, square, index);
    }
    for (size_t i = lists->length; i < lists->places; i++) {
        squares[i] = INFINITY;
        indices[i] = SIZE_MAX;
    }
    lists->settled[row] = true;
}

// What an estimate may not pass: of a settled row the error is that of the estimate alone.
static void set_reach(sr_lists *lists, size_t row) {
    double worst = lists->square[row * lists->places + lists->length - 1];
    double error = lists->own->error[row] + lists->error;
    double reach = sqrt(worst) + (lists->settled[row] ? error : 2 * error);
    lists->reach[row] = error > 0 ? reach * reach * (1 + 1e-12) : worst;
}

void sr_lists_offer(sr_lists *lists, size_t row, double square, size_t index) {
    if (lists->length == 0 || index >= lists->limit || square > lists->reach[row])
        return;
    double *squares = lists->square + row * lists->places;
    size_t *indices = lists->index + row * lists->places;
    if (lists->settled[row]) {
        if (!lists->own->exact)
            square = exact_square(lists, row, index);
        insert(lists->length, squares, indices, square, index);
    } else {
        double least = squares[lists->places - 1];
        size_t dropped = indices[lists->places - 1];
        if (square > least) { // it would not fit, and falls out itself
            least = square;
            dropped = index;
        } else {
            insert(lists->places, squares, indices, square, index);
        }
        set_reach(lists, row);
        if (least <= lists->reach[row] && dropped != SIZE_MAX) {
            settle(lists, row);
            insert(lists->length, squares, indices, exact_square(lists, row, dropped), dropped);
        }
    }
    set_reach(lists, row);
}

void sr_lists_merge(sr_lists *lists, const sr_lists *other, unsigned threads) {
#pragma omp parallel for schedule(static, 64) num_threads(threads)
    for (size_t row = 0; row < lists->n; row++)
        for (size_t i = 0; i < other->places; i++) {
            size_t at = row * other->places + i;
            if (other->index[at] != SIZE_MAX)
                sr_lists_offer(lists, row, other->square[at], other->index[at]);
        }
}

void sr_lists_settle(sr_lists *lists, unsigned threads) {
#pragma omp parallel for schedule(static, 64) num_threads(threads)
    for (size_t row = 0; row < (lists->length ? lists->n : 0); row++)
        if (!lists->settled[row])
            settle(lists, row);
}

double sr_lists_square(const sr_lists *lists, size_t row, size_t count, const uint8_t *groups,
                       size_t g) {
    double last = INFINITY;
    for (size_t i = 0; i < lists->length; i++) {
        size_t index = lists->index[row * lists->places + i];
        if (index == SIZE_MAX)
            break;
        if (groups && groups[index] == g)
            continue;
        last = lists->square[row * lists->places + i];
        if (count-- == 0)
            break;
    }
    return last;
}
