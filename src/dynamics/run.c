// Running the dynamics: x <- x - s grad E(x) + sigma eps, K times, or a finer step along the flow
// of -grad E. A thread takes a tile of chains and runs all K steps on it; inside there is no
// barrier and no allocation, and the tile's states stay in the core's cache. Chains do not see one
// another, so threads and tiles leave no trace in them; the noise of a chain hangs on its number
// alone.
#include "dynamics/adaptive.h"
#include "dynamics/runge_kutta.h"

#include <math.h>
#include <omp.h>
#include <string.h>

// Sums over one tile's chains at one step of the trajectory.
typedef struct tile_sums {
    double energy, gradient_norm, displacement, largest;
} tile_sums;

const sr_runge_kutta *sr_runge_kutta_of(sr_integrator integrator) {
    static const sr_runge_kutta heun = {2, {0, 1}, {0.5, 0.5}};
    static const sr_runge_kutta rk4 = {4, {0, 0.5, 0.5, 1}, {1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6}};
    return integrator == SR_INTEGRATOR_HEUN ? &heun : integrator == SR_INTEGRATOR_RK4 ? &rk4 : NULL;
}

// One run, seen by all threads.
typedef struct run {
    sr_team *team;
    const sr_kernels *kernels;
    const sr_energy *energy;
    size_t dim, tile, n, steps;
    float step_size, noise_scale, low, high;
    bool noisy, noise_last, resident;
    sr_stream stream;
    uint64_t first;     // number of the first chain
    const float *given; // (steps, n, dim) or NULL: drawn from the stream
    float *x;           // (n, dim)
    const sr_trace *trace;
    tile_sums *sums;              // (tiles, steps + 1), NULL without a trace
    const sr_runge_kutta *method; // NULL: Euler or adaptive
    sr_adaptive **adaptive;       // (threads), NULL: another integrator
    size_t lost;                  // first row on which the adaptive integrator gave up; n: none
    double lost_time;             // how far it came
} run;

// One thread's arrays, (tile, dim) but for energy (tile).
typedef struct scratch {
    sr_energy_workspace *workspace;
    float *gradient, *before, *energy;
    float *noise;       // Euler's
    float *point, *sum; // of the stages of a Runge-Kutta method
    sr_adaptive *adaptive;
} scratch;

// Arrays of (tile, dim) in one thread's scratch.
#define SCRATCH_STATES 4

// Floats in one thread's arrays; each begins on a cache line of its own.
static size_t padded(size_t floats) {
    return (floats + 15) / 16 * 16;
}

static scratch scratch_at(const run *r, float *memory, size_t per_thread, unsigned thread) {
    const size_t state = padded(r->tile * r->dim);
    float *at = memory + thread * per_thread;
    return (scratch){.workspace = sr_team_workspace(r->team, thread),
                     .gradient = at,
                     .before = at + state,
                     .noise = at + 2 * state,
                     .point = at + 2 * state,
                     .sum = at + 3 * state,
                     .energy = at + SCRATCH_STATES * state,
                     .adaptive = r->adaptive ? r->adaptive[thread] : NULL};
}

// NaN stays, once it is there: a maximum that hides it would look healthy.
static double larger(double a, double b) {
    return isnan(a) || a >= b ? a : b;
}

// What the trace wants to know of the states x (rows, dim) and, after evaluation, of their
// gradients.
static void look(const run *r, const scratch *s, size_t rows, const float *x, bool evaluated,
                 tile_sums *sums) {
    for (size_t i = 0; i < rows * r->dim; i++)
        sums->largest = larger(sums->largest, fabs((double)x[i]));
    for (size_t i = 0; evaluated && i < rows; i++) {
        sums->energy += s->energy[i];
        sums->gradient_norm += sqrt(r->kernels->sum_squares(r->dim, s->gradient + i * r->dim));
    }
}

// |x - before| of every chain; `before` is overwritten with the difference.
static void look_moved(const run *r, const scratch *s, size_t rows, const float *x,
                       tile_sums *sums) {
    for (size_t i = 0; i < rows * r->dim; i++)
        s->before[i] = x[i] - s->before[i];
    for (size_t i = 0; i < rows; i++)
        sums->displacement += sqrt(r->kernels->sum_squares(r->dim, s->before + i * r->dim));
}

