// shortrun train: one model on one data set, without an experiment file. Every field of
// sr_train_options is an option here.
#include "cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct train_values {
    const char *dataset, *model, *output, *data, *curve;
    uint64_t data_seed;
    size_t data_limit;
    double checkpoint_every;
    bool fresh, match_data_noise, retune;
    sr_train_options train;
} train_values;

#define AT(field) CLI_AT(train_values, field)
#define TRAIN(field) CLI_AT(train_values, train.field)
#define DYNAMICS(field) CLI_AT(train_values, train.dynamics.field)

static const cli_option table[] = {
    {.name = "dataset",
     .type = CLI_TEXT,
     .value = "NAME|PATH",
     AT(dataset),
     .words = CLI_WORDS_DATASET,
     .heading = "What is trained on what",
     .help =
         "a 2-D density or image set by name (shortrun info lists them), a folder of PNG, an IDX "
         "file or a .npy file; required"},
    {.name = "model",
     .type = CLI_TEXT,
     .value = "TEXT",
     AT(model),
     .help =
         "the energy's network, like mlp:dim=2,widths=128x128,activation=silu (default for 2-D) "
         "or convnet:channels=1,size=28,nf=8,activation=leaky_relu (default for images, of "
         "the data's size)"},
    {.name = "output",
     .letter = 'o',
     .type = CLI_TEXT,
     .value = "FILE",
     AT(output),
     .words = CLI_WORDS_FILE,
     .help = "the checkpoint (safetensors); training goes on from it when it exists; required"},
    {.name = "fresh", .type = CLI_FLAG, AT(fresh), .help = "start anew and replace the checkpoint"},
    {.name = "data",
     .type = CLI_TEXT,
     .value = "FOLDER",
     AT(data),
     .words = CLI_WORDS_FOLDER,
     .help = "look for the data set here first"},
    {.name = "data-limit",
     .type = CLI_COUNT,
     .value = "N",
     AT(data_limit),
     .help = "use at most so many rows (default: all; 10000 points of a 2-D density)"},
    {.name = "data-seed",
     .type = CLI_COUNT,
     .value = "N",
     AT(data_seed),
     .help = "seed of the points of a 2-D density (default 1, as in experiments)"},
    {.name = "checkpoint-every",
     .type = CLI_NUMBER,
     .value = "SECONDS",
     AT(checkpoint_every),
     .help = "time between checkpoints (default 30; 0: after every iteration)"},
    {.name = "curve",
     .type = CLI_TEXT,
     .value = "FILE.csv",
     AT(curve),
     .words = CLI_WORDS_FILE,
     .help = "write what every iteration of this run saw as CSV"},

    {.name = "steps",
     .letter = 'K',
     .type = CLI_COUNT,
     .value = "K",
     DYNAMICS(steps),
     .low = 1,
     .high = 1e6,
     .heading = "Dynamics: x <- x - s grad E(x) + sigma eps",
     .help = "number of steps K (default 20 for images, 10 for 2-D)"},
    {.name = "step-size",
     .type = CLI_NUMBER,
     .value = "S",
     DYNAMICS(step_size),
     .open_low = true,
     .help = "step size s (default 10 for images, 0.1 for 2-D)"},
    {.name = "integrator",
     .type = CLI_CHOICE,
     DYNAMICS(integrator),
     .choice = cli_integrator_choice,
     .choices = SR_INTEGRATOR_COUNT,
     .help = "how a step follows the flow over a time of s (default euler; others are noise-free)"},
    {.name = "tolerance",
     .type = CLI_NUMBER,
     .value = "TOL",
     DYNAMICS(tolerance),
     .low = SR_TOLERANCE_LOW,
     .high = SR_TOLERANCE_HIGH,
     .help = "of the adaptive integrator's local error (default 1e-5)"},
    {.name = "noise",
     .type = CLI_NUMBER,
     .value = "SIGMA",
     DYNAMICS(noise),
     .help = "noise scale sigma (default 0: noise-free)"},
    {.name = "noise-last",
     .type = CLI_SWITCH,
     DYNAMICS(noise_last),
     .help = "whether the last step adds noise too (default yes)"},
    {.name = "clamp",
     .type = CLI_NUMBER,
     .value = "LIMIT",
     DYNAMICS(clamp),
     .help = "clamp states to [-LIMIT, LIMIT] after every step (default 0: not clamped)"},
    {.name = "start",
     .type = CLI_CHOICE,
     DYNAMICS(start),
     .choice = cli_start_choice,
     .choices = CLI_STARTS,
     .help = "where chains start (default uniform for images, gaussian for 2-D)"},
    {.name = "restart-from",
     .type = CLI_CHOICE,
     DYNAMICS(restart_from),
     .choice = cli_start_choice,
     .choices = CLI_STARTS - 1,
     .help = "where persistent chains start anew"},
    {.name = "restart-rate",
     .type = CLI_NUMBER,
     .value = "P",
     DYNAMICS(restart_rate),
     .high = 1.0,
     .help = "probability that a persistent chain starts anew (default 0.05)"},

    {.name = "iterations",
     .letter = 'n',
     .type = CLI_COUNT,
     .value = "N",
     TRAIN(iterations),
     .low = 1,
     .high = 1e9,
     .heading = "Training",
     .help = "updates of the weights (default 600 for images, 2000 for 2-D)"},
    {.name = "batch",
     .type = CLI_COUNT,
     .value = "N",
     TRAIN(batch),
     .low = 1,
     .high = 1048576,
     .help = "data rows, and as many chains, an iteration (default 64 for images, 256 for 2-D)"},
    {.name = "seed",
     .type = CLI_COUNT,
     .value = "N",
     TRAIN(seed),
     .help = "seed of weights, batches, chains and noise (default 1)"},
    {.name = "data-noise",
     .type = CLI_NUMBER,
     .value = "SD",
     TRAIN(data_noise),
     .help = "standard deviation of noise added to data (default 0.03 for images, 0 for 2-D)"},
    {.name = "match-data-noise",
     .type = CLI_FLAG,
     AT(match_data_noise),
     .help = "raise the data noise to the noise of the dynamics where that is larger"},
    {.name = "optimiser",
     .type = CLI_CHOICE,
     TRAIN(optimiser),
     .choice = cli_optimiser_choice,
     .choices = CLI_OPTIMISERS,
     .help = "default adam"},
    {.name = "rate",
     .type = CLI_NUMBER,
     .value = "RATE",
     TRAIN(rate),
     .open_low = true,
     .high = 1e6,
     .help = "learning rate (default 0.001)"},
    {.name = "beta1",
     .type = CLI_NUMBER,
     .value = "B",
     TRAIN(beta1),
     .high = 1.0,
     .help = "Adam's first decay, SGD's momentum (default 0)"},
    {.name = "beta2",
     .type = CLI_NUMBER,
     .value = "B",
     TRAIN(beta2),
     .high = 1.0,
     .help = "Adam's second decay (default 0.999)"},
    {.name = "epsilon",
     .type = CLI_NUMBER,
     .value = "E",
     TRAIN(epsilon),
     .open_low = true,
     .high = 1.0,
     .help = "Adam's epsilon (default 1e-8)"},
    {.name = "decay-from",
     .type = CLI_NUMBER,
     .value = "SHARE",
     TRAIN(decay_from),
     .open_low = true,
     .high = 1.0,
     .help = "share of the run after which the rate falls linearly (default 0.6, 2-D 0.5)"},
    {.name = "decay-to",
     .type = CLI_NUMBER,
     .value = "SHARE",
     TRAIN(decay_to),
     .high = 1.0,
     .help = "share of the rate that is left at the end (default 0.05)"},
    {.name = "average",
     .type = CLI_NUMBER,
     .value = "DECAY",
     TRAIN(average),
     .high = 1.0,
     .help = "decay of the average of the weights that sampling uses (default 0: none)"},
    {.name = "energy-l2",
     .type = CLI_NUMBER,
     .value = "WEIGHT",
     TRAIN(energy_l2),
     .help = "weight of the penalty mean E^2 (default 0)"},
    {.name = "clip-norm",
     .type = CLI_NUMBER,
     .value = "NORM",
     TRAIN(clip_norm),
     .help = "clip the gradient to this norm (default 0: not clipped)"},
    {.name = "spectral-iterations",
     .type = CLI_COUNT,
     .value = "N",
     TRAIN(spectral_iterations),
     .high = 1000,
     .help = "power iterations of spectral normalisation (default 1 for images; 0: none)"},
    {.name = "curvature-cap",
     .type = CLI_NUMBER,
     .value = "CAP",
     TRAIN(curvature_cap),
     .high = 100,
     .help =
         "scale the energy so that s ||H|| along the chains stays below it (default 0: no cap)"},
    {.name = "curvature-every",
     .type = CLI_COUNT,
     .value = "N",
     TRAIN(curvature_every),
     .low = 1,
     .high = 1000000,
     .help = "iterations between two estimates of s ||H|| (default 10)"},
    {.name = "exact-grid",
     .type = CLI_COUNT,
     .value = "N",
     TRAIN(exact_grid),
     .high = SR_EXACT_GRID_MAX,
     .help = "exact maximum likelihood of 2-D data by quadrature on N x N cells, without "
             "sampler (default 0: by samples)"},
    {.name = "exact-window",
     .type = CLI_NUMBER,
     .value = "W",
     TRAIN(exact_window),
     .open_low = true,
     .help = "the cells fill [-W, W]^2 (default 4)"},
    {.name = "gap-bound",
     .type = CLI_NUMBER,
     .value = "GAP",
     TRAIN(gap_bound),
     .help = "an energy gap beyond it is divergence (default 100; 0: no bound)"},

    CLI_ENGINE(TRAIN(engine), .heading = "Machine"),
    CLI_PRECISION(TRAIN(precision)),
    CLI_THREADS(TRAIN(threads)),
    CLI_RETUNE(AT(retune)),
    {.name = "tile",
     .type = CLI_COUNT,
     .value = "N",
     TRAIN(tile),
     .high = 65536,
     .help = "chains that a thread takes at a time (default: chosen from the network)"},
};
_Static_assert(sizeof table / sizeof *table <= CLI_OPTIONS_MAX, "raise CLI_OPTIONS_MAX");

