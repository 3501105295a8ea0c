// What the parts of the Frechet distance share: frechet.c holds the distances, frechet_sums.c what
// is summed up over rows, frechet_vectors.c what the eigenvectors are for.
#ifndef SR_QUALITY_FRECHET_H
#define SR_QUALITY_FRECHET_H

#include "metrics.h"

#define SR_FRECHET_BLOCK 256       // rows and columns of a product, for one thread
#define SR_FRECHET_NEGLIGIBLE 1e-5 // of the largest root: directions without variance have no say

#define SR_SIZES_MAX 1000
typedef struct sr_ladder {
    size_t count, n[SR_SIZES_MAX]; // sizes, ascending; the last is all rows
    bool expanded;                 // tr sqrt of most sizes comes from the expansion
    double plain[SR_SIZES_MAX];    // all of the distance but 2 tr sqrt
    double distance[SR_SIZES_MAX];
    double root[SR_SIZES_MAX]; // tr sqrt
} sr_ladder;

#define SR_FRECHET_JOBS                                                                            \
    3 // eigenproblems that are left to others: of all rows, and two for the expansion
struct sr_frechet {
    const sr_rows *real, *fake;
    const sr_metric_options *options;
    unsigned threads;
    size_t dim, rank, block;  // rows at a time
    double trace_a;           // tr Ca
    double *factor;           // (rank, dim); kept for eigenvectors
    int *pivot;               // (dim): feature k of the factor is feature pivot[k] - 1
    double *rows;             // (block, dim): scratch
    size_t *order;            // (fake): the shuffle
    double *vectors, *s;      // (rank, rank), (rank): of all rows
    double *y_sum, y_squares; // (dim): sums over the fake rows so far
    sr_scatter *scatter;      // of the real rows, then of the fake rows so far
    double *gram, *z_sum;     // or, when the factor is of rows, (rank, rank), (rank) of z = F y
    bool narrow;              // covariances are summed up in float,
    bool singular;            // for which one of them turned out too near to singular
    double *variance;         // (dim): of the real rows
    bool errors;              // standard errors are wanted
    size_t influences[2];     // real and fake rows whose influences are wanted
    size_t *real_order; // (influences[0]): these rows; of the fake ones, the first of the shuffle
    sr_ladder ladder;
    size_t jobs, at[SR_FRECHET_JOBS]; // at: the places of their sizes
    sr_eigen_job job[SR_FRECHET_JOBS];
};

// Whether size i of the ladder has an eigenproblem of its own.
static inline bool sr_ladder_solved(const sr_ladder *l, size_t i) {
    return !l->expanded || i == 0 || i == l->count / 2 || i == l->count - 1;
}

// Whether eigenvectors are wanted, and with them the factor.
static inline bool sr_frechet_wants_vectors(const sr_frechet *f) {
    return f->errors || f->ladder.expanded;
}

// ---- frechet_sums.c -----------------------------------------------------------------------------

double sr_squares(size_t n, const double *x); // sum of them
// F and the rank.
sr_status sr_frechet_factor(sr_frechet *f, sr_work *work);
// Takes in fake rows [first, last) of the shuffle.
sr_status sr_frechet_take(sr_frechet *f, size_t first, size_t last);
// m (rank, rank; from the diagonal on; room for so many values) = F Cb F', Cb of the first n fake
// rows, all that are taken.
size_t sr_frechet_room(const sr_frechet *f);
sr_status sr_frechet_covariance(sr_frechet *f, size_t n, double *m);
// All of the distance of the first n fake rows but tr sqrt(Ca Cb).
double sr_frechet_plain_terms(const sr_frechet *f, size_t n);
// f->rows = rows [first, first + count) of an order (NULL: their own), centred; features in their
// order, or in that of `pivot`.
void sr_frechet_centre(const sr_frechet *f, const sr_rows *x, const size_t *order, size_t first,
                       size_t count, const int *pivot);

// ---- frechet_vectors.c --------------------------------------------------------------------------

// Influences of the rows (influences[0] real, influences[1] fake ones), and the roots of the sizes
// that were not solved.
sr_status sr_frechet_use_vectors(sr_frechet *f, double *real, double *fake);

#endif
