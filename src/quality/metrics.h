// What the metrics share and nobody else sees: feature rows, the sweep over all pairs of rows in
// tiles, what a sweep collects, resampling, and one function a metric or group of metrics. All
// values are the same for any number of threads: work is cut into fixed blocks, each block has one
// owner, and sums over blocks are taken in order.
#ifndef SHORTRUN_QUALITY_METRICS_H
#define SHORTRUN_QUALITY_METRICS_H

#include <shortrun/quality.h>

#include <string.h>

#define SR_BIT(metric) (1u << (metric))
#define SR_NEIGHBOUR_METRICS                                                                       \
    (SR_BIT(SR_PRECISION) | SR_BIT(SR_RECALL) | SR_BIT(SR_DENSITY) | SR_BIT(SR_COVERAGE))

static inline size_t sr_smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

// ---- rows ---------------------------------------------------------------------------------------

typedef struct sr_rows {
    size_t n, dim;
    const float *x; // (n, dim), the caller's
    double *mean;   // (dim)
} sr_rows;

// Checks the values and takes the mean; `name` ("real", "fake") is for the message when a value is
// not finite (its row and column are named) or memory is short.
sr_status sr_rows_create(const char *name, size_t n, const float *x, size_t dim, unsigned threads,
                         sr_rows *out);
void sr_rows_clear(sr_rows *rows);

// The squared distance of a and b (dim), differences squared and summed in double in eight lanes:
// the same bits for (a, b) and (b, a), on every instruction set.
double sr_square_exact(size_t dim, const float *a, const float *b);

// ---- all pairs, tile by tile --------------------------------------------------------------------

// What rows are seen from on the fast path: see sides.c.
#define SR_DIRECTIONS 8
typedef struct sr_frame {
    const double *centre; // (dim), of the rows it was made of last
    double centre_square;
    double *direction; // (SR_DIRECTIONS, dim): orthonormal, or 0
} sr_frame;

// Of largest spread around the real rows' mean, the centre.
sr_status sr_frame_create(const sr_rows *real, const sr_rows *fake, sr_frame *out);
void sr_frame_centre(sr_frame *frame, const sr_rows *rows); // moves it to the rows' mean
void sr_frame_clear(sr_frame *frame);

// One set as a sweep wants it. Exact: rows in double, row by row and in panels of 8 rows. Fast:
// rows centred and rounded to 16-bit integers, in panels of 16, with what turns their products into
// distances and products.
typedef struct sr_side {
    const sr_rows *rows;
    bool exact;
    size_t padded;   // n rounded up to a whole panel; the rows beyond n are zero
    double *row;     // (padded, dim)
    double *panel;   // (padded / 8, dim, 8)
    int16_t *narrow; // (padded / 16, (dim + 1) / 2, 16, 2): integers q, x = centre + unit q + e
    double *unit;    // (n)
    double *lost;    // (SR_DIRECTIONS, padded): e in the directions
    double *along;   // (SR_DIRECTIONS, padded): x - centre in them
    double *norm;    // (n): |unit q + P e|^2
    double *gain;    // (n): |x - centre|^2 less norm
    double *shift;   // (n): x.centre + (norm - |centre|^2) / 2: x.y = shift + shift' - square / 2
    double *error;   // (n): |e - P e|
} sr_side;

#define SR_PANEL 8
#define SR_NARROW_PANEL 16
#define SR_NARROW_ROWS 48    // rows in the panels that a kernel takes at once; padded is a multiple
#define SR_NARROW_GROUP 1024 // features whose products are one sum in 32 bits
#define SR_NARROW_NORM 46340. // a row's largest norm over those: sqrt(2^31)
#define SR_TILE 256           // the most rows and columns of a tile, and the pitch of its rows

// Whether these sizes are worth the fast path: see pairs.c.
bool sr_pairs_exact(size_t n, size_t m, size_t dim);
// frame: NULL on the exact path.
sr_status sr_side_create(const sr_rows *rows, const sr_frame *frame, unsigned threads,
                         sr_side *out);
// Rounds the rows of a side that is not exact anew, around the frame's centre.
sr_status sr_side_round(const sr_frame *frame, unsigned threads, sr_side *side);
void sr_side_clear(sr_side *side);

