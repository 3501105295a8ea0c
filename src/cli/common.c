// What several commands need: messages, names of choices, reading a model, writing samples.
#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int cli_error(const char *format, ...) {
    cli_progress_clear();
    va_list arguments;
    va_start(arguments, format);
    fputs("shortrun: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return 1;
}

int cli_status(sr_status status) {
    if (status == SR_OK)
        return 0;
    const char *message = sr_error_message();
    cli_error("%s", message[0] ? message : sr_status_string(status));
    return status == SR_ERROR_INTERRUPTED ? CLI_INTERRUPTED : 1;
}

const char *cli_precision_choice(int value) {
    return sr_precision_name((sr_precision)value);
}

const char *cli_engine_choice(int value) {
    return sr_engine_name((sr_engine)value);
}

const char *cli_start_choice(int value) {
    return sr_start_name((sr_start)value);
}

const char *cli_integrator_choice(int value) {
    return sr_integrator_name((sr_integrator)value);
}

const char *cli_optimiser_choice(int value) {
    return sr_optimiser_name((sr_optimiser)value);
}

bool cli_ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

sr_status cli_check_writable(const char *path) {
    char folder[1024];
    if (!path || (sr_file_exists(path) && access(path, W_OK) == 0))
        return SR_OK;
    const char *slash = strrchr(path, '/');
    const int length = slash ? (int)(slash - path) : 0;
    // with a dot at the end, a file in the place of the folder is an error too
    if (slash)
        snprintf(folder, sizeof folder, "%.*s/.", length < 1000 ? length : 1000, path);
    else
        snprintf(folder, sizeof folder, ".");
    if (access(folder, W_OK | X_OK) == 0)
        return SR_OK;
    return sr_fail(SR_ERROR_IO, "%s: cannot be written: %s", path, strerror(errno));
}

sr_status cli_model_load(const char *path, const char *model, sr_net *net, float **theta,
                         sr_tensors **tensors) {
    sr_tensors *file = NULL;
    *theta = NULL;
    sr_status status = sr_tensors_load(path, &file);
    if (status != SR_OK)
        return status;
    if (model)
        status = sr_net_parse(model, net);
    else if (!sr_tensors_meta(file, "arch"))
        status = sr_fail(SR_ERROR_ARGUMENT,
                         "%s: does not say which network it holds; name it, like --model "
                         "convnet:channels=1,size=28,nf=8,activation=leaky_relu",
                         path);
    else if ((status = sr_net_from_meta(file, net)) != SR_OK)
        sr_fail_context(status, "%s: ", path);
    if (status == SR_OK && net->outputs != 1)
        status = sr_fail(SR_ERROR_ARGUMENT, "%s: the network has %zu outputs, an energy has one",
                         path, net->outputs);
    if (status == SR_OK && !(*theta = sr_alloc(net->parameters, sizeof(float))))
        status = SR_ERROR_MEMORY;
    if (status == SR_OK && (status = sr_net_take(net, file, "", *theta)) != SR_OK)
        sr_fail_context(status, "%s: ", path);
    if (status != SR_OK) {
        sr_free(*theta);
        *theta = NULL;
    }
    if (status == SR_OK && tensors)
        *tensors = file;
    else
        sr_tensors_destroy(file);
    return status;
}

// ---- samples to files
// ------------------------------------------------------------------------------

sr_status cli_samples_check_name(const char *path) {
    if (cli_ends_with(path, ".npy") || cli_ends_with(path, ".png"))
        return SR_OK;
    return sr_fail(SR_ERROR_ARGUMENT, "%s: samples are written as .npy or .png", path);
}

#define POINTS_SIDE 400 // pixels of a picture of points

// Black points on white, 2 x 2 pixels each; y points upwards.
static sr_status save_points(const char *path, size_t n, const float *x, double window) {
    sr_image image = {.height = POINTS_SIDE, .width = POINTS_SIDE, .channels = 1};
    if (!(image.data = sr_alloc(POINTS_SIDE * POINTS_SIDE, 1)))
        return SR_ERROR_MEMORY;
    memset(image.data, 255, POINTS_SIDE * POINTS_SIDE);
    for (size_t i = 0; i < n; i++) {
        const double u = (x[2 * i] + window) / (2.0 * window) * POINTS_SIDE;
        const double v = (window - x[2 * i + 1]) / (2.0 * window) * POINTS_SIDE;
        if (!(u >= 0.0 && u < POINTS_SIDE - 1 && v >= 0.0 && v < POINTS_SIDE - 1))
            continue; // outside, or not a number
        uint8_t *at = image.data + (size_t)v * POINTS_SIDE + (size_t)u;
        at[0] = at[1] = at[POINTS_SIDE] = at[POINTS_SIDE + 1] = 0;
    }
    const sr_status status = sr_png_save(path, &image);
    sr_image_clear(&image);
    return status;
}

sr_status cli_samples_save(const char *path, const sr_net *net, size_t n, const float *x,
                           double window) {
    const bool vector = net->height == 1 && net->width == 1;
    if (cli_ends_with(path, ".npy")) {
        const size_t shape[4] = {n, net->channels, net->height, net->width};
        return sr_npy_save_f32(path, vector ? 2 : 4, shape, x);
    }
    if (vector && net->inputs == 2)
        return save_points(path, n, x, window);
    if (vector || (net->channels != 1 && net->channels != 3))
        return sr_fail(
            SR_ERROR_ARGUMENT,
            "%s: a picture needs points in the plane or images of 1 or 3 channels, these "
            "samples are (%zu, %zu, %zu)",
            path, net->channels, net->height, net->width);
    const size_t columns = (size_t)ceil(sqrt((double)n));
    return sr_png_save_grid(path, n, net->channels, net->height, net->width, x, -1.0f, 1.0f,
                            columns, 2);
}

// ---- dynamics of a checkpoint -------------------------------------------------------------------

// A metadata number, or the fallback where the key is absent, "unused" or no number.
static double meta_number(const sr_tensors *file, const char *key, double fallback) {
    const char *text = sr_tensors_meta(file, key);
    if (!text)
        return fallback;
    char *end = NULL;
    const double value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(value) ? value : fallback;
}

static void meta_start(const sr_tensors *file, const char *key, sr_start *out) {
    sr_start start;
    const char *text = sr_tensors_meta(file, key);
    if (text && sr_start_parse(text, &start) == SR_OK)
        *out = start;
}

void cli_dynamics_of(const sr_tensors *file, const sr_net *net, sr_dynamics *d) {
    sr_train_options o;
    sr_train_options_default(&o, net->height > 1 || net->width > 1);
    *d = o.dynamics;
    const double steps = meta_number(file, "train.steps", (double)d->steps);
    d->steps = steps >= 1.0 && steps <= 1e6 ? (size_t)steps : d->steps;
    d->step_size = meta_number(file, "train.step_size", d->step_size);
    d->noise = meta_number(file, "train.noise", d->noise);
    d->clamp = meta_number(file, "train.clamp", d->clamp);
    const char *integrator = sr_tensors_meta(file, "train.integrator");
    if (integrator && sr_integrator_parse(integrator, &d->integrator) != SR_OK)
        d->integrator = SR_INTEGRATOR_EULER;
    d->tolerance = meta_number(file, "train.tolerance", d->tolerance);
    const char *last = sr_tensors_meta(file, "train.noise_last");
    d->noise_last = !last || strcmp(last, "no") != 0;
    meta_start(file, "train.start", &d->start);
    meta_start(file, "train.restart_from", &d->restart_from);
    if (d->start == SR_START_PERSISTENT)
        d->start = d->restart_from;
}
