// shortrun info: what this program and this machine are, and which data it finds.
#include "cli/cli.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct info_values {
    bool json;
    const char *data;
    uint64_t threads;
} info_values;

static const cli_option table[] = {
    {.name = "json", .type = CLI_FLAG, CLI_AT(info_values, json), .help = "print JSON"},
    {.name = "data",
     .type = CLI_TEXT,
     .value = "FOLDER",
     CLI_AT(info_values, data),
     .words = CLI_WORDS_FOLDER,
     .help = "look for data sets here first"},
    {.name = "threads",
     .type = CLI_COUNT,
     .value = "N",
     CLI_AT(info_values, threads),
     .high = 4096,
     .help = "threads of the measured peak (default: all)"},
};

// Adds data sets that lie in files, with the folder where they were found or null.
static void add_data(json_t *root, const char *folder) {
    json_t *sets = json_object();
    for (const char *const *name = sr_dataset_names(); *name; name++) {
        sr_toy toy;
        char where[1024];
        if (sr_toy_parse(*name, &toy) == SR_OK)
            json_object_set_new(sets, *name, json_string("synthetic"));
        else if (sr_dataset_find(*name, folder, where, sizeof where))
            json_object_set_new(sets, *name, json_string(where));
        else
            json_object_set_new(sets, *name, json_null());
    }
    json_object_set_new(root, "data", sets);
}

static void add_features(json_t *root) {
    json_t *features = json_object();
    for (const char *const *name = sr_dataset_names(); *name; name++) {
        sr_toy toy;
        char path[1024];
        sr_classifier *classifier = NULL;
        if (sr_toy_parse(*name, &toy) == SR_OK ||
            sr_classifier_find(*name, path, sizeof path) != SR_OK ||
            sr_classifier_load(path, SR_ENGINE_AUTO, 1, &classifier) != SR_OK)
            continue;
        const double accuracy = sr_classifier_accuracy(classifier);
        json_object_set_new(features, *name,
                            json_pack("{s:s, s:s, s:o}", "file", path, "hash",
                                      sr_classifier_hash(classifier), "accuracy",
                                      isfinite(accuracy) ? json_real(accuracy) : json_null()));
        sr_classifier_destroy(classifier);
    }
    json_object_set_new(root, "features", features);
}

static json_t *collect(const info_values *v) {
    const sr_cpu *cpu = sr_cpu_get();
    const unsigned threads = sr_threads_resolve((unsigned)v->threads);
    json_t *engines = json_object();
    for (int i = SR_ENGINE_SCALAR; i < SR_ENGINE_COUNT; i++) {
        const sr_engine engine = (sr_engine)i;
        if (sr_engine_available(engine))
            json_object_set_new(engines, sr_engine_name(engine),
                                json_string(sr_engine_version(engine)));
    }
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:s, "
        "s:o}",
        "version", SR_VERSION, "cpu", cpu->brand, "isa_best", sr_isa_name(cpu->best), "isa_active",
        sr_isa_name(cpu->active), "avx512_bf16", cpu->avx512_bf16, "amx_bf16", cpu->amx_bf16,
        "l1d_bytes", (json_int_t)cpu->l1d, "l2_bytes", (json_int_t)cpu->l2, "l3_bytes",
        (json_int_t)cpu->l3, "cores", (json_int_t)cpu->cores, "threads", (json_int_t)cpu->threads,
        "memory_bytes", (json_int_t)cpu->memory, "peak_threads", (json_int_t)threads, "peak_gflops",
        sr_peak_gflops(threads), "peak_bf16_gflops", sr_peak_bf16_gflops(threads), "peak_l2_gbs",
        sr_peak_l2_gbs(threads), "engine_auto", "native or onednn, by layer", "engines", engines);
    if (root) {
        const char *w2 = sr_toy_w2_library();
        json_object_set_new(root, "exact_w2", w2 ? json_string(w2) : json_null());
        add_data(root, v->data);
        add_features(root);
    }
    return root;
}

static double number(const json_t *root, const char *key) {
    return json_number_value(json_object_get(root, key));
}

