// shortrun density: the density that a trained energy's short-run dynamics induce, beside
// exp(-E)/Z, on data that neither has seen.
#include "cli/cli.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct density_values {
    const char *model, *dataset, *data, *output;
    unsigned threads;
    int format;
    sr_cell cell;
} density_values;

typedef enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV, FORMATS } format;

static const char *format_choice(int value) {
    static const char *const names[FORMATS] = {"table", "json", "csv"};
    return names[value];
}

static const char *method_choice(int value) {
    return value == 0 ? "auto" : sr_log_det_name((sr_log_det)(value - 1));
}

#define AT(field) CLI_AT(density_values, field)

static const cli_option table[] = {
    {.name = "points",
     .letter = 'n',
     .type = CLI_COUNT,
     .value = "N",
     AT(cell.density.points),
     .low = 1,
     .high = 1e6,
     .help = "held-out rows (default 1000): test images, or fresh points of a 2-D density"},
    {.name = "dataset",
     .type = CLI_TEXT,
     .value = "NAME|PATH",
     AT(dataset),
     .words = CLI_WORDS_DATASET,
     .help = "where they come from (default: what the model was trained on)"},
    {.name = "data",
     .type = CLI_TEXT,
     .value = "FOLDER",
     AT(data),
     .words = CLI_WORDS_FOLDER,
     .help = "look for that data set here first"},
    {.name = "output",
     .letter = 'o',
     .type = CLI_TEXT,
     .value = "FOLDER",
     AT(output),
     .words = CLI_WORDS_FOLDER,
     .help = "write densities on the grid, log p_k by k, eigenvalues and samples as .npy here"},
    {.name = "format",
     .letter = 'f',
     .type = CLI_CHOICE,
     AT(format),
     .choice = format_choice,
     .choices = FORMATS,
     .help = "of the output (default table)"},
    {.name = "model",
     .type = CLI_TEXT,
     .value = "TEXT",
     AT(model),
     .help = "the network, for files that do not describe it (a PyTorch state_dict)"},
    {.name = "steps",
     .letter = 'K',
     .type = CLI_COUNT,
     .value = "K",
     AT(cell.train.dynamics.steps),
     .low = 1,
     .high = 1e6,
     .heading = "Dynamics (default: what the checkpoint was trained with, its noise left out)",
     .help = "number of steps"},
    {.name = "step-size",
     .type = CLI_NUMBER,
     .value = "S",
     AT(cell.train.dynamics.step_size),
     .open_low = true,
     .help = "step size s"},
    {.name = "start",
     .type = CLI_CHOICE,
     AT(cell.train.dynamics.start),
     .choice = cli_start_choice,
     .choices = 2,
     .help = "where chains start"},
    {.name = "method",
     .type = CLI_CHOICE,
     AT(cell.density.method),
     .choice = method_choice,
     .choices = 4,
     .heading = "Induced density",
     .help = "log determinants: exact (to 1024 dimensions), series (unbiased), trace (continuous "
             "time); auto: exact to 64 dimensions, else series"},
    {.name = "probes",
     .type = CLI_COUNT,
     .value = "N",
     AT(cell.density.probes),
     .low = 2,
     .high = 4096,
     .help = "independent estimates of a row (default 8)"},
    {.name = "lanczos",
     .type = CLI_COUNT,
     .value = "N",
     AT(cell.density.lanczos),
     .high = 1000,
     .help = "iterations for the eigenvalues along trajectories; 0: none (default 2, images 12)"},
    {.name = "grid",
     .type = CLI_COUNT,
     .value = "N",
     AT(cell.density.grid),
     .low = 16,
     .high = 2000,
     .help = "2-D: cells a side for densities (default 200)"},
    {.name = "long-chains",
     .type = CLI_COUNT,
     .value = "N",
     AT(cell.density.long_chains),
     .high = 1e6,
     .heading = "exp(-E)/Z",
     .help = "chains of HMC run to convergence; 0: none (default 500, images 64)"},
    {.name = "long-steps",
     .type = CLI_COUNT,
     .value = "N",
     AT(cell.density.long_steps),
     .low = 100,
     .high = 1e9,
     .help = "at most so many steps of each (default 10000, images 4000)"},
    {.name = "ais-chains",
     .type = CLI_COUNT,
     .value = "N",
     AT(cell.density.ais_chains),
     .high = 1e5,
     .help = "chains of annealed importance sampling; 0: none (default 64; 2-D: 0, quadrature)"},
    {.name = "ais-levels",
     .type = CLI_COUNT,
     .value = "N",
     AT(cell.density.ais_levels),
     .low = 2,
     .high = 1e7,
     .help = "its intermediate densities (default 2000)"},
    {.name = "beyond",
     .type = CLI_COUNT,
     .value = "M",
     AT(cell.density.beyond),
     .low = 1,
     .high = 100000,
     .help = "judge samples after up to M times K steps (default 16; 1: not)"},
    {.name = "samples",
     .type = CLI_COUNT,
     .value = "N",
     AT(cell.samples),
     .low = 16,
     .high = 1e6,
     .help = "samples that are judged (default 5000, images 2048)"},
    {.name = "seed",
     .type = CLI_COUNT,
     .value = "N",
     AT(cell.train.seed),
     .heading = "Machine",
     .help = "of probes, starts and chains (default 1)"},
    CLI_ENGINE(AT(cell.train.engine)),
    CLI_PRECISION(AT(cell.train.precision)),
    CLI_THREADS(AT(threads)),
};

