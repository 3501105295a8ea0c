// shortrun profile: what a step of the dynamics costs, by layer and phase, against the machine's
// peaks. Every combination of the engines, precisions, threads, batches and steps that are named is
// measured.
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 16 // values of one list

typedef struct profile_values {
    const char *model, *engine, *precision, *threads, *batch, *steps, *output;
    uint64_t tile;
    double noise, seconds;
    bool training, retune;
    int format;
} profile_values;

typedef struct list {
    size_t count;
    uint64_t values[LIST_MAX];
} list;

// What varies.
typedef struct lists {
    list engines, precisions, threads, batches, steps;
} lists;

#define AT(field) CLI_AT(profile_values, field)

static const char *format_choice(int value) {
    return sr_profile_format_name((sr_profile_format)value);
}

static const cli_option table[] = {
    {.name = "model",
     .type = CLI_TEXT,
     .value = "TEXT",
     AT(model),
     .heading = "What is profiled",
     .help = "the network: without a file its weights are random, with one it is for files that do "
             "not describe it (a PyTorch state_dict)"},
    {.name = "noise",
     .type = CLI_NUMBER,
     .value = "SIGMA",
     AT(noise),
     .help = "noise scale sigma (default 0: noise-free)"},
    {.name = "tile",
     .type = CLI_COUNT,
     .value = "N",
     AT(tile),
     .high = 1e6,
     .help = "chains that a thread takes at a time (default: chosen)"},
    {.name = "training",
     .type = CLI_FLAG,
     AT(training),
     .help = "time iterations of training too, on noise in place of data"},
    CLI_RETUNE(AT(retune)),
    {.name = "engine",
     .type = CLI_TEXT,
     .value = "LIST",
     AT(engine),
     .choice = cli_engine_choice,
     .choices = SR_ENGINE_COUNT,
     .heading = "Combinations (values separated by commas; every combination is measured)",
     .help = "auto, scalar, native, onednn; or all (default auto)"},
    {.name = "precision",
     .type = CLI_TEXT,
     .value = "LIST",
     AT(precision),
     .choice = cli_precision_choice,
     .choices = SR_PRECISION_COUNT,
     .help = "fp32, bf16, bf16x3; or all (default fp32)"},
    {.name = "threads",
     .letter = 't',
     .type = CLI_TEXT,
     .value = "LIST",
     AT(threads),
     .help = "threads (default: all of the machine's)"},
    {.name = "batch",
     .letter = 'b',
     .type = CLI_TEXT,
     .value = "LIST",
     AT(batch),
     .help = "chains (default 64)"},
    {.name = "steps",
     .letter = 'K',
     .type = CLI_TEXT,
     .value = "LIST",
     AT(steps),
     .help = "steps K of a run (default 20)"},
    {.name = "seconds",
     .type = CLI_NUMBER,
     .value = "S",
     AT(seconds),
     .open_low = true,
     .high = 3600,
     .heading = "Measurement and output",
     .help = "about so long each thing is measured (default 1)"},
    {.name = "format",
     .letter = 'f',
     .type = CLI_CHOICE,
     AT(format),
     .choice = format_choice,
     .choices = SR_PROFILE_FORMAT_COUNT,
     .help = "of what is printed (default text)"},
    {.name = "output",
     .letter = 'o',
     .type = CLI_TEXT,
     .value = "FOLDER",
     AT(output),
     .words = CLI_WORDS_FOLDER,
     .help = "also write profile.json, profile.csv, rooflines and bars of time there"},
};

// ---- lists --------------------------------------------------------------------------------------

// The next word before a comma; false at the end.
static bool next_word(const char **rest, char *word, size_t size) {
    if (!*rest)
        return false;
    const size_t length = strcspn(*rest, ",");
    snprintf(word, size, "%.*s", (int)(length < size ? length : size - 1), *rest);
    *rest = (*rest)[length] == ',' ? *rest + length + 1 : NULL;
    return true;
}

// A value that is there already is not measured twice.
static int list_add(const cli_command *command, const char *option, list *out, uint64_t value) {
    for (size_t i = 0; i < out->count; i++)
        if (out->values[i] == value)
            return CLI_GO;
    if (out->count == LIST_MAX)
        return cli_usage(command, "--%s has more than %d values", option, LIST_MAX);
    out->values[out->count++] = value;
    return CLI_GO;
}