static const char *string(const json_t *root, const char *key) {
    const char *text = json_string_value(json_object_get(root, key));
    return text ? text : "";
}

static void print_sets(json_t *root) {
    const char *name;
    json_t *value;
    printf("data        2-D:");
    json_object_foreach(json_object_get(root, "data"), name, value) {
        if (json_is_string(value) && strcmp(json_string_value(value), "synthetic") == 0)
            printf(" %s", name);
    }
    putchar('\n');
    json_object_foreach(json_object_get(root, "data"), name, value) {
        if (!json_is_string(value))
            printf("            %s: not found (--data FOLDER or SHORTRUN_DATA says where it is)\n",
                   name);
        else if (strcmp(json_string_value(value), "synthetic") != 0)
            printf("            %s: %s\n", name, json_string_value(value));
    }
    bool first = true;
    json_object_foreach(json_object_get(root, "features"), name, value) {
        printf("%-12s%s: %s (", first ? "features" : "", name, string(value, "file"));
        if (json_is_real(json_object_get(value, "accuracy")))
            printf("test accuracy %.1f%%, ", 100.0 * number(value, "accuracy"));
        printf("hash %.8s)\n", string(value, "hash"));
        first = false;
    }
    if (first)
        printf("features    none found; shortrun features DATASET --output FILE trains one\n");
}

static void print_text(json_t *root) {
    const char *name;
    json_t *value;
    printf("shortrun    %s\n", string(root, "version"));
    printf("CPU         %s\n", string(root, "cpu"));
    printf("ISA         %s (best of this machine: %s)%s%s\n", string(root, "isa_active"),
           string(root, "isa_best"), sr_cpu_get()->avx512_bf16 ? ", avx512_bf16" : "",
           sr_cpu_get()->amx_bf16 ? ", amx_bf16" : "");
    if (sr_cpu_get()->isa_name_unknown)
        printf("            SHORTRUN_ISA holds an unknown name and is ignored\n");
    printf("cores       %.0f (%.0f threads)\n", number(root, "cores"), number(root, "threads"));
    printf("caches      L1d %.0f KiB, L2 %.0f KiB, L3 %.0f KiB\n",
           number(root, "l1d_bytes") / 1024.0, number(root, "l2_bytes") / 1024.0,
           number(root, "l3_bytes") / 1024.0);
    printf("memory      %.1f GiB\n", number(root, "memory_bytes") / (1024.0 * 1024.0 * 1024.0));
    printf("FMA peak    %.0f GFLOP/s in fp32 with %.0f thread%s (measured)\n",
           number(root, "peak_gflops"), number(root, "peak_threads"),
           number(root, "peak_threads") == 1.0 ? "" : "s");
    printf("            %.0f GFLOP/s in bf16, %.0f GB/s from the L2\n",
           number(root, "peak_bf16_gflops"), number(root, "peak_l2_gbs"));
    printf("engines     ");
    bool first = true;
    json_object_foreach(json_object_get(root, "engines"), name, value) {
        const char *version = json_string_value(value);
        printf("%s%s%s%s", first ? "" : ", ", name, version[0] ? " " : "", version);
        first = false;
    }
    printf("; auto is %s\n", string(root, "engine_auto"));
    printf("exact W2    %s\n", json_is_string(json_object_get(root, "exact_w2"))
                                   ? string(root, "exact_w2")
                                   : "left out (built without LEMON; Debian: liblemon-dev)");
    print_sets(root);
}

static int run(const cli_command *command, int argc, char **argv) {
    info_values v = {0};
    cli_parsed parsed;
    const int status = cli_parse(command, argc, argv, &v, &parsed);
    if (status != CLI_GO)
        return status;
    json_t *root = collect(&v);
    if (!root)
        return cli_error("out of memory");
    if (v.json) {
        json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
    } else {
        print_text(root);
    }
    json_decref(root);
    return 0;
}

const cli_command cli_info_command = {
    .name = "info",
    .summary = "the CPU, the engines, and the data that is found",
    .operands = "",
    .about = "",
    .examples = "  shortrun info\n  shortrun info --json\n",
    .options = table,
    .option_count = sizeof table / sizeof *table,
    .run = run,
};
