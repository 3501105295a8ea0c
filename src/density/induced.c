// The density that the dynamics induce: log p_K(x_K) = log p_0(x_0) - sum_k log|det(I - s H(x_k))|
// along the trajectory, forward from starts or backward from any points. Where the determinants
// come from is in hessian.c, how a step is undone in invert.c. Flows of other integrators: the
// trace of the Hessian is integrated with the stages and weights of the method itself.
#include "density/work.h"
#include "dynamics/runge_kutta.h"

#include <math.h>
#include <omp.h>
#include <string.h>

// ---- scratch ------------------------------------------------------------------------------------

static size_t take(char *memory, size_t *used, void *array, size_t bytes) {
    void **const out = array;
    *out = memory ? memory + *used : NULL;
    *used += (bytes + SR_ALIGNMENT - 1) / SR_ALIGNMENT * SR_ALIGNMENT;
    return *used;
}

static size_t layout(const sr_density_job *job, sr_density_scratch *s, char *memory) {
    const size_t rows = job->tile, batch = sr_energy_tile(job->energy), dim = job->dim;
    const size_t asked = job->options->lanczos;
    const size_t lanczos = dim == 2 ? 0 : asked < dim ? asked : dim;
    const size_t probes = job->options->method == SR_LOG_DET_EXACT ? 1 : job->options->probes;
    const bool whole = job->options->method == SR_LOG_DET_EXACT && dim > 2;
    const size_t state = rows * dim * sizeof(float), spare = batch * dim * sizeof(float);
    float **const states[] = {&s->x, &s->y, &s->g, &s->sum};
    float **const spares[] = {&s->a, &s->b, &s->c, &s->v, &s->hv};
    double **const doubles[] = {&s->r, &s->p, &s->q, &s->u, &s->linear, &s->image};
    size_t used = 0;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        take(memory, &used, states[i], state);
    for (size_t i = 0; i < sizeof spares / sizeof *spares; i++)
        take(memory, &used, spares[i], spare);
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        take(memory, &used, doubles[i], job->backward ? rows * dim * sizeof(double) : 0);
    take(memory, &used, &s->det, probes * rows * sizeof(double));
    take(memory, &used, &s->row, 4 * rows * sizeof(double));
    take(memory, &used, &s->residual, rows * sizeof(double));
    take(memory, &used, &s->worst, rows * sizeof(double));
    take(memory, &used, &s->log_start, rows * sizeof(double));
    take(memory, &used, &s->low, rows * sizeof(double));
    take(memory, &used, &s->high, rows * sizeof(double));
    take(memory, &used, &s->index, rows * sizeof(uint32_t));
    take(memory, &used, &s->failed, rows * sizeof(uint32_t));
    take(memory, &used, &s->spent, rows * sizeof(uint32_t));
    take(memory, &used, &s->hessian, (whole ? dim * dim : 3 * rows) * sizeof(double));
    take(memory, &used, &s->pivots, whole ? dim * sizeof(int) : 0);
    take(memory, &used, &s->basis, lanczos * rows * dim * sizeof(float));
    take(memory, &used, &s->alpha, lanczos * rows * sizeof(double));
    return take(memory, &used, &s->beta, lanczos * rows * sizeof(double));
}

sr_status sr_density_scratch_create(const sr_density_job *job, unsigned thread,
                                    sr_density_scratch *out) {
    *out = (sr_density_scratch){.workspace = sr_team_workspace(job->team, thread), .dim = job->dim};
    const sr_status status = sr_energy_reserve_hessian(out->workspace);
    if (status)
        return status;
    out->memory = sr_alloc(layout(job, out, NULL), 1);
    if (!out->memory)
        return SR_ERROR_MEMORY;
    layout(job, out, out->memory);
    return SR_OK;
}

void sr_density_scratch_clear(sr_density_scratch *scratch) {
    sr_free(scratch->memory);
    *scratch = (sr_density_scratch){0};
}

// ---- the start ----------------------------------------------------------------------------------

// log p_0; -infinity outside the support.
static double log_start(sr_start start, size_t dim, const float *x) {
    double sum = 0;
    bool inside = true;
    for (size_t j = 0; j < dim; j++) {
        sum += (double)x[j] * x[j];
        inside = inside && fabs((double)x[j]) <= 1;
    }
    if (start == SR_START_GAUSSIAN)
        return -0.5 * (sum + (double)dim * log(2 * M_PI));
    return inside ? -(double)dim * M_LN2 : -INFINITY;
}

// ---- results ------------------------------------------------------------------------------------

static size_t probes_of(const sr_density_job *job) {
    return job->options->method == SR_LOG_DET_EXACT ? 1 : job->options->probes;
}

