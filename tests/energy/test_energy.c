// Energies: closed forms against direct formulas and finite differences, the user's function, the
// generic object, and the drivers' promise of the same bits for any number of threads.
#include <shortrun/energy.h>

#include <float.h>
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const double centres[] = {2, 0, -1, 1.5, 0.25, -2, -3, -3};
static const double weights[] = {1, 2, 0.5, 3};
static const double radii[] = {0.5, 1.5, 2.75};

static void fill(float *x, size_t n, uint32_t step, float scale) {
    sr_kernels_get()->normal(sr_stream_make(11, SR_PURPOSE_TEST, 0), 0, step, n, x);
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

// Values and gradients of many points, by one thread's workspace.
static void evaluate(const sr_energy *energy, size_t n, const float *x, float *e, float *dx) {
    sr_energy_workspace *workspace;
    const size_t dim = sr_energy_dim(energy), tile = sr_energy_tile(energy);
    assert_int_equal(sr_energy_workspace_create(energy, &workspace), SR_OK);
    for (size_t at = 0; at < n; at += tile)
        sr_energy_evaluate(energy, workspace, n - at < tile ? n - at : tile, x + at * dim,
                           e ? e + at : NULL, dx ? dx + at * dim : NULL);
    sr_energy_workspace_destroy(workspace);
}

static double spread(double square, double deviation) {
    return exp(-square / (2 * deviation * deviation));
}

// ---- closed forms -------------------------------------------------------------------------------

static double mixture_energy(double a, double b, double deviation, const double *w) {
    double density = 0, sum = 0;
    for (int i = 0; i < 4; i++) {
        double p = a - centres[2 * i], q = b - centres[2 * i + 1], weight = w ? w[i] : 1;
        sum += weight;
        density += weight * spread(p * p + q * q, deviation) / (2 * M_PI * deviation * deviation);
    }
    return -log(density / sum);
}

static double rings_energy(double a, double b, double deviation) {
    double density = 0;
    for (int i = 0; i < 3; i++) {
        double d = sqrt(a * a + b * b) - radii[i];
        density += spread(d * d, deviation);
    }
    return -log(density);
}

static double quadratic_energy(double a, double b, double deviation) {
    return (a * a + b * b) / (2 * deviation * deviation);
}

enum { MIXTURE_EQUAL, MIXTURE_WEIGHTED, RINGS, QUADRATIC, FORMS };

static sr_energy *form_create(int form, double deviation) {
    sr_energy *energy = NULL;
    sr_status status = SR_OK;
    if (form == MIXTURE_EQUAL || form == MIXTURE_WEIGHTED)
        status = sr_energy_gaussian_mixture(2, 4, centres, deviation,
                                            form == MIXTURE_WEIGHTED ? weights : NULL, &energy);
    else if (form == RINGS)
        status = sr_energy_rings(3, radii, deviation, &energy);
    else
        status = sr_energy_quadratic(2, deviation, &energy);
    assert_int_equal(status, SR_OK);
    return energy;
}

static double form_energy(int form, double a, double b, double deviation) {
    if (form == RINGS)
        return rings_energy(a, b, deviation);
    if (form == QUADRATIC)
        return quadratic_energy(a, b, deviation);
    return mixture_energy(a, b, deviation, form == MIXTURE_WEIGHTED ? weights : NULL);
}

// Central differences of the direct formula in double.
static void closed_forms_agree_with_direct_formulas(void **state) {
    enum { N = 301 };
    float x[2 * N], e[N], dx[2 * N];
    fill(x, 2 * N, 0, 2.0f);
    for (int form = 0; form < FORMS; form++) {
        const double deviation = 0.7, h = 1e-5;
        sr_energy *energy = form_create(form, deviation);
        evaluate(energy, N, x, e, dx);
        for (int i = 0; i < N; i++) {
            double a = x[2 * i], b = x[2 * i + 1];
            double expected = form_energy(form, a, b, deviation);
            double da =
                (form_energy(form, a + h, b, deviation) - form_energy(form, a - h, b, deviation)) /
                (2 * h);
            double db =
                (form_energy(form, a, b + h, deviation) - form_energy(form, a, b - h, deviation)) /
                (2 * h);
            assert_true(fabs(e[i] - expected) <= 1e-6 * (1 + fabs(expected)));
            assert_true(fabs(dx[2 * i] - da) <= 1e-5 * (1 + fabs(da)));
            assert_true(fabs(dx[2 * i + 1] - db) <= 1e-5 * (1 + fabs(db)));
        }
        sr_energy_destroy(energy);
    }
}

// Second differences of the direct formula in double; energy and gradient are those of evaluate.
static void closed_forms_have_hessians(void **state) {
    enum { N = 300 };
    float x[2 * N], v[2 * N], hv[2 * N], e[N], dx[2 * N], e_too[N], dx_too[2 * N];
    fill(x, 2 * N, 0, 2.0f);
    fill(v, 2 * N, 1, 1.0f);
    for (int form = 0; form < FORMS; form++) {
        const double deviation = 0.7, h = 1e-4;
        sr_energy *energy = form_create(form, deviation);
        sr_team *team;
        assert_int_equal(sr_team_create(energy, 2, &team), SR_OK);
        assert_int_equal(sr_team_hessian_vector(team, N, x, v, e, dx, hv), SR_OK);
        evaluate(energy, N, x, e_too, dx_too);
        assert_memory_equal(e, e_too, sizeof e);
        assert_memory_equal(dx, dx_too, sizeof dx);
        for (int i = 0; i < N; i++) {
            const double a = x[2 * i], b = x[2 * i + 1], at = form_energy(form, a, b, deviation);
            if (form == RINGS && hypot(a, b) < 0.05)
                continue; // the differences straddle the cusp at the origin
            double aa = form_energy(form, a + h, b, deviation) - 2 * at +
                        form_energy(form, a - h, b, deviation);
            double bb = form_energy(form, a, b + h, deviation) - 2 * at +
                        form_energy(form, a, b - h, deviation);
            double ab = (form_energy(form, a + h, b + h, deviation) -
                         form_energy(form, a + h, b - h, deviation) -
                         form_energy(form, a - h, b + h, deviation) +
                         form_energy(form, a - h, b - h, deviation)) /
                        4;
            aa /= h * h, bb /= h * h, ab /= h * h;
            const double bound =
                1e-4 * (1 + fabs(aa) + fabs(ab) + fabs(bb)) * (1 + hypot(v[2 * i], v[2 * i + 1]));
            assert_true(fabs(hv[2 * i] - (aa * v[2 * i] + ab * v[2 * i + 1])) <= bound);
            assert_true(fabs(hv[2 * i + 1] - (ab * v[2 * i] + bb * v[2 * i + 1])) <= bound);
        }
        sr_team_destroy(team);
        sr_energy_destroy(energy);
    }
}

// Many dimensions, and the normalising constant: one Gaussian at its centre.
static void one_gaussian_in_many_dimensions(void **state) {
    enum { D = 40 };
    double centre[D];
    float x[2 * D], e[2], dx[2 * D];
    for (int j = 0; j < D; j++) {
        centre[j] = 0.125 * j - 2;
        x[j] = (float)centre[j];
        x[D + j] = (float)centre[j] + (j == 7 ? 0.5f : 0.0f);
    }
    sr_energy *energy;
    assert_int_equal(sr_energy_gaussian_mixture(D, 1, centre, 0.5, NULL, &energy), SR_OK);
    evaluate(energy, 2, x, e, dx);
    const double constant = 0.5 * D * log(2 * M_PI * 0.25);
    assert_true(fabs(e[0] - constant) < 1e-5);
    assert_true(fabs(e[1] - constant - 0.5) < 1e-5);
    for (int j = 0; j < D; j++) {
        assert_true(dx[j] == 0.0f);
        assert_true(fabs(dx[D + j] - (j == 7 ? 2.0 : 0.0)) < 1e-6);
    }
    sr_energy_destroy(energy);
}

// Where every exponential underflows, energy and gradient are still those of the nearest mode.
static void far_from_every_mode_it_stays_finite(void **state) {
    const float x[] = {1000.0f, 0.0f, -3.0f, -500.0f, 0.0f, 0.0f};
    float e[3], dx[6];
    for (int form = 0; form < FORMS; form++) {
        sr_energy *energy = form_create(form, 0.01);
        evaluate(energy, 3, x, e, dx);
        for (int i = 0; i < 3; i++)
            assert_true(isfinite(e[i]) && isfinite(dx[2 * i]) && isfinite(dx[2 * i + 1]));
        if (form == MIXTURE_EQUAL) {
            assert_true(fabs(dx[0] / (998 / 1e-4) - 1) < 1e-6);
            assert_true(fabs(dx[3] / ((-500 + 2) / 1e-4) - 1) < 1e-2);
        }
        if (form == RINGS) {
            assert_true(fabs(dx[0] / ((1000 - 2.75) / 1e-4) - 1) < 1e-6);
            assert_true(dx[4] == 0.0f && dx[5] == 0.0f); // no direction at the origin
        }
        sr_energy_destroy(energy);
    }
}

// The energy alone, the gradient alone and both together are the same bits.
static void null_outputs_are_allowed(void **state) {
    enum { N = 9 };
    float x[2 * N], e[N], dx[2 * N], e2[N], dx2[2 * N];
    fill(x, 2 * N, 1, 1.5f);
    for (int form = 0; form < FORMS; form++) {
        sr_energy *energy = form_create(form, 0.5);
        assert_null(sr_energy_plan(energy));
        assert_int_equal(sr_energy_parameters(energy), 0);
        evaluate(energy, N, x, e, dx);
        evaluate(energy, N, x, e2, NULL);
        evaluate(energy, N, x, NULL, dx2);
        evaluate(energy, N, x, NULL, NULL);
        assert_memory_equal(e, e2, sizeof e);
        assert_memory_equal(dx, dx2, sizeof dx);
        sr_energy_destroy(energy);
    }
}

static void refused(sr_status status, sr_energy **energy, const char *part) {
    assert_int_equal(status, SR_ERROR_ARGUMENT);
    assert_null(*energy);
    *energy = (sr_energy *)energy; // not NULL: the next refusal has to set it

    if (!strstr(sr_error_message(), part))
        fail_msg("the message '%s' does not say '%s'", sr_error_message(), part);
}

static void bad_settings_are_refused(void **state) {
    sr_energy *e = (sr_energy *)state; // any address: a refusal sets it to NULL
    const double bad_weights[] = {1, -0.5, 1, 1}, no_weights[4] = {0};
    const double bad_centres[] = {0, 1, NAN, 2}, bad_radii[] = {1, -2};
    refused(sr_energy_quadratic(2, 0, &e), &e, "found 0");
    refused(sr_energy_quadratic(2, -1.5, &e), &e, "found -1.5");
    refused(sr_energy_quadratic(2, NAN, &e), &e, "found nan");
    refused(sr_energy_quadratic(0, 1, &e), &e, "dimension 0");
    refused(sr_energy_gaussian_mixture(2, 0, centres, 1, NULL, &e), &e, "at least 1 component");
    refused(sr_energy_gaussian_mixture(0, 2, centres, 1, NULL, &e), &e, "at least 1 component");
    refused(sr_energy_gaussian_mixture(2, 4, centres, INFINITY, NULL, &e), &e, "found inf");
    refused(sr_energy_gaussian_mixture(2, 4, centres, 1, bad_weights, &e), &e, "found -0.5 at 1");
    refused(sr_energy_gaussian_mixture(2, 4, centres, 1, no_weights, &e), &e, "positive sum");
    refused(sr_energy_gaussian_mixture(2, 2, bad_centres, 1, NULL, &e), &e, "centre 1");
    refused(sr_energy_rings(0, radii, 1, &e), &e, "at least 1 radius");
    refused(sr_energy_rings(2, bad_radii, 1, &e), &e, "found -2 at 1");
    refused(sr_energy_function(2, NULL, NULL, &e), &e, "found NULL");
    sr_net net;
    assert_int_equal(sr_net_mlp(&net, 2, (size_t[]){4}, 1, SR_SILU, 3), SR_OK);
    refused(sr_energy_network(&net, SR_ENGINE_SCALAR, SR_FP32, 0, &e), &e, "found 3");
    sr_energy_destroy(NULL);
    sr_energy_workspace_destroy(NULL);
    sr_team_destroy(NULL);
}

// ---- a user's function --------------------------------------------------------------------------

typedef struct calls {
    unsigned threads;  // how many are expected
    unsigned present;  // how many have called
    size_t rows, most; // seen in total, most at a time
    bool by[64];       // which threads called
} calls;

// E = sum_j (j + 1) x_j^4 / 4. The first calls wait for one another: they return once all threads
// are inside at the same time (or, where they never are, after a while, and the test fails).
static void quartic(void *user, size_t n, size_t dim, const float *x, float *e, float *dx) {
    calls *seen = user;
    unsigned present;
#pragma omp critical
    {
        bool *mine = &seen->by[omp_get_thread_num() % 64];
        seen->rows += n;
        seen->most = n > seen->most ? n : seen->most;
        seen->present += !*mine;
        *mine = true;
    }
    const double until = sr_seconds() + 10;
    do {
#pragma omp atomic read
        present = seen->present;
    } while (present < seen->threads && sr_seconds() < until);
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (size_t j = 0; j < dim; j++) {
            float v = x[i * dim + j];
            sum += (float)(j + 1) * v * v * v * v / 4;
            if (dx)
                dx[i * dim + j] = (float)(j + 1) * v * v * v;
        }
        if (e)
            e[i] = sum;
    }
}

