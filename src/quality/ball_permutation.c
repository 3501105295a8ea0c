// The permutation test of recall and coverage of two sets of fake rows, A and B, against the same
// real rows. Unlike precision and density they are no means of a score that a fake row has by
// itself: whether a real row is recalled depends on the balls of its whole set. So both scores are
// computed anew for every division of the rows of A and B, from lists that are made once:
//
//   coverage: for each real row the fake rows, of either set, that lie in its ball. A set covers
//   the real row if one of them belongs to it.
//
//   recall: for each fake row its nearest fake rows, of either set, so many that any division
//   leaves it k of its own; and for each real row the fake rows j that may reach it, with the place
//   t in the list of j from which on j's ball does. A set recalls the real row if one of its j has
//   its k-th neighbour of the set at place t or later.
//
// Lists end where what follows decides a division with a probability below NEGLIGIBLE.
#include "metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEGLIGIBLE 1e-12
#define PLACES_MAX 1024 // of a list of neighbours; more are needed where one set is tiny

// Fake rows that may decide a real row, in the order in which they are asked.
typedef struct reach {
    size_t count, room;
    uint32_t *row;
    uint16_t *place; // t; of coverage 0
} reach;

typedef struct test {
    size_t n, n_a, n_b, k, places;
    bool non_strict;
    double *radius;              // (n): squares, of coverage
    sr_lists near;               // (n_a + n_b, places), of recall
    reach *covering, *recalling; // (n); NULL where not asked for
    bool failed;                 // out of memory
} test;

// P(Bin(n, p) < k).
static double binomial_below(size_t n, double p, size_t k) {
    double sum = 0;
    for (size_t i = 0; i < k && i <= n; i++)
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) +
                   (double)i * log(p) + (double)(n - i) * log1p(-p));
    return fmin(sum, 1);
}

static double smaller_share(const test *t) {
    return (double)(t->n_a < t->n_b ? t->n_a : t->n_b) / (double)(t->n_a + t->n_b);
}

// ---- lists --------------------------------------------------------------------------------------

static void append(test *t, reach *r, size_t row, size_t place) {
    if (r->count == r->room) {
        size_t room = r->room ? 2 * r->room : 16;
        uint32_t *rows = realloc(r->row, room * sizeof *rows);
        uint16_t *places = realloc(r->place, room * sizeof *places);
        r->row = rows ? rows : r->row;
        r->place = places ? places : r->place;
        if (!rows || !places) {
#pragma omp atomic write
            t->failed = true;
            return;
        }
        r->room = room;
    }
    r->row[r->count] = (uint32_t)row;
    r->place[r->count++] = (uint16_t)place;
}