// Rows [row, row + rows) of p against [column, column + columns) of q.
typedef struct sr_tile {
    size_t row, rows, column, columns;
    size_t index;         // of the tile in its sweep
    bool self, diagonal;  // p is q; the same rows: then every pair appears twice, and (i, i) too
    const double *square; // (rows, SR_TILE): squared distances, never negative
    const double *dot;    // (rows, SR_TILE): x.y, on the exact path, where asked for
    const double *row_error, *column_error; // (rows), (columns): the distance is within the sum of
                                            // the two of sqrt(square); 0 on the exact path
    const double *row_shift, *column_shift; // (rows), (columns): x.y is their sum less square / 2;
                                            // NULL on the exact path
    const double *row_gain, *column_gain;   // (rows), (columns): what sums over many pairs add to a
                                            // square; NULL on the exact path
} sr_tile;

typedef void (*sr_tile_visit)(void *user, unsigned thread, const sr_tile *tile);

// What a computation may use, whom it tells, and what goes on beside it.
typedef struct sr_work {
    unsigned threads;
    const sr_monitor *monitor;           // NULL, or may stop it
    bool progress;                       // the monitor is told how far it is
    const struct sr_eigen_queue *beside; // NULL, or keeps some of the threads busy
    const char *what;                    // is being done: told to the monitor
    sr_frame frame;                      // of sr_work_frame; sr_frame_clear at the end
    double done, total;                  // of the whole, in multiply-adds
} sr_work;

// Threads that nothing beside keeps busy, at least one.
unsigned sr_work_threads(const sr_work *work);
// out: of these rows, made when first asked for; the work's, not to be cleared.
sr_status sr_work_frame(sr_work *work, const sr_rows *real, const sr_rows *fake, sr_frame *out);
// Tells the monitor; SR_ERROR_INTERRUPTED where it says stop.
sr_status sr_work_advance(sr_work *work, double done);

// sum (count) = what the directions add to the products of row `row` of p with rows from `first` of
// q on: (P e).x' + (unit q).(P e').
static inline __attribute__((always_inline)) void sr_along_directions(const sr_side *p, size_t row,
                                                                      const sr_side *q,
                                                                      size_t first, size_t count,
                                                                      double *sum) {
    double e[SR_DIRECTIONS], kept[SR_DIRECTIONS];
    for (size_t r = 0; r < SR_DIRECTIONS; r++) {
        e[r] = p->lost[r * p->padded + row];
        kept[r] = p->along[r * p->padded + row] - e[r];
    }
    const double *lost = q->lost + first, *along = q->along + first;
    for (size_t j = 0; j < count; j++) {
        double to = 0;
        for (size_t r = 0; r < SR_DIRECTIONS; r++)
            to += e[r] * along[r * q->padded + j] + kept[r] * lost[r * q->padded + j];
        sum[j] = to;
    }
}

// Visits all pairs of p and q once; p == q: each unordered pair once, apart from the diagonal
// tiles. The sweep goes in waves. Within a wave no two tiles share rows of p, nor rows of q, and
// the waves come in a fixed order: a visitor may add to what belongs to a row of p in one array and
// to a row of q in another without locks, and gets the same bits for any number of threads.
// SR_ERROR_INTERRUPTED between two waves, where the monitor says stop.
sr_status sr_pair_sweep(const sr_side *p, const sr_side *q, bool dot, sr_work *work,
                        sr_tile_visit visit, void *user);
size_t sr_pair_edge(const sr_side *p, const sr_side *q);  // rows and columns of a tile
size_t sr_pair_tiles(const sr_side *p, const sr_side *q); // numbers of tiles of a sweep
// out (rows, SR_TILE): products of rows of integers, a and b at the panel of the first row. sums
// (SR_TILE, SR_TILE; 64-byte aligned): scratch. As many columns as fill groups of SR_NARROW_ROWS
// are written.
void sr_narrow_products(size_t dim, size_t rows, const int16_t *a, size_t columns, const int16_t *b,
                        int32_t *sums, double *out);
// A tile's squared distance, exactly.
double sr_tile_exact(const sr_side *p, const sr_side *q, const sr_tile *tile, size_t i, size_t j);

// The median of the n x m distances between rows of real and fake (the mean of the two middle
// values when their number is even, as NumPy's). On the exact path of all of them; on the fast one
// of those between SR_MEDIAN_ROWS evenly spaced rows of each.
#define SR_MEDIAN_ROWS 2048
sr_status sr_median_distance(const sr_rows *real, const sr_rows *fake, sr_work *work,
                             double *median);

// ---- what a sweep collects ----------------------------------------------------------------------

