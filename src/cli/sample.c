// shortrun sample: draws samples from a trained energy with the dynamics it was trained with, or
// others.
#include "cli/cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Training uses the iteration as the epoch of its streams; this one no training reaches, so that
// samples drawn with a training run's own seed still are new ones.
#define SAMPLE_EPOCH (UINT64_C(1) << 63)

typedef struct sample_values {
    const char *model, *output, *trace, *dataset, *data;
    size_t n;
    uint64_t seed;
    unsigned threads;
    bool retune;
    sr_engine engine;
    sr_precision precision;
    double window;
    sr_dynamics dynamics;
} sample_values;

#define AT(field) CLI_AT(sample_values, field)

static const cli_option table[] = {
    {.name = "n",
     .letter = 'n',
     .type = CLI_COUNT,
     .value = "N",
     AT(n),
     .low = 1,
     .high = 1e7,
     .help = "number of samples (default 64)"},
    {.name = "output",
     .letter = 'o',
     .type = CLI_TEXT,
     .value = "FILE",
     AT(output),
     .words = CLI_WORDS_FILE,
     .help = "samples as .npy, or a picture of them as .png; required"},
    {.name = "trace",
     .type = CLI_TEXT,
     .value = "FILE.csv",
     AT(trace),
     .words = CLI_WORDS_FILE,
     .help = "write energy, gradient norm, displacement and largest value of every step as CSV"},
    {.name = "model",
     .type = CLI_TEXT,
     .value = "TEXT",
     AT(model),
     .help = "the network, for files that do not describe it (a PyTorch state_dict)"},
    {.name = "steps",
     .letter = 'K',
     .type = CLI_COUNT,
     .value = "K",
     AT(dynamics.steps),
     .low = 1,
     .high = 1e6,
     .heading = "Dynamics (default: what the checkpoint was trained with)",
     .help = "number of steps"},
    {.name = "step-size",
     .type = CLI_NUMBER,
     .value = "S",
     AT(dynamics.step_size),
     .open_low = true,
     .help = "step size s"},
    {.name = "integrator",
     .type = CLI_CHOICE,
     AT(dynamics.integrator),
     .choice = cli_integrator_choice,
     .choices = SR_INTEGRATOR_COUNT,
     .help = "how a step follows the flow over a time of s; all but euler are noise-free"},
    {.name = "tolerance",
     .type = CLI_NUMBER,
     .value = "TOL",
     AT(dynamics.tolerance),
     .low = SR_TOLERANCE_LOW,
     .high = SR_TOLERANCE_HIGH,
     .help = "of the adaptive integrator's local error"},
    {.name = "noise",
     .type = CLI_NUMBER,
     .value = "SIGMA",
     AT(dynamics.noise),
     .help = "noise scale sigma"},
    {.name = "noise-last",
     .type = CLI_SWITCH,
     AT(dynamics.noise_last),
     .help = "whether the last step adds noise too"},
    {.name = "clamp",
     .type = CLI_NUMBER,
     .value = "LIMIT",
     AT(dynamics.clamp),
     .help = "clamp states to [-LIMIT, LIMIT] after every step; 0: not clamped"},
    {.name = "start",
     .type = CLI_CHOICE,
     AT(dynamics.start),
     .choice = cli_start_choice,
     .choices = CLI_STARTS - 1,
     .help = "where chains start"},
    {.name = "dataset",
     .type = CLI_TEXT,
     .value = "NAME|PATH",
     AT(dataset),
     .words = CLI_WORDS_DATASET,
     .help = "rows for --start data (default: the training set)"},
    {.name = "data",
     .type = CLI_TEXT,
     .value = "FOLDER",
     AT(data),
     .words = CLI_WORDS_FOLDER,
     .help = "look for that data set here first"},
    {.name = "seed",
     .type = CLI_COUNT,
     .value = "N",
     AT(seed),
     .help = "seed of starts and noise (default 1)"},
    CLI_ENGINE(AT(engine), .heading = "Machine"),
    CLI_PRECISION(AT(precision)),
    CLI_THREADS(AT(threads)),
    CLI_RETUNE(AT(retune)),
    {.name = "window",
     .type = CLI_NUMBER,
     .value = "W",
     AT(window),
     .open_low = true,
     .help = "pictures of points show [-W, W]^2 (default: fits the data set, or the points)"},
};

