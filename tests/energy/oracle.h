// Reads the reference files of tests/oracle (or of $SHORTRUN_ORACLE_DIR) for the tests of energies
// and dynamics. Every helper fails the running test when something is missing.
#ifndef SR_TESTS_ORACLE_H
#define SR_TESTS_ORACLE_H

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <shortrun/energy.h>

// Who is compared with PyTorch, and how close it must come, relative to the largest entry. Whatever
// is in this build and runs on this CPU is tested by every test that walks through the table.
// Where bfloat16 moves z across the kink of relu or leaky_relu, the slope is another one: such
// gradients are right only in the mean, to `kinked` of their root mean square (random networks of
// these sizes were off by up to 0.3; a wrong gradient is by about 1). 0: as all others.
typedef struct oracle_engine {
    sr_engine engine;
    sr_precision precision;
    double bound, kinked;
} oracle_engine;

static const oracle_engine oracle_engines[] = {
    {SR_ENGINE_SCALAR, SR_FP32, 1e-4, 0}, // first: it is there everywhere
    {SR_ENGINE_NATIVE, SR_FP32, 1e-4, 0},      {SR_ENGINE_NATIVE, SR_BF16, 3e-2, 0.5},
    {SR_ENGINE_NATIVE, SR_BF16X3, 5e-4, 0.02}, // on AMX; elsewhere this is fp32
    {SR_ENGINE_AUTO, SR_FP32, 1e-4, 0},        {SR_ENGINE_ONEDNN, SR_FP32, 1e-4, 0},
    {SR_ENGINE_ONEDNN, SR_BF16, 3e-2, 0.5},
};
enum { ORACLE_ENGINES = sizeof oracle_engines / sizeof *oracle_engines };

static inline bool oracle_engine_available(const oracle_engine *e) {
    return sr_engine_available(e->engine) && sr_precision_available(e->engine, e->precision);
}

static inline const char *oracle_folder(void) {
    const char *folder = getenv("SHORTRUN_ORACLE_DIR");
    return folder && *folder ? folder : SR_ORACLE_DIR;
}

// Calls check(tensors, name) for every file <prefix>*.safetensors; returns how many there were.
static inline size_t oracle_each(const char *prefix,
                                 void (*check)(const sr_tensors *, const char *)) {
    DIR *folder = opendir(oracle_folder());
    if (!folder)
        fail_msg("cannot open the folder of reference values %s", oracle_folder());
    size_t found = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        const char *ending = strrchr(entry->d_name, '.');
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || !ending ||
            strcmp(ending, ".safetensors") != 0)
            continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", oracle_folder(), entry->d_name);
        sr_tensors *tensors;
        if (sr_tensors_load(path, &tensors))
            fail_msg("%s", sr_error_message());
        check(tensors, entry->d_name);
        sr_tensors_destroy(tensors);
        found++;
    }
    closedir(folder);
    return found;
}

static inline const sr_array *oracle_array(const sr_tensors *tensors, const char *name) {
    const sr_array *array = sr_tensors_find(tensors, name);
    if (!array)
        fail_msg("the reference file has no tensor '%s'", name);
    return array;
}

static inline float *oracle_f32(const sr_tensors *tensors, const char *name) {
    float *values;
    if (sr_array_to_f32(oracle_array(tensors, name), &values))
        fail_msg("%s", sr_error_message());
    return values;
}

static inline double *oracle_f64(const sr_tensors *tensors, const char *name) {
    double *values;
    if (sr_array_to_f64(oracle_array(tensors, name), &values))
        fail_msg("%s", sr_error_message());
    return values;
}

static inline double oracle_number(const sr_tensors *tensors, const char *key) {
    const char *text = sr_tensors_meta(tensors, key);
    if (!text)
        fail_msg("the reference file has no setting '%s'", key);
    return strtod(text, NULL);
}

// The network that the file describes, and its parameters (sr_free).
static inline float *oracle_net(const sr_tensors *tensors, sr_net *net) {
    if (sr_net_from_meta(tensors, net))
        fail_msg("%s", sr_error_message());
    float *theta = sr_alloc(net->parameters, sizeof *theta);
    assert_non_null(theta);
    if (sr_net_take(net, tensors, "", theta))
        fail_msg("%s", sr_error_message());
    return theta;
}

static inline double *widened(size_t n, const float *x) {
    double *out = sr_alloc(n, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < n; i++)
        out[i] = x[i];
    return out;
}

// Fails unless a agrees with `expected` to `bound`, relative to the largest entry of `expected`.
static inline void check_near(const char *what, size_t n, const double *a, const double *expected,
                              double bound) {
    double largest = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]))
            fail_msg("%s: entry %zu is not finite", what, i);
        largest = fmax(largest, fabs(expected[i]));
        worst = fmax(worst, fabs(a[i] - expected[i]));
    }
    if (!(worst <= bound * fmax(largest, 1e-30)))
        fail_msg("%s: off by %.3g of the largest entry, %.3g allowed", what, worst / largest,
                 bound);
}

static inline void check_near_f32(const char *what, size_t n, const float *a,
                                  const double *expected, double bound) {
    double *wide = widened(n, a);
    check_near(what, n, wide, expected, bound);
    sr_free(wide);
}

// Fails unless the gradient a, through net, agrees with `expected` as an oracle_engine demands.
static inline void check_gradient(const char *what, const sr_net *net, size_t n, const double *a,
                                  const double *expected, double bound, double kinked) {
    if (kinked <= 0 || sr_activation_has_curvature(net->layers[0].activation)) {
        check_near(what, n, a, expected, bound);
        return;
    }
    double error = 0, square = 1e-30;
    for (size_t i = 0; i < n; i++) {
        error += (a[i] - expected[i]) * (a[i] - expected[i]);
        square += expected[i] * expected[i];
    }
    if (!(sqrt(error / square) <= kinked)) // NaN fails too
        fail_msg("%s: off by %.3g in the mean, %.3g allowed", what, sqrt(error / square), kinked);
}

#endif