// ---- output -------------------------------------------------------------------------------------

static void print_table(const sr_record *record) {
    size_t width = 0;
    for (size_t i = 0; i < record->metric_count; i++) {
        const size_t length = strlen(record->metrics[i].name);
        width = length > width ? length : width;
    }
    for (size_t i = 0; i < record->metric_count; i++) {
        const sr_value *v = &record->metrics[i];
        printf("%-*s  %11.5g", (int)width, v->name, v->value);
        if (isfinite(v->low))
            printf("  [%.5g, %.5g]", v->low, v->high);
        if (v->n > 0)
            printf("  n %zu", v->n);
        printf("\n");
    }
    for (size_t i = 0; i < record->timing_count; i++)
        printf("%-*s  %11.5g\n", (int)width, record->timings[i].name, record->timings[i].value);
}

static void print_csv(const sr_record *record) {
    printf("name,value,error,low,high,n\n");
    for (size_t i = 0; i < record->metric_count; i++) {
        const sr_value *v = &record->metrics[i];
        printf("%s,%.9g", v->name, v->value);
        const double rest[3] = {v->error, v->low, v->high};
        for (size_t k = 0; k < 3; k++) {
            if (isfinite(rest[k]))
                printf(",%.9g", rest[k]);
            else
                printf(",");
        }
        printf(",%zu\n", v->n);
    }
    for (size_t i = 0; i < record->timing_count; i++)
        printf("%s,%.9g,,,,\n", record->timings[i].name, record->timings[i].value);
}

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static sr_status print_json(const density_values *v, const sr_record *record) {
    json_t *densities = json_object(), *timings = json_object();
    for (size_t i = 0; i < record->metric_count; i++) {
        const sr_value *m = &record->metrics[i];
        json_object_set_new(densities, m->name,
                            json_pack("{s:o, s:o, s:o, s:o, s:I}", "value", number(m->value),
                                      "error", number(m->error), "low", number(m->low), "high",
                                      number(m->high), "n", (json_int_t)m->n));
    }
    for (size_t i = 0; i < record->timing_count; i++)
        json_object_set_new(timings, record->timings[i].name, number(record->timings[i].value));
    const sr_dynamics *dynamics = &v->cell.train.dynamics;
    json_t *root = json_pack(
        "{s:s, s:s, s:I, s:f, s:s, s:I, s:s, s:o, s:o}", "model", v->cell.model, "dataset",
        v->cell.dataset, "steps", (json_int_t)dynamics->steps, "step_size", dynamics->step_size,
        "start", sr_start_name(dynamics->start), "seed", (json_int_t)v->cell.train.seed, "machine",
        record->machine, "densities", densities, "timings", timings);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    if (text)
        puts(text);
    json_decref(root);
    free(text);
    return text ? SR_OK : sr_fail(SR_ERROR_MEMORY, "out of memory: JSON of the densities");
}

