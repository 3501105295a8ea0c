// The trainer's inside, shared by the sources of this folder and its tests. One iteration reads its
// state from `now` and `chains`, works in `next`, `x`, `e`, `gradient`, and commits only when
// everything that it saw is finite and within bounds: a diverging iteration leaves no trace.
#ifndef SHORTRUN_TRAIN_TRAINER_H
#define SHORTRUN_TRAIN_TRAINER_H

#include <shortrun/train.h>

// A point on the optimiser's path.
typedef struct sr_point {
    float *theta; // (parameters) raw parameters, what the optimiser moves
    float
        *effective; // (parameters) what the energy uses: spectrally normalised, or a copy of theta
    float *m;       // (parameters) Adam: first moment; SGD: momentum
    float *v;       // (parameters) Adam: second moment; SGD: NULL
} sr_point;

sr_status sr_point_create(size_t parameters, sr_optimiser optimiser, sr_point *out);
void sr_point_clear(sr_point *point);
// theta, m and v of `from` into `to` (effective follows from theta).
void sr_point_copy(size_t parameters, const sr_point *from, sr_point *to);

// Learning rate of iteration t (from 0): constant, then linear, reaching decay_to x rate in the
// last one.
double sr_schedule_rate(const sr_train_options *options, uint64_t t);
// First iteration (from 0) whose rate may be below the full rate; iterations where it never falls.
double sr_schedule_decay_start(const sr_train_options *options, size_t iterations);
// Scales the gradient to norm `bound` where `norm` is larger; bound 0: leaves it alone.
void sr_gradient_clip(size_t n, float *gradient, double norm, double bound);
// Moves point->theta, m, v by one step of the optimiser; t counts from 1.
void sr_optimiser_step(const sr_kernels *kernels, const sr_train_options *options, size_t n,
                       sr_point *point, const float *gradient, double rate, uint64_t t);
// Bias-corrected exponential average of theta_1 .. theta_t with weights decay^(t - i); t counts
// from 1.
void sr_average_update(size_t n, float *average, const float *theta, double decay, uint64_t t);

// ---- the cap on s ||H|| (curvature.c) -----------------------------------------------------------

typedef struct sr_curvature sr_curvature;
// What lives on from iteration to iteration and in checkpoints.
typedef struct sr_curvature_state {
    double found; // s ||H|| as last found, of the energy with the scale that it had until then
    double peak;  // largest s ||H|| of the energy without a scale, released slowly
    double scale; // min(1, cap / peak), by which the last layer is multiplied
} sr_curvature_state;

sr_status sr_curvature_create(const sr_net *net, const sr_train_options *options,
                              sr_curvature **out);
void sr_curvature_destroy(sr_curvature *curvature);
const sr_curvature_state *sr_curvature_get(const sr_curvature *curvature);
void sr_curvature_set(sr_curvature *curvature, const sr_curvature_state *state);
// What the energy uses, the effective parameters with the last layer scaled; valid until the next
// call.
const float *sr_curvature_apply(sr_curvature *curvature, const sr_net *net, const float *effective);
// A gradient in those into one in the effective parameters, the scale held constant.
void sr_curvature_pull_back(const sr_curvature *curvature, const sr_net *net, float *gradient);
// Finds s ||H|| along the trajectories that begin at start (batch, inputs), of the energy that the
// team holds, and renews the state. Where something is not finite it stays as it is. Errors:
// memory.
sr_status sr_curvature_measure(sr_curvature *curvature, sr_team *team,
                               const sr_train_options *options, uint64_t epoch, const float *start);
// The state after s ||H|| was found once more; not finite: as it was.
void sr_curvature_follow(sr_curvature_state *state, double found, double cap);

// ---- exact maximum likelihood (exact.c) ---------------------------------------------------------

size_t sr_exact_cells(const sr_train_options *options); // 0: training by samples
sr_status sr_exact_check(const sr_train_options *options);
// Cell centres: x (cells, 2), row-major, y outer.
void sr_exact_fill(const sr_train_options *options, float *x);
// From the cells' energies e (cells) their weights (cells) in the gradient, -batch times their
// mass, and log_z and edge of the report. NaN in e makes all of them NaN.
void sr_exact_weights(const sr_train_options *options, const float *e, float *weight,
                      sr_train_report *report);

struct sr_trainer {
    sr_net net;
    const sr_dataset *data;
    sr_train_options options;
    const sr_kernels *kernels;
    sr_energy *energy;
    sr_team *team;
    sr_spectral *spectral;   // NULL: no spectral norm
    sr_curvature *curvature; // NULL: no cap
    const float *in_use;     // (parameters) what the energy holds: now.effective, or that capped
    uint64_t iteration;      // done so far
    sr_point now, next;
    float *average;  // (parameters) of effective parameters; NULL: no averaging
    float *chains;   // (batch, dim) persistent chains; NULL for other starts
    size_t rows;     // 2 batch; exact: batch + cells
    float *x;        // (rows, dim) data rows, then samples or cells
    float *weight;   // (rows) of each row in the gradient
    float *e;        // (rows) energies
    float *chance;   // (batch) uniforms that decide on re-starts; NULL without persistent chains
    float *gradient; // (parameters)
    double seconds;  // of whole iterations
    char foreign_isa[16]; // of the checkpoint that was loaded, where it is not this machine's; else
                          // ""
};

// The energy and its team anew, with these engines for the layers (NULL: those of the options) and
// this tile (0: chosen).
sr_status sr_trainer_make_energy(sr_trainer *trainer, const sr_engine *engines, size_t tile);
// Gives the energy now.effective, capped where that is on.
void sr_trainer_install(sr_trainer *trainer);
// Data rows and start states of iteration `trainer->iteration` into trainer->x.
void sr_trainer_fill(sr_trainer *trainer);

#endif