// The nearest few rows of each row: by squared distance, then by index. Unused places hold an
// infinite distance.
typedef struct sr_lists {
    size_t n, length;
    size_t places;              // of a row: more than `length` until it is settled
    size_t limit;               // only neighbours with a smaller index count
    const sr_side *own, *other; // of the rows, and of their neighbours
    double error;               // the largest of a neighbour's
    double *square;             // (n, places): estimates, once settled exact
    size_t *index;              // (n, places)
    double *reach;              // (n): an estimated square above it enters no more
    bool *settled;              // (n)
} sr_lists;

// Lists of the rows of `own`; both sides outlive them.
sr_status sr_lists_create(size_t length, size_t limit, const sr_side *own, const sr_side *other,
                          sr_lists *out);
void sr_lists_clear(sr_lists *lists);
// square: as a tile tells it.
void sr_lists_offer(sr_lists *lists, size_t row, double square, size_t index);
// `other` has the same sides, and is not settled by sr_lists_settle.
void sr_lists_merge(sr_lists *lists, const sr_lists *other, unsigned threads);
// After the last offer: all distances exact, `length` of each row.
void sr_lists_settle(sr_lists *lists, unsigned threads);
// The square beyond which nothing enters a row's list.
static inline double sr_lists_reach(const sr_lists *lists, size_t row) {
    return lists->length ? lists->reach[row] : -1;
}
// The count-th (from 0) entry whose group is not g; past the end, the last that the list holds.
// groups (of the neighbours) may be NULL: nobody is left out. Infinite where the list is empty.
double sr_lists_square(const sr_lists *lists, size_t row, size_t count, const uint8_t *groups,
                       size_t g);

// Rows fall into SR_GROUPS groups at random; leaving one group out of both sets at a time gives the
// replicates of the jack-knife. Replicate 0 leaves out nobody, replicate g + 1 group g.
#define SR_GROUPS 20
#define SR_REPLICATES (SR_GROUPS + 1)

// Balls around the rows of a set: reach (n, replicates) squared radii.
typedef struct sr_balls {
    double *reach, *furthest; // furthest (n): the largest of a row's
    int64_t *group;           // (n)
} sr_balls;

// Sums over a row's pairs, one array for each kernel.
enum { SR_SUM_DISTANCE, SR_SUM_KID, SR_SUM_RBF, SR_SUM_COUNT = SR_SUM_RBF + 1 + SR_BANDWIDTHS_MAX };

typedef struct sr_collector {
    const sr_side *p, *q;
    bool kernels[SR_SUM_COUNT];
    double scale[SR_SUM_COUNT];                               // of RBF kernels: 1 / (2 bandwidth^2)
    double *row_sum[SR_SUM_COUNT], *column_sum[SR_SUM_COUNT]; // (p.n), (q.n)
    // Memberships of rows in subsets, (subsets, n) of 0 and 1, and the KID kernel's sum over each
    // subset, (tiles, subsets).
    size_t subsets;
    const double *row_member, *column_member;
    double *subset_sum;
    // Nearest rows: two lists of rows, two of columns; those of length 0 are not kept.
    sr_lists row_list[2], column_list[2];
    // Balls of both sets, in a sweep of real (p) over fake (q).
    bool balls, non_strict;
    size_t groups;
    sr_balls row_ball, column_ball;
    uint64_t *row_bits, *column_bits;   // bit r: inside some ball of the other set, in replicate r
    uint64_t *row_count, *column_count; // row's ball: columns inside; column: balls it is in
    uint64_t *same;                     // (p.n): columns inside of the row's own group
    uint64_t *extra; // (tile rows, replicates): pairs inside in that replicate alone
} sr_collector;

void sr_collect(void *user, unsigned thread, const sr_tile *tile);
void sr_collector_clear(sr_collector *c);

// ---- resampling ---------------------------------------------------------------------------------

// A shuffle of 0 .. n - 1, number `epoch` of the stream (seed, SR_PURPOSE_RESAMPLE).
void sr_shuffle(uint64_t seed, uint64_t epoch, size_t n, size_t *out);
// group (n), each 0 .. groups - 1, sizes equal but for one.
sr_status sr_groups_draw(uint64_t seed, uint64_t epoch, size_t n, size_t groups, uint8_t *group);
// Standard error from the replicates that leave a group out: the delete-a-group jack-knife.
double sr_jackknife(size_t groups, const double *replicate);
// Quantile of Student's t distribution that 97.5% lie below; degrees may be infinite.
double sr_t_quantile(double degrees);
// Two-sided p-value of Student's t.
double sr_t_p_value(double t, double degrees);
#define SR_TEST_PERMUTATION "permutation of rows"
// Random division `number` of count rows: the first `first` of order (count) are A.
void sr_divide(uint64_t seed, size_t number, size_t first, size_t count, size_t *order);
// p-values of the differences of recall and coverage, where options->which asks for them, of rows
// `both` (n_a + n_b, dim), A before B. NaN where one set is too small beside the other.
sr_status sr_ball_permutation(size_t n, const float *real, size_t n_a, size_t n_b,
                              const float *both, size_t dim, const sr_metric_options *options,
                              size_t permutations, double *recall, double *coverage);
