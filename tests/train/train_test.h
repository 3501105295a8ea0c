// Helpers of the training tests: small data sets in memory, small networks, files in a scratch
// folder.
#ifndef TRAIN_TEST_H
#define TRAIN_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "train/trainer.h"

// Fails the test with the library's message when a call that should succeed does not.
#define must(call)                                                                                 \
    do {                                                                                           \
        const sr_status must_status = (call);                                                      \
        if (must_status != SR_OK)                                                                  \
            fail_msg("%s: %s: %s", #call, sr_status_string(must_status), sr_error_message());      \
    } while (0)

// Asserts that the last message holds `part`.
static inline void message_holds(const char *part) {
    if (!strstr(sr_error_message(), part))
        fail_msg("message '%s' lacks '%s'", sr_error_message(), part);
}

static inline sr_net small_mlp(size_t width) {
    sr_net net;
    must(sr_net_mlp(&net, 2, (const size_t[]){width, width}, 2, SR_SILU, 1));
    return net;
}

static inline sr_net small_convnet(void) {
    sr_net net;
    must(sr_net_convnet(&net, 1, 12, 4, SR_LEAKY_RELU));
    return net;
}

static inline sr_dataset toy_data(void) {
    sr_dataset set;
    must(sr_dataset_load("eight_gaussians", NULL, SR_TRAIN, 2000, 5, &set));
    return set;
}

// 100 images of 12 x 12: a bright bar at a random row on dark ground, a little noise.
static inline sr_dataset image_data(void) {
    sr_dataset set = {
        .name = "bars", .count = 100, .channels = 1, .height = 12, .width = 12, .dim = 144};
    set.x = sr_alloc(set.count * set.dim, sizeof(float));
    assert_non_null(set.x);
    sr_kernels_get()->normal(sr_stream_make(11, SR_PURPOSE_TEST, 0), 0, 0, set.count * set.dim,
                             set.x);
    for (size_t i = 0; i < set.count * set.dim; i++) {
        const size_t image = i / set.dim, row = i % set.dim / 12;
        const float value = (row == image % 12 ? 0.8f : -0.8f) + 0.05f * set.x[i];
        set.x[i] = value > 1.0f ? 1.0f : value < -1.0f ? -1.0f : value;
    }
    sr_hash_hex(set.x, set.count * set.dim * sizeof(float), set.hash);
    return set;
}

// Short and small: every feature of training can be tried in a fraction of a second.
static inline sr_train_options small_options(bool image) {
    sr_train_options o;
    sr_train_options_default(&o, image);
    o.seed = 7;
    o.iterations = 30;
    o.batch = image ? 8 : 48;
    o.tile = image ? 4 : 16;
    o.threads = 1;
    o.dynamics.steps = 4;
    return o;
}

// A run that must end by its gap bound after some dozens of good iterations, whatever the seed:
// with so small a step the samples cannot follow the energy, and the gap grows on its negative
// side.
static inline sr_train_options doomed_options(void) {
    sr_train_options o = small_options(false);
    o.dynamics.step_size = 1e-6;
    o.dynamics.start = SR_START_PERSISTENT;
    o.gap_bound = 0.5;
    o.rate = 0.01;
    o.iterations = 500;
    return o;
}

// A scratch folder of its own for each test program; removed with all in it.
static inline const char *scratch(void) {
    static char folder[256];
    if (folder[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/shortrun-train-XXXXXX", base ? base : P_tmpdir);
        if (!mkdtemp(folder))
            fail_msg("no scratch folder %s", folder);
    }
    return folder;
}

static inline const char *scratch_path(char out[320], const char *name) {
    snprintf(out, 320, "%s/%s", scratch(), name);
    return out;
}

static inline void scratch_remove(void) {
    char command[320];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch());
    if (system(command) != 0)
        fprintf(stderr, "could not remove %s\n", scratch());
}

// The hash of a file's bytes.
static inline void file_hash(const char *path, char out[33]) {
    void *bytes;
    size_t count;
    must(sr_file_read(path, 0, &bytes, &count));
    sr_hash_hex(bytes, count, out);
    sr_free(bytes);
}

// The hash of all that a checkpoint holds.
static inline void state_hash(sr_trainer *trainer, char out[33]) {
    char path[320];
    must(sr_trainer_save(trainer, scratch_path(path, "state.safetensors")));
    file_hash(path, out);
}

static inline void steps(sr_trainer *trainer, size_t count) {
    for (size_t i = 0; i < count; i++)
        must(sr_trainer_step(trainer, NULL));
}

#endif