// ---- what every iteration saw
// ----------------------------------------------------------------------

typedef struct watch {
    bool wanted;
    sr_text csv;
    sr_train_report last;
} watch;

static void each(void *user, const sr_train_report *r) {
    watch *w = user;
    w->last = *r;
    if (w->wanted)
        sr_text_append(&w->csv, "%llu,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g\n",
                       (unsigned long long)r->iteration, r->energy_data, r->energy_samples, r->gap,
                       r->gradient_norm, r->largest, r->rate, r->curvature);
}

static sr_status save_curve(const watch *w, const char *path) {
    const sr_status status = sr_text_status(&w->csv);
    return status ? status : sr_file_write(path, sr_text_string(&w->csv), w->csv.length);
}

// ---- the run
// ---------------------------------------------------------------------------------------

static sr_status choose_net(const train_values *v, const sr_dataset *data, sr_net *net) {
    if (v->model)
        return sr_net_parse(v->model, net);
    if (data->height == 1 && data->width == 1) {
        const size_t widths[2] = {128, 128};
        return sr_net_mlp(net, data->dim, widths, 2, SR_SILU, 1);
    }
    if (data->height != data->width)
        return sr_fail(
            SR_ERROR_ARGUMENT,
            "%s: images of %zu x %zu; the default network wants square ones, name one with "
            "--model",
            data->source, data->height, data->width);
    return sr_net_convnet(net, data->channels, data->height, 8, SR_LEAKY_RELU);
}