static double mean_det(const sr_density_job *job, const sr_density_scratch *s, size_t i) {
    const size_t probes = probes_of(job);
    double sum = 0;
    for (size_t p = 0; p < probes; p++)
        sum += s->det[p * job->tile + i];
    return sum / (double)probes;
}

static double error_of(const sr_density_job *job, const sr_density_scratch *s, size_t i) {
    const size_t probes = probes_of(job);
    const double mean = mean_det(job, s, i);
    double square = 0;
    for (size_t p = 0; p < probes; p++)
        square += (s->det[p * job->tile + i] - mean) * (s->det[p * job->tile + i] - mean);
    return probes > 1 ? sqrt(square / (double)(probes - 1) / (double)probes) : 0;
}

// log p_k of the tile's rows. Forward, p_0 is that of the starts (in start); backward, of the
// states.
static void put_path(const sr_density_job *job, const sr_density_scratch *s, size_t at, size_t k,
                     const double *start) {
    for (size_t i = 0; job->out->path && i < s->rows; i++) {
        const double base =
            job->backward ? log_start(job->dynamics->start, s->dim, s->x + i * s->dim) : start[i];
        job->out->path[k * job->n + at + i] =
            s->failed[i] ? (double)NAN : base - mean_det(job, s, i);
    }
}

static void put_range(const sr_density_job *job, sr_density_scratch *s, size_t at, size_t k) {
    const sr_induced *out = job->out;
    if (job->options->lanczos == 0 || (!out->smallest && !out->largest))
        return;
    sr_density_range(job, s, at, s->x);
    for (size_t i = 0; i < s->rows; i++) {
        if (out->smallest)
            out->smallest[k * job->n + at + i] = s->failed[i] ? (double)NAN : s->low[i];
        if (out->largest)
            out->largest[k * job->n + at + i] = s->failed[i] ? (double)NAN : s->high[i];
    }
}

static void put_results(const sr_density_job *job, const sr_density_scratch *s, size_t at,
                        const double *worst, const double *start) {
    const sr_induced *out = job->out;
    for (size_t i = 0; i < s->rows; i++) {
        const double base =
            job->backward ? log_start(job->dynamics->start, s->dim, s->x + i * s->dim) : start[i];
        if (!s->failed[i] && !isfinite(base))
            s->failed[i] = 1 + (uint32_t)job->dynamics->steps; // all steps undone, nothing there
        const bool outside = s->failed[i] == 1 + job->dynamics->steps;
        if (out->log_density)
            out->log_density[at + i] = outside        ? -INFINITY
                                       : s->failed[i] ? (double)NAN
                                                      : base - mean_det(job, s, i);
        if (out->error)
            out->error[at + i] = s->failed[i] ? (double)NAN : error_of(job, s, i);
        if (out->start)
            out->start[at + i] = base;
        if (out->failed)
            out->failed[at + i] = s->failed[i];
        if (out->residual)
            out->residual[at + i] = worst[i];
        if (out->iterations)
            out->iterations[at + i] = s->spent[i];
    }
    if (out->origin)
        memcpy(out->origin + at * s->dim, s->x, s->rows * s->dim * sizeof *s->x);
}

// ---- Euler steps --------------------------------------------------------------------------------

// A state that is not finite ends its row, and stands at the origin from then on so that the others
// are computed in peace.
static void check_states(sr_density_scratch *s, uint32_t mark) {
    for (size_t i = 0; i < s->rows; i++) {
        bool finite = true;
        for (size_t j = 0; j < s->dim; j++)
            finite = finite && isfinite(s->x[i * s->dim + j]);
        if (!finite && !s->failed[i])
            s->failed[i] = mark;
        if (!finite)
            memset(s->x + i * s->dim, 0, s->dim * sizeof *s->x);
    }
}

static void step_forward(const sr_density_job *job, sr_density_scratch *s, size_t at, size_t k) {
    const uint32_t mark = 1 + (uint32_t)k;
    sr_density_log_det(job, s, at, k, s->x, 1, mark);
    sr_density_gradient(job, s, s->rows, s->x, s->g);
    job->kernels->update(s->rows * s->dim, s->x, s->g, NULL, (float)job->dynamics->step_size, 0,
                         -INFINITY, INFINITY);
    check_states(s, mark);
}

static void step_backward(const sr_density_job *job, sr_density_scratch *s, size_t at, size_t k,
                          double *worst) {
    const uint32_t mark = 1 + (uint32_t)k;
    memcpy(s->y, s->x, s->rows * s->dim * sizeof *s->x);
    sr_density_invert(job, s, mark);
    for (size_t i = 0; i < s->rows; i++)
        worst[i] = fmax(worst[i], s->failed[i] && s->failed[i] != mark ? 0 : s->residual[i]);
    check_states(s, mark);
    sr_density_log_det(job, s, at, k, s->x, 1, mark);
}

