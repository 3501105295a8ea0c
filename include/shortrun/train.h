// train: maximum-likelihood training of an energy by samples from short-run dynamics; checkpoints.
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
    size_t iterations, batch;    // batch: data rows, and as many chains
    sr_dynamics dynamics;
    sr_engine engine;
    unsigned threads;            // 0: all
    size_t tile;                 // chains per tile; 0: chosen from the network alone
    sr_optimiser optimiser;
    double rate, beta1, beta2, epsilon; // SGD: beta1 is its momentum
    double decay_from;           // share of the run after which the rate falls linearly, (0, 1]
    double decay_to;             // share of the rate that is left at the end, [0, 1]
    double average;              // decay of the weight average (EMA); 0: none
    double energy_l2;            // weight of mean E^2 over data and samples
    double clip_norm;            // gradient norm is clipped to this; 0: not clipped
    size_t spectral_iterations;  // power iterations per training iteration; 0: no spectral norm
    double data_noise;           // standard deviation of noise added to data rows
    double gap_bound;            // |E(data) - E(samples)| beyond it is divergence; 0: no bound
} sr_train_options;

// FINDINGS-tested defaults for images and for 2-D points (dynamics included).
SR_API void sr_train_options_default(sr_train_options *options, bool image);
// Checks the range of every field; the message names it.
SR_API sr_status sr_train_options_check(const sr_train_options *options);

// What one iteration saw.
typedef struct sr_train_report {
    uint64_t iteration;           // counts from 1
    double energy_data, energy_samples; // means
    double gap;                   // energy_data - energy_samples
    double gradient_norm;         // of the parameter gradient, before clipping
    double largest;               // max |x| of the samples
    double rate;
} sr_train_report;

typedef struct sr_trainer sr_trainer;

// The data set must outlive the trainer. theta starts from sr_net_init(seed).
SR_API sr_status sr_trainer_create(const sr_net *net, const sr_dataset *data,
                                   const sr_train_options *options, sr_trainer **out);
SR_API void sr_trainer_destroy(sr_trainer *trainer);
// One iteration. SR_ERROR_DIVERGED with what was seen in the message; the parameters are then those
// before the iteration.
SR_API sr_status sr_trainer_step(sr_trainer *trainer, sr_train_report *report);
SR_API uint64_t sr_trainer_iteration(const sr_trainer *trainer); // iterations done
// Parameters that sampling uses: effective (spectrally normalised) and averaged where that is on.
// (net->parameters), valid until the next step.
SR_API const float *sr_trainer_parameters(sr_trainer *trainer);
SR_API sr_team *sr_trainer_team(sr_trainer *trainer); // for timings; its energy holds the current theta
// Seconds since creation: whole iterations, and per phase summed over threads (SR_PHASE_COUNT).
SR_API void sr_trainer_seconds(sr_trainer *trainer, double *iterations, double *phases);

// Everything needed to go on with the same bits: parameters (effective ones under PyTorch's names, raw
// ones as "raw.<index>.weight"), optimiser moments, average, spectral vectors, persistent chains,
// iteration, options. Atomic.
SR_API sr_status sr_trainer_save(sr_trainer *trainer, const char *path);
// Loads what sr_trainer_save wrote into a trainer made with the same network, data and options; a
// checkpoint made with others is refused with the field that differs (iterations may differ).
SR_API sr_status sr_trainer_load(sr_trainer *trainer, const char *path);

// Runs the trainer to options.iterations: reports, checkpoints to `checkpoint` (NULL: none) every
// `every` seconds and at the end, resumes from it when it exists. each(user, report) is called after every
// iteration (NULL: not). On divergence the last good state is saved and SR_ERROR_DIVERGED returned; on
// monitor->stop the state is saved and SR_ERROR_INTERRUPTED returned.
typedef void (*sr_train_each)(void *user, const sr_train_report *report);
SR_API sr_status sr_trainer_run(sr_trainer *trainer, const char *checkpoint, double every,
                                const sr_monitor *monitor, const char *what, sr_train_each each,
                                void *user);

#ifdef __cplusplus
}
#endif
#endif