static void print_end(sr_trainer *trainer, const train_values *v, const watch *w, uint64_t before) {
    double seconds = 0.0, phases[SR_PHASE_COUNT], total = 0.0;
    sr_trainer_seconds(trainer, &seconds, phases);
    const uint64_t done = sr_trainer_iteration(trainer) - before;
    if (done == 0) {
        printf("%s: all %zu iterations were done already; --fresh starts anew\n", v->output,
               v->train.iterations);
        return;
    }
    printf("%s: %llu iterations, energy gap %.4g, ", v->output,
           (unsigned long long)sr_trainer_iteration(trainer), w->last.gap);
    if (v->train.curvature_cap > 0)
        printf("s ||H|| %.3g, ", w->last.curvature);
    if (v->train.exact_grid > 0)
        printf("log-likelihood %.4g, mass at the edge %.2g%%, ",
               -w->last.energy_data - w->last.log_z, 100 * w->last.edge);
    printf("%.3g ms an iteration", 1e3 * seconds / (double)done);
    for (int i = 0; i < SR_PHASE_COUNT; i++)
        total += phases[i];
    for (int i = 0; i < SR_PHASE_COUNT && total > 0.0; i++)
        printf("%s%s %.0f%%", i == 0 ? " (" : ", ", sr_phase_name((sr_phase)i),
               100.0 * phases[i] / total);
    printf("%s\n", total > 0.0 ? ")" : "");
}