static sr_status print(const density_values *v, const sr_record *record) {
    if (v->format == FORMAT_JSON)
        return print_json(v, record);
    if (v->format == FORMAT_CSV) {
        print_csv(record);
        return SR_OK;
    }
    printf("%s, K %zu, s %g, start %s, held-out rows of %s\n", v->cell.model,
           v->cell.train.dynamics.steps, v->cell.train.dynamics.step_size,
           sr_start_name(v->cell.train.dynamics.start), v->cell.dataset);
    print_table(record);
    return SR_OK;
}

// ---- the command --------------------------------------------------------------------------------

static sr_status name_cell(density_values *v, const sr_tensors *file, const sr_net *net) {
    const char *dataset = v->dataset ? v->dataset : sr_tensors_meta(file, "train.data");
    sr_text text = {0};
    if (!dataset)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "the file does not say what it was trained on; name held-out data with "
                       "--dataset");
    if (strlen(dataset) >= sizeof v->cell.dataset)
        return sr_fail(SR_ERROR_ARGUMENT, "--dataset: a path of %zu bytes is too long",
                       strlen(dataset));
    snprintf(v->cell.dataset, sizeof v->cell.dataset, "%s", dataset);
    sr_net_format(net, &text);
    sr_status status = sr_text_status(&text);
    if (status == SR_OK && text.length >= sizeof v->cell.model)
        status = sr_fail(SR_ERROR_ARGUMENT, "the model's description is too long");
    if (status == SR_OK)
        snprintf(v->cell.model, sizeof v->cell.model, "%s", sr_text_string(&text));
    sr_text_clear(&text);
    return status;
}

static int run(const cli_command *command, int argc, char **argv) {
    density_values v = {0};
    cli_parsed parsed;
    sr_net net;
    float *theta = NULL;
    sr_tensors *file = NULL;
    sr_record record = {0};
    sr_cell_default(&v.cell, false);
    const int parse = cli_parse(command, argc, argv, &v, &parsed);
    if (parse != CLI_GO)
        return parse;
    sr_status status = cli_model_load(parsed.operands[0], v.model, &net, &theta, &file);
    if (status == SR_OK) {
        sr_cell_default(&v.cell, net.height > 1);
        v.cell.density.points = 1000;
        cli_dynamics_of(file, &net, &v.cell.train.dynamics);
        cli_parse(command, argc, argv, &v, &parsed); // once more, over the checkpoint's defaults
        status = name_cell(&v, file, &net);
    }
    if (status == SR_OK && v.output)
        status = sr_folder_make(v.output);
    const sr_run_options options = {.data_folder = v.data, .threads = v.threads};
    cli_catch_signals();
    if (status == SR_OK)
        status = sr_density_model(&v.cell, theta, &options, v.output, cli_monitor(), &record);
    cli_progress_clear();
    if (status == SR_OK)
        status = print(&v, &record);
    sr_record_clear(&record);
    sr_free(theta);
    sr_tensors_destroy(file);
    return cli_status(status);
}

const cli_command cli_density_command = {
    .name = "density",
    .summary = "the density that the short run induces, beside exp(-E)/Z",
    .operands = "MODEL.safetensors",
    .least = 1,
    .most = 1,
    .words = CLI_WORDS_FILE,
    .about = "Carries held-out rows back through the inverse of the noise-free dynamics and prints "
             "their log\n"
             "likelihood in nats (images: bits per dimension too), what could not be inverted, the "
             "range of\n"
             "eigenvalues of s H, and exp(-E)/Z on the same rows. docs/density.md explains every "
             "number.",
    .examples = "  shortrun density toy.safetensors --output densities/\n"
                "  shortrun density fashion.safetensors --points 1000 --format json\n"
                "  shortrun density toy.safetensors --steps 40 --method series --probes 32\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
