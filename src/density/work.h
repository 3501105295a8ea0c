// What the files on induced densities share: one call's job and one thread's scratch. Rows are
// taken in tiles whose size follows from the energy and the method alone; a tile is one thread's
// from the first step to the last. Private.
#ifndef SHORTRUN_DENSITY_WORK_H
#define SHORTRUN_DENSITY_WORK_H

#include <shortrun/density.h>

typedef struct sr_density_job {
    sr_team *team;
    const sr_energy *energy;
    const sr_kernels *kernels;
    const sr_dynamics *dynamics;
    const sr_density_options *options;
    size_t n, dim, tile; // tile: rows of a piece of work, at most the energy's
    bool backward;
    float *x; // (n, dim): forward: starts that become samples; backward: not written
    const sr_induced *out;
    const sr_monitor *monitor;
    bool *stop; // seen by all threads: the monitor said so
} sr_density_job;

// One thread's arrays; rows are those of one tile.
typedef struct sr_density_scratch {
    sr_energy_workspace *workspace;
    size_t rows, dim;
    float *x, *y, *g; // (tile, dim): state, the state before (backward: after) a step, gradient
    float *sum;       // (tile, dim): of a Runge-Kutta method's stages
    float *a, *b, *c; // (energy's tile, dim): spare
    float *v, *hv;    // (energy's tile, dim): directions and products
    double *r, *p, *q, *u, *linear, *image; // (tile, dim): of the inversion, see invert.c
    double *det;                            // (probes, tile): sums of log |det|, one for each probe
    double *row;                            // (4, tile): spare numbers of rows
    uint32_t *index;                        // (tile): rows that are still at work
    uint32_t *failed;                       // (tile)
    uint32_t *spent;                        // (tile): gradients
    double *residual, *worst;               // (tile): of one step's inversion, of all
    double *log_start;                      // (tile): log p_0 of the starts
    double *hessian;                        // (dim, dim), exact only; in the plane (tile, 3)
    int *pivots;                            // (dim); exact only
    float *basis;                           // (lanczos, tile, dim)
    double *alpha, *beta;                   // (tile, lanczos)
    double *low, *high;                     // (tile): s times the range of eigenvalues
    void *memory;
} sr_density_scratch;

sr_status sr_density_scratch_create(const sr_density_job *job, unsigned thread,
                                    sr_density_scratch *out);
void sr_density_scratch_clear(sr_density_scratch *scratch);

// Gradients of `rows` states x into g.
void sr_density_gradient(const sr_density_job *job, sr_density_scratch *s, size_t rows,
                         const float *x, float *g);
// H v of `rows` states, any number up to the energy's tile.
void sr_density_product(const sr_density_job *job, sr_density_scratch *s, size_t rows,
                        const float *x, const float *v, float *hv);

// Adds weight log |det(I - s H)| at the tile's states x to s->det, for every probe; `first`: the
// tile's first row, `step`: names the probes. Rows that have failed are passed over; one whose
// determinant is zero or not finite fails with `mark`.
void sr_density_log_det(const sr_density_job *job, sr_density_scratch *s, size_t first, size_t step,
                        const float *x, double weight, uint32_t mark);
// Solves x - s grad E(x) = y for the tile's rows, from x = y, into s->x (y in s->y).
void sr_density_invert(const sr_density_job *job, sr_density_scratch *s, uint32_t mark);
// s times the smallest and largest eigenvalue at the tile's states, into s->low, s->high.
void sr_density_range(const sr_density_job *job, sr_density_scratch *s, size_t first,
                      const float *x);
// Hessians of the plane's states x, (rows, 3): h11, h12, h22, at `h`.
void sr_density_plane_hessian(const sr_density_job *job, sr_density_scratch *s, const float *x,
                              double *h);

#endif