// The standard normals of step k for rows that begin at row `at`: given, or drawn into the scratch.
static const float *noise_of(const run *r, const scratch *s, size_t k, size_t at, size_t rows) {
    if (!r->noisy || (k + 1 == r->steps && !r->noise_last))
        return NULL;
    if (r->given)
        return r->given + (k * r->n + at) * r->dim;
    for (size_t i = 0; i < rows; i++)
        r->kernels->normal(r->stream, r->first + at + i, (uint32_t)k, r->dim,
                           s->noise + i * r->dim);
    return s->noise;
}

// All steps of rows at .. at + rows - 1 where nobody looks on and the noise is drawn: the states
// stay with the energy.
static void run_resident(const run *r, const scratch *s, size_t at, size_t rows) {
    sr_update update = {.step_size = r->step_size,
                        .low = r->low,
                        .high = r->high,
                        .stream = r->stream,
                        .chain = r->first + at};
    sr_energy_load(r->energy, s->workspace, rows, r->x + at * r->dim);
    for (size_t k = 0; k < r->steps; k++) {
        update.step = (uint32_t)k;
        update.noise_scale = r->noisy && (k + 1 < r->steps || r->noise_last) ? r->noise_scale : 0;
        sr_energy_step(r->energy, s->workspace, &update);
    }
    sr_energy_store(r->energy, s->workspace, rows, r->x + at * r->dim);
}

// One step of Euler, s->gradient being that at x.
static void step_euler(const run *r, const scratch *s, size_t k, size_t at, size_t rows, float *x) {
    const double begin = sr_seconds();
    const float *noise = noise_of(r, s, k, at, rows);
    r->kernels->update(rows * r->dim, x, s->gradient, noise, r->step_size,
                       noise ? r->noise_scale : 0, r->low, r->high);
    sr_energy_workspace_seconds(s->workspace)[SR_PHASE_NOISE_UPDATE] += sr_seconds() - begin;
}

// One step of a Runge-Kutta method, s->gradient being that at x and overwritten with that of the
// last stage.
static void step_runge_kutta(const run *r, const scratch *s, size_t rows, float *x) {
    const size_t count = rows * r->dim;
    double *seconds = sr_energy_workspace_seconds(s->workspace);
    for (size_t j = 0; j < r->method->stages; j++) {
        if (j > 0)
            sr_energy_evaluate(r->energy, s->workspace, rows, s->point, NULL, s->gradient);
        const double begin = sr_seconds();
        const float weight = (float)r->method->weight[j];
        for (size_t i = 0; i < count; i++)
            s->sum[i] = (j > 0 ? s->sum[i] : 0) + weight * s->gradient[i];
        if (j + 1 < r->method->stages) {
            const float reach = (float)(r->method->reach[j + 1] * (double)r->step_size);
            for (size_t i = 0; i < count; i++)
                s->point[i] = x[i] - reach * s->gradient[i];
        } else {
            for (size_t i = 0; i < count; i++)
                x[i] -= r->step_size * s->sum[i];
        }
        seconds[SR_PHASE_NOISE_UPDATE] += sr_seconds() - begin;
    }
}

// What the trace wants to know of the states after the last step.
static void look_last(const run *r, const scratch *s, size_t rows, const float *x,
                      tile_sums *sums) {
    const bool evaluate = r->trace->energy || r->trace->gradient_norm;
    if (evaluate)
        sr_energy_evaluate(r->energy, s->workspace, rows, x, s->energy, s->gradient);
    look(r, s, rows, x, evaluate, &sums[r->steps]);
}

