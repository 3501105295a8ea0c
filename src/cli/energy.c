// shortrun energy: the energies of given points, and their gradients. What one compares between
// programs.
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

typedef struct energy_values {
    const char *input, *output, *gradient, *model;
    unsigned threads;
    sr_engine engine;
    sr_precision precision;
} energy_values;

#define AT(field) CLI_AT(energy_values, field)

static const cli_option table[] = {
    {.name = "input",
     .letter = 'i',
     .type = CLI_TEXT,
     .value = "X.npy",
     AT(input),
     .words = CLI_WORDS_FILE,
     .help = "points: (N, D) or (N, C, H, W); required"},
    {.name = "output",
     .letter = 'o',
     .type = CLI_TEXT,
     .value = "E.npy",
     AT(output),
     .words = CLI_WORDS_FILE,
     .help = "energies (N); without it they are printed, one a line"},
    {.name = "gradient",
     .type = CLI_TEXT,
     .value = "G.npy",
     AT(gradient),
     .words = CLI_WORDS_FILE,
     .help = "gradients of the energy in x, of the input's shape"},
    {.name = "model",
     .type = CLI_TEXT,
     .value = "TEXT",
     AT(model),
     .help = "the network, for files that do not describe it (a PyTorch state_dict)"},
    CLI_ENGINE(AT(engine)),
    CLI_PRECISION(AT(precision)),
    CLI_THREADS(AT(threads)),
};

static sr_status load_points(const char *path, const sr_net *net, sr_array *array, float **x) {
    *x = NULL;
    const sr_status status = sr_npy_load(path, array);
    if (status != SR_OK)
        return status;
    if (array->rank < 2 || sr_array_count(array) != array->shape[0] * net->inputs)
        return sr_fail(
            SR_ERROR_ARGUMENT,
            "%s: %zu values of rank %zu, the network takes (N, %zu) or (N, %zu, %zu, %zu)", path,
            sr_array_count(array), array->rank, net->inputs, net->channels, net->height,
            net->width);
    return sr_array_to_f32(array, x);
}

static sr_status write_out(const energy_values *v, const sr_array *points, const float *e,
                           const float *dx) {
    const size_t n = points->shape[0];
    sr_status status = SR_OK;
    if (v->output)
        status = sr_npy_save_f32(v->output, 1, &n, e);
    for (size_t i = 0; !v->output && i < n; i++)
        printf("%.9g\n", (double)e[i]);
    if (status == SR_OK && v->gradient)
        status = sr_npy_save_f32(v->gradient, points->rank, points->shape, dx);
    return status;
}

static sr_status evaluate(const energy_values *v, const sr_net *net, const float *theta) {
    sr_array points = {0};
    float *x = NULL, *e = NULL, *dx = NULL;
    sr_energy *energy = NULL;
    sr_team *team = NULL;
    sr_status status = load_points(v->input, net, &points, &x);
    const size_t n = status == SR_OK ? points.shape[0] : 0;
    if (status == SR_OK && (!(e = sr_alloc(n, sizeof *e)) ||
                            (v->gradient && !(dx = sr_alloc(n, net->inputs * sizeof *dx)))))
        status = SR_ERROR_MEMORY;
    if (status == SR_OK)
        status = sr_energy_network(net, v->engine, v->precision, 0, &energy);
    if (status == SR_OK) {
        sr_energy_set_parameters(energy, theta);
        status = sr_team_create(energy, v->threads, &team);
    }
    if (status == SR_OK) {
        sr_team_evaluate(team, n, x, e, dx);
        status = write_out(v, &points, e, dx);
    }
    sr_team_destroy(team);
    sr_energy_destroy(energy);
    sr_free(x);
    sr_free(e);
    sr_free(dx);
    sr_array_clear(&points);
    return status;
}

static int run(const cli_command *command, int argc, char **argv) {
    energy_values v = {0};
    cli_parsed parsed;
    sr_net net;
    float *theta = NULL;
    const int parse = cli_parse(command, argc, argv, &v, &parsed);
    if (parse != CLI_GO)
        return parse;
    if (!v.input)
        return cli_usage(command, "--input X.npy is missing");
    sr_status status = cli_model_load(parsed.operands[0], v.model, &net, &theta, NULL);
    if (status == SR_OK)
        status = evaluate(&v, &net, theta);
    sr_free(theta);
    return cli_status(status);
}

const cli_command cli_energy_command = {
    .name = "energy",
    .summary = "energies and gradients of given points",
    .operands = "MODEL.safetensors",
    .least = 1,
    .most = 1,
    .words = CLI_WORDS_FILE,
    .about = "",
    .examples =
        "  shortrun energy toy.safetensors --input points.npy\n"
        "  shortrun energy state_dict.safetensors \\\n"
        "      --model convnet:channels=1,size=28,nf=8,activation=silu --input x.npy --output "
        "e.npy\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