static int read_counts(const cli_command *command, const char *option, const char *text,
                       unsigned long long high, list *out) {
    char word[32];
    int status = CLI_GO;
    while (status == CLI_GO && next_word(&text, word, sizeof word)) {
        char *end = NULL;
        errno = 0;
        const unsigned long long value = strtoull(word, &end, 10);
        if (word[0] < '0' || word[0] > '9' || *end || errno || value < 1 || value > high)
            return cli_usage(command,
                             "--%s: '%s', expected whole numbers from 1 to %llu, separated by "
                             "commas",
                             option, word, high);
        status = list_add(command, option, out, value);
    }
    return status;
}

// Names of choices; "all" means those from number `first` on.
static int read_names(const cli_command *command, const char *option, const char *text, int first,
                      int choices, const char *(*choice)(int value), list *out) {
    char word[32];
    int status = CLI_GO;
    while (status == CLI_GO && next_word(&text, word, sizeof word)) {
        const bool all = strcmp(word, "all") == 0;
        bool known = all;
        for (int i = 0; i < choices && status == CLI_GO; i++) {
            const bool named = strcmp(word, choice(i)) == 0;
            known = known || named;
            if (named || (all && i >= first))
                status = list_add(command, option, out, (uint64_t)i);
        }
        if (!known) {
            sr_text names = {0};
            for (int i = 0; i < choices; i++)
                sr_text_append(&names, "%s, ", choice(i));
            status = cli_usage(command, "--%s: '%s', expected %sall or a list of them", option,
                               word, sr_text_string(&names));
            sr_text_clear(&names);
        }
    }
    return status;
}

static int read_lists(const cli_command *command, const profile_values *v, lists *out) {
    *out = (lists){0};
    int status = read_names(command, "engine", v->engine ? v->engine : "auto", SR_ENGINE_SCALAR,
                            SR_ENGINE_COUNT, cli_engine_choice, &out->engines);
    if (status == CLI_GO)
        status = read_names(command, "precision", v->precision ? v->precision : "fp32", SR_FP32,
                            SR_PRECISION_COUNT, cli_precision_choice, &out->precisions);
    if (status == CLI_GO && v->threads)
        status = read_counts(command, "threads", v->threads, 4096, &out->threads);
    if (!v->threads)
        out->threads = (list){1, {sr_threads_resolve(0)}};
    if (status == CLI_GO)
        status = read_counts(command, "batch", v->batch ? v->batch : "64", 1000000, &out->batches);
    if (status == CLI_GO)
        status = read_counts(command, "steps", v->steps ? v->steps : "20", 1000000, &out->steps);
    return status;
}

// ---- measuring ----------------------------------------------------------------------------------

// Number i of all combinations; the last list varies fastest.
static void choose(const lists *l, size_t i, sr_profile_case *of) {
    of->steps = l->steps.values[i % l->steps.count];
    i /= l->steps.count;
    of->batch = l->batches.values[i % l->batches.count];
    i /= l->batches.count;
    of->threads = (unsigned)l->threads.values[i % l->threads.count];
    i /= l->threads.count;
    of->precision = (sr_precision)l->precisions.values[i % l->precisions.count];
    i /= l->precisions.count;
    of->engine = (sr_engine)l->engines.values[i];
}

static sr_status measure_one(const sr_profile_case *of, size_t i, size_t total, sr_profile *out) {
    char detail[160];
    snprintf(detail, sizeof detail, "%zu/%zu %s %s, threads %u, batch %zu, K = %zu", i + 1, total,
             sr_engine_name(of->engine), sr_precision_name(of->precision), of->threads, of->batch,
             of->steps);
    sr_monitor_progress(cli_monitor(), "profile", detail, (double)i, (double)total);
    const sr_status status = sr_profile_run(of, cli_monitor(), out);
    if (status != SR_ERROR_UNSUPPORTED)
        return status;
    snprintf(out->skipped, sizeof out->skipped, "%s", sr_error_message());
    return SR_OK;
}