static void a_users_function_is_called_from_several_threads(void **state) {
    enum { N = 1003, D = 3 };
    static float x[N * D], e[N], dx[N * D];
    fill(x, N * D, 2, 1.0f);
    for (unsigned threads = 1; threads <= 3; threads++) {
        calls seen = {.threads = threads};
        sr_energy *energy;
        sr_team *team;
        assert_int_equal(sr_energy_function(D, quartic, &seen, &energy), SR_OK);
        assert_int_equal(sr_team_create(energy, threads, &team), SR_OK);
        assert_int_equal(sr_team_threads(team), threads);
        assert_ptr_equal(sr_team_energy(team), energy);
        sr_team_evaluate(team, N, x, e, dx);
        assert_int_equal(seen.rows, N);
        assert_int_equal(seen.most, sr_energy_tile(energy));
        for (unsigned t = 0; t < 64; t++)
            assert_true(seen.by[t] == (t < threads));
        for (size_t i = 0; i < N * D; i++)
            assert_true(dx[i] == (float)(i % D + 1) * x[i] * x[i] * x[i]);
        sr_team_destroy(team);
        sr_energy_destroy(energy);
    }
}

// ---- the generic object -------------------------------------------------------------------------

// E = a . x^2 + b with parameters (a, b): everything that an implementation can bring, counted.
enum { TOY_DIM = 5, TOY_TILE = 7 };
typedef struct toy {
    float a[TOY_DIM], b;
    int *destroyed;
} toy;

