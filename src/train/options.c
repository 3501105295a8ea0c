// Options of training: names, defaults and their check. The defaults are settings that trained well
// in a prototype on Fashion-MNIST (small convnet, LeakyReLU) and on eight Gaussians (MLP, SiLU);
// they are a starting point, not a law.
#include "train/trainer.h"

#include <math.h>
#include <string.h>

static const char *const optimiser_names[] = {[SR_ADAM] = "adam", [SR_SGD] = "sgd"};

const char *sr_optimiser_name(sr_optimiser optimiser) {
    return optimiser == SR_ADAM || optimiser == SR_SGD ? optimiser_names[optimiser] : "unknown";
}

sr_status sr_optimiser_parse(const char *name, sr_optimiser *out) {
    for (int i = 0; i < 2; i++) {
        if (name && strcmp(name, optimiser_names[i]) == 0) {
            *out = (sr_optimiser)i;
            return SR_OK;
        }
    }
    return sr_fail(SR_ERROR_ARGUMENT, "unknown optimiser '%s', expected adam or sgd",
                   name ? name : "");
}

void sr_train_options_default(sr_train_options *options, bool image) {
    *options = (sr_train_options){
        .seed = 1,
        .iterations = image ? 600 : 2000,
        .batch = image ? 64 : 256,
        .dynamics = {.steps = image ? 20 : 10,
                     .step_size = image ? 10.0 : 0.1,
                     .noise = 0.0,
                     .noise_last = true,
                     .clamp = 0.0,
                     .start = image ? SR_START_UNIFORM : SR_START_GAUSSIAN,
                     .restart_from = image ? SR_START_UNIFORM : SR_START_GAUSSIAN,
                     .restart_rate = 0.05,
                     .integrator = SR_INTEGRATOR_EULER,
                     .tolerance = 1e-5},
        .engine = SR_ENGINE_AUTO,
        .optimiser = SR_ADAM,
        .rate = 1e-3,
        .beta1 = 0.0, // momentum on top of an adversary that moves makes the game diverge
        .beta2 = 0.999,
        .epsilon = 1e-8,
        .decay_from = image ? 0.6 : 0.5,
        .decay_to = 0.05,
        .spectral_iterations = image ? 1 : 0,
        .curvature_every = 10,
        .exact_window = 4.0, // holds every 2-D density of the suite
        .data_noise = image ? 0.03 : 0.0,
        .gap_bound = 100.0, // healthy runs stay below 2, collapsed ones pass 200
    };
}

// The interval a number must lie in; open ends where the flag says so.
typedef struct interval {
    double low, high;
    bool open_low, open_high;
} interval;

static sr_status check_number(const char *name, double value, interval in) {
    const bool low = in.open_low ? value > in.low : value >= in.low;
    const bool high = in.open_high ? value < in.high : value <= in.high;
    if (low && high && isfinite(value)) // false for NaN as well
        return SR_OK;
    if (in.high == INFINITY)
        return sr_fail(SR_ERROR_ARGUMENT, "%s is %g, expected a finite number %s %g", name, value,
                       in.open_low ? "above" : "of at least", in.low);
    return sr_fail(SR_ERROR_ARGUMENT, "%s is %g, expected a number in %c%g, %g%c", name, value,
                   in.open_low ? '(' : '[', in.low, in.high, in.open_high ? ')' : ']');
}

static sr_status check_count(const char *name, size_t value, size_t low, size_t high) {
    if (value >= low && value <= high)
        return SR_OK;
    return sr_fail(SR_ERROR_ARGUMENT, "%s is %zu, expected a whole number from %zu to %zu", name,
                   value, low, high);
}

static sr_status check_optimiser(const sr_train_options *o) {
    if (o->optimiser != SR_ADAM && o->optimiser != SR_SGD)
        return sr_fail(SR_ERROR_ARGUMENT, "optimiser is number %d, expected adam (%d) or sgd (%d)",
                       (int)o->optimiser, SR_ADAM, SR_SGD);
    const interval share = {0.0, 1.0, false, true};
    sr_status status = SR_OK;
    // The upper bound of the rate and the lower one of epsilon keep both within float32.
    if (!status)
        status = check_number("rate", o->rate, (interval){0.0, 1e6, true, false});
    if (!status)
        status = check_number("beta1", o->beta1, share);
    if (!status)
        status = check_number("beta2", o->beta2, share);
    if (!status)
        status = check_number("epsilon", o->epsilon, (interval){1e-30, 1.0, false, false});
    if (!status)
        status = check_number("decay_from", o->decay_from, (interval){0.0, 1.0, true, false});
    if (!status)
        status = check_number("decay_to", o->decay_to, (interval){0.0, 1.0, false, false});
    if (!status)
        status = check_number("average", o->average, share);
    return status;
}

sr_status sr_train_options_check(const sr_train_options *o) {
    const interval positive = {0.0, INFINITY, false, false};
    sr_status status = check_count("iterations", o->iterations, 1, 1000000000);
    if (!status)
        status = check_count("batch", o->batch, 1, (size_t)1 << 20);
    if (!status && (status = sr_dynamics_check(&o->dynamics)) != SR_OK)
        return sr_fail_context(status, "dynamics: ");
    if (!status && !sr_engine_available(o->engine))
        return sr_fail(SR_ERROR_UNSUPPORTED, "engine %s is not part of this build",
                       sr_engine_name(o->engine));
    if (!status && !sr_precision_available(o->engine, o->precision))
        return sr_fail(SR_ERROR_UNSUPPORTED, "engine %s does not compute in %s",
                       sr_engine_name(o->engine), sr_precision_name(o->precision));
    if (!status)
        status = check_count("threads", o->threads, 0, 4096);
    if (!status)
        status = check_count("tile", o->tile, 0, 65536);
    if (!status)
        status = check_optimiser(o);
    if (!status)
        status = check_number("energy_l2", o->energy_l2, positive);
    if (!status)
        status = check_number("clip_norm", o->clip_norm, positive);
    if (!status)
        status = check_count("spectral_iterations", o->spectral_iterations, 0, 1000);
    if (!status)
        status =
            check_number("curvature_cap", o->curvature_cap, (interval){0.0, 100.0, false, false});
    if (!status)
        status = check_count("curvature_every", o->curvature_every, 1, 1000000);
    if (!status)
        status = check_number("data_noise", o->data_noise, positive);
    if (!status)
        status = check_number("gap_bound", o->gap_bound, positive);
    if (!status)
        status = sr_exact_check(o);
    return status;
}