// All steps of tile t with a fixed step.
static void run_tile(const run *r, const scratch *s, size_t t) {
    const size_t at = t * r->tile, rows = r->n - at < r->tile ? r->n - at : r->tile;
    if (r->resident) {
        run_resident(r, s, at, rows);
        return;
    }
    float *x = r->x + at * r->dim;
    tile_sums *sums = r->sums ? r->sums + t * (r->steps + 1) : NULL;
    for (size_t k = 0; k < r->steps; k++) {
        sr_energy_evaluate(r->energy, s->workspace, rows, x, sums ? s->energy : NULL, s->gradient);
        if (sums) {
            look(r, s, rows, x, true, &sums[k]);
            memcpy(s->before, x, rows * r->dim * sizeof *x);
        }
        if (r->method)
            step_runge_kutta(r, s, rows, x);
        else
            step_euler(r, s, k, at, rows, x);
        if (sums)
            look_moved(r, s, rows, x, &sums[k]);
    }
    if (sums)
        look_last(r, s, rows, x, sums);
}

// The first row in order, whichever thread comes first.
static void note_lost(run *r, size_t row, double time) {
#pragma omp critical(sr_dynamics_lost)
    if (row < r->lost) {
        r->lost = row;
        r->lost_time = time;
    }
}

// Tile t, chain after chain, each with steps of its own. Without a trace nobody looks on before the
// end.
static void run_adaptive(run *r, const scratch *s, size_t t) {
    const size_t at = t * r->tile, rows = r->n - at < r->tile ? r->n - at : r->tile;
    tile_sums *sums = r->sums ? r->sums + t * (r->steps + 1) : NULL;
    for (size_t i = at; i < at + rows; i++) {
        float *x = r->x + i * r->dim;
        sr_adaptive_begin(s->adaptive, x);
        for (size_t k = sums ? 0 : r->steps - 1; k < r->steps; k++) {
            if (sums) {
                sr_energy_evaluate(r->energy, s->workspace, 1, x, s->energy, s->gradient);
                look(r, s, 1, x, true, &sums[k]);
                memcpy(s->before, x, r->dim * sizeof *x);
            }
            if (!sr_adaptive_advance(s->adaptive, k + 1, x)) {
                note_lost(r, i, sr_adaptive_time(s->adaptive));
                break;
            }
            if (sums)
                look_moved(r, s, 1, x, &sums[k]);
        }
        if (sums)
            look_last(r, s, 1, x, sums);
    }
}

// Means over all chains from the sums of the tiles, in the order of the tiles.
static void reduce(const run *r, size_t tiles) {
    for (size_t k = 0; k <= r->steps; k++) {
        tile_sums all = {0};
        for (size_t t = 0; t < tiles; t++) {
            const tile_sums *one = &r->sums[t * (r->steps + 1) + k];
            all.energy += one->energy;
            all.gradient_norm += one->gradient_norm;
            all.displacement += one->displacement;
            all.largest = larger(all.largest, one->largest);
        }
        const double count = r->n ? (double)r->n : 1;
        if (r->trace->energy)
            r->trace->energy[k] = all.energy / count;
        if (r->trace->gradient_norm)
            r->trace->gradient_norm[k] = all.gradient_norm / count;
        if (r->trace->displacement)
            r->trace->displacement[k] = all.displacement / count;
        if (r->trace->largest)
            r->trace->largest[k] = all.largest;
    }
}

static sr_status prepare(run *r, sr_team *team, const sr_dynamics *dynamics, size_t n, float *x,
                         const sr_trace *trace) {
    const sr_status status = sr_dynamics_check(dynamics);
    if (status)
        return status;
    *r = (run){.team = team,
               .kernels = sr_kernels_get(),
               .energy = sr_team_energy(team),
               .n = n,
               .steps = dynamics->steps,
               .step_size = (float)dynamics->step_size,
               .noise_scale = (float)dynamics->noise,
               .low = dynamics->clamp > 0 ? -(float)dynamics->clamp : -INFINITY,
               .high = dynamics->clamp > 0 ? (float)dynamics->clamp : INFINITY,
               .noisy = dynamics->noise > 0,
               .noise_last = dynamics->noise_last,
               .x = x,
               .trace = trace,
               .method = sr_runge_kutta_of(dynamics->integrator),
               .lost = n};
    r->dim = sr_energy_dim(r->energy);
    r->tile = sr_energy_tile(r->energy);
    r->resident =
        dynamics->integrator == SR_INTEGRATOR_EULER && !trace && sr_energy_is_resident(r->energy);
    return SR_OK;
}

