// Scores beside those of pytorch-fid 0.3.0, torch-fidelity 0.4.0 and prdc 0.2, as test_packages.py
// --table printed them for the sets of metric_sets.h: for machines without the packages.
#include "metric_sets.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

typedef struct stored {
    size_t set;
    const char *package, *convention, *name;
    double value;
} stored;

static const stored table[] = {
    {0, "pytorch-fid", "shortrun", "frechet", 1.502105135124424},
    {0, "prdc", "prdc", "precision", 0.9166666666666666},
    {0, "prdc", "prdc", "recall", 0.8633333333333333},
    {0, "prdc", "prdc", "density", 1.058},
    {0, "prdc", "prdc", "coverage", 0.9733333333333334},
    {0, "torch-fidelity", "torch-fidelity", "frechet", 1.5021051351243955},
    {0, "torch-fidelity", "torch-fidelity", "kid", 0.15109726715486982},
    {0, "torch-fidelity", "torch-fidelity", "precision", 0.8399999737739563},
    {0, "torch-fidelity", "torch-fidelity", "recall", 0.8266666531562805},
    {0, "torch-fidelity", "inception", "inception", 2.3554664239934358},
    {1, "pytorch-fid", "shortrun", "frechet", 4.596891353956096},
    {1, "prdc", "prdc", "precision", 0.895},
    {1, "prdc", "prdc", "recall", 0.93},
    {1, "prdc", "prdc", "density", 0.81},
    {1, "prdc", "prdc", "coverage", 0.9325},
    {1, "torch-fidelity", "torch-fidelity", "frechet", 4.596891353956181},
    {1, "torch-fidelity", "torch-fidelity", "kid", 0.07615376800472884},
    {1, "torch-fidelity", "torch-fidelity", "precision", 0.8224999904632568},
    {1, "torch-fidelity", "torch-fidelity", "recall", 0.862500011920929},
    {1, "torch-fidelity", "inception", "inception", 2.683372085863793},
    {2, "pytorch-fid", "shortrun", "frechet", 93.78402144311877},
    {2, "prdc", "prdc", "precision", 0.85},
    {2, "prdc", "prdc", "recall", 0.945},
    {2, "prdc", "prdc", "density", 0.789},
    {2, "prdc", "prdc", "coverage", 0.965},
    {2, "torch-fidelity", "torch-fidelity", "frechet", 93.7840215017934},
    {2, "torch-fidelity", "torch-fidelity", "kid", 0.046971598057258035},
    {2, "torch-fidelity", "torch-fidelity", "precision", 0.7350000143051147},
    {2, "torch-fidelity", "torch-fidelity", "recall", 0.8500000238418579},
    {2, "torch-fidelity", "inception", "inception", 2.9683904399277097},
};

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

static double ours(const stored *s, const float *real, const float *fake) {
    const metric_set *set = &metric_sets[s->set];
    sr_metric_options options;
    sr_metric_values values;
    sr_convention convention;
    sr_metric metric;
    if (strcmp(s->name, "inception") == 0) {
        sr_estimate score;
        must(sr_inception_score(set->n, set->dim, fake, 1, 0, &score, NULL));
        return score.value;
    }
    must(sr_convention_parse(s->convention, &convention));
    must(sr_metric_parse(s->name, &metric));
    sr_metric_options_default(&options);
    sr_convention_apply(convention, &options);
    options.which = 1u << metric;
    must(sr_metrics(set->n, real, set->n, fake, set->dim, &options, &values));
    return values.value[metric];
}

static void test_values(void **state) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        float *real = metric_set_rows(table[i].set, false),
              *fake = metric_set_rows(table[i].set, true);
        assert_non_null(real);
        assert_non_null(fake);
        double found = ours(&table[i], real, fake), expected = table[i].value;
        double tolerance = strcmp(table[i].name, "frechet") == 0 ? 1e-4 : 1e-6;
        if (!(fabs(found - expected) <= tolerance * fabs(expected)))
            fail_msg("set %zu: %s is %.12g, %s says %.12g", table[i].set, table[i].name, found,
                     table[i].package, expected);
        sr_free(real);
        sr_free(fake);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