// Everything unknown, test "none".
sr_difference sr_no_difference(void);
// Fills error, low and high: value -+ t error, cut to [least, most].
void sr_interval(sr_metric_values *out, sr_metric metric, double error, double degrees,
                 double least, double most);

// ---- metrics: each fills its own entries of `out` -----------------------------------------------

// What a comparison of two sets of fake rows wants of each: how the rows move a score. The caller's
// arrays are freed by sr_detail_clear.
typedef struct sr_detail {
    // Influence of each row: score - score without it, times n - 1 (jack-knife) or the derivative
    // (infinitesimal); NULL where the metric has none.
    double *real[SR_METRIC_COUNT], *fake[SR_METRIC_COUNT];
    double replicate[SR_METRIC_COUNT][SR_REPLICATES]; // NaN where the metric has none
} sr_detail;

void sr_detail_clear(sr_detail *detail);
// sr_metrics with the detail (NULL: none).
sr_status sr_metrics_detail(size_t n_real, const float *real, size_t n_fake, const float *fake,
                            size_t dim, const sr_metric_options *options, sr_metric_values *out,
                            sr_detail *detail);

#define SR_EIGEN_JOBS 5 // the most that are solved side by side
// values (dim): eigenvalues (ascending) of the symmetric matrix a (dim, dim), of which nothing
// below the diagonal is read, and where they are wanted its eigenvectors as the ROWS of a, which is
// overwritten in any case. Those of large matrices are orthogonal to 1e-6 alone.
typedef struct sr_eigen_job {
    bool vectors;
    size_t dim;
    double *a, *values;
} sr_eigen_job;

// Jobs that are solved on threads of their own while the caller does something else.
typedef struct sr_eigen_queue {
    size_t count;
    sr_eigen_job *job[SR_EIGEN_JOBS];
    struct sr_eigen_crew *crew; // NULL before sr_eigen_start
} sr_eigen_queue;

// On all threads but one, a thread a job; with one thread alone, or none to be had, sr_eigen_wait
// solves them.
sr_status sr_eigen_start(sr_eigen_queue *queue, unsigned threads);
unsigned sr_eigen_busy(const sr_eigen_queue *queue); // threads
// Solves with the others what is not begun, and waits for all.
sr_status sr_eigen_wait(sr_eigen_queue *queue);
// Waits for what is begun; the rest stays unsolved.
void sr_eigen_abandon(sr_eigen_queue *queue);

// Frechet distances: `start` reads the rows and puts its eigenproblems into the queue, `finish`
// wants them solved.
typedef struct sr_frechet sr_frechet;
sr_status sr_frechet_start(const sr_rows *real, const sr_rows *fake,
                           const sr_metric_options *options, bool detail, sr_work *work,
                           sr_eigen_queue *queue, sr_frechet **out);
sr_status sr_frechet_finish(sr_frechet *frechet, sr_metric_values *out, sr_detail *detail);
void sr_frechet_destroy(sr_frechet *frechet);

// Likewise.
typedef struct sr_vendi {
    sr_eigen_job *job;
    bool tall; // more rows than features
} sr_vendi;
sr_status sr_vendi_start(const sr_rows *fake, const sr_metric_options *options, unsigned threads,
                         sr_eigen_queue *queue, sr_vendi *out);
sr_status sr_vendi_finish(const sr_vendi *vendi, const sr_rows *fake,
                          const sr_metric_options *options, unsigned threads,
                          sr_metric_values *out);
void sr_vendi_clear(sr_vendi *vendi);
sr_status sr_metric_sliced(const sr_rows *real, const sr_rows *fake,
                           const sr_metric_options *options, unsigned threads,
                           sr_metric_values *out);
sr_status sr_metric_c2st(const sr_rows *real, const sr_rows *fake, const sr_metric_options *options,
                         unsigned threads, sr_metric_values *out);
// All that is read off pairs of rows: KID, precision, recall, density, coverage, MMD, energy
// distance, 1-NN accuracy, nearest rows.
sr_status sr_metric_pairwise(const sr_rows *real, const sr_rows *fake,
                             const sr_metric_options *options, sr_work *work, sr_metric_values *out,
                             sr_detail *detail);