// ---- sampling
// --------------------------------------------------------------------------------------

static sr_status start_from_data(const sample_values *v, const sr_tensors *file, const sr_net *net,
                                 float *x) {
    const char *name = v->dataset ? v->dataset : sr_tensors_meta(file, "train.data");
    if (!name)
        return sr_fail(
            SR_ERROR_ARGUMENT,
            "--start data: the file does not say which data set; name it with --dataset");
    sr_dataset data;
    sr_status status = sr_dataset_load(name, v->data, SR_TRAIN, 0, 1, &data);
    if (status != SR_OK)
        return status;
    if (data.dim != net->inputs)
        status = sr_fail(SR_ERROR_ARGUMENT, "%s: rows of %zu values, the network takes %zu", name,
                         data.dim, net->inputs);
    // In parts, so that more samples than rows can be asked for
    for (size_t i = 0, part = 0; status == SR_OK && i < v->n; i += data.count, part++) {
        const size_t rows = v->n - i < data.count ? v->n - i : data.count;
        sr_dataset_batch(&data, v->seed, SAMPLE_EPOCH + part, rows, 0.0f, x + i * data.dim, NULL);
    }
    sr_dataset_clear(&data);
    return status;
}

static sr_status save_trace(const char *path, const sr_trace *trace, size_t steps) {
    sr_text csv = {0};
    sr_text_append(&csv, "step,energy,gradient_norm,displacement,largest\n");
    for (size_t k = 0; k <= steps; k++)
        sr_text_append(&csv, "%zu,%.9g,%.9g,%.9g,%.9g\n", k, trace->energy[k],
                       trace->gradient_norm[k], trace->displacement[k], trace->largest[k]);
    sr_status status = sr_text_status(&csv);
    if (status == SR_OK)
        status = sr_file_write(path, sr_text_string(&csv), csv.length);
    sr_text_clear(&csv);
    return status;
}

static sr_status check_finite(const float *x, size_t count, size_t dim) {
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i]))
            return sr_fail(SR_ERROR_DIVERGED,
                           "sample %zu is not finite: the dynamics diverged; nothing was written",
                           i / dim);
    }
    return SR_OK;
}

static double picture_window(const sample_values *v, const sr_tensors *file, const float *x) {
    sr_toy toy;
    const char *name = sr_tensors_meta(file, "train.data");
    if (v->window > 0.0)
        return v->window;
    if (name && sr_toy_parse(name, &toy) == SR_OK)
        return sr_toy_window(toy);
    double largest = 1e-6;
    for (size_t i = 0; i < 2 * v->n; i++)
        largest = fmax(largest, fabs((double)x[i]));
    return 1.05 * largest;
}

// x (n, inputs) holds the samples when this succeeds; trace: four rows of steps + 1.
static sr_status draw(const sample_values *v, const sr_tensors *file, const sr_net *net,
                      const float *theta, float *x, const sr_trace *trace) {
    sr_energy *energy = NULL;
    sr_team *team = NULL;
    sr_status status = sr_energy_network(net, v->engine, v->precision, 0, &energy);
    if (status == SR_OK) {
        sr_energy_set_parameters(energy, theta);
        status = sr_team_create(energy, v->threads, &team);
    }
    if (status == SR_OK && v->dynamics.start == SR_START_DATA)
        status = start_from_data(v, file, net, x);
    else if (status == SR_OK)
        sr_start_fill(v->dynamics.start, v->seed, SAMPLE_EPOCH, 0, v->n, net->inputs, x);
    if (status == SR_OK)
        status = sr_dynamics_run(team, &v->dynamics, v->seed, SAMPLE_EPOCH, 0, v->n, x, trace);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
    return status;
}

