// Metrics in words: titles, definitions and directions, as tables, figures and the page show them.
// The definitions are those of the quality module; nothing is computed here.
#include "report/report_internal.h"

#include <string.h>

const sr_metric_words sr_metric_list[] = {
    {"frechet", "Frechet distance",
     "Squared Frechet distance between Gaussian fits of data and samples in the features of the "
     "data "
     "set's classifier: |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)), covariances with n - 1 "
     "(Heusel "
     "et al. 2017). Its bias falls with n: compare only at equal n, and only in the same features.",
     -1},
    {"frechet_uniform", "Frechet distance of uniform noise",
     "The Frechet distance of uniform noise on [-1, 1] instead of samples, same n and features: "
     "what no "
     "model at all would score.",
     0},
    {"kid", "KID",
     "Unbiased squared maximum mean discrepancy with the kernel (x.y/D + 1)^3 in the same features "
     "(Binkowski et al. 2018), all rows as one subset. Unbiased: may be slightly negative.",
     -1},
    {"precision", "precision",
     "Share of samples that lie within the distance to the k-th neighbour of some data point, in "
     "the same "
     "features (Kynkaanniemi et al. 2019).",
     1},
    {"recall", "recall",
     "Share of data points that lie within the distance to the k-th neighbour of some sample "
     "(Kynkaanniemi "
     "et al. 2019).",
     1},
    {"density", "density",
     "Mean number of data balls (radius: k-th neighbour) that a sample lies in, divided by k "
     "(Naeem et al. "
     "2020). 1 is what data itself scores; more is possible.",
     1},
    {"coverage", "coverage",
     "Share of data balls (radius: k-th neighbour) that hold at least one sample (Naeem et al. "
     "2020).",
     1},
    {"kl", "KL(data || samples)",
     "Kullback-Leibler divergence in nats from histograms of data and of samples on an 80 x 80 "
     "grid over "
     "the data set's window, both smoothed by a Gaussian of deviation 0.1.",
     -1},
    {"kl_reverse", "KL(samples || data)",
     "The same histograms the other way round: large where samples lie where there is no data, "
     "blind to modes that are missed.",
     -1},
    {"kl_true", "KL(true density || samples)",
     "The histogram of samples against the true density, integrated over the same cells and "
     "smoothed "
     "in the same way.",
     -1},
    {"kl_true_reverse", "KL(samples || true density)",
     "The histogram of samples against the true density, the other way round.", -1},
    {"kl_gibbs", "KL(data || exp(-E)/Z)",
     "The same divergence, but of the Gibbs density exp(-E)/Z of the trained energy, normalised "
     "over the "
     "window by quadrature: what the energy says the density is, not what the sampler draws.",
     -1},
    {"modes_covered", "modes covered",
     "Modes that hold at least a fifth of their fair share of the samples within 3 standard "
     "deviations.",
     1},
    {"mode_count", "modes of the data", "Number of separate modes of the data's density.", 0},
    {"high_quality", "high-quality share",
     "Share of the samples that lie within 3 standard deviations of a mode (Srivastava et al. "
     "2017).",
     1},
    {"mmd2", "MMD^2",
     "Unbiased squared maximum mean discrepancy with a Gaussian kernel, bandwidth = median "
     "distance between "
     "data and samples. May be slightly negative.",
     -1},
    {"mmd2_rbf", "MMD^2",
     "Unbiased squared maximum mean discrepancy with a Gaussian kernel, bandwidth = median "
     "distance between "
     "data and samples. May be slightly negative.",
     -1},
    {"energy_distance", "energy distance",
     "2 mean d(x,y) - mean d(x,x') - mean d(y,y'), all pairs.", -1},
    {"sliced_w2", "sliced W2",
     "Root of the mean, over random directions and ranks, of squared differences between the "
     "sorted "
     "projections of data and samples.",
     -1},
    {"w2", "exact W2",
     "Wasserstein-2 distance of n data points and n samples: root of the least mean squared "
     "distance of any one-to-one pairing. Its bias falls with n, so compare only at equal n.",
     -1},
    {"one_nn_accuracy", "1-NN accuracy",
     "Leave-one-out accuracy of a nearest-neighbour test that tells samples from data (Lopez-Paz "
     "and Oquab "
     "2017); 0.5 is best.",
     0},
    {"class_entropy", "class entropy",
     "Entropy in nats of the mean class probabilities that the classifier gives to the samples; "
     "log of the "
     "number of classes (2.30 for 10) when all classes are drawn alike, low when the sampler has "
     "collapsed.",
     1},
    {"mean_abs_gap", "mean |energy gap|",
     "Mean of |E(data) - E(samples)| over the last tenth of the training iterations. Near 0 the "
     "energy no "
     "longer tells samples from data by its mean.",
     0},
    {NULL, NULL, NULL, 0}};

const sr_metric_words *sr_metric_describe(const char *name) {
    static _Thread_local sr_metric_words unknown;
    for (const sr_metric_words *words = sr_metric_list; words->name; words++) {
        if (strcmp(words->name, name) == 0)
            return words;
    }
    unknown = (sr_metric_words){name, name, "", 0};
    return &unknown;
}

const char *sr_metric_direction_words(int direction) {
    return direction < 0 ? "lower is better" : direction > 0 ? "higher is better" : "";
}
