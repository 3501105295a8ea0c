// The trainer: one iteration of maximum likelihood with samples from short-run dynamics (Nijkamp et
// al. 2019; the gradient is that of contrastive divergence, Hinton 2002). With data x_i, chains y_i
// that K steps of the dynamics produced (held constant), and batch B, the loss is
//   1/B sum E(x_i) - 1/B sum E(y_i) + l2 (1/B sum E(x_i)^2 + 1/B sum E(y_i)^2).
// Under spectral normalisation (Miyato et al. 2018) the energy uses the effective parameters, which
// are renewed once at the end of each iteration: sampling and gradient of an iteration see one
// function. Files and the loop over iterations are elsewhere (checkpoint.c, run.c).
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Beyond this parameter norm float32 products in the layers may overflow; no sane run comes near.
#define LARGEST_NORM 1e15

// ---- creation -----------------------------------------------------------------------------------

static sr_status check_fit(const sr_net *net, const sr_dataset *data) {
    if (net->outputs != 1)
        return sr_fail(SR_ERROR_ARGUMENT, "an energy has one output, this network has %zu",
                       net->outputs);
    if (data->count == 0 || !data->x)
        return sr_fail(SR_ERROR_ARGUMENT, "data set '%s' holds no samples", data->name);
    const bool image = net->height > 1 || net->width > 1; // otherwise it takes flat vectors
    if (net->inputs != data->dim ||
        (image && (net->channels != data->channels || net->height != data->height ||
                   net->width != data->width)))
        return sr_fail(
            SR_ERROR_ARGUMENT,
            "the network takes %zu x %zu x %zu values, samples of '%s' are %zu x %zu x %zu",
            net->channels, net->height, net->width, data->name, data->channels, data->height,
            data->width);
    return SR_OK;
}

static sr_status allocate(sr_trainer *t) {
    const size_t parameters = t->net.parameters, batch = t->options.batch, dim = t->net.inputs;
    size_t rows, count;
    const size_t cells = sr_exact_cells(&t->options);
    if (!sr_size_add(batch, cells ? cells : batch, &rows) || !sr_size_mul(rows, dim, &count))
        return sr_fail(SR_ERROR_MEMORY, "batch %zu of %zu values does not fit into memory", batch,
                       dim);
    sr_status status = sr_point_create(parameters, t->options.optimiser, &t->now);
    if (status == SR_OK)
        status = sr_point_create(parameters, t->options.optimiser, &t->next);
    if (status != SR_OK)
        return status;
    t->rows = rows;
    t->x = sr_alloc(count, sizeof(float));
    t->weight = sr_alloc(rows, sizeof(float));
    t->e = sr_alloc(rows, sizeof(float));
    t->gradient = sr_alloc(parameters, sizeof(float));
    if (!t->x || !t->weight || !t->e || !t->gradient)
        return SR_ERROR_MEMORY;
    if (t->options.average > 0.0 && !(t->average = sr_alloc(parameters, sizeof(float))))
        return SR_ERROR_MEMORY;
    if (cells)
        sr_exact_fill(&t->options, t->x + batch * dim);
    if (!cells && t->options.dynamics.start == SR_START_PERSISTENT) {
        t->chains = sr_alloc(batch * dim, sizeof(float));
        t->chance = sr_alloc(batch, sizeof(float));
        if (!t->chains || !t->chance)
            return SR_ERROR_MEMORY;
    }
    return SR_OK;
}

// effective = theta, each layer divided by its singular value where spectral norm is on.
static void make_effective(sr_trainer *t, size_t power_iterations, sr_point *point) {
    if (t->spectral)
        sr_spectral_apply(t->spectral, power_iterations, point->theta, point->effective);
    else
        memcpy(point->effective, point->theta, t->net.parameters * sizeof(float));
}

void sr_trainer_install(sr_trainer *t) {
    t->in_use = t->curvature ? sr_curvature_apply(t->curvature, &t->net, t->now.effective)
                             : t->now.effective;
    sr_energy_set_parameters(t->energy, t->in_use);
}

// Curvature along the trajectories of the next iteration, which then runs with what follows from
// it. Before the first iteration and then in fixed intervals, so that a run that was interrupted
// takes the same steps.
static sr_status renew_curvature(sr_trainer *t) {
    if (!t->curvature || t->iteration % t->options.curvature_every != 0)
        return SR_OK;
    sr_trainer_fill(t);
    const sr_status status = sr_curvature_measure(t->curvature, t->team, &t->options, t->iteration,
                                                  t->x + t->options.batch * t->net.inputs);
    sr_trainer_install(t);
    return status;
}