// ---- flows of other integrators -----------------------------------------------------------------

// One step of Heun's or the classical Runge-Kutta method along -grad E over the time `step`
// (negative: back); the integral of tr H comes from its stages with the method's own weights.
static void step_flow(const sr_density_job *job, sr_density_scratch *s, size_t at, size_t k,
                      double step) {
    const sr_runge_kutta *method = sr_runge_kutta_of(job->dynamics->integrator);
    const size_t stages = method->stages, values = s->rows * s->dim;
    const uint32_t mark = 1 + (uint32_t)k;
    memcpy(s->y, s->x, values * sizeof *s->x);
    memset(s->sum, 0, values * sizeof *s->sum);
    for (size_t stage = 0; stage < stages; stage++) {
        sr_density_log_det(job, s, at, k * stages + stage, s->x, method->weight[stage], mark);
        sr_density_gradient(job, s, s->rows, s->x, s->g);
        for (size_t j = 0; j < values; j++) {
            s->sum[j] += (float)(method->weight[stage] * s->g[j]);
            const float along =
                stage + 1 < stages ? (float)method->reach[stage + 1] * s->g[j] : s->sum[j];
            s->x[j] = s->y[j] - (float)step * along;
        }
        check_states(s, mark);
    }
}

// ---- all rows -----------------------------------------------------------------------------------

// Whether to give up. The calling thread asks the monitor, the others hear of it.
static bool stopped(const sr_density_job *job) {
    bool stop;
#pragma omp atomic read
    stop = *job->stop;
    if (stop || omp_get_thread_num() != 0 || !sr_monitor_stop(job->monitor))
        return stop;
#pragma omp atomic write
    *job->stop = true;
    return true;
}

static void run_tile(const sr_density_job *job, sr_density_scratch *s, size_t t) {
    const size_t at = t * job->tile, steps = job->dynamics->steps;
    const bool euler = job->dynamics->integrator == SR_INTEGRATOR_EULER;
    const double step = (job->backward ? -1 : 1) * job->dynamics->step_size;
    double *worst = s->worst, *start = s->log_start;
    s->rows = job->n - at < job->tile ? job->n - at : job->tile;
    memcpy(s->x, job->x + at * s->dim, s->rows * s->dim * sizeof *s->x);
    memset(s->det, 0, probes_of(job) * job->tile * sizeof *s->det);
    for (size_t i = 0; i < s->rows; i++) {
        s->failed[i] = s->spent[i] = 0;
        worst[i] = 0;
    }
    check_states(s, 1); // NaN among the rows that were given
    for (size_t i = 0; i < s->rows; i++)
        start[i] = log_start(job->dynamics->start, s->dim, s->x + i * s->dim);
    put_path(job, s, at, 0, start);
    for (size_t k = 0; k < steps; k++) {
        if (stopped(job))
            return; // half a sum is no density
        if (!job->backward)
            put_range(job, s, at, k);
        if (!euler)
            step_flow(job, s, at, k, step);
        else if (job->backward)
            step_backward(job, s, at, k, worst);
        else
            step_forward(job, s, at, k);
        if (job->backward)
            put_range(job, s, at, steps - 1 - k);
        put_path(job, s, at, k + 1, start);
    }
    put_results(job, s, at, worst, start);
    if (!job->backward)
        memcpy(job->x + at * s->dim, s->x, s->rows * s->dim * sizeof *s->x);
}

static sr_status check(const sr_team *team, const sr_dynamics *dynamics,
                       const sr_density_options *options) {
    const size_t dim = sr_energy_dim(sr_team_energy(team));
    const bool flow = dynamics->integrator != SR_INTEGRATOR_EULER;
    sr_status status = sr_dynamics_check(dynamics);
    if (!status)
        status = sr_density_options_check(dim, options);
    if (!status)
        status = sr_energy_check_hessian(sr_team_energy(team));
    if (status)
        return status;
    if (dynamics->noise > 0)
        return sr_fail(SR_ERROR_UNSUPPORTED,
                       "dynamics with noise %g induce no density by a map; set it to 0 for that of "
                       "the noise-free generator",
                       dynamics->noise);
    if (dynamics->clamp > 0)
        return sr_fail(SR_ERROR_UNSUPPORTED,
                       "clamped dynamics (clamp %g) cannot be inverted: set it to 0",
                       dynamics->clamp);
    if (dynamics->start != SR_START_GAUSSIAN && dynamics->start != SR_START_UNIFORM)
        return sr_fail(SR_ERROR_UNSUPPORTED,
                       "start %s has no density: it is gaussian or uniform that has",
                       sr_start_name(dynamics->start));
    if (dynamics->integrator == SR_INTEGRATOR_ADAPTIVE)
        return sr_fail(SR_ERROR_UNSUPPORTED, "the density of the adaptive flow is not followed: "
                                             "take integrator rk4 with the same steps");
    if (flow && options->method != SR_LOG_DET_TRACE)
        return sr_fail(SR_ERROR_UNSUPPORTED,
                       "integrator %s follows a flow in continuous time: its density is had by "
                       "method trace, found %s",
                       sr_integrator_name(dynamics->integrator), sr_log_det_name(options->method));
    return SR_OK;
}

