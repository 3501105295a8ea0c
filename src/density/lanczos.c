// The range of a Hessian's eigenvalues: Lanczos, all rows of a tile abreast; in the plane in closed
// form.
#include "density/work.h"
#include "energy/lanczos.h"

#include <math.h>
#include <omp.h>
#include <string.h>

// One more basis vector of row i from its product in s->hv; false where there is none.
static bool extend(const sr_density_scratch *s, size_t tile, size_t i, size_t k, size_t most) {
    float *w = s->hv + i * s->dim;
    if (!sr_lanczos_extend(s->dim, s->basis + i * s->dim, tile * s->dim, k, most, w,
                           s->alpha + i * most, s->beta + i * most))
        return false;
    memcpy(s->basis + ((k + 1) * tile + i) * s->dim, w, s->dim * sizeof *w);
    return true;
}

static void lanczos(const sr_density_job *job, sr_density_scratch *s, size_t first, const float *x,
                    size_t most) {
    const size_t dim = s->dim, tile = job->tile;
    const sr_stream stream = sr_stream_make(job->options->seed, SR_PURPOSE_PROBE, UINT64_MAX);
    double *size = s->row;
    for (size_t i = 0; i < s->rows; i++) {
        sr_lanczos_start(job->kernels, stream, first + i, dim, s->basis + i * dim);
        size[i] = 0; // not done
    }
    for (size_t k = 0; k < most; k++) {
        const float *q = s->basis + k * tile * dim;
        if (k == 0)
            sr_density_product(job, s, s->rows, x, q, s->hv);
        else // the states are the same
            sr_energy_hessian_again(job->energy, s->workspace, s->rows, x, q, s->hv);
        for (size_t i = 0; i < s->rows; i++) {
            if (size[i] == 0 && !extend(s, tile, i, k, most))
                size[i] = (double)(k + 1);
            if (size[i] > 0 && k + 1 < most) // a direction for the product that is not asked for
                memset(s->basis + ((k + 1) * tile + i) * dim, 0, dim * sizeof(float));
        }
    }
    for (size_t i = 0; i < s->rows; i++)
        sr_lanczos_range((size_t)size[i], s->alpha + i * most, s->beta + i * most, &s->low[i],
                         &s->high[i]);
}

static void plane_range(sr_density_scratch *s, const double *h) {
    for (size_t i = 0; i < s->rows; i++, h += 3) {
        const double middle = 0.5 * (h[0] + h[2]), half = hypot(0.5 * (h[0] - h[2]), h[1]);
        s->low[i] = middle - half;
        s->high[i] = middle + half;
    }
}

void sr_density_range(const sr_density_job *job, sr_density_scratch *s, size_t first,
                      const float *x) {
    const double step = job->dynamics ? job->dynamics->step_size : 1;
    if (s->dim == 2) {
        sr_density_plane_hessian(job, s, x, s->hessian);
        plane_range(s, s->hessian);
    } else {
        const size_t asked = job->options->lanczos;
        lanczos(job, s, first, x, asked < s->dim ? asked : s->dim);
    }
    for (size_t i = 0; i < s->rows; i++) {
        s->low[i] *= step;
        s->high[i] *= step;
    }
}

sr_status sr_hessian_range(sr_team *team, size_t n, const float *x, size_t iterations,
                           uint64_t seed, double *smallest, double *largest) {
    const sr_energy *energy = sr_team_energy(team);
    sr_density_options options;
    sr_density_options_default(sr_energy_dim(energy), &options);
    options.method = SR_LOG_DET_TRACE;
    options.seed = seed;
    options.lanczos = iterations;
    if (iterations == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "Lanczos needs at least 1 iteration, found 0");
    const sr_density_job job = {.team = team,
                                .energy = energy,
                                .kernels = sr_kernels_get(),
                                .options = &options,
                                .n = n,
                                .dim = sr_energy_dim(energy),
                                .tile = sr_energy_tile(energy)};
    const size_t tiles = n / job.tile + (n % job.tile != 0);
    sr_status status = sr_energy_check_hessian(energy);
#pragma omp parallel num_threads(sr_team_threads(team)) if (status == SR_OK)
    {
        sr_density_scratch own;
        const sr_status made =
            sr_density_scratch_create(&job, (unsigned)omp_get_thread_num(), &own);
        if (made)
#pragma omp atomic write
            status = made;
#pragma omp barrier
#pragma omp for schedule(dynamic)
        for (size_t t = 0; t < tiles; t++) {
            if (status)
                continue;
            const size_t at = t * job.tile;
            own.rows = n - at < job.tile ? n - at : job.tile;
            sr_density_range(&job, &own, at, x + at * job.dim);
            memcpy(smallest + at, own.low, own.rows * sizeof *smallest);
            memcpy(largest + at, own.high, own.rows * sizeof *largest);
        }
        sr_density_scratch_clear(&own);
    }
    return status;
}