static sr_status create_curvature(sr_trainer *t) {
    if (t->options.curvature_cap == 0)
        return SR_OK;
    const sr_status status = sr_energy_check_hessian(t->energy);
    if (status != SR_OK)
        return sr_fail_context(status, "curvature_cap: ");
    return sr_curvature_create(&t->net, &t->options, &t->curvature);
}

sr_status sr_trainer_make_energy(sr_trainer *t, const sr_engine *engines, size_t tile) {
    const sr_train_options *o = &t->options;
    sr_energy *energy;
    sr_team *team;
    sr_status status = engines
                           ? sr_energy_network_layers(&t->net, engines, o->precision, tile, &energy)
                           : sr_energy_network(&t->net, o->engine, o->precision, tile, &energy);
    if (status != SR_OK)
        return status;
    if ((status = sr_team_create(energy, o->threads, &team)) != SR_OK) {
        sr_energy_destroy(energy);
        return status;
    }
    sr_team_destroy(t->team);
    sr_energy_destroy(t->energy);
    t->energy = energy;
    t->team = team;
    return SR_OK;
}

sr_status sr_trainer_create(const sr_net *net, const sr_dataset *data,
                            const sr_train_options *options, sr_trainer **out) {
    *out = NULL;
    sr_status status = sr_train_options_check(options);
    if (status == SR_OK)
        status = check_fit(net, data);
    if (status == SR_OK && options->exact_grid > 0 && net->inputs != 2)
        status = sr_fail(SR_ERROR_UNSUPPORTED,
                         "exact_grid is for two dimensions, samples of '%s' have %zu", data->name,
                         net->inputs);
    if (status != SR_OK)
        return status;
    sr_trainer *t = sr_alloc(1, sizeof *t);
    if (!t)
        return SR_ERROR_MEMORY;
    t->net = *net;
    t->data = data;
    t->options = *options;
    t->kernels = sr_kernels_get();
    if ((status = allocate(t)) != SR_OK)
        goto fail;
    if ((status = sr_trainer_make_energy(t, NULL, t->options.tile)) != SR_OK)
        goto fail;
    if (options->spectral_iterations > 0) {
        status = sr_spectral_create(&t->net, t->options.engine, options->seed, &t->spectral);
        if (status != SR_OK)
            goto fail;
    }
    sr_net_init(&t->net, options->seed, t->now.theta);
    make_effective(t, options->spectral_iterations, &t->now);
    if ((status = create_curvature(t)) != SR_OK)
        goto fail;
    sr_trainer_install(t);
    if ((status = renew_curvature(t)) != SR_OK)
        goto fail;
    if (t->average)
        memcpy(t->average, t->in_use, t->net.parameters * sizeof(float));
    *out = t;
    return SR_OK;
fail:
    sr_trainer_destroy(t);
    return status;
}

void sr_trainer_destroy(sr_trainer *t) {
    if (!t)
        return;
    sr_spectral_destroy(t->spectral);
    sr_curvature_destroy(t->curvature);
    sr_team_destroy(t->team);
    sr_energy_destroy(t->energy);
    sr_point_clear(&t->now);
    sr_point_clear(&t->next);
    sr_free(t->average);
    sr_free(t->chains);
    sr_free(t->x);
    sr_free(t->weight);
    sr_free(t->e);
    sr_free(t->chance);
    sr_free(t->gradient);
    sr_free(t);
}

// ---- data and start states ----------------------------------------------------------------------

// Rows of data that serve as start states: drawn under a seed of their own, so that a chain does
// not start on the data row of the same batch.
static void data_start(const sr_trainer *t, float *y) {
    const sr_stream stream = sr_stream_make(t->options.seed, SR_PURPOSE_START, UINT64_MAX);
    const uint64_t seed = (uint64_t)stream.key[1] << 32 | stream.key[0];
    sr_dataset_batch(t->data, seed, t->iteration, t->options.batch, (float)t->options.data_noise, y,
                     NULL);
}

static void fresh_start(const sr_trainer *t, sr_start start, float *y) {
    if (start == SR_START_DATA)
        data_start(t, y);
    else
        sr_start_fill(start, t->options.seed, t->iteration, 0, t->options.batch, t->net.inputs, y);
}

