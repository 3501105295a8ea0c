// train: maximum-likelihood training of an energy, by samples from short-run dynamics or, in the
// plane, exactly; checkpoints.
// Knows no metric and no database.
#ifndef SHORTRUN_TRAIN_H
#define SHORTRUN_TRAIN_H

#include <shortrun/data.h>
#include <shortrun/dynamics.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sr_optimiser { SR_ADAM, SR_SGD } sr_optimiser;
SR_API const char *sr_optimiser_name(sr_optimiser optimiser);
SR_API sr_status sr_optimiser_parse(const char *name, sr_optimiser *out);

typedef struct sr_train_options {
    uint64_t seed;
    size_t iterations, batch; // batch: data rows, and as many chains
    sr_dynamics dynamics;
    sr_engine engine;
    sr_precision precision; // of the energy's passes; weights, optimiser and chains are fp32
    unsigned threads;       // 0: all
    size_t tile;            // chains per tile; 0: chosen from the network alone
    sr_optimiser optimiser;
    double rate, beta1, beta2, epsilon; // SGD: beta1 is its momentum
    double decay_from;          // share of the run after which the rate falls linearly, (0, 1]
    double decay_to;            // share of the rate that the last iteration has, [0, 1]
    double average;             // decay of the weight average (EMA), bias-corrected, taken over the
                                // effective parameters of all iterations; 0: none
    double energy_l2;           // weight of mean E(data)^2 + mean E(samples)^2 in the loss
    double clip_norm;           // gradient norm is clipped to this; 0: not clipped
    size_t spectral_iterations; // power iterations per training iteration; 0: no spectral norm
    double curvature_cap;   // bound that s ||H|| is held to along the trajectories, by scaling the
                            // energy: below 1 the Euler steps can be inverted; 0: no cap
    size_t curvature_every; // iterations between two estimates of s ||H||
    double data_noise;      // standard deviation of noise added to data rows
    double gap_bound;       // |E(data) - E(samples)| beyond it is divergence; 0: no bound
    // Exact maximum likelihood, of two-dimensional data only: the expectation under exp(-E)/Z is
    // taken by the midpoint rule on exact_grid x exact_grid cells of [-exact_window,
    // exact_window]^2, and the dynamics are not run. energy_l2 and curvature_cap must be 0 then.
    size_t exact_grid; // 8 to SR_EXACT_GRID_MAX; 0: training by samples
    double exact_window;
} sr_train_options;
#define SR_EXACT_GRID_MAX 2000
// Share of the mass in the outermost ring of cells above which the window is too small.
#define SR_EXACT_EDGE 0.01

// Defaults, dynamics included, that trained well in a prototype: for images (a small convnet on
// Fashion-MNIST: spectral norm, uniform start, s = 10, data noise 0.03) and for 2-D points (an MLP
// on eight Gaussians: Gaussian start, s = 0.1). Both: noise-free, Adam at 1e-3 without momentum.
SR_API void sr_train_options_default(sr_train_options *options, bool image);
// Checks the range of every field; the message names it.
SR_API sr_status sr_train_options_check(const sr_train_options *options);

// What one iteration saw.
typedef struct sr_train_report {
    uint64_t iteration;                 // counts from 1
    double energy_data, energy_samples; // means
    double gap;                         // energy_data - energy_samples
    double gradient_norm;               // of the loss in the raw parameters, before clipping
    double largest;                     // max |x| of the samples
    double curvature; // s ||H|| as the last estimate found it, before the energy was scaled anew by
                      // it: how far it had moved since the one before; NaN without a cap
    double rate;
    // Exact training only, else NaN: log Z of exp(-E) over the window (the mean log-likelihood of
    // the batch is -energy_data - log_z), and the share of the mass in the window's outermost ring
    // of cells. energy_samples is then E's expectation under exp(-E)/Z, largest the window.
    double log_z, edge;
} sr_train_report;

typedef struct sr_trainer sr_trainer;

// The data set must outlive the trainer. theta starts from sr_net_init(seed). Errors: options out
// of range, a network without exactly one output or of another input shape than the data's, a cap
// on the curvature of an energy without a Hessian (sr_energy_check_hessian), memory.
SR_API sr_status sr_trainer_create(const sr_net *net, const sr_dataset *data,
                                   const sr_train_options *options, sr_trainer **out);
SR_API void sr_trainer_destroy(sr_trainer *trainer);
// One iteration: a data batch, K steps of the dynamics from the start states, the gradient of
// mean E(data) - mean E(samples) (samples held constant), one step of the optimiser. report (NULL
// allowed) is filled in either case. SR_ERROR_DIVERGED where something is not finite or the gap
// passes gap_bound, with what was seen in the message; parameters, moments and chains are then
// those before the iteration. Exact: no dynamics, samples are the cells of the grid by their mass.
SR_API sr_status sr_trainer_step(sr_trainer *trainer, sr_train_report *report);
SR_API uint64_t sr_trainer_iteration(const sr_trainer *trainer); // iterations done
// Parameters that sampling uses (net->parameters): effective (spectrally normalised and scaled to
// the curvature's cap where those are on) of the current theta, or the average of the effective
// ones where averaging is on (an average is not normalised or capped once more). Valid until the
// next step or load.
SR_API const float *sr_trainer_parameters(sr_trainer *trainer);
// For timings; its energy holds the current effective parameters, which are not the averaged ones.
SR_API sr_team *sr_trainer_team(sr_trainer *trainer);
// Seconds since creation: whole iterations, and per phase summed over threads (SR_PHASE_COUNT).
// Either may be NULL. The phases are the team's counters: resetting those resets these.
SR_API void sr_trainer_seconds(sr_trainer *trainer, double *iterations, double *phases);

// Everything needed to go on with the same bits: parameters (effective ones under PyTorch's names,
// raw ones as "raw.<index>.weight"), optimiser moments, average, spectral vectors, persistent
// chains, iteration, options. Atomic.
SR_API sr_status sr_trainer_save(sr_trainer *trainer, const char *path);
// Loads what sr_trainer_save wrote into a trainer made with the same network, data and options; a
// checkpoint made with others is refused with the field that differs, and the trainer stays as it
// was. Threads and gap_bound may differ; iterations may where the learning rate of all iterations
// done is the same in both runs. The file is checked in full before anything is taken from it.
SR_API sr_status sr_trainer_load(sr_trainer *trainer, const char *path);

// Runs the trainer to options.iterations: progress (at most about ten calls a second), checkpoints
// to `checkpoint` (NULL: none) every `every` seconds (0: after every iteration) and at the end. A
// trainer that has made no iteration yet goes on from the checkpoint when the file exists. what
// (NULL: "training") names the run in progress calls; each(user, report) is called after every
// iteration (NULL: not). On divergence the last good state is saved and SR_ERROR_DIVERGED returned;
// in exact training a mass above SR_EXACT_EDGE at the window's edge is a warning to the monitor,
// once; on monitor->stop the state is saved and SR_ERROR_INTERRUPTED returned.
typedef void (*sr_train_each)(void *user, const sr_train_report *report);
SR_API sr_status sr_trainer_run(sr_trainer *trainer, const char *checkpoint, double every,
                                const sr_monitor *monitor, const char *what, sr_train_each each,
                                void *user);

#ifdef __cplusplus
}
#endif
#endif
