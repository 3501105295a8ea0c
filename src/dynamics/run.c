// Running the dynamics: x <- x - s grad E(x) + sigma eps, K times. A thread takes a tile of chains
// and runs all K steps on it; inside there is no barrier, no allocation and nothing that can fail,
// and the tile's states stay in the core's cache. Chains do not see one another, so threads and
// tiles leave no trace in them; the noise of a chain hangs on its number alone.
#include <shortrun/dynamics.h>

#include <math.h>
#include <omp.h>
#include <string.h>

// Sums over one tile's chains at one step of the trajectory.
typedef struct tile_sums {
    double energy, gradient_norm, displacement, largest;
} tile_sums;

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
    tile_sums *sums; // (tiles, steps + 1), NULL without a trace
} run;

// One thread's arrays, (tile, dim) but for energy (tile).
typedef struct scratch {
    sr_energy_workspace *workspace;
    float *gradient, *noise, *before, *energy;
} scratch;

// Floats in one thread's arrays; each begins on a cache line of its own.
static size_t padded(size_t floats) {
    return (floats + 15) / 16 * 16;
}

static scratch scratch_at(const run *r, float *memory, size_t per_thread, unsigned thread) {
    const size_t state = padded(r->tile * r->dim);
    float *at = memory + thread * per_thread;
    return (scratch){.workspace = sr_team_workspace(r->team, thread),
                     .gradient = at,
                     .noise = at + state,
                     .before = at + 2 * state,
                     .energy = at + 3 * state};
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

// All steps of tile t.
static void run_tile(const run *r, const scratch *s, size_t t) {
    const size_t at = t * r->tile, rows = r->n - at < r->tile ? r->n - at : r->tile;
    const size_t count = rows * r->dim;
    if (r->resident) {
        run_resident(r, s, at, rows);
        return;
    }
    float *x = r->x + at * r->dim;
    tile_sums *sums = r->sums ? r->sums + t * (r->steps + 1) : NULL;
    double *seconds = sr_energy_workspace_seconds(s->workspace);
    for (size_t k = 0; k < r->steps; k++) {
        sr_energy_evaluate(r->energy, s->workspace, rows, x, sums ? s->energy : NULL, s->gradient);
        if (sums) {
            look(r, s, rows, x, true, &sums[k]);
            memcpy(s->before, x, count * sizeof *x);
        }
        const double begin = sr_seconds();
        const float *noise = noise_of(r, s, k, at, rows);
        r->kernels->update(count, x, s->gradient, noise, r->step_size, noise ? r->noise_scale : 0,
                           r->low, r->high);
        seconds[SR_PHASE_NOISE_UPDATE] += sr_seconds() - begin;
        if (sums)
            look_moved(r, s, rows, x, &sums[k]);
    }
    if (sums) {
        const bool evaluate = r->trace->energy || r->trace->gradient_norm;
        if (evaluate)
            sr_energy_evaluate(r->energy, s->workspace, rows, x, s->energy, s->gradient);
        look(r, s, rows, x, evaluate, &sums[r->steps]);
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
    if (sr_dynamics_check(dynamics))
        return SR_ERROR_ARGUMENT;
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
               .trace = trace};
    r->dim = sr_energy_dim(r->energy);
    r->tile = sr_energy_tile(r->energy);
    return SR_OK;
}

static sr_status execute(run *r) {
    r->resident = !r->trace && !r->given && sr_energy_is_resident(r->energy);
    sr_status status = SR_ERROR_MEMORY;
    const size_t tiles = r->n / r->tile + (r->n % r->tile != 0);
    const unsigned threads = sr_team_threads(r->team);
    const size_t per_thread = r->resident ? 0 : 3 * padded(r->tile * r->dim) + padded(r->tile);
    float *memory = sr_alloc(threads * per_thread, sizeof *memory);
    if (!memory)
        return SR_ERROR_MEMORY;
    if (r->trace) {
        size_t sums;
        if (!sr_size_mul(tiles, r->steps + 1, &sums)) {
            sr_fail(status, "out of memory: a trace of %zu steps over %zu chains", r->steps, r->n);
            goto done;
        }
        if (!(r->sums = sr_alloc(sums, sizeof *r->sums)))
            goto done;
    }
    // a region of its own also for one thread: engines with threads see that they are inside one
#pragma omp parallel num_threads(threads)
    {
        const scratch own = scratch_at(r, memory, per_thread, (unsigned)omp_get_thread_num());
#pragma omp for schedule(dynamic)
        for (size_t t = 0; t < tiles; t++)
            run_tile(r, &own, t);
    }
    if (r->sums)
        reduce(r, tiles);
    status = SR_OK;
done:
    sr_free(r->sums);
    sr_free(memory);
    return status;
}

sr_status sr_dynamics_run(sr_team *team, const sr_dynamics *dynamics, uint64_t seed, uint64_t epoch,
                          uint64_t first, size_t n, float *x, const sr_trace *trace) {
    run r;
    if (prepare(&r, team, dynamics, n, x, trace))
        return SR_ERROR_ARGUMENT;
    r.stream = sr_stream_make(seed, SR_PURPOSE_DYNAMICS, epoch);
    r.first = first;
    return execute(&r);
}

sr_status sr_dynamics_run_given(sr_team *team, const sr_dynamics *dynamics, const float *noise,
                                size_t n, float *x, const sr_trace *trace) {
    run r;
    if (prepare(&r, team, dynamics, n, x, trace))
        return SR_ERROR_ARGUMENT;
    r.given = noise;
    r.noisy = r.noisy && noise;
    return execute(&r);
}