static sr_status sample(const sample_values *v, const sr_tensors *file, const sr_net *net,
                        const float *theta) {
    const size_t rows = v->dynamics.steps + 1;
    const bool euler = v->dynamics.integrator == SR_INTEGRATOR_EULER;
    float *x = NULL;
    double *t = NULL;
    sr_status status = sr_dynamics_check(&v->dynamics);
    size_t bytes;
    if (status == SR_OK && !sr_size_mul(v->n, net->inputs * sizeof *x, &bytes))
        status = sr_fail(SR_ERROR_ARGUMENT, "%zu samples do not fit into memory", v->n);
    if (status == SR_OK &&
        (!(x = sr_alloc(v->n, net->inputs * sizeof *x)) || !(t = sr_alloc(4 * rows, sizeof *t))))
        status = SR_ERROR_MEMORY;
    const double begin = sr_seconds();
    const sr_trace trace = {t, t ? t + rows : NULL, t ? t + 2 * rows : NULL,
                            t ? t + 3 * rows : NULL};
    if (status == SR_OK)
        status = draw(v, file, net, theta, x, v->trace ? &trace : NULL);
    const double took = sr_seconds() - begin;
    if (status == SR_OK)
        status = check_finite(x, v->n * net->inputs, net->inputs);
    if (status == SR_OK)
        status = cli_samples_save(v->output, net, v->n, x,
                                  net->inputs == 2 ? picture_window(v, file, x) : 1.0);
    if (status == SR_OK && v->trace)
        status = save_trace(v->trace, &trace, v->dynamics.steps);
    if (status == SR_OK)
        printf("%s: %zu samples, %s%sK %zu, s %g, sigma %g, T %g, start %s, seed %llu, %.3g s\n",
               v->output, v->n, euler ? "" : sr_integrator_name(v->dynamics.integrator),
               euler ? "" : ", ", v->dynamics.steps, v->dynamics.step_size, v->dynamics.noise,
               sr_dynamics_temperature(&v->dynamics), sr_start_name(v->dynamics.start),
               (unsigned long long)v->seed, took);
    sr_free(x);
    sr_free(t);
    return status;
}

static int run(const cli_command *command, int argc, char **argv) {
    sample_values v = {.n = 64, .seed = 1};
    cli_parsed parsed;
    sr_net net;
    float *theta = NULL;
    sr_tensors *file = NULL;
    const int parse = cli_parse(command, argc, argv, &v, &parsed);
    if (parse != CLI_GO)
        return parse;
    if (v.retune)
        sr_tuning_forget();
    if (!v.output)
        return cli_usage(command, "--output FILE.npy or FILE.png is missing");
    sr_status status = cli_samples_check_name(v.output);
    if (status == SR_OK)
        status = cli_check_writable(v.output);
    if (status == SR_OK)
        status = cli_check_writable(v.trace);
    if (status == SR_OK)
        status = cli_model_load(parsed.operands[0], v.model, &net, &theta, &file);
    if (status == SR_OK) {
        cli_dynamics_of(file, &net, &v.dynamics);
        cli_parse(command, argc, argv, &v, &parsed); // once more, over the checkpoint's defaults
        status = sample(&v, file, &net, theta);
    }
    sr_free(theta);
    sr_tensors_destroy(file);
    return cli_status(status);
}

const cli_command cli_sample_command = {
    .name = "sample",
    .summary = "draw samples from a trained model",
    .operands = "MODEL.safetensors",
    .least = 1,
    .most = 1,
    .words = CLI_WORDS_FILE,
    .about = "Takes checkpoints of shortrun train and run, and state_dicts of PyTorch's "
             "nn.Sequential saved\n"
             "as safetensors (with --model).",
    .examples = "  shortrun sample toy.safetensors --n 1000 --output samples.npy\n"
                "  shortrun sample f.safetensors --steps 40 --output grid.png --trace trace.csv\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
