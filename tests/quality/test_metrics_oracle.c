// Every metric against values computed by NumPy and SciPy in double precision
// (scripts/make_oracle.py): all files metrics_*.safetensors of the oracle folder.
#include <shortrun/quality.h>

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define TOLERANCE 1e-6

static const char *oracle_folder(void) {
    const char *folder = getenv("SHORTRUN_ORACLE_DIR");
    return folder && *folder ? folder : SR_ORACLE_DIR;
}

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

static const sr_array *tensor(const sr_tensors *file, const char *name) {
    const sr_array *array = sr_tensors_find(file, name);
    if (!array)
        fail_msg("no tensor %s", name);
    return array;
}

static double meta(const sr_tensors *file, const char *key) {
    const char *text = sr_tensors_meta(file, key);
    if (!text)
        fail_msg("no metadata %s", key);
    return text ? strtod(text, NULL) : NAN;
}

static bool near(double found, double expected) {
    return fabs(found - expected) <= TOLERANCE * fabs(expected);
}

static void check_file(const char *path) {
    sr_tensors *file = NULL;
    must(sr_tensors_load(path, &file));
    const sr_array *real = tensor(file, "real"), *fake = tensor(file, "fake");
    const sr_array *projections = tensor(file, "projections");
    sr_metric_options options;
    sr_metric_options_default(&options);
    options.k = (size_t)meta(file, "k");
    options.bandwidth = meta(file, "sigma");
    options.projection_count = projections->shape[0];
    options.projections = projections->data;
    assert_int_equal(real->shape[1], fake->shape[1]);
    assert_int_equal(projections->shape[1], real->shape[1]);
    sr_metric_values values;
    int checked = 0;
    must(sr_metrics(real->shape[0], real->data, fake->shape[0], fake->data, real->shape[1],
                    &options, &values));
    for (int metric = 0; metric < SR_METRIC_COUNT; metric++) {
        char name[64];
        snprintf(name, sizeof name, "expect.%s", sr_metric_name((sr_metric)metric));
        const sr_array *expect = sr_tensors_find(file, name);
        if (!expect)
            continue;
        double expected = *(const double *)expect->data, found = values.value[metric];
        if (!near(found, expected))
            fail_msg("%s: %s is %.17g, expected %.17g", path, name, found, expected);
        checked++;
    }
    assert_true(checked >= 10); // the rest has other tests
    // The files' bandwidth is NumPy's median of all distances.
    options.bandwidth = 0;
    options.which = 1u << SR_MMD2_RBF;
    must(sr_metrics(real->shape[0], real->data, fake->shape[0], fake->data, real->shape[1],
                    &options, &values));
    if (!(fabs(values.bandwidth - meta(file, "sigma")) <= 1e-12 * values.bandwidth))
        fail_msg("%s: median %.17g, expected %.17g", path, values.bandwidth, meta(file, "sigma"));
    assert_true(isnan(values.value[SR_KID]));
    sr_tensors_destroy(file);
}

static void test_files(void **state) {
    struct dirent **entries = NULL;
    int count = scandir(oracle_folder(), &entries, NULL, alphasort), checked = 0;
    if (count < 0)
        fail_msg("%s: cannot be read", oracle_folder());
    for (int i = 0; i < count; i++) {
        if (strncmp(entries[i]->d_name, "metrics_", 8) == 0) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", oracle_folder(), entries[i]->d_name);
            check_file(path);
            checked++;
        }
        free(entries[i]);
    }
    free(entries);
    assert_true(checked >= 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