// Chains go on from where they were, except that in every iteration each of them starts anew with
// probability restart_rate; before the first iteration all of them do.
static void persistent_start(sr_trainer *t, float *y) {
    const size_t batch = t->options.batch, dim = t->net.inputs;
    fresh_start(t, t->options.dynamics.restart_from, y);
    if (t->iteration == 0)
        return;
    const sr_stream stream = sr_stream_make(t->options.seed, SR_PURPOSE_RESTART, t->iteration);
    t->kernels->uniform(stream, 0, 0, batch, t->chance);
    for (size_t i = 0; i < batch; i++) {
        if (!((double)t->chance[i] < t->options.dynamics.restart_rate))
            memcpy(y + i * dim, t->chains + i * dim, dim * sizeof(float));
    }
}

void sr_trainer_fill(sr_trainer *t) {
    float *samples = t->x + t->options.batch * t->net.inputs;
    const bool exact = t->options.exact_grid > 0; // the cells stay where they are
    sr_dataset_batch(t->data, t->options.seed, t->iteration, t->options.batch,
                     (float)t->options.data_noise, t->x, NULL);
    if (!exact && t->options.dynamics.start == SR_START_PERSISTENT)
        persistent_start(t, samples);
    else if (!exact)
        fresh_start(t, t->options.dynamics.start, samples);
}

// ---- one iteration ------------------------------------------------------------------------------

static double mean(size_t n, const float *e) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += e[i];
    return sum / (double)n;
}

// E's expectation under the cells' masses.
static double weighted_mean(const sr_trainer *t) {
    double sum = 0.0;
    for (size_t i = t->options.batch; i < t->rows; i++)
        sum -= (double)t->weight[i] * (double)t->e[i];
    return sum / (double)t->options.batch;
}

// Largest |x|; NaN or infinity as soon as one is found.
static double largest_of(size_t n, const float *x) {
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++) {
        const float size = fabsf(x[i]);
        if (!(size <= largest)) // true for NaN
            largest = size;
        if (!isfinite(largest))
            break;
    }
    return largest;
}

// Time since `start`, into the phase of the optimiser.
static void count_optimiser(sr_trainer *t, double start) {
    sr_energy_workspace_seconds(sr_team_workspace(t->team, 0))[SR_PHASE_OPTIMISER] +=
        sr_seconds() - start;
}

// Gradient of the loss in the raw parameters, from the rows in t->x. Rows are weighted by +1 and -1
// and the sum is divided by B afterwards: ones cancel without rounding in the last bias, whose
// gradient is zero, where 1/B would leave a residue that Adam blows up to a drift.
static sr_status loss_gradient(sr_trainer *t, sr_train_report *report) {
    const size_t batch = t->options.batch, parameters = t->net.parameters;
    const bool exact = t->options.exact_grid > 0;
    for (size_t i = 0; i < batch; i++)
        t->weight[i] = 1.0f;
    for (size_t i = batch; !exact && i < t->rows; i++)
        t->weight[i] = -1.0f;
    if (exact) {
        sr_team_evaluate(t->team, t->rows - batch, t->x + batch * t->net.inputs, t->e + batch,
                         NULL);
        sr_exact_weights(&t->options, t->e + batch, t->weight + batch, report);
    }
    if (t->options.energy_l2 > 0.0) {
        const float twice = (float)(2.0 * t->options.energy_l2);
        sr_team_evaluate(t->team, 2 * batch, t->x, t->e, NULL);
        for (size_t i = 0; i < 2 * batch; i++)
            t->weight[i] += twice * t->e[i];
    }
    const sr_status status =
        sr_team_gradient_theta(t->team, t->rows, t->x, t->weight, t->e, t->gradient);
    if (status != SR_OK)
        return status;
    const double start = sr_seconds();
    const float share = 1.0f / (float)batch;
    for (size_t i = 0; i < parameters; i++)
        t->gradient[i] *= share;
    if (exact) // masses are rounded: the last bias, which log Z cancels, would get their residue
        t->gradient[t->net.layers[t->net.layer_count - 1].bias] = 0.0f;
    if (t->curvature)
        sr_curvature_pull_back(t->curvature, &t->net, t->gradient);
    if (t->spectral)
        sr_spectral_pull_back(t->spectral, t->now.effective, t->gradient);
    report->energy_data = mean(batch, t->e);
    report->energy_samples = exact ? weighted_mean(t) : mean(batch, t->e + batch);
    report->gap = report->energy_data - report->energy_samples;
    report->gradient_norm = sqrt(t->kernels->sum_squares(parameters, t->gradient));
    count_optimiser(t, start);
    return SR_OK;
}

static sr_status diverged(const sr_train_report *r, const char *what) {
    return sr_fail(SR_ERROR_DIVERGED,
                   "iteration %llu: %s (E(data) = %.4g, E(samples) = %.4g, gradient norm %.4g, "
                   "max |x| %.4g)",
                   (unsigned long long)r->iteration, what, r->energy_data, r->energy_samples,
                   r->gradient_norm, r->largest);
}

