// Many threads on one energy: a workspace each, and the batch drivers. The tiles of a batch follow
// from the energy and n; which thread takes which tile does not matter, and sums run in the order
// of the tiles. Every driver opens its own parallel region, also for one thread: engines that have
// threads of their own then see that they are inside one.
#include "energy/energy_internal.h"

#include <omp.h>
#include <string.h>

// A parameter gradient is summed in at most this many shards: memory stays bounded however large
// the batch, and up to so many threads share the work.
#define SHARDS 16
// Parameters added up at a time by one thread when the shards are brought together (one page of
// floats).
#define BLOCK 1024

struct sr_team {
    const sr_energy *energy;
    unsigned threads;
    sr_energy_workspace **workspaces; // (threads)
    float *partial;                   // (shard_capacity, parameters): sums of shards
    float *tile_gradient;             // (threads, parameters): one tile's, before it is added
    size_t shard_capacity;
};

sr_status sr_team_create(const sr_energy *energy, unsigned threads, sr_team **out) {
    *out = NULL;
    sr_team *team = sr_alloc(1, sizeof *team);
    if (!team)
        return SR_ERROR_MEMORY;
    sr_status status = SR_ERROR_MEMORY;
    *team = (sr_team){.energy = energy, .threads = sr_threads_resolve(threads)};
    team->workspaces = sr_alloc(team->threads, sizeof *team->workspaces);
    if (!team->workspaces)
        goto fail;
    for (unsigned t = 0; t < team->threads; t++)
        if ((status = sr_energy_workspace_create(energy, &team->workspaces[t])) != SR_OK)
            goto fail;
    *out = team;
    return SR_OK;
fail:
    sr_team_destroy(team);
    return status;
}

void sr_team_destroy(sr_team *team) {
    if (!team)
        return;
    for (unsigned t = 0; team->workspaces && t < team->threads; t++)
        sr_energy_workspace_destroy(team->workspaces[t]);
    sr_free(team->workspaces);
    sr_free(team->partial);
    sr_free(team->tile_gradient);
    sr_free(team);
}

const sr_energy *sr_team_energy(const sr_team *team) {
    return team->energy;
}

unsigned sr_team_threads(const sr_team *team) {
    return team->threads;
}

sr_energy_workspace *sr_team_workspace(sr_team *team, unsigned thread) {
    return team->workspaces[thread];
}

void sr_team_seconds(sr_team *team, bool reset, double *seconds) {
    memset(seconds, 0, SR_PHASE_COUNT * sizeof *seconds);
    for (unsigned t = 0; t < team->threads; t++) {
        double *own = team->workspaces[t]->seconds;
        for (size_t p = 0; p < SR_PHASE_COUNT; p++) {
            seconds[p] += own[p];
            if (reset)
                own[p] = 0;
        }
    }
}

void sr_team_time_layers(sr_team *team, bool on) {
    if (!sr_energy_plan(team->energy))
        return;
    for (unsigned t = 0; t < team->threads; t++)
        sr_workspace_time_layers(sr_energy_network_workspace(team->workspaces[t]), on);
}

void sr_team_layer_seconds(sr_team *team, bool reset, double *seconds) {
    const sr_plan *plan = sr_energy_plan(team->energy);
    if (!plan)
        return;
    const size_t count = sr_plan_net(plan)->layer_count * SR_DIRECTION_COUNT;
    memset(seconds, 0, count * sizeof *seconds);
    for (unsigned t = 0; t < team->threads; t++) {
        sr_workspace *workspace = sr_energy_network_workspace(team->workspaces[t]);
        const double *own = sr_workspace_layer_seconds(workspace);
        for (size_t i = 0; own && i < count; i++)
            seconds[i] += own[i];
        if (own && reset)
            sr_workspace_time_layers(workspace, true);
    }
}

void sr_team_evaluate(sr_team *team, size_t n, const float *x, float *e, float *dx) {
    const sr_energy *energy = team->energy;
    const size_t tile = energy->tile, dim = energy->dim, tiles = n / tile + (n % tile != 0);
#pragma omp parallel num_threads(team->threads)
    {
        sr_energy_workspace *workspace = team->workspaces[omp_get_thread_num()];
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < tiles; i++) {
            size_t at = i * tile, rows = n - at < tile ? n - at : tile;
            sr_energy_evaluate(energy, workspace, rows, x + at * dim, e ? e + at : NULL,
                               dx ? dx + at * dim : NULL);
        }
    }
}

