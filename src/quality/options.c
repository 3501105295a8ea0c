// Options of the metrics, and the constants of the packages whose numbers papers print.
//
// From the packages' sources:
//   torch-fidelity 0.4.0 (defaults.py, metric_*.py): KID of 100 subsets of 1,000 rows, an error
//   when there are fewer; precision and recall with k = 3 and <= (Kynkaanniemi et al. 2019);
//   inception score over 10 splits; covariances with n - 1.
//   clean-fid 0.1.35 (fid.py): KID of 100 subsets of min(n, m, 1000) rows; Frechet distance.
//   prdc 0.2 (prdc.py; k = 5 in its README and paper): <.
//   dgm-eval (metrics/*.py): KID ("kd") of 100 subsets of min(n, m, 1000); prdc with k = 5, <;
//   Frechet distance at infinity from 15 sizes, evenly from min(5000, n / 10) to n, shuffled anew
//   for each size; Vendi score with the cosine kernel, order 1.
//   FID at infinity in Chong and Forsyth's own code starts at 5,000 rows; `shortrun` does so too,
//   and at half of the rows where there are fewer than 10,000, since the line in 1/n only holds
//   while n is large against the dimension.
#include "metrics.h"

#include <string.h>

#define ALL (SR_BIT(SR_METRIC_COUNT) - 1)

static const char *const conventions[SR_CONVENTION_COUNT] = {
    [SR_CONVENTION_SHORTRUN] = "shortrun",   [SR_CONVENTION_TORCH_FIDELITY] = "torch-fidelity",
    [SR_CONVENTION_CLEAN_FID] = "clean-fid", [SR_CONVENTION_PRDC] = "prdc",
    [SR_CONVENTION_DGM_EVAL] = "dgm-eval",
};

const char *sr_convention_name(sr_convention convention) {
    return (unsigned)convention < SR_CONVENTION_COUNT ? conventions[convention] : "unknown";
}

sr_status sr_convention_parse(const char *name, sr_convention *out) {
    sr_text list = {0};
    for (int i = 0; i < SR_CONVENTION_COUNT; i++) {
        if (strcmp(name, conventions[i]) == 0) {
            *out = (sr_convention)i;
            sr_text_clear(&list);
            return SR_OK;
        }
        sr_text_append(&list, "%s%s", i ? ", " : "", conventions[i]);
    }
    sr_status status = sr_fail(SR_ERROR_ARGUMENT, "unknown convention '%s', expected one of %s",
                               name, sr_text_string(&list));
    sr_text_clear(&list);
    return status;
}

void sr_metric_options_default(sr_metric_options *options) {
    *options = (sr_metric_options){.which = ALL,
                                   .k = 5,
                                   .kid_subsets = 100,
                                   .kid_subset_size = 1000,
                                   .kid_subset_clamp = true,
                                   .frechet_sizes = 15,
                                   .frechet_least_share = 0.5,
                                   .inception_splits = 10,
                                   .projection_count = 128};
}

void sr_convention_apply(sr_convention convention, sr_metric_options *options) {
    options->k = convention == SR_CONVENTION_TORCH_FIDELITY ? 3 : 5;
    options->non_strict = convention == SR_CONVENTION_TORCH_FIDELITY;
    options->kid_subsets = 100;
    options->kid_subset_size = 1000;
    options->kid_subset_clamp = convention != SR_CONVENTION_TORCH_FIDELITY;
    options->frechet_sizes = 15;
    options->frechet_least_share = convention == SR_CONVENTION_DGM_EVAL ? 0.1 : 0.5;
    options->inception_splits = 10;
}

uint32_t sr_convention_metrics(sr_convention convention) {
    const uint32_t manifold = SR_BIT(SR_PRECISION) | SR_BIT(SR_RECALL);
    switch (convention) {
    case SR_CONVENTION_TORCH_FIDELITY:
        return SR_BIT(SR_FRECHET) | SR_BIT(SR_KID_SUBSETS) | manifold;
    case SR_CONVENTION_CLEAN_FID:
        return SR_BIT(SR_FRECHET) | SR_BIT(SR_KID_SUBSETS);
    case SR_CONVENTION_PRDC:
        return SR_NEIGHBOUR_METRICS;
    case SR_CONVENTION_DGM_EVAL:
        return SR_BIT(SR_FRECHET) | SR_BIT(SR_FRECHET_INFINITY) | SR_BIT(SR_KID_SUBSETS) |
               SR_NEIGHBOUR_METRICS | SR_BIT(SR_VENDI);
    case SR_CONVENTION_SHORTRUN:
    case SR_CONVENTION_COUNT:
        break;
    }
    return ALL;
}

static void describe_sums(const sr_metric_options *o, sr_text *text) {
    if (o->which & SR_BIT(SR_KID))
        sr_text_append(text, "kid: (x.y/D + 1)^3, unbiased, all rows\n");
    if (o->which & SR_BIT(SR_KID_SUBSETS))
        sr_text_append(text, "kid_subsets: (x.y/D + 1)^3, unbiased, %zu subsets of %zu rows%s\n",
                       o->kid_subsets, o->kid_subset_size, o->kid_subset_clamp ? " (or all)" : "");
    if (o->which & SR_BIT(SR_MMD2_RBF)) {
        sr_text_append(text, "mmd2_rbf: unbiased, bandwidth ");
        if (o->bandwidth > 0)
            sr_text_append(text, "%g", o->bandwidth);
        else
            sr_text_append(text, "the median distance");
        for (size_t b = 0; b < o->bandwidth_count; b++)
            sr_text_append(text, ", %g", o->bandwidths[b]);
        sr_text_append(text, "\n");
    }
    if (o->which & SR_BIT(SR_ENERGY_DISTANCE))
        sr_text_append(text, "energy_distance: all pairs, the diagonal included\n");
}

void sr_metric_options_describe(const sr_metric_options *o, sr_text *text) {
    if (o->which & SR_BIT(SR_FRECHET))
        sr_text_append(text, "frechet: squared, covariances with n - 1, eigenvalues, no offset\n");
    if (o->which & SR_BIT(SR_FRECHET_INFINITY))
        sr_text_append(
            text,
            "frechet_infinity: %zu sizes of fake rows from min(5000, %g n) to n, line in "
            "1/n\n",
            o->frechet_sizes, o->frechet_least_share);
    if (o->which & SR_NEIGHBOUR_METRICS)
        sr_text_append(text, "precision, recall, density, coverage: k %zu, distance %s radius\n",
                       o->k, o->non_strict ? "<=" : "<");
    describe_sums(o, text);
    if (o->which & SR_BIT(SR_SLICED_W2))
        sr_text_append(text, "sliced_w2: %zu projections, first min(n, m) rows\n",
                       o->projection_count);
    if (o->which & SR_BIT(SR_ONE_NN_ACCURACY))
        sr_text_append(text, "one_nn_accuracy: leave-one-out, first min(n, m) rows\n");
    if (o->which & SR_BIT(SR_VENDI))
        sr_text_append(text, "vendi: cosine kernel, order 1, fake rows\n");
    if (o->which & SR_BIT(SR_C2ST_ACCURACY))
        sr_text_append(text, "c2st_accuracy: logistic, half of the rows held out\n");
    sr_text_append(text, "inception score: %zu splits; seed %llu\n", o->inception_splits,
                   (unsigned long long)o->seed);
}
