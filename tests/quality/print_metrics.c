// For test_packages.py: print_metrics SET real|fake FILE.npy writes a set of metric_sets.h,
// print_metrics CONVENTION REAL.npy FAKE.npy prints a line "name value" for each metric, and
// print_metrics inception LOGITS.npy the inception score of all rows as one split.
#include "metric_sets.h"

#include <stdio.h>
#include <string.h>

static int complain(void) {
    fprintf(stderr, "print_metrics: %s\n", sr_error_message());
    return 1;
}

static int write_set(size_t number, bool fake, const char *path) {
    float *x = number < METRIC_SETS ? metric_set_rows(number, fake) : NULL;
    if (!x)
        return complain();
    const size_t shape[2] = {metric_sets[number].n, metric_sets[number].dim};
    sr_status status = sr_npy_save_f32(path, 2, shape, x);
    sr_free(x);
    return status == SR_OK ? 0 : complain();
}

static sr_status load(const char *path, size_t shape[2], float **x) {
    sr_array array = {0};
    sr_status status = sr_npy_load(path, &array);
    if (status == SR_OK)
        status = sr_array_to_f32(&array, x);
    for (int i = 0; i < 2 && status == SR_OK; i++)
        shape[i] = array.shape[i];
    sr_array_clear(&array);
    return status;
}

static int inception(const char *path) {
    size_t shape[2];
    float *x = NULL;
    sr_estimate score;
    sr_status status = load(path, shape, &x);
    if (status == SR_OK)
        status = sr_inception_score(shape[0], shape[1], x, 1, 0, &score, NULL);
    sr_free(x);
    if (status != SR_OK)
        return complain();
    printf("inception %.17g\n", score.value);
    return 0;
}

static int judge(const char *name, const char *real, const char *fake) {
    sr_metric_options options;
    sr_metric_values values;
    sr_convention convention;
    size_t a[2], b[2];
    float *x = NULL, *y = NULL;
    sr_metric_options_default(&options);
    sr_status status = sr_convention_parse(name, &convention);
    if (status == SR_OK)
        status = load(real, a, &x);
    if (status == SR_OK)
        status = load(fake, b, &y);
    if (status == SR_OK) {
        sr_convention_apply(convention, &options);
        options.which &= ~(1u << SR_KID_SUBSETS);
        status = sr_metrics(a[0], x, b[0], y, a[1], &options, &values);
    }
    sr_free(x);
    sr_free(y);
    if (status != SR_OK)
        return complain();
    for (int m = 0; m < SR_METRIC_COUNT; m++)
        printf("%s %.17g\n", sr_metric_name((sr_metric)m), values.value[m]);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "inception") == 0)
        return inception(argv[2]);
    if (argc != 4)
        return 2;
    if (argv[1][0] >= '0' && argv[1][0] <= '9')
        return write_set((size_t)(argv[1][0] - '0'), strcmp(argv[2], "fake") == 0, argv[3]);
    return judge(argv[1], argv[2], argv[3]);
}