static void toy_evaluate(const void *self, void *workspace, size_t n, const float *x, float *e,
                         float *dx) {
    const toy *t = self;
    ((double *)workspace)[SR_PHASE_FORWARD] += 1;
    assert_true(n <= TOY_TILE);
    for (size_t i = 0; i < n; i++) {
        float sum = t->b;
        for (size_t j = 0; j < TOY_DIM; j++) {
            sum += t->a[j] * x[i * TOY_DIM + j] * x[i * TOY_DIM + j];
            if (dx)
                dx[i * TOY_DIM + j] = 2 * t->a[j] * x[i * TOY_DIM + j];
        }
        if (e)
            e[i] = sum;
    }
}

static void toy_gradient_theta(const void *self, void *workspace, size_t n, const float *x,
                               const float *weight, float *e, float *dtheta) {
    memset(dtheta, 0, (TOY_DIM + 1) * sizeof *dtheta);
    for (size_t i = 0; i < n; i++) {
        float w = weight ? weight[i] : 1.0f;
        for (size_t j = 0; j < TOY_DIM; j++)
            dtheta[j] += w * x[i * TOY_DIM + j] * x[i * TOY_DIM + j];
        dtheta[TOY_DIM] += w;
    }
    toy_evaluate(self, workspace, n, x, e, NULL);
    usleep(50); // so that threads overlap here: each must have a dtheta of its own
}