// profiles: (total). What cannot be run here is skipped, unless it is all there is.
static sr_status measure(const profile_values *v, const lists *l, const sr_net *net,
                         const float *theta, size_t total, sr_profile *profiles) {
    size_t measured = 0;
    sr_profile_case of = sr_profile_case_default(net);
    of.theta = theta;
    of.noise = v->noise;
    of.tile = v->tile;
    of.training = v->training;
    of.seconds = v->seconds;
    sr_status status = SR_OK;
    for (size_t i = 0; i < total && status == SR_OK; i++) {
        choose(l, i, &of);
        status = measure_one(&of, i, total, &profiles[i]);
        measured += !profiles[i].skipped[0];
    }
    sr_monitor_progress(cli_monitor(), "profile", "", (double)total, (double)total);
    cli_progress_clear();
    if (status == SR_OK && measured == 0)
        status = sr_fail(SR_ERROR_UNSUPPORTED, "nothing was measured: %s", profiles[0].skipped);
    return status;
}

static sr_status print_and_write(const profile_values *v, const sr_profile *profiles,
                                 size_t total) {
    sr_text text = {0};
    sr_status status = sr_profile_print(profiles, total, (sr_profile_format)v->format, &text);
    if (status == SR_OK)
        fputs(sr_text_string(&text), stdout);
    sr_text_clear(&text);
    if (status == SR_OK && v->output)
        status = sr_profile_write(v->output, profiles, total, cli_monitor());
    cli_progress_clear();
    if (status == SR_OK && v->output && v->format == SR_PROFILE_TEXT)
        printf("\nprofile and figures: %s\n", v->output);
    return status;
}

static sr_status profile(const profile_values *v, const lists *l, const sr_net *net,
                         const float *theta) {
    const size_t total = l->engines.count * l->precisions.count * l->threads.count *
                         l->batches.count * l->steps.count;
    sr_profile *profiles = sr_alloc(total, sizeof *profiles);
    if (!profiles)
        return SR_ERROR_MEMORY;
    sr_status status = v->output ? sr_folder_make(v->output) : SR_OK; // before the work
    if (status == SR_OK)
        status = measure(v, l, net, theta, total, profiles);
    if (status == SR_OK)
        status = print_and_write(v, profiles, total);
    sr_free(profiles);
    return status;
}

static int run(const cli_command *command, int argc, char **argv) {
    profile_values v = {.seconds = 1};
    cli_parsed parsed;
    lists l;
    sr_net net;
    float *theta = NULL;
    int parse = cli_parse(command, argc, argv, &v, &parsed);
    if (parse == CLI_GO)
        parse = read_lists(command, &v, &l);
    if (parse != CLI_GO)
        return parse;
    if (parsed.operand_count == 0 && !v.model)
        return cli_usage(command, "expected MODEL.safetensors or --model TEXT");
    if (v.retune)
        sr_tuning_forget();
    cli_catch_signals();
    sr_status status = parsed.operand_count > 0
                           ? cli_model_load(parsed.operands[0], v.model, &net, &theta, NULL)
                           : sr_net_parse(v.model, &net);
    if (status == SR_OK)
        status = profile(&v, &l, &net, theta);
    sr_free(theta);
    return cli_status(status);
}

const cli_command cli_profile_command = {
    .name = "profile",
    .summary = "what a step costs: by layer and phase, against the machine's peaks",
    .operands = "[MODEL.safetensors]",
    .least = 0,
    .most = 1,
    .words = CLI_WORDS_FILE,
    .about = "Times a step of the dynamics on a batch, the passes of every layer, and the measured "
             "peaks of\n"
             "arithmetic and of the L2 cache. Combinations that this machine or build cannot run "
             "are listed as\n"
             "skipped. docs/profiling.md explains the numbers.",
    .examples =
        "  shortrun profile --model convnet:channels=1,size=32,nf=32,activation=silu\n"
        "  shortrun profile model.safetensors --engine all --precision fp32,bf16 --threads 1,2\n"
        "  shortrun profile model.safetensors --training --format json\n"
        "  shortrun profile model.safetensors --output profile    # with rooflines\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
