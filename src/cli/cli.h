// The program's commands and what they share: options common to several of them, messages, ends.
#ifndef SHORTRUN_CLI_H
#define SHORTRUN_CLI_H

#include <shortrun/shortrun.h>

#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"

extern const cli_command cli_run_command;
extern const cli_command cli_train_command;
extern const cli_command cli_sample_command;
extern const cli_command cli_energy_command;
extern const cli_command cli_evaluate_command;
extern const cli_command cli_compare_command;
extern const cli_command cli_density_command;
extern const cli_command cli_report_command;
extern const cli_command cli_profile_command;
extern const cli_command cli_features_command;
extern const cli_command cli_info_command;
extern const cli_command cli_completion_command;

// All of them, in the order of the help.
extern const cli_command *const cli_commands[];
extern const size_t cli_command_count;

// "shortrun: MESSAGE" on stderr; returns 1.
int cli_error(const char *format, ...) SR_PRINTF(1, 2);
// 0 for SR_OK; else prints the library's last message and returns 1, or 130 for
// SR_ERROR_INTERRUPTED.
int cli_status(sr_status status);

// Names of choices, as tables of options want them.
const char *cli_engine_choice(int value);
const char *cli_precision_choice(int value);
const char *cli_start_choice(int value);
const char *cli_integrator_choice(int value);
const char *cli_optimiser_choice(int value);
#define CLI_STARTS 4
#define CLI_OPTIMISERS 2

// Options that several commands have; the arguments say where the value goes, as CLI_AT does.
#define CLI_ENGINE(...)                                                                            \
    {                                                                                              \
        .name = "engine", .type = CLI_CHOICE, .choice = cli_engine_choice,                         \
        .choices = SR_ENGINE_COUNT, .help = "who multiplies (default auto)", __VA_ARGS__           \
    }
#define CLI_PRECISION(...)                                                                         \
    {                                                                                              \
        .name = "precision", .type = CLI_CHOICE, .choice = cli_precision_choice,                   \
        .choices = SR_PRECISION_COUNT,                                                             \
        .help = "of the network's products (default fp32); bf16x3 needs AMX, else it is fp32",     \
        __VA_ARGS__                                                                                \
    }
#define CLI_THREADS(...)                                                                           \
    {                                                                                              \
        .name = "threads", .letter = 't', .type = CLI_COUNT, .value = "N", .high = 4096,           \
        .help = "threads (default: all); no result depends on their number", __VA_ARGS__           \
    }

#define CLI_RETUNE(...)                                                                            \
    {                                                                                              \
        .name = "retune", .type = CLI_FLAG,                                                        \
        .help = "measure anew which engine and tile are fastest here, as on the first use",        \
        __VA_ARGS__                                                                                \
    }

bool cli_ends_with(const char *text, const char *end);

// Whether a file of this name can be written, as far as that can be seen before the work: its
// folder is there and lets us in. NULL: no file, fine.
sr_status cli_check_writable(const char *path);

// A network and its parameters from a safetensors file: `model` (sr_net_parse's text) or, where it
// is NULL, the file's own description. theta: new memory (sr_free). tensors (NULL allowed) receives
// the file.
sr_status cli_model_load(const char *path, const char *model, sr_net *net, float **theta,
                         sr_tensors **tensors);

// The dynamics that a file's network was trained with, as far as it says; else the usual ones of
// such a network. Persistent chains: where they start anew.
void cli_dynamics_of(const sr_tensors *file, const sr_net *net, sr_dynamics *out);

// Writes the samples x (n, net's input) to a .npy file ((n, C, H, W), or (n, D) for vectors) or a
// .png: a grid of images, or a picture of points in [-window, window]^2.
sr_status cli_samples_save(const char *path, const sr_net *net, size_t n, const float *x,
                           double window);
sr_status cli_samples_check_name(const char *path); // .npy or .png

#endif