// The first place of fake row j's list whose distance reaches `square`; `places` if none does.
static size_t place_of(const test *t, size_t j, double square) {
    const double *list = t->near.square + j * t->near.places;
    size_t low = 0, high = t->places;
    while (low < high) {
        size_t middle = (low + high) / 2;
        bool inside = t->non_strict ? square <= list[middle] : square < list[middle];
        if (inside)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

typedef struct sweep {
    test *t;
    const sr_side *real, *fake;
} sweep;

// Whether an estimated distance may be below the root of `square`.
static bool may_reach(double estimate, double error, double square) {
    double least = sqrt(estimate) - error;
    return least <= 0 || least * least <= square;
}

static void collect(void *user, unsigned thread, const sr_tile *tile) {
    const sweep *s = user;
    test *t = s->t;
    for (size_t i = 0; i < tile->rows; i++)
        for (size_t j = 0; j < tile->columns; j++) {
            size_t row = tile->row + i, column = tile->column + j;
            double square = tile->square[i * SR_TILE + j];
            double error = tile->row_error[i] + tile->column_error[j];
            double last =
                t->recalling ? t->near.square[column * t->near.places + t->places - 1] : 0;
            bool covers = t->covering && may_reach(square, error, t->radius[row]);
            bool recalls = t->recalling && may_reach(square, error, last);
            if (!covers && !recalls)
                continue;
            square = sr_tile_exact(s->real, s->fake, tile, i, j);
            covers = covers && (t->non_strict ? square <= t->radius[row] : square < t->radius[row]);
            if (covers)
                append(t, &t->covering[row], column, 0);
            size_t place = recalls ? place_of(t, column, square) : t->places;
            if (place < t->places)
                append(t, &t->recalling[row], column, place);
        }
}

// Sorts by place, and drops what is asked too late to matter. open: (places + 1): the probability
// that a row whose place is p decides.
static void shorten(const test *t, const double *open, reach *r) {
    if (r->count == 0)
        return;
    size_t *start = calloc(t->places + 2, sizeof *start);
    uint32_t *row = malloc(r->count * sizeof *row);
    uint16_t *place = malloc(r->count * sizeof *place);
    if (start && row && place) {
        for (size_t i = 0; i < r->count; i++)
            start[r->place[i] + 1]++;
        for (size_t p = 0; p <= t->places; p++)
            start[p + 1] += start[p];
        for (size_t i = 0; i < r->count; i++) {
            size_t at = start[r->place[i]]++;
            row[at] = r->row[i];
            place[at] = r->place[i];
        }
        double undecided = 1;
        size_t kept = 0;
        while (kept < r->count && undecided > NEGLIGIBLE)
            undecided *= 1 - open[place[kept++]];
        r->count = kept;
        memcpy(r->row, row, kept * sizeof *row);
        memcpy(r->place, place, kept * sizeof *place);
    } // without memory the list stays as it is: longer, and in another order
    free(start);
    free(row);
    free(place);
}

static sr_status make_open(const test *t, double **out) {
    double least = smaller_share(t);
    *out = sr_alloc(t->places + 1, sizeof **out);
    for (size_t p = 0; p <= t->places && *out; p++)
        (*out)[p] = least * binomial_below(p, 1 - least, t->k);
    return *out ? SR_OK : SR_ERROR_MEMORY;
}

static sr_status cross(test *t, const sr_side side[2], sr_work *work) {
    sweep s = {t, &side[0], &side[1]};
    double *open = NULL;
    sr_status status = sr_pair_sweep(&side[0], &side[1], false, work, collect, &s);
    if (status == SR_OK && t->failed)
        status = sr_fail(SR_ERROR_MEMORY, "recall and coverage by permutation: out of memory");
    if (status == SR_OK)
        status = make_open(t, &open);
    if (status == SR_OK)
#pragma omp parallel for schedule(dynamic, 64) num_threads(work->threads)
        for (size_t i = 0; i < t->n; i++) {
            if (t->covering)
                shorten(t, open, &t->covering[i]);
            if (t->recalling)
                shorten(t, open, &t->recalling[i]);
        }
    sr_free(open);
    return status;
}

// The nearest `length` rows of each row of a side, itself not counted.
static sr_status nearest(const sr_side *side, size_t length, sr_work *work, sr_lists *out) {
    sr_collector c = {.p = side, .q = side};
    sr_lists *row = &c.row_list[0], *column = &c.column_list[0];
    sr_status status = sr_lists_create(length, SIZE_MAX, side, side, row);
    if (status == SR_OK)
        status = sr_lists_create(length, SIZE_MAX, side, side, column);
    if (status == SR_OK)
        status = sr_pair_sweep(side, side, false, work, sr_collect, &c);
    if (status == SR_OK) {
        sr_lists_merge(row, column, work->threads);
        sr_lists_settle(row, work->threads);
    }
    sr_lists_clear(column);
    *out = *row;
    return status;
}

static sr_status make_lists(test *t, const sr_rows *real, const sr_rows *fake, sr_work *work) {
    sr_side side[2] = {{0}, {0}};
    sr_lists own = {0};
    sr_frame around = {0}, *frame = sr_pairs_exact(real->n, fake->n, real->dim) ? NULL : &around;
    sr_status status = frame ? sr_work_frame(work, real, fake, frame) : SR_OK;
    if (status == SR_OK)
        status = sr_side_create(real, frame, work->threads, &side[0]);
    if (status == SR_OK)
        status = sr_side_create(fake, frame, work->threads, &side[1]);
    if (status == SR_OK && t->covering)
        status = nearest(&side[0], t->k, work, &own);
    for (size_t i = 0; i < real->n && status == SR_OK && t->covering; i++)
        t->radius[i] = sr_lists_square(&own, i, t->k - 1, NULL, 0);
    if (status == SR_OK && t->recalling)
        status = nearest(&side[1], t->places, work, &t->near);
    if (status == SR_OK)
        status = cross(t, side, work);
    sr_lists_clear(&own);
    sr_side_clear(&side[0]);
    sr_side_clear(&side[1]);
    return status;
}

// ---- divisions ----------------------------------------------------------------------------------

// place (n_a + n_b): that of the k-th neighbour of a row's own set; set (n_a + n_b): 1 for A.
static void own_places(const test *t, const uint8_t *set, uint16_t *place) {
    for (size_t j = 0; j < t->n_a + t->n_b; j++) {
        const size_t *list = t->near.index + j * t->near.places;
        size_t at = 0, left = t->k;
        while (at + 1 < t->places && !(set[list[at]] == set[j] && --left == 0))
            at++;
        place[j] = (uint16_t)at;
    }
}

// Share of real rows that A reaches less the share that B does. place NULL: belonging is enough.
static double reached(const test *t, const reach *list, const uint8_t *set, const uint16_t *place) {
    int64_t difference = 0;
    for (size_t i = 0; i < t->n; i++) {
        bool by[2] = {false, false};
        for (size_t e = 0; e < list[i].count && !(by[0] && by[1]); e++) {
            size_t j = list[i].row[e];
            by[set[j]] |= !place || place[j] >= list[i].place[e];
        }
        difference += by[1] - by[0];
    }
    return (double)difference / (double)t->n;
}

// out: differences of recall and coverage for a division.
static void differences(const test *t, const uint8_t *set, uint16_t *place, double out[2]) {
    if (t->recalling) {
        own_places(t, set, place);
        out[0] = reached(t, t->recalling, set, place);
    }
    if (t->covering)
        out[1] = reached(t, t->covering, set, NULL);
}

static void mark(const test *t, const size_t *order, uint8_t *set) {
    size_t rows = t->n_a + t->n_b;
    for (size_t i = 0; i < rows; i++)
        set[order ? order[i] : i] = i < t->n_a;
}

static sr_status count_far(const test *t, size_t permutations, uint64_t seed, sr_work *work,
                           size_t far[2]) {
    size_t rows = t->n_a + t->n_b, *order = sr_alloc(work->threads, rows * sizeof *order);
    uint8_t *set = sr_alloc(work->threads, rows);
    uint16_t *place = sr_alloc(work->threads, rows * sizeof *place);
    sr_status status = order && set && place ? SR_OK : SR_ERROR_MEMORY;
    double found[2] = {0, 0};
    if (status == SR_OK) {
        mark(t, NULL, set);
        differences(t, set, place, found);
    }
    const size_t batch = 64; // divisions between two looks at the monitor
    for (size_t first = 0; first < permutations && status == SR_OK; first += batch) {
        size_t last = permutations - first < batch ? permutations : first + batch;
        size_t recalls = 0, covers = 0;
#pragma omp parallel for schedule(static) num_threads(work->threads) reduction(+ : recalls, covers)
        for (size_t s = 0; s < work->threads; s++)
            for (size_t i = first + s; i < last; i += work->threads) {
                double now[2] = {0, 0};
                sr_divide(seed, i, t->n_a, rows, order + s * rows);
                mark(t, order + s * rows, set + s * rows);
                differences(t, set + s * rows, place + s * rows, now);
                recalls += fabs(now[0]) >= fabs(found[0]) * (1 - 1e-12);
                covers += fabs(now[1]) >= fabs(found[1]) * (1 - 1e-12);
            }
        far[0] += recalls;
        far[1] += covers;
        status = sr_work_advance(work, 0);
    }
    sr_free(order);
    sr_free(set);
    sr_free(place);
    return status;
}

static void clear(test *t) {
    for (size_t i = 0; i < t->n; i++) {
        reach *of[2] = {t->covering ? &t->covering[i] : NULL,
                        t->recalling ? &t->recalling[i] : NULL};
        for (int l = 0; l < 2; l++)
            if (of[l]) {
                free(of[l]->row);
                free(of[l]->place);
            }
    }
    sr_free(t->covering);
    sr_free(t->recalling);
    sr_free(t->radius);
    sr_lists_clear(&t->near);
}

sr_status sr_ball_permutation(size_t n, const float *real, size_t n_a, size_t n_b,
                              const float *both, size_t dim, const sr_metric_options *o,
                              size_t permutations, double *recall, double *coverage) {
    test t = {.n = n, .n_a = n_a, .n_b = n_b, .k = o->k, .non_strict = o->non_strict};
    sr_rows real_rows = {0}, fake_rows = {0};
    size_t most = n_a + n_b - 1, far[2] = {0, 0};
    sr_work work = {.threads = sr_threads_resolve(o->threads), .monitor = o->monitor};
    *recall = *coverage = NAN;
    for (t.places = o->k; t.places < most && t.places <= PLACES_MAX &&
                          binomial_below(t.places, smaller_share(&t), o->k) > NEGLIGIBLE;)
        t.places++;
    bool recalls = o->which & SR_BIT(SR_RECALL) && t.places <= PLACES_MAX;
    bool covers = o->which & SR_BIT(SR_COVERAGE);
    t.covering = covers ? sr_alloc(n, sizeof *t.covering) : NULL;
    t.recalling = recalls ? sr_alloc(n, sizeof *t.recalling) : NULL;
    t.radius = sr_alloc(n, sizeof *t.radius);
    sr_status status = t.radius && (!covers || t.covering) && (!recalls || t.recalling)
                           ? sr_rows_create("real", n, real, dim, work.threads, &real_rows)
                           : SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = sr_rows_create("fake", n_a + n_b, both, dim, work.threads, &fake_rows);
    int blas_threads = sr_blas_alone();
    if (status == SR_OK)
        status = make_lists(&t, &real_rows, &fake_rows, &work);
    sr_blas_restore(blas_threads);
    if (status == SR_OK)
        status = count_far(&t, permutations, o->seed, &work, far);
    if (status == SR_OK && recalls)
        *recall = ((double)far[0] + 1) / ((double)permutations + 1);
    if (status == SR_OK && covers)
        *coverage = ((double)far[1] + 1) / ((double)permutations + 1);
    sr_rows_clear(&real_rows);
    sr_rows_clear(&fake_rows);
    sr_frame_clear(&work.frame);
    clear(&t);
    return status == SR_OK ? SR_OK : sr_fail_context(status, "recall and coverage: ");
}
