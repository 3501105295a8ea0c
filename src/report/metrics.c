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

const sr_metric_words sr_density_metric_list[] = {
    {"ll_run", "log-likelihood of the short runs",
     "Mean log density, in nats, of held-out rows under the density of the cell's own short runs. "
     "Noise-free: log p_K(x) = log p_0(x_0) - sum_k log |det(I - s H(x_k))|, x carried back to its "
     "start x_0. With noise (2-D): its last noise integrated exactly, the rest averaged over "
     "50,000 "
     "runs.",
     1},
    {"ll_induced", "log-likelihood under the induced density",
     "The same under the density that the noise-free dynamics of the energy induce, also where the "
     "energy was trained with noise. Over the rows that could be inverted.",
     1},
    {"ll_gibbs", "log-likelihood under exp(-E)/Z",
     "The same rows under the Gibbs density exp(-E)/Z, normalised over the data set's window by "
     "quadrature.",
     1},
    {"ll_gibbs_t", "log-likelihood under exp(-E/T)/Z",
     "The same at the temperature of the noise, T = sigma^2 / (2 s), that Langevin dynamics would "
     "converge to.",
     1},
    {"ll_true", "log-likelihood under the true density", "The same rows under the true density.",
     0},
    {"run_gain", "gain over exp(-E)/Z",
     "Mean, row by row, of the log density under the cell's own short runs minus that under "
     "exp(-E)/Z: above 0 the short run fits the data better.",
     1},
    {"ll_gain", "gain of the induced density over exp(-E)/Z",
     "The same for the density that the noise-free dynamics induce.", 1},
    {"kl_density_run", "KL(data || short run)",
     "Mean, row by row, of the true log density minus that of the short runs.", -1},
    {"kl_density_induced", "KL(data || induced density)",
     "Mean, row by row, of the true log density minus the induced one.", -1},
    {"kl_density_gibbs", "KL(data || exp(-E)/Z), row by row",
     "Mean, row by row, of the true log density minus that of exp(-E)/Z.", -1},
    {"tv_induced", "total variation, induced",
     "Half the integral of |true density - induced density| over the window, on the grid.", -1},
    {"tv_gibbs", "total variation, exp(-E)/Z",
     "Half the integral of |true density - exp(-E)/Z| over the window, on the grid.", -1},
    {"mass_induced", "mass of the induced density",
     "Its integral over the window, by carrying the cells' centres back: 1 where nothing is "
     "missing.",
     0},
    {"not_inverted", "share not inverted",
     "Share of held-out rows that no start was found for: they are left out of the means above.",
     -1},
    {"inversion_residual", "residual of the inversions",
     "Largest residual of any step undone, in the largest element.", -1},
    {"inversion_gradients", "gradients of the inversions",
     "Gradients spent a row and step; a Hessian-vector product counts as two.", -1},
    {"probe_error", "error of the probes",
     "Standard error of the mean log-likelihood that comes from the probes of the estimates alone.",
     -1},
    {"grid_not_inverted", "cells not inverted", "Share of the grid's cells without an origin.", -1},
    {"long_acceptance", "acceptance of long runs", "Share of accepted proposals.", 0},
    {"beyond_one", "share of states with s ||H|| >= 1",
     "Of the states along the sampler's trajectories. Where it is 0 every step is undone by a "
     "contraction; the map can fold only where s lambda passes +1.",
     -1},
    {"s_lambda_largest", "largest s lambda", "Largest eigenvalue of s H along trajectories.", 0},
    {"s_lambda_smallest", "smallest s lambda", "Smallest eigenvalue of s H along trajectories.", 0},
    {"gibbs_edge", "mass at the window's edge",
     "Share of exp(-E)/Z in the outermost cells of the window: mass that the window may cut.", 0},
    {"log_z", "log Z", "Logarithm of the integral of exp(-E) over the window.", 0},
    {"bpd_induced", "bits per dimension, induced",
     "7 - log p_K / (d log 2): the density is that of 8-bit values dequantised to [-1, 1], 128 "
     "levels a unit.",
     -1},
    {"ais_log_z_low", "log Z from below",
     "By annealed importance sampling from the uniform density on the box [-1, 1]^d: below log Z "
     "on "
     "average.",
     0},
    {"ais_log_z_high", "log Z from above",
     "By annealing long-run states back: above log Z on average, where they have converged.", 0},
    {"ais_effective", "effective chains", "Effective number of annealed chains.", 0},
    {"ll_gibbs_low", "log-likelihood under exp(-E)/Z, lower end", "With log Z from above.", 1},
    {"ll_gibbs_high", "log-likelihood under exp(-E)/Z, upper end", "With log Z from below.", 1},
    {"long_kl_true", "KL(true density || long runs)",
     "As KL(true density || samples), of chains of HMC that leave exp(-E)/Z as it is.", -1},
    {"long_high_quality", "high-quality share of long runs", "The same share of their states.", 1},
    {"long_frechet", "Frechet distance of long runs", "The same distance of their states.", -1},
    {"long_sliced_w2", "sliced W2 of long runs", "The same distance of their states.", -1},
    {"long_r_hat", "R-hat of long runs",
     "Largest split R-hat of energy, |x|^2 and coordinates over the last half: 1.01 and less "
     "counts "
     "as converged.",
     0},
    {"long_steps", "steps of long runs", "Transitions of each chain, warm-up included.", 0},
    {"beyond_kl_true", "KL(true density || samples) far beyond K",
     "After the largest number of steps that was tried.", -1},
    {"beyond_frechet", "Frechet distance far beyond K",
     "After the largest number of steps that was tried.", -1},
    {NULL, NULL, NULL, 0}};

const sr_metric_words *sr_metric_describe(const char *name) {
    static _Thread_local sr_metric_words unknown;
    const sr_metric_words *const lists[] = {sr_metric_list, sr_density_metric_list};
    for (size_t i = 0; i < 2; i++)
        for (const sr_metric_words *words = lists[i]; words->name; words++)
            if (strcmp(words->name, name) == 0)
                return words;
    unknown = (sr_metric_words){name, name, "", 0};
    return &unknown;
}

const char *sr_metric_direction_words(int direction) {
    return direction < 0 ? "lower is better" : direction > 0 ? "higher is better" : "";
}