// The three sweeps of sr_metric_pairwise, and what is read off them.
typedef struct sr_pairwise {
    const sr_metric_options *options;
    size_t n, m, k, paired;      // paired: rows of each set that take part in 1-NN
    size_t groups;               // of the jack-knife of balls and 1-NN; 0: none
    uint8_t *group[2];           // of real and fake rows
    sr_collector self[2], cross; // cross: real (p) over fake (q)
} sr_pairwise;

// Of list 0 and, where only some rows are paired, list 1.
static inline const sr_lists *sr_paired_list(const sr_lists two[2]) {
    return two[1].length ? &two[1] : &two[0];
}
// Radii of the balls of both sets, from the self sweeps.
sr_status sr_pairwise_balls(sr_pairwise *s);
void sr_finish_neighbours(const sr_pairwise *s, sr_metric_values *out, sr_detail *detail);
void sr_finish_one_nn(const sr_pairwise *s, sr_metric_values *out, sr_detail *detail);
sr_status sr_finish_sums(const sr_pairwise *s, sr_metric_values *out, sr_detail *detail);
void sr_finish_kid_subsets(const sr_pairwise *s, size_t subset_rows, const double *subset_sum[3],
                           const size_t tiles[3], sr_metric_values *out);

// Unit rows (count, dim): normalised Gaussians, row p is chain p of the stream (seed,
// SR_PURPOSE_PROJECTION).
void sr_projections_draw(uint64_t seed, size_t count, size_t dim, float *out);

// ---- dense matrices in double, by blocks of rows over threads -----------------------------------

// c (n, columns) = a (n, k; a_pitch apart) b', b (columns, k; b_pitch apart).
void sr_multiply_transposed(size_t n, size_t k, size_t columns, const double *a, size_t a_pitch,
                            const double *b, size_t b_pitch, double *c, unsigned threads);
// out (n): sum over k of weight[k] (x_i . v_k)^2, x (n, dim), v (count, dim), in fp32: for standard
// errors. scratch: (n, count).
void sr_square_forms(size_t n, size_t dim, const float *x, const float *vectors, size_t count,
                     const double *weight, double *out, unsigned threads, float *scratch);
// out (n) = x in float.
void sr_narrow(size_t n, const double *x, float *out, unsigned threads);
// c (dim, dim) += x' x, x (n, dim); what lies below the diagonal is not kept.
void sr_gram_add(size_t n, size_t dim, const double *x, double *c, unsigned threads);
// Likewise for rows in float, whose products are sums in float of up to 512 rows, added in double.
void sr_gram_add_narrow(size_t n, size_t dim, const float *x, double *c, unsigned threads);
// Cholesky: a (dim, dim; from the diagonal on) becomes F, a = F' F. The rows of F that there are:
// fewer than dim where a is not positive definite.
size_t sr_cholesky(size_t dim, double *a, unsigned threads);
// Sums of x x' over rows of many features, which come block by block.
typedef struct sr_scatter sr_scatter;
// block: the most rows of one. frame (its directions alone matter): products in float, which is
// worth it where sr_scatter_narrow; NULL: all in double.
sr_status sr_scatter_create(size_t dim, size_t block, const sr_frame *frame, unsigned threads,
                            sr_scatter **out);
void sr_scatter_restart(sr_scatter *scatter); // as if just made
void sr_scatter_destroy(sr_scatter *scatter);
bool sr_scatter_narrow(size_t dim);
void sr_scatter_add(sr_scatter *scatter, size_t count, double *x,
                    unsigned threads); // x: overwritten
// c (dim, dim) = the sum; nothing below the diagonal is written.
sr_status sr_scatter_sum(const sr_scatter *scatter, double *c, unsigned threads);
// The same in the scatter's own memory, which becomes the caller's; only sr_scatter_destroy may
// follow.
sr_status sr_scatter_finish(sr_scatter *scatter, double **c, unsigned threads);
// Solves the jobs side by side, each on one thread.
sr_status sr_eigen(size_t count, sr_eigen_job *const *jobs, unsigned threads);
// Rows of which the spread of influences is taken where nobody wants to know them one by one: all,
// or, when each costs much (n dim^2 above SR_INFLUENCE_WORK), so few that the standard error is
// known to about 2%.
#define SR_INFLUENCE_ROWS 1024
#define SR_INFLUENCE_WORK 4e9
size_t sr_influence_rows(size_t n, size_t dim);

#endif
