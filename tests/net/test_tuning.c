// Engine auto: what is measured is kept in the user's cache folder, taken from there, and begun
// anew where the file does not fit or makes no sense.
#include <shortrun/net.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { TILE = 16 };
static char folder[256], file[300];
static sr_net net;

// Where there is one candidate or none is measured, there is no file.
static bool measures(void) {
    return sr_engine_available(SR_ENGINE_ONEDNN) && sr_cpu_get()->active != SR_ISA_SCALAR;
}

static int prepare(void **state) {
    snprintf(folder, sizeof folder, "/tmp/shortrun-tuning-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    setenv("XDG_CACHE_HOME", folder, 1);
    snprintf(file, sizeof file, "%s/shortrun/tuning.txt", folder);
    return sr_net_parse("convnet:channels=1,size=12,nf=4,activation=silu", &net) == SR_OK ? 0 : -1;
}

static int clean(void **state) {
    char made[300];
    unlink(file);
    snprintf(made, sizeof made, "%s/shortrun", folder);
    rmdir(made);
    return rmdir(folder);
}

// The engines that auto takes, with a memory that is only the file.
static void engines_of_auto(sr_engine *engines) {
    sr_plan *plan;
    assert_int_equal(sr_plan_create(&net, TILE, SR_ENGINE_AUTO, SR_FP32, &plan), SR_OK);
    assert_int_equal(sr_plan_engine(plan), SR_ENGINE_AUTO);
    memcpy(engines, sr_plan_engines(plan), net.layer_count * sizeof *engines);
    for (size_t l = 0; l < net.layer_count; l++)
        assert_true(engines[l] == SR_ENGINE_NATIVE || engines[l] == SR_ENGINE_ONEDNN);
    sr_plan_destroy(plan);
}

static char *contents(void) {
    void *bytes;
    size_t size;
    assert_int_equal(sr_file_read(file, 0, &bytes, &size), SR_OK);
    return bytes;
}

// Writes a file and makes the process forget what it knows of the last one.
static void replace(const char *text, size_t size) {
    sr_tuning_reload();
    assert_int_equal(sr_file_write(file, text, size), SR_OK);
}

static void measurements_are_kept(void **state) {
    sr_engine first[SR_MAX_LAYERS], second[SR_MAX_LAYERS];
    if (!measures())
        skip();
    engines_of_auto(first);
    char *before = contents();
    assert_non_null(strstr(before, "conv 1x12x12 to 4 kernel 3x3 stride 1 padding 1 silu, 16 rows, "
                                   "fp32, native\t"));
    assert_non_null(strstr(before, "fp32, onednn\t"));
    sr_tuning_reload();
    engines_of_auto(second);
    assert_memory_equal(first, second, net.layer_count * sizeof *first);
    char *after = contents();
    assert_string_equal(before, after); // nothing was measured again
    sr_free(before);
    sr_free(after);
}

// The file with one engine's numbers of one layer replaced.
static char *changed(const char *text, const char *layer, const char *engine, const char *numbers) {
    sr_text out = {0};
    char *copy = sr_strdup(text), *next = NULL;
    size_t hits = 0;
    for (char *line = strtok_r(copy, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
        char *tab = strchr(line, '\t');
        const bool hit = tab && strncmp(line, layer, strlen(layer)) == 0 && strstr(line, engine);
        hits += hit;
        if (hit)
            sr_text_append(&out, "%.*s\t%s\n", (int)(tab - line), line, numbers);
        else
            sr_text_append(&out, "%s\n", line);
    }
    sr_free(copy);
    assert_int_equal(hits, 1);
    return out.data;
}

static void the_file_decides_layer_by_layer(void **state) {
    sr_engine engines[SR_MAX_LAYERS];
    if (!measures())
        skip();
    engines_of_auto(engines);
    char *text = contents();
    static const char *const layers[] = {"conv 1x12x12", "conv 4x12x12", "conv 8x6x6",
                                         "conv 16x3x3"};
    for (size_t l = 0; l < 4; l++) { // native fast everywhere, but in layer 1
        char *a = changed(text, layers[l], "native", l == 1 ? "9e9 9e9 9e9" : "1 1 1");
        char *b = changed(a, layers[l], "onednn", l == 1 ? "1 1 1" : "9e9 9e9 9e9");
        sr_free(text);
        sr_free(a);
        text = b;
    }
    replace(text, strlen(text));
    engines_of_auto(engines);
    const sr_engine expected[] = {SR_ENGINE_NATIVE, SR_ENGINE_ONEDNN, SR_ENGINE_NATIVE,
                                  SR_ENGINE_NATIVE};
    assert_memory_equal(engines, expected, sizeof expected);
    sr_free(text);
}

static void strange_files_are_begun_anew(void **state) {
    sr_engine engines[SR_MAX_LAYERS];
    if (!measures())
        skip();
    static const char *const texts[] = {
        "", "\n\n\n", "shortrun 9.9.9 tuning, another machine\nconv\t1 2 3\n", "\x01\x02\xff\xfe"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        replace(texts[i], strlen(texts[i]));
        engines_of_auto(engines);
        char *now = contents();
        assert_true(strncmp(now, "shortrun ", 9) == 0);
        assert_null(strstr(now, "another machine"));
        sr_free(now);
    }
    // lines that make no sense under a good first line
    char *good = contents();
    sr_text text = {0};
    sr_text_append(&text,
                   "%.*s\nnonsense\nconv 1x12x12\tx y z\n\t1 2 3\nconv\t-1 2 3\n"
                   "conv\tnan 1 1\nconv\t1e300 1 1\n",
                   (int)strcspn(good, "\n"), good);
    for (size_t i = 0; i < 5000; i++) // more than are remembered
        sr_text_append(&text, "line %zu\t1 2 3\n", i);
    replace(sr_text_string(&text), text.length);
    engines_of_auto(engines);
    sr_text_clear(&text);
    sr_free(good);
}

static void forgetting_removes_the_file(void **state) {
    sr_engine engines[SR_MAX_LAYERS];
    if (!measures())
        skip();
    engines_of_auto(engines);
    sr_tuning_forget();
    assert_false(sr_file_exists(file));
    engines_of_auto(engines);
    assert_true(sr_file_exists(file));
}

// Without a place for the file all works, and is measured by each process.
static void no_folder_is_no_error(void **state) {
    sr_engine engines[SR_MAX_LAYERS];
    setenv("XDG_CACHE_HOME", "/proc/nowhere", 1);
    sr_tuning_reload();
    engines_of_auto(engines);
    setenv("XDG_CACHE_HOME", folder, 1);
    sr_tuning_reload();
}

static void names_of_engines(void **state) {
    const sr_engine engines[] = {SR_ENGINE_NATIVE, SR_ENGINE_ONEDNN, SR_ENGINE_SCALAR};
    sr_engine found[3];
    sr_text text = {0};
    sr_engines_format(engines, 3, &text);
    assert_string_equal(sr_text_string(&text), "native,onednn,scalar");
    assert_int_equal(sr_engines_parse(sr_text_string(&text), 3, found), SR_OK);
    assert_memory_equal(engines, found, sizeof found);
    sr_text_clear(&text);
    static const char *const bad[] = {"",
                                      "native",
                                      "native,native,native,native",
                                      "native,,native",
                                      "native,native,auto",
                                      "native,native,blas",
                                      "native,native,a_very_long_name_of_an_engine"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sr_engines_parse(bad[i], 3, found), SR_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measurements_are_kept),
        cmocka_unit_test(the_file_decides_layer_by_layer),
        cmocka_unit_test(strange_files_are_begun_anew),
        cmocka_unit_test(forgetting_removes_the_file),
        cmocka_unit_test(no_folder_is_no_error),
        cmocka_unit_test(names_of_engines),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