// Exact determinants of whole matrices keep a thread busy with one row; else a tile is the
// energy's.
static size_t tile_of(const sr_energy *energy, const sr_density_options *options) {
    const bool whole = options->method == SR_LOG_DET_EXACT && sr_energy_dim(energy) > 2;
    return whole ? 1 : sr_energy_tile(energy);
}

// Nothing is known of a row before its tile says otherwise.
static void clear(const sr_density_job *job) {
    for (size_t i = 0; i < job->n; i++) {
        if (job->out->log_density)
            job->out->log_density[i] = NAN;
        if (job->out->failed)
            job->out->failed[i] = 1;
    }
}

// One thread's tiles. The calling thread begins with the first, so that it is there to ask the
// monitor however few there are; the others, and it afterwards, take whichever comes next.
static void run_tiles(const sr_density_job *job, sr_density_scratch *own, size_t *next,
                      size_t *done) {
    const size_t tiles = job->n / job->tile + (job->n % job->tile != 0);
    const bool caller = omp_get_thread_num() == 0;
    size_t t = 0, count;
    for (bool first = caller;; first = false) {
        if (!first)
#pragma omp atomic capture
            t = (*next)++;
        if (t >= tiles || stopped(job))
            return;
        run_tile(job, own, t);
#pragma omp atomic capture
        count = ++*done;
        if (caller)
            sr_monitor_progress(job->monitor, job->backward ? "inverting" : "density", "",
                                (double)count, (double)tiles);
    }
}

static sr_status run(sr_density_job *job) {
    sr_status status = SR_OK;
    size_t next = 1, done = 0;
    bool stop = false;
    job->stop = &stop;
    clear(job);
    const int blas = sr_blas_alone();
#pragma omp parallel num_threads(sr_team_threads(job->team))
    {
        sr_density_scratch own;
        const sr_status made = sr_density_scratch_create(job, (unsigned)omp_get_thread_num(), &own);
        if (made)
#pragma omp atomic write
            status = made;
#pragma omp barrier
        if (status == SR_OK) // written before the barrier only
            run_tiles(job, &own, &next, &done);
        sr_density_scratch_clear(&own);
    }
    sr_blas_restore(blas);
    if (status)
        return sr_fail(status, "out of memory: scratch of induced densities");
    if (stop)
        return sr_fail(SR_ERROR_INTERRUPTED, "stopped while %s",
                       job->backward ? "inverting" : "sampling");
    return SR_OK;
}

static sr_status induced(sr_team *team, const sr_dynamics *dynamics,
                         const sr_density_options *options, size_t n, float *x, bool backward,
                         const sr_monitor *monitor, const sr_induced *out) {
    const sr_status status = check(team, dynamics, options);
    if (status)
        return status;
    sr_density_job job = {.team = team,
                          .energy = sr_team_energy(team),
                          .kernels = sr_kernels_get(),
                          .dynamics = dynamics,
                          .options = options,
                          .n = n,
                          .dim = sr_energy_dim(sr_team_energy(team)),
                          .tile = tile_of(sr_team_energy(team), options),
                          .backward = backward,
                          .x = x,
                          .out = out,
                          .monitor = monitor};
    return run(&job);
}

sr_status sr_induced_forward(sr_team *team, const sr_dynamics *dynamics,
                             const sr_density_options *options, size_t n, float *x,
                             const sr_monitor *monitor, const sr_induced *out) {
    return induced(team, dynamics, options, n, x, false, monitor, out);
}

sr_status sr_induced_backward(sr_team *team, const sr_dynamics *dynamics,
                              const sr_density_options *options, size_t n, const float *x,
                              const sr_monitor *monitor, const sr_induced *out) {
    return induced(team, dynamics, options, n, (float *)x, true, monitor, out);
}