static sr_status toy_workspace(const void *self, void **workspace) {
    *workspace = sr_alloc(SR_PHASE_COUNT, sizeof(double));
    return *workspace ? SR_OK : SR_ERROR_MEMORY;
}

static double *toy_seconds(void *workspace) {
    return workspace;
}

static void toy_set(void *self, const float *theta) {
    toy *t = self;
    memcpy(t->a, theta, sizeof t->a);
    t->b = theta[TOY_DIM];
}

static void toy_destroy(void *self) {
    toy *t = self;
    ++*t->destroyed;
    sr_free(t);
}

static const sr_energy_ops toy_ops = {
    .evaluate = toy_evaluate,
    .gradient_theta = toy_gradient_theta,
    .workspace_create = toy_workspace,
    .workspace_destroy = sr_free,
    .seconds = toy_seconds,
    .set_parameters = toy_set,
    .destroy = toy_destroy,
};

static toy *toy_make(int *destroyed) {
    toy *t = sr_alloc(1, sizeof *t);
    assert_non_null(t);
    t->destroyed = destroyed;
    return t;
}

static void an_energy_of_ones_own_can_have_parameters(void **state) {
    enum { N = 7 * 40 + 3 };
    static float x[N * TOY_DIM], e[N], dx[N * TOY_DIM], weight[N];
    float dtheta[TOY_DIM + 1];
    const float theta[TOY_DIM + 1] = {1, 2, 3, -4, 5, 0.5f};
    int destroyed = 0;
    sr_energy *energy;
    sr_team *team;
    fill(x, N * TOY_DIM, 3, 1.0f);
    fill(weight, N, 4, 1.0f);
    assert_int_equal(
        sr_energy_create(&toy_ops, toy_make(&destroyed), TOY_DIM, TOY_DIM + 1, TOY_TILE, &energy),
        SR_OK);
    sr_energy_set_parameters(energy, theta);
    assert_int_equal(sr_team_create(energy, 2, &team), SR_OK);
    sr_team_evaluate(team, N, x, e, dx);
    double seconds[SR_PHASE_COUNT];
    sr_team_seconds(team, true, seconds);
    assert_true(seconds[SR_PHASE_FORWARD] == 41); // one "second" a tile
    sr_team_seconds(team, false, seconds);
    assert_true(seconds[SR_PHASE_FORWARD] == 0);
    for (int given = 0; given < 2; given++) {
        double expected[TOY_DIM + 1] = {0}, size[TOY_DIM + 1] = {0};
        memset(e, 0, sizeof e);
        assert_int_equal(sr_team_gradient_theta(team, N, x, given ? weight : NULL, e, dtheta),
                         SR_OK);
        for (size_t i = 0; i < N; i++) {
            double energy_i = theta[TOY_DIM], w = given ? weight[i] : 1;
            for (size_t j = 0; j <= TOY_DIM; j++) {
                double v = j < TOY_DIM ? x[i * TOY_DIM + j] : 1;
                energy_i += j < TOY_DIM ? theta[j] * v * v : 0;
                expected[j] += w * v * v;
                size[j] += fabs(w) * v * v;
            }
            assert_true(fabs(e[i] - energy_i) < 1e-4);
        }
        for (size_t j = 0; j <= TOY_DIM; j++)
            assert_true(fabs(dtheta[j] - expected[j]) <= 1e-5 * size[j]);
    }
    sr_team_destroy(team);
    assert_int_equal(destroyed, 0);
    sr_energy_destroy(energy);
    assert_int_equal(destroyed, 1);
}