static sr_status check_report(const sr_trainer *t, const sr_train_report *r) {
    char what[96];
    if (!isfinite(r->largest))
        return diverged(r, "the samples are not finite");
    if (!isfinite(r->energy_data) || !isfinite(r->energy_samples))
        return diverged(r, "the energies are not finite");
    if (!isfinite(r->gradient_norm))
        return diverged(r, "the gradient is not finite");
    if (t->options.gap_bound > 0.0 && fabs(r->gap) > t->options.gap_bound) {
        snprintf(what, sizeof what, "energy gap %.4g beyond the bound %g", r->gap,
                 t->options.gap_bound);
        return diverged(r, what);
    }
    return SR_OK;
}

// From t->now along t->gradient into t->next; fails, with t->now untouched, where that leads
// nowhere.
static sr_status move(sr_trainer *t, const sr_train_report *report) {
    const size_t parameters = t->net.parameters;
    sr_gradient_clip(parameters, t->gradient, report->gradient_norm, t->options.clip_norm);
    sr_point_copy(parameters, &t->now, &t->next);
    sr_optimiser_step(t->kernels, &t->options, parameters, &t->next, t->gradient, report->rate,
                      report->iteration);
    const double norm = sqrt(t->kernels->sum_squares(parameters, t->next.theta));
    bool sound = norm <= LARGEST_NORM; // false for NaN
    sound = sound && isfinite(t->kernels->sum_squares(parameters, t->next.m));
    sound = sound && (!t->next.v || isfinite(t->kernels->sum_squares(parameters, t->next.v)));
    if (sound)
        return SR_OK;
    char what[96];
    snprintf(what, sizeof what, "the step leads to parameters of norm %.4g or infinite moments",
             norm);
    return diverged(report, what);
}

// Makes t->next the trainer's state.
static void commit(sr_trainer *t) {
    const size_t count = t->options.batch * t->net.inputs;
    const sr_point reached = t->next;
    t->next = t->now;
    t->now = reached;
    t->iteration++;
    make_effective(t, t->options.spectral_iterations, &t->now);
    if (t->chains)
        memcpy(t->chains, t->x + count, count * sizeof(float));
    sr_trainer_install(t);
}

sr_status sr_trainer_step(sr_trainer *t, sr_train_report *report) {
    const double begin = sr_seconds();
    const size_t batch = t->options.batch, dim = t->net.inputs;
    const bool exact = t->options.exact_grid > 0;
    float *samples = t->x + batch * dim;
    const sr_curvature_state *curvature = t->curvature ? sr_curvature_get(t->curvature) : NULL;
    sr_train_report seen = {.iteration = t->iteration + 1,
                            .curvature = curvature ? curvature->found : NAN,
                            .rate = sr_schedule_rate(&t->options, t->iteration),
                            .log_z = NAN,
                            .edge = NAN};
    sr_trainer_fill(t);
    sr_status status = SR_OK;
    if (!exact)
        status = sr_dynamics_run(t->team, &t->options.dynamics, t->options.seed, t->iteration, 0,
                                 batch, samples, NULL);
    if (status == SR_ERROR_DIVERGED) // the adaptive integrator gave up
        sr_fail_context(status, "iteration %llu: ", (unsigned long long)seen.iteration);
    if (status != SR_OK)
        goto done;
    seen.largest = exact ? t->options.exact_window : largest_of(batch * dim, samples);
    if ((status = loss_gradient(t, &seen)) != SR_OK)
        goto done;
    if ((status = check_report(t, &seen)) != SR_OK)
        goto done;
    const double start = sr_seconds();
    if ((status = move(t, &seen)) != SR_OK)
        goto done;
    commit(t);
    count_optimiser(t, start);
    status = renew_curvature(t);
    if (t->average)
        sr_average_update(t->net.parameters, t->average, t->in_use, t->options.average,
                          t->iteration);
done:
    if (report)
        *report = seen;
    t->seconds += sr_seconds() - begin;
    return status;
}

// ---- what others may see ------------------------------------------------------------------------

uint64_t sr_trainer_iteration(const sr_trainer *t) {
    return t->iteration;
}

const float *sr_trainer_parameters(sr_trainer *t) {
    return t->average ? t->average : t->in_use;
}

sr_team *sr_trainer_team(sr_trainer *t) {
    return t->team;
}

void sr_trainer_seconds(sr_trainer *t, double *iterations, double *phases) {
    if (iterations)
        *iterations = t->seconds;
    if (phases)
        sr_team_seconds(t->team, false, phases);
}