// Every thread's solver.
static sr_status create_adaptive(run *r, const sr_dynamics *dynamics) {
    const unsigned threads = sr_team_threads(r->team);
    if (!(r->adaptive = sr_alloc(threads, sizeof *r->adaptive)))
        return SR_ERROR_MEMORY;
    sr_status status = SR_OK;
    for (unsigned t = 0; t < threads && !status; t++)
        status =
            sr_adaptive_create(r->energy, sr_team_workspace(r->team, t), dynamics, &r->adaptive[t]);
    return status;
}

static void destroy_adaptive(run *r) {
    for (unsigned t = 0; r->adaptive && t < sr_team_threads(r->team); t++)
        sr_adaptive_destroy(r->adaptive[t]);
    sr_free(r->adaptive);
}

static sr_status create_sums(run *r, size_t tiles) {
    size_t sums;
    if (!r->trace)
        return SR_OK;
    if (!sr_size_mul(tiles, r->steps + 1, &sums))
        return sr_fail(SR_ERROR_MEMORY, "out of memory: a trace of %zu steps over %zu chains",
                       r->steps, r->n);
    r->sums = sr_alloc(sums, sizeof *r->sums);
    return r->sums ? SR_OK : SR_ERROR_MEMORY;
}

static void run_tiles(run *r, size_t tiles, float *memory, size_t per_thread) {
    // a region of its own also for one thread: engines with threads see that they are inside one
#pragma omp parallel num_threads(sr_team_threads(r->team))
    {
        const scratch own = scratch_at(r, memory, per_thread, (unsigned)omp_get_thread_num());
#pragma omp for schedule(dynamic)
        for (size_t t = 0; t < tiles; t++) {
            if (r->adaptive)
                run_adaptive(r, &own, t);
            else
                run_tile(r, &own, t);
        }
    }
}

static sr_status execute(run *r, const sr_dynamics *dynamics) {
    const size_t tiles = r->n / r->tile + (r->n % r->tile != 0);
    const size_t per_thread =
        r->resident ? 0 : SCRATCH_STATES * padded(r->tile * r->dim) + padded(r->tile);
    float *memory = sr_alloc(sr_team_threads(r->team) * per_thread, sizeof *memory);
    sr_status status = memory ? create_sums(r, tiles) : SR_ERROR_MEMORY;
    if (!status && dynamics->integrator == SR_INTEGRATOR_ADAPTIVE)
        status = create_adaptive(r, dynamics);
    if (!status) {
        run_tiles(r, tiles, memory, per_thread);
        if (r->sums)
            reduce(r, tiles);
        if (r->lost < r->n)
            status = sr_fail(SR_ERROR_DIVERGED,
                             "the adaptive integrator gave up on chain %llu at time %.4g of %.4g: "
                             "the flow is too stiff for tolerance %g",
                             (unsigned long long)(r->first + r->lost), r->lost_time,
                             (double)r->steps * dynamics->step_size, dynamics->tolerance);
    }
    destroy_adaptive(r);
    sr_free(r->sums);
    sr_free(memory);
    return status;
}

sr_status sr_dynamics_run(sr_team *team, const sr_dynamics *dynamics, uint64_t seed, uint64_t epoch,
                          uint64_t first, size_t n, float *x, const sr_trace *trace) {
    run r;
    const sr_status status = prepare(&r, team, dynamics, n, x, trace);
    if (status)
        return status;
    r.stream = sr_stream_make(seed, SR_PURPOSE_DYNAMICS, epoch);
    r.first = first;
    return execute(&r, dynamics);
}

sr_status sr_dynamics_run_given(sr_team *team, const sr_dynamics *dynamics, const float *noise,
                                size_t n, float *x, const sr_trace *trace) {
    run r;
    const sr_status status = prepare(&r, team, dynamics, n, x, trace);
    if (status)
        return status;
    r.given = noise;
    r.noisy = r.noisy && noise;
    r.resident = r.resident && !noise;
    return execute(&r, dynamics);
}
