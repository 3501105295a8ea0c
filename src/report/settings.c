// The settings of a cell as text: for the columns of tables, the words of legends and the columns
// of CSV files. One list, so that a setting that is added to cells is added here once.
#include "report/report_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *heading;
} words[SR_SETTING_COUNT] = {
    [SR_SETTING_STEP_SIZE] = {"step_size", "s"},
    [SR_SETTING_SIGMA] = {"sigma", "sigma"},
    [SR_SETTING_TEMPERATURE] = {"temperature", "T"},
    [SR_SETTING_DATA_NOISE] = {"data_noise", "data noise"},
    [SR_SETTING_DATA_NOISE_MODE] = {"data_noise_mode", "noise mode"},
    [SR_SETTING_NOISE_LAST] = {"noise_last", "noise on"},
    [SR_SETTING_START] = {"start", "start"},
    [SR_SETTING_RESTART_FROM] = {"restart_from", "restart"},
    [SR_SETTING_RESTART_RATE] = {"restart_rate", "restart rate"},
    [SR_SETTING_CLAMP] = {"clamp", "clamp"},
    [SR_SETTING_INTEGRATOR] = {"integrator", "integrator"},
    [SR_SETTING_TOLERANCE] = {"tolerance", "tolerance"},
    [SR_SETTING_MODEL] = {"model", "model"},
    [SR_SETTING_DATA_LIMIT] = {"data_limit", "data rows"},
    [SR_SETTING_ITERATIONS] = {"iterations", "iterations"},
    [SR_SETTING_BATCH] = {"batch", "batch"},
    [SR_SETTING_OPTIMISER] = {"optimiser", "optimiser"},
    [SR_SETTING_RATE] = {"rate", "rate"},
    [SR_SETTING_BETA1] = {"beta1", "beta1"},
    [SR_SETTING_BETA2] = {"beta2", "beta2"},
    [SR_SETTING_EPSILON] = {"epsilon", "epsilon"},
    [SR_SETTING_DECAY_FROM] = {"decay_from", "decay from"},
    [SR_SETTING_DECAY_TO] = {"decay_to", "decay to"},
    [SR_SETTING_AVERAGE] = {"average", "average"},
    [SR_SETTING_ENERGY_L2] = {"energy_l2", "energy L2"},
    [SR_SETTING_CLIP_NORM] = {"clip_norm", "clip norm"},
    [SR_SETTING_SPECTRAL] = {"spectral_iterations", "spectral norm"},
    [SR_SETTING_CURVATURE_CAP] = {"curvature_cap", "s||H|| cap"},
    [SR_SETTING_CURVATURE_EVERY] = {"curvature_every", "cap every"},
    [SR_SETTING_EXACT_GRID] = {"exact_grid", "exact grid"},
    [SR_SETTING_EXACT_WINDOW] = {"exact_window", "exact window"},
    [SR_SETTING_GAP_BOUND] = {"gap_bound", "gap bound"},
    [SR_SETTING_ENGINE] = {"engine", "engine"},
    [SR_SETTING_PRECISION] = {"precision", "precision"},
    [SR_SETTING_TILE] = {"tile", "tile"},
    [SR_SETTING_SAMPLES] = {"samples", "samples"},
    [SR_SETTING_SAMPLE_STEPS] = {"sample_steps", "sampling K"},
};

const char *sr_setting_name(sr_setting setting) {
    return words[setting].name;
}

const char *sr_setting_heading(sr_setting setting) {
    return words[setting].heading;
}

void sr_number_text(double value, char *out, size_t size) {
    double magnitude = fabs(value);
    int digits = 1;
    do
        snprintf(out, size, "%.*g", digits, value);
    while (isfinite(value) && strtod(out, NULL) != value && ++digits <= 17);
    if (!strchr(out, 'e') || magnitude < 1e-4 || magnitude >= 1e9)
        return;
    int decimals = digits - 1 - (int)floor(log10(magnitude)); // 10, not 1e+01
    snprintf(out, size, "%.*f", decimals > 0 ? decimals : 0, value);
}

void sr_number_short(double value, char *out, size_t size) {
    double magnitude = fabs(value);
    if (magnitude >= 1e4 && magnitude < 1e9)
        snprintf(out, size, "%.0f", value);
    else
        snprintf(out, size, "%.4g", value);
}

// sigma^2 / (2 s), as in the dynamics module; here from the two numbers alone.
static double temperature(const sr_dynamics *dynamics) {
    return dynamics->noise * dynamics->noise / (2 * dynamics->step_size);
}

static const char *mode_name(sr_data_noise_mode mode) {
    return mode == SR_DATA_NOISE_MATCHED ? "matched" : "fixed";
}

static double real_setting(const sr_cell *cell, sr_setting setting) {
    const sr_train_options *train = &cell->train;
    switch (setting) {
    case SR_SETTING_STEP_SIZE:
        return train->dynamics.step_size;
    case SR_SETTING_SIGMA:
        return train->dynamics.noise;
    case SR_SETTING_DATA_NOISE:
        return train->data_noise;
    case SR_SETTING_RESTART_RATE:
        return train->dynamics.restart_rate;
    case SR_SETTING_CLAMP:
        return train->dynamics.clamp;
    case SR_SETTING_TOLERANCE:
        return train->dynamics.tolerance;
    case SR_SETTING_RATE:
        return train->rate;
    case SR_SETTING_BETA1:
        return train->beta1;
    case SR_SETTING_BETA2:
        return train->beta2;
    case SR_SETTING_EPSILON:
        return train->epsilon;
    case SR_SETTING_DECAY_FROM:
        return train->decay_from;
    case SR_SETTING_DECAY_TO:
        return train->decay_to;
    case SR_SETTING_AVERAGE:
        return train->average;
    case SR_SETTING_ENERGY_L2:
        return train->energy_l2;
    case SR_SETTING_CLIP_NORM:
        return train->clip_norm;
    case SR_SETTING_CURVATURE_CAP:
        return train->curvature_cap;
    case SR_SETTING_EXACT_WINDOW:
        return train->exact_window;
    case SR_SETTING_GAP_BOUND:
        return train->gap_bound;
    default:
        return NAN;
    }
}