sr_status sr_team_hessian_vector(sr_team *team, size_t n, const float *x, const float *v, float *e,
                                 float *dx, float *hv) {
    const sr_energy *energy = team->energy;
    const size_t tile = energy->tile, dim = energy->dim, tiles = n / tile + (n % tile != 0);
    sr_status status = sr_energy_check_hessian(energy);
    for (unsigned t = 0; !status && t < team->threads; t++)
        status = sr_energy_reserve_hessian(team->workspaces[t]);
    if (status)
        return status;
#pragma omp parallel num_threads(team->threads)
    {
        sr_energy_workspace *workspace = team->workspaces[omp_get_thread_num()];
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < tiles; i++) {
            const size_t at = i * tile, rows = n - at < tile ? n - at : tile;
            sr_energy_hessian_vector(energy, workspace, rows, x + at * dim, v + at * dim,
                                     e ? e + at : NULL, dx ? dx + at * dim : NULL, hv + at * dim);
        }
    }
    return SR_OK;
}

// Room for the sums of `shards` shards.
static sr_status reserve(sr_team *team, size_t shards) {
    size_t count, parameters = team->energy->parameters;
    if (!team->tile_gradient) {
        if (!sr_size_mul(team->threads, parameters, &count))
            return sr_fail(SR_ERROR_MEMORY, "out of memory: %zu parameters", parameters);
        if (!(team->tile_gradient = sr_alloc(count, sizeof(float))))
            return SR_ERROR_MEMORY;
    }
    if (shards <= team->shard_capacity)
        return SR_OK;
    if (!sr_size_mul(shards, parameters, &count))
        return sr_fail(SR_ERROR_MEMORY, "out of memory: %zu parameters", parameters);
    float *partial = sr_alloc(count, sizeof(float));
    if (!partial)
        return SR_ERROR_MEMORY;
    sr_free(team->partial);
    team->partial = partial;
    team->shard_capacity = shards;
    return SR_OK;
}

// sum (parameters) += gradient.
static void add(size_t parameters, float *restrict sum, const float *restrict gradient) {
    for (size_t i = 0; i < parameters; i++)
        sum[i] += gradient[i];
}

// The gradient of tiles first .. last-1 into `sum`, in order; `spare` holds one tile's.
static void shard_gradient(const sr_energy *energy, sr_energy_workspace *workspace, size_t n,
                           size_t first, size_t last, const float *x, const float *weight, float *e,
                           float *sum, float *spare) {
    for (size_t i = first; i < last; i++) {
        size_t at = i * energy->gradient_tile,
               rows = n - at < energy->gradient_tile ? n - at : energy->gradient_tile;
        sr_energy_gradient_theta(energy, workspace, rows, x + at * energy->dim,
                                 weight ? weight + at : NULL, e ? e + at : NULL,
                                 i == first ? sum : spare);
        if (i > first)
            add(energy->parameters, sum, spare);
    }
}

sr_status sr_team_gradient_theta(sr_team *team, size_t n, const float *x, const float *weight,
                                 float *e, float *dtheta) {
    const sr_energy *energy = team->energy;
    const size_t parameters = energy->parameters;
    const size_t tiles = n / energy->gradient_tile + (n % energy->gradient_tile != 0);
    const size_t shards = tiles < SHARDS ? tiles : SHARDS;
    if (parameters == 0)
        return sr_fail(SR_ERROR_UNSUPPORTED, "this energy has no parameters to take a gradient in");
    sr_status status = reserve(team, shards);
    if (status)
        return status;
    const size_t blocks = parameters / BLOCK + (parameters % BLOCK != 0);
#pragma omp parallel num_threads(team->threads)
    {
        const size_t thread = (size_t)omp_get_thread_num();
#pragma omp for schedule(dynamic)
        for (size_t s = 0; s < shards; s++)
            shard_gradient(energy, team->workspaces[thread], n, s * tiles / shards,
                           (s + 1) * tiles / shards, x, weight, e, team->partial + s * parameters,
                           team->tile_gradient + thread * parameters);
        double begin = sr_seconds();
#pragma omp for schedule(static) nowait
        for (size_t b = 0; b < blocks; b++) {
            size_t at = b * BLOCK, count = parameters - at < BLOCK ? parameters - at : BLOCK;
            memset(dtheta + at, 0, count * sizeof *dtheta);
            for (size_t s = 0; s < shards; s++)
                add(count, dtheta + at, team->partial + s * parameters + at);
        }
        team->workspaces[thread]->seconds[SR_PHASE_BACKWARD_WEIGHTS] += sr_seconds() - begin;
    }
    return SR_OK;
}
