// The dynamics on a network in double, one step after the other on all chains: what the library's
// sampler is checked against. For tests only.
#ifndef SR_TESTS_DYNAMICS_REFERENCE_H
#define SR_TESTS_DYNAMICS_REFERENCE_H

#include <shortrun/dynamics.h>

#include <math.h>

// x_{k+1} = x_k - s grad E(x_k) + sigma noise[k]. noise (steps, n, inputs) or NULL; states (steps +
// 1, n, inputs), of which the caller fills the first.
static inline sr_status reference_dynamics(const sr_net *net, const double *theta,
                                           const sr_dynamics *dynamics, const double *noise,
                                           size_t n, double *states) {
    const size_t count = n * net->inputs;
    double *gradient = sr_alloc(count, sizeof *gradient);
    sr_status status = gradient ? SR_OK : SR_ERROR_MEMORY;
    for (size_t k = 0; !status && k < dynamics->steps; k++) {
        const double *x = states + k * count;
        double *next = states + (k + 1) * count;
        const bool noisy = noise && (k + 1 < dynamics->steps || dynamics->noise_last);
        status = sr_net_reference_f64(net, theta, n, x, NULL, NULL, gradient, NULL);
        for (size_t i = 0; !status && i < count; i++) {
            next[i] = x[i] - dynamics->step_size * gradient[i];
            if (noisy)
                next[i] += dynamics->noise * noise[k * count + i];
            if (dynamics->clamp > 0)
                next[i] = fmax(-dynamics->clamp, fmin(dynamics->clamp, next[i]));
        }
    }
    sr_free(gradient);
    return status;
}

#endif