static size_t whole_setting(const sr_cell *cell, sr_setting setting) {
    switch (setting) {
    case SR_SETTING_DATA_LIMIT:
        return cell->data_limit;
    case SR_SETTING_ITERATIONS:
        return cell->train.iterations;
    case SR_SETTING_BATCH:
        return cell->train.batch;
    case SR_SETTING_SPECTRAL:
        return cell->train.spectral_iterations;
    case SR_SETTING_CURVATURE_EVERY:
        return cell->train.curvature_every;
    case SR_SETTING_EXACT_GRID:
        return cell->train.exact_grid;
    case SR_SETTING_TILE:
        return cell->train.tile;
    case SR_SETTING_SAMPLES:
        return cell->samples;
    default:
        return cell->sample_steps;
    }
}

void sr_setting_text(const sr_cell *cell, sr_setting setting, char out[SR_SETTING_TEXT]) {
    const sr_dynamics *dynamics = &cell->train.dynamics;
    const char *text = NULL;
    switch (setting) {
    case SR_SETTING_TEMPERATURE:
        sr_number_text(temperature(dynamics), out, SR_SETTING_TEXT);
        return;
    case SR_SETTING_DATA_NOISE_MODE:
        text = mode_name(cell->data_noise_mode);
        break;
    case SR_SETTING_NOISE_LAST:
        text = dynamics->noise_last ? "all steps" : "all but last";
        break;
    case SR_SETTING_START:
        text = sr_start_name(dynamics->start);
        break;
    case SR_SETTING_RESTART_FROM:
        text = dynamics->start == SR_START_PERSISTENT ? sr_start_name(dynamics->restart_from) : "-";
        break;
    case SR_SETTING_INTEGRATOR:
        text = sr_integrator_name(dynamics->integrator);
        break;
    case SR_SETTING_MODEL:
        text = cell->model;
        break;
    case SR_SETTING_OPTIMISER:
        text = sr_optimiser_name(cell->train.optimiser);
        break;
    case SR_SETTING_ENGINE:
        text = sr_engine_name(cell->train.engine);
        break;
    case SR_SETTING_PRECISION:
        text = sr_precision_name(cell->train.precision);
        break;
    case SR_SETTING_DATA_LIMIT:
    case SR_SETTING_ITERATIONS:
    case SR_SETTING_BATCH:
    case SR_SETTING_SPECTRAL:
    case SR_SETTING_CURVATURE_EVERY:
    case SR_SETTING_EXACT_GRID:
    case SR_SETTING_TILE:
    case SR_SETTING_SAMPLES:
    case SR_SETTING_SAMPLE_STEPS:
        snprintf(out, SR_SETTING_TEXT, "%zu", whole_setting(cell, setting));
        return;
    default:
        sr_number_text(real_setting(cell, setting), out, SR_SETTING_TEXT);
        return;
    }
    snprintf(out, SR_SETTING_TEXT, "%s", text);
}

void sr_setting_shown(const sr_cell *cell, sr_setting setting, char out[SR_SETTING_TEXT]) {
    sr_setting_text(cell, setting, out);
    const sr_dynamics *dynamics = &cell->train.dynamics;
    const char *instead = NULL;
    switch (setting) {
    case SR_SETTING_TEMPERATURE: // follows from s and sigma: three digits do
        snprintf(out, SR_SETTING_TEXT, "%.3g", temperature(dynamics));
        break;
    case SR_SETTING_NOISE_LAST: // without noise both are the same
        instead = dynamics->noise == 0 ? "-" : NULL;
        break;
    case SR_SETTING_RESTART_RATE:
        instead = dynamics->start != SR_START_PERSISTENT ? "-" : NULL;
        break;
    case SR_SETTING_CURVATURE_EVERY:
        instead = cell->train.curvature_cap == 0 ? "-" : NULL;
        break;
    case SR_SETTING_EXACT_WINDOW:
        instead = cell->train.exact_grid == 0 ? "-" : NULL;
        break;
    case SR_SETTING_TOLERANCE:
        instead = dynamics->integrator != SR_INTEGRATOR_ADAPTIVE ? "-" : NULL;
        break;
    case SR_SETTING_DATA_LIMIT:
        instead = cell->data_limit == 0 ? "all" : NULL;
        break;
    case SR_SETTING_SAMPLE_STEPS:
        instead = cell->sample_steps == 0 ? "as trained" : NULL;
        break;
    case SR_SETTING_TILE:
        instead = cell->train.tile == 0 ? "auto" : NULL;
        break;
    case SR_SETTING_CLAMP:
    case SR_SETTING_AVERAGE:
    case SR_SETTING_CLIP_NORM:
    case SR_SETTING_SPECTRAL:
    case SR_SETTING_CURVATURE_CAP:
    case SR_SETTING_GAP_BOUND:
        instead = strcmp(out, "0") == 0 ? "none" : NULL;
        break;
    default:
        break;
    }
    if (instead)
        snprintf(out, SR_SETTING_TEXT, "%s", instead);
}