static void a_refused_energy_is_released(void **state) {
    int destroyed = 0;
    sr_energy *energy;
    sr_energy_ops half = toy_ops;
    refused(sr_energy_create(&toy_ops, toy_make(&destroyed), 0, 1, 1, &energy), &energy,
            "dimension");
    refused(sr_energy_create(&toy_ops, toy_make(&destroyed), 1, 1, 0, &energy), &energy, "tile");
    refused(sr_energy_create(&toy_ops, toy_make(&destroyed), 1, 0, 1, &energy), &energy,
            "gradient_theta");
    half.evaluate = NULL;
    refused(sr_energy_create(&half, toy_make(&destroyed), 1, 1, 1, &energy), &energy, "evaluate");
    assert_int_equal(destroyed, 4);
}

static void no_parameters_no_gradient(void **state) {
    sr_energy *energy = form_create(QUADRATIC, 1);
    sr_team *team;
    float x[2] = {1, 1}, dtheta[1];
    assert_int_equal(sr_team_create(energy, 1, &team), SR_OK);
    assert_int_equal(sr_team_gradient_theta(team, 1, x, NULL, NULL, dtheta), SR_ERROR_UNSUPPORTED);
    sr_energy_set_parameters(energy, x); // ignored
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// ---- networks and threads -----------------------------------------------------------------------

typedef struct results {
    float *e, *dx, *e_theta, *dtheta;
} results;

static results team_results(const sr_energy *energy, unsigned threads, size_t n, const float *x,
                            const float *weight) {
    const size_t dim = sr_energy_dim(energy), parameters = sr_energy_parameters(energy);
    results r = {sr_alloc(n, 4), sr_alloc(n * dim, 4), sr_alloc(n, 4), sr_alloc(parameters, 4)};
    sr_team *team;
    assert_int_equal(sr_team_create(energy, threads, &team), SR_OK);
    sr_team_evaluate(team, n, x, r.e, r.dx);
    // other sizes before: the room for partial sums grows, and holds those of an earlier batch
    for (size_t less = 1; less < n; less += n - 2 ? n - 2 : 1)
        assert_int_equal(sr_team_gradient_theta(team, less, x, weight, NULL, r.dtheta), SR_OK);
    assert_int_equal(sr_team_gradient_theta(team, n, x, weight, r.e_theta, r.dtheta), SR_OK);
    double seconds[SR_PHASE_COUNT];
    sr_team_seconds(team, false, seconds);
    assert_true(seconds[SR_PHASE_FORWARD] > 0 && seconds[SR_PHASE_BACKWARD_DATA] > 0 &&
                seconds[SR_PHASE_BACKWARD_WEIGHTS] > 0);
    sr_team_destroy(team);
    return r;
}

static void results_clear(results *r) {
    sr_free(r->e), sr_free(r->dx), sr_free(r->e_theta), sr_free(r->dtheta);
}

static void same_bits(const char *text, sr_engine engine, sr_precision precision, size_t tile,
                      size_t n) {
    sr_net net;
    sr_energy *energy;
    assert_int_equal(sr_net_parse(text, &net), SR_OK);
    assert_int_equal(sr_energy_network(&net, engine, precision, tile, &energy), SR_OK);
    float *theta = sr_alloc(net.parameters, 4), *x = sr_alloc(n * net.inputs, 4);
    float *weight = sr_alloc(n, 4);
    sr_net_init(&net, 5, theta);
    fill(x, n * net.inputs, 5, 1.0f);
    fill(weight, n, 6, 1.0f);
    sr_energy_set_parameters(energy, theta);
    results one = team_results(energy, 1, n, x, weight);
    for (unsigned threads = 2; threads <= 3; threads++) {
        results many = team_results(energy, threads, n, x, weight);
        assert_memory_equal(one.e, many.e, n * 4);
        assert_memory_equal(one.e_theta, many.e_theta, n * 4);
        assert_memory_equal(one.dx, many.dx, n * net.inputs * 4);
        assert_memory_equal(one.dtheta, many.dtheta, net.parameters * 4);
        results_clear(&many);
    }
    results_clear(&one);
    sr_free(theta), sr_free(x), sr_free(weight);
    sr_energy_destroy(energy);
}

static void the_same_bits_for_any_number_of_threads(void **state) {
    for (sr_engine engine = SR_ENGINE_AUTO; engine < SR_ENGINE_COUNT; engine++) {
        for (sr_precision p = SR_FP32; p < SR_PRECISION_COUNT; p++) {
            if (!sr_engine_available(engine) || !sr_precision_available(engine, p))
                continue;
            same_bits("mlp:dim=2,widths=32x32,activation=silu", engine, p, 0, 1);
            same_bits("mlp:dim=2,widths=32x32,activation=silu", engine, p, 0, 133);
            // 27 tiles, 16 shards
            same_bits("mlp:dim=2,widths=32x32,activation=silu", engine, p, 5, 133);
            same_bits("convnet:channels=1,size=12,nf=4,activation=leaky_relu", engine, p, 4, 27);
        }
    }
}

// The native engine's results know nothing of tiles, nor of who shares one.
static void native_bits_do_not_depend_on_tiles(void **state) {
    static const size_t tiles[] = {16, 1, 17, 32, 48, 64, 0};
    static const char *const models[] = {"mlp:dim=2,widths=32x32,activation=silu",
                                         "convnet:channels=3,size=12,nf=5,activation=silu"};
    enum { N = 101 };
    for (size_t m = 0; m < 2; m++)
        for (sr_precision p = SR_FP32; p < SR_PRECISION_COUNT; p++) {
            sr_net net;
            assert_int_equal(sr_net_parse(models[m], &net), SR_OK);
            float *theta = sr_alloc(net.parameters, 4), *x = sr_alloc(N * net.inputs, 4);
            float weight[N];
            sr_net_init(&net, 5, theta);
            fill(x, N * net.inputs, 5, 1.0f);
            fill(weight, N, 6, 1.0f);
            results first = {0};
            for (size_t t = 0; t < sizeof tiles / sizeof *tiles; t++) {
                sr_energy *energy;
                assert_int_equal(sr_energy_network(&net, SR_ENGINE_NATIVE, p, tiles[t], &energy),
                                 SR_OK);
                sr_energy_set_parameters(energy, theta);
                results r = team_results(energy, 2, N, x, weight);
                if (t == 0) {
                    first = r;
                } else {
                    assert_memory_equal(first.e, r.e, N * 4);
                    assert_memory_equal(first.e_theta, r.e_theta, N * 4);
                    assert_memory_equal(first.dx, r.dx, N * net.inputs * 4);
                    assert_memory_equal(first.dtheta, r.dtheta, net.parameters * 4);
                    results_clear(&r);
                }
                sr_energy_destroy(energy);
            }
            results_clear(&first);
            sr_free(theta), sr_free(x);
        }
}

// dtheta of the batch against the double reference, over several tiles and shards.
static void the_sum_over_tiles_is_the_whole_gradient(void **state) {
    enum { N = 133 };
    sr_net net;
    sr_energy *energy;
    assert_int_equal(sr_net_parse("mlp:dim=3,widths=16x8,activation=softplus", &net), SR_OK);
    assert_int_equal(sr_energy_network(&net, SR_ENGINE_AUTO, SR_FP32, 5, &energy), SR_OK);
    assert_int_equal(sr_plan_tile(sr_energy_plan(energy)), 5);
    float theta[512], x[N * 3], weight[N];
    double theta64[512], x64[N * 3], weight64[N], e64[N], dx64[N * 3], dtheta64[512];
    assert_true(net.parameters <= 512);
    sr_net_init(&net, 5, theta);
    fill(x, N * 3, 7, 1.0f);
    fill(weight, N, 8, 1.0f);
    for (size_t i = 0; i < net.parameters; i++)
        theta64[i] = theta[i];
    for (size_t i = 0; i < N * 3; i++)
        x64[i] = x[i];
    for (size_t i = 0; i < N; i++)
        weight64[i] = weight[i];
    sr_energy_set_parameters(energy, theta);
    results r = team_results(energy, 2, N, x, weight);
    assert_int_equal(sr_net_reference_f64(&net, theta64, N, x64, weight64, e64, dx64, dtheta64),
                     SR_OK);
    double largest = 0;
    for (size_t i = 0; i < net.parameters; i++)
        largest = fmax(largest, fabs(dtheta64[i]));
    for (size_t i = 0; i < net.parameters; i++)
        assert_true(fabs(r.dtheta[i] - dtheta64[i]) < 1e-5 * largest);
    for (size_t i = 0; i < N; i++)
        assert_true(fabs(r.e[i] - e64[i]) < 1e-5 && fabs(r.e_theta[i] - e64[i]) < 1e-5);
    results_clear(&r);
    sr_energy_destroy(energy);
}

static void an_empty_batch_has_a_zero_gradient(void **state) {
    sr_net net;
    sr_energy *energy;
    sr_team *team;
    float x[1] = {0}, dtheta[64];
    assert_int_equal(sr_net_parse("mlp:dim=2,widths=4,activation=silu", &net), SR_OK);
    assert_int_equal(sr_energy_network(&net, SR_ENGINE_SCALAR, SR_FP32, 0, &energy), SR_OK);
    assert_int_equal(sr_team_create(energy, 2, &team), SR_OK);
    assert_true(net.parameters <= 64);
    for (size_t i = 0; i < net.parameters; i++)
        dtheta[i] = 1;
    sr_team_evaluate(team, 0, x, NULL, NULL);
    assert_int_equal(sr_team_gradient_theta(team, 0, x, NULL, NULL, dtheta), SR_OK);
    for (size_t i = 0; i < net.parameters; i++)
        assert_true(dtheta[i] == 0);
    sr_team_destroy(team);
    sr_energy_destroy(energy);
}

// A tile chosen by the library depends on nothing but the network.
// Where bits depend on the tile it follows from the network alone; native and auto measure it.
static void tiles_are_chosen(void **state) {
    sr_net small, large;
    sr_energy *a, *b, *c;
    assert_int_equal(sr_net_parse("mlp:dim=2,widths=64x64,activation=silu", &small), SR_OK);
    assert_int_equal(sr_net_parse("convnet:channels=3,size=32,nf=32,activation=silu", &large),
                     SR_OK);
    assert_int_equal(sr_energy_network(&small, SR_ENGINE_SCALAR, SR_FP32, 0, &a), SR_OK);
    assert_int_equal(sr_energy_network(&small, SR_ENGINE_NATIVE, SR_FP32, 0, &b), SR_OK);
    assert_int_equal(sr_energy_network(&large, SR_ENGINE_SCALAR, SR_FP32, 0, &c), SR_OK);
    assert_int_equal(sr_energy_tile(b) % 16, 0); // whole vectors
    assert_true(sr_energy_tile(a) > sr_energy_tile(c));
    const size_t measured = sr_energy_tile(b);
    sr_energy_destroy(b);
    assert_int_equal(sr_energy_network(&small, SR_ENGINE_NATIVE, SR_FP32, 0, &b), SR_OK);
    assert_int_equal(sr_energy_tile(b), measured); // and remembered
    sr_energy_destroy(a), sr_energy_destroy(b), sr_energy_destroy(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_forms_agree_with_direct_formulas),
        cmocka_unit_test(closed_forms_have_hessians),
        cmocka_unit_test(one_gaussian_in_many_dimensions),
        cmocka_unit_test(far_from_every_mode_it_stays_finite),
        cmocka_unit_test(null_outputs_are_allowed),
        cmocka_unit_test(bad_settings_are_refused),
        cmocka_unit_test(a_users_function_is_called_from_several_threads),
        cmocka_unit_test(an_energy_of_ones_own_can_have_parameters),
        cmocka_unit_test(a_refused_energy_is_released),
        cmocka_unit_test(no_parameters_no_gradient),
        cmocka_unit_test(the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(native_bits_do_not_depend_on_tiles),
        cmocka_unit_test(the_sum_over_tiles_is_the_whole_gradient),
        cmocka_unit_test(an_empty_batch_has_a_zero_gradient),
        cmocka_unit_test(tiles_are_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