static sr_status start_anew(const train_values *v) {
    if (!v->fresh || !sr_file_exists(v->output) || unlink(v->output) == 0)
        return SR_OK;
    return sr_fail(SR_ERROR_IO, "%s: cannot be replaced", v->output);
}

static int end_run(sr_status status, sr_trainer *trainer, const train_values *v, const watch *w,
                   uint64_t before) {
    cli_progress_clear();
    if (status == SR_OK)
        print_end(trainer, v, w, before);
    if (status == SR_ERROR_INTERRUPTED) {
        cli_error("%s; %s holds it, the same command goes on", sr_error_message(), v->output);
        return CLI_INTERRUPTED;
    }
    if (status == SR_ERROR_DIVERGED)
        return cli_error("%s; %s holds the last good state", sr_error_message(), v->output);
    return cli_status(status);
}

static int train(const train_values *v, const sr_dataset *data) {
    sr_net net;
    sr_trainer *trainer = NULL;
    watch w = {.wanted = v->curve};
    sr_text_append(
        &w.csv, "iteration,energy_data,energy_samples,gap,gradient_norm,largest,rate,curvature\n");
    uint64_t before = 0;
    sr_status status = choose_net(v, data, &net);
    if (status == SR_OK)
        status = sr_trainer_create(&net, data, &v->train, &trainer);
    if (status == SR_OK)
        status = start_anew(v);
    if (status == SR_OK && sr_file_exists(v->output) &&
        (status = sr_trainer_load(trainer, v->output)) == SR_OK) {
        before = sr_trainer_iteration(trainer);
        if (before < v->train.iterations)
            sr_monitor_log(cli_monitor(), SR_LEVEL_INFO, "%s: going on after iteration %llu of %zu",
                           v->output, (unsigned long long)before, v->train.iterations);
    }
    if (status == SR_OK)
        status = sr_trainer_run(trainer, v->output, v->checkpoint_every, cli_monitor(), v->dataset,
                                each, &w);
    int code = end_run(status, trainer, v, &w, before);
    const bool ran =
        status == SR_OK || status == SR_ERROR_INTERRUPTED || status == SR_ERROR_DIVERGED;
    if (ran && v->curve && (status = save_curve(&w, v->curve)) != SR_OK)
        code = cli_status(status);
    sr_text_clear(&w.csv);
    sr_trainer_destroy(trainer);
    return code;
}

static int run(const cli_command *command, int argc, char **argv) {
    train_values v = {.checkpoint_every = 30.0, .data_seed = 1};
    cli_parsed parsed;
    sr_dataset data = {0};
    int status = cli_parse(command, argc, argv, &v, &parsed);
    if (status != CLI_GO)
        return status;
    if (!v.dataset)
        return cli_usage(command, "--dataset NAME is missing; shortrun info lists the names");
    if (!v.output)
        return cli_usage(command, "--output FILE.safetensors is missing");
    // The defaults depend on the data: read the command line once more on top of the right ones.
    if ((status = cli_status(
             sr_dataset_load(v.dataset, v.data, SR_TRAIN, v.data_limit, v.data_seed, &data))) != 0)
        return status;
    sr_train_options_default(&v.train, data.height > 1 || data.width > 1);
    cli_parse(command, argc, argv, &v, &parsed);
    if (v.retune)
        sr_tuning_forget();
    if (v.match_data_noise)
        v.train.data_noise = fmax(v.train.data_noise, v.train.dynamics.noise);
    cli_catch_signals();
    sr_status check = sr_train_options_check(&v.train);
    if (check == SR_OK)
        check = cli_check_writable(v.output);
    if (check == SR_OK)
        check = cli_check_writable(v.curve);
    status = cli_status(check);
    if (status == 0)
        status = train(&v, &data);
    sr_dataset_clear(&data);
    return status;
}

const cli_command cli_train_command = {
    .name = "train",
    .summary = "train one model, or go on training it",
    .operands = "",
    .about = "The checkpoint is a safetensors file that PyTorch opens. A run that was stopped, by "
             "Ctrl-C or\n"
             "otherwise, goes on from it to the same bits as if it had never stopped.",
    .examples =
        "  shortrun train --dataset eight_gaussians --steps 10 --output toy.safetensors\n"
        "  shortrun train --dataset fashion_mnist --steps 20 --noise 0.03 --output f.safetensors\n"
        "  shortrun train --dataset photos/ --model "
        "convnet:channels=3,size=32,nf=32,activation=silu \\\n"
        "      --iterations 5000 --output photos.safetensors\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
