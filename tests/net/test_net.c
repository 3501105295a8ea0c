// Networks: sizes, texts, parameters in PyTorch's layout, and the plan of every engine against the
// double reference; spectral normalisation against a dense singular value.
#include <shortrun/net.h>

#include <lapacke.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char *const texts[] = {
    "mlp:dim=2,widths=64x64,activation=silu",
    "mlp:dim=2,widths=7,activation=gelu",
    "mlp:dim=5,widths=3x9x4,activation=softplus,outputs=3",
    "convnet:channels=1,size=28,nf=8,activation=leaky_relu",
    "convnet:channels=1,size=28,nf=4,activation=silu",
    "convnet:channels=3,size=32,nf=8,activation=elu",
    "convnet:channels=3,size=12,nf=5,activation=tanh",
    "convnet:channels=2,size=5,nf=3,activation=relu",
    "classifier:channels=1,size=28,nf=4,features=16,classes=10,activation=relu",
    "classifier:channels=3,size=15,nf=3,features=11,classes=4,activation=softplus",
};
enum { TEXTS = sizeof texts / sizeof *texts };

static void fill(float *x, size_t n, uint32_t purpose, float scale) {
    sr_kernels_get()->normal(sr_stream_make(7, SR_PURPOSE_TEST, purpose), 0, 0, n, x);
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

static double *widen(const float *x, size_t n) {
    double *out = sr_alloc(n, sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = x[i];
    return out;
}

// Largest difference over the largest entry.
static double distance(const float *a, const double *b, size_t n) {
    double worst = 0, largest = 1e-30;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(a[i] - b[i]));
        largest = fmax(largest, fabs(b[i]));
        if (!isfinite(a[i]))
            return INFINITY;
    }
    return worst / largest;
}

// Who is compared with the double reference, and how close outputs and gradients in x must come;
// gradients in theta add up more and may be off by twice as much. Where bfloat16 moves z across the
// kink of relu or leaky_relu, the slope is another one: such gradients are right only in the mean
// and are compared so, to `kinked`. 0: as all others.
typedef struct engine_case {
    sr_engine engine;
    sr_precision precision;
    double bound, kinked;
} engine_case;

static const engine_case engine_cases[] = {
    {SR_ENGINE_SCALAR, SR_FP32, 1e-5, 0},    {SR_ENGINE_NATIVE, SR_FP32, 1e-5, 0},
    {SR_ENGINE_NATIVE, SR_BF16, 3e-2, 0.25}, {SR_ENGINE_NATIVE, SR_BF16X3, 1e-4, 0.02},
    {SR_ENGINE_AUTO, SR_FP32, 1e-5, 0},      {SR_ENGINE_ONEDNN, SR_FP32, 1e-5, 0},
    {SR_ENGINE_ONEDNN, SR_BF16, 3e-2, 0.25},
};
enum { ENGINE_CASES = sizeof engine_cases / sizeof *engine_cases };

// The distance of gradients as a part of what the case allows.
static double gradient_distance(const sr_net *net, const engine_case *by, const float *a,
                                const double *b, size_t n) {
    if (by->kinked <= 0 || sr_activation_has_curvature(net->layers[0].activation))
        return distance(a, b, n) / by->bound;
    double error = 0, square = 1e-30;
    for (size_t i = 0; i < n; i++) {
        error += (a[i] - b[i]) * (a[i] - b[i]);
        square += b[i] * b[i];
    }
    return isfinite(error) ? sqrt(error / square) / by->kinked : INFINITY;
}

static void check_engine(const sr_net *net, const engine_case *by, size_t tile, size_t n) {
    size_t in = net->inputs, out = net->outputs;
    float *theta = sr_alloc(net->parameters, 4), *x = sr_alloc(n * in, 4),
          *seed = sr_alloc(n * out, 4);
    float *y = sr_alloc(n * out, 4), *dx = sr_alloc(n * in, 4),
          *dtheta = sr_alloc(net->parameters, 4);
    double *y64 = sr_alloc(n * out, 8), *dx64 = sr_alloc(n * in, 8);
    double *dtheta64 = sr_alloc(net->parameters, 8);
    sr_net_init(net, 3, theta);
    fill(x, n * in, 1, 1.0f);
    fill(seed, n * out, 2, 1.0f);
    double *theta64 = widen(theta, net->parameters), *x64 = widen(x, n * in);
    double *seed64 = widen(seed, n * out);
    assert_int_equal(sr_net_reference_f64(net, theta64, n, x64, seed64, y64, dx64, dtheta64),
                     SR_OK);

    sr_plan *plan;
    sr_workspace *workspace;
    assert_int_equal(sr_plan_create(net, tile, by->engine, by->precision, &plan), SR_OK);
    assert_int_equal(sr_workspace_create(plan, &workspace), SR_OK);
    sr_plan_set_weights(plan, theta);
    sr_plan_forward(plan, workspace, n, x, y);
    assert_true(distance(y, y64, n * out) < by->bound);
    memset(y, 0, n * out * 4);
    // before gradient_x, which leaves more behind than gradient_theta may rely on
    sr_plan_gradient_theta(plan, workspace, n, x, seed, NULL, NULL, y, dtheta);
    assert_true(distance(y, y64, n * out) < by->bound);
    assert_true(gradient_distance(net, by, dtheta, dtheta64, net->parameters) < 2);
    memset(y, 0, n * out * 4);
    sr_plan_gradient_x(plan, workspace, n, x, seed, y, dx);
    assert_true(distance(y, y64, n * out) < by->bound);
    assert_true(gradient_distance(net, by, dx, dx64, n * in) < 1);
    assert_true(sr_workspace_seconds(workspace)[SR_PHASE_BACKWARD_WEIGHTS] > 0);
    sr_workspace_destroy(workspace);
    sr_plan_destroy(plan);
    void *all[] = {theta, x, seed, y, dx, dtheta, y64, dx64, dtheta64, theta64, x64, seed64};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sr_free(all[i]);
}

static void test_engines(void **state) {
    for (size_t k = 0; k < ENGINE_CASES; k++) {
        const engine_case *by = &engine_cases[k];
        if (!sr_engine_available(by->engine) || !sr_precision_available(by->engine, by->precision))
            continue;
        for (size_t i = 0; i < TEXTS; i++) {
            sr_net net, head;
            assert_int_equal(sr_net_parse(texts[i], &net), SR_OK);
            check_engine(&net, by, 4, 4);
            check_engine(&net, by, 4, 3);
            check_engine(&net, by, 1, 1);
            assert_int_equal(sr_net_truncate(&head, &net, 1), SR_OK); // ends on an activation
            check_engine(&head, by, 5, 2);
        }
    }
}

// A precision that an engine lacks is refused with both names.
static void test_refused_precisions(void **state) {
    static const struct {
        sr_engine engine;
        sr_precision precision;
    } refused[] = {
        {SR_ENGINE_SCALAR, SR_BF16}, {SR_ENGINE_SCALAR, SR_BF16X3}, {SR_ENGINE_ONEDNN, SR_BF16X3}};
    sr_net net;
    sr_plan *plan;
    assert_int_equal(sr_net_parse(texts[0], &net), SR_OK);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const sr_engine engine = refused[i].engine;
        if (!sr_engine_available(engine))
            continue;
        assert_false(sr_precision_available(engine, refused[i].precision));
        assert_int_equal(sr_plan_create(&net, 1, engine, refused[i].precision, &plan),
                         SR_ERROR_UNSUPPORTED);
        assert_null(plan);
        assert_non_null(strstr(sr_error_message(), sr_engine_name(engine)));
        assert_non_null(strstr(sr_error_message(), sr_precision_name(refused[i].precision)));
    }
}

// The reference itself: directional finite differences in x and theta.
static void test_reference_gradient(void **state) {
    for (size_t i = 0; i < TEXTS; i++) {
        sr_net net;
        assert_int_equal(sr_net_parse(texts[i], &net), SR_OK);
        if (strstr(texts[i], "relu"))
            continue; // kinks
        size_t n = 2, in = n * net.inputs, out = n * net.outputs, p = net.parameters;
        float *f = sr_alloc(in + p, 4), *start = sr_alloc(p, 4);
        sr_net_init(&net, 3, start);
        fill(f, in + p, 5, 1.0f);
        double *x = widen(f, in), *theta = widen(start, p), *dx = sr_alloc(in, 8),
               *dtheta = sr_alloc(p, 8);
        double *y = sr_alloc(out, 8), step = 1e-5, sum[2] = {0, 0}, slope = 0;
        sr_net_reference_f64(&net, theta, n, x, NULL, y, dx, dtheta);
        double *x2 = sr_alloc(in, 8), *theta2 = sr_alloc(p, 8);
        for (int side = 0; side < 2; side++) {
            for (size_t k = 0; k < in; k++)
                x2[k] = x[k] + (side ? step : -step) * f[k];
            for (size_t k = 0; k < p; k++)
                theta2[k] = theta[k] + (side ? step : -step) * f[in + k];
            sr_net_reference_f64(&net, theta2, n, x2, NULL, y, NULL, NULL);
            for (size_t k = 0; k < out; k++)
                sum[side] += y[k];
        }
        for (size_t k = 0; k < in; k++)
            slope += dx[k] * f[k];
        for (size_t k = 0; k < p; k++)
            slope += dtheta[k] * f[in + k];
        assert_true(fabs((sum[1] - sum[0]) / (2 * step) - slope) < 1e-6 * fmax(1, fabs(slope)));
        void *all[] = {f, start, x, theta, dx, dtheta, y, x2, theta2};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            sr_free(all[k]);
    }
}

static void test_text(void **state) {
    for (size_t i = 0; i < TEXTS; i++) {
        sr_net net, again;
        sr_text text = {0};
        assert_int_equal(sr_net_parse(texts[i], &net), SR_OK);
        sr_net_format(&net, &text);
        assert_int_equal(sr_net_parse(sr_text_string(&text), &again), SR_OK);
        assert_memory_equal(&net, &again, sizeof net);
        sr_text_clear(&text);
        sr_tensors *tensors;
        assert_int_equal(sr_tensors_create(&tensors), SR_OK);
        assert_int_equal(sr_net_describe(&net, tensors), SR_OK);
        assert_int_equal(sr_net_from_meta(tensors, &again), SR_OK);
        assert_memory_equal(&net, &again, sizeof net);
        sr_tensors_destroy(tensors);
    }
}

static void test_bad_text(void **state) {
    static const char *const bad[][2] = {
        {"", "expected like"},
        {"vgg:channels=1", "unknown model 'vgg'"},
        {"mlp:dim=2,widths=64x64,activation=swish", "swish"},
        {"mlp:dim=2", "widths"},
        {"mlp:dim=0,widths=3", "dim = 0"},
        {"mlp:dim=2,widths=0", "widths = '0'"},
        {"mlp:dim=2,widths=3x", "widths = '3x'"},
        {"mlp:dim=2,widths=3,depth=4", "unknown key 'depth'"},
        {"mlp:dim=2,dim=2,widths=3", "twice"},
        {"convnet:channels=1,size=28", "nf"},
        {"convnet:channels=1,size=2,nf=4", "size = 2"},
        {"convnet:channels=-1,size=28,nf=4", "channels"},
        {"convnet:channels=1,size=28,nf=99999999999999999999", "nf"},
        {"mlp:dim=2,widths=3,,", "cannot read"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sr_net net;
        assert_int_equal(sr_net_parse(bad[i][0], &net), SR_ERROR_ARGUMENT);
        if (!strstr(sr_error_message(), bad[i][1]))
            fail_msg("'%s' gave '%s'", bad[i][0], sr_error_message());
    }
}

static void test_torch_names(void **state) {
    sr_net net;
    assert_int_equal(sr_net_parse(texts[8], &net), SR_OK);
    // conv act conv act conv act flatten linear act linear
    size_t expected[] = {0, 2, 4, 7, 9};
    for (size_t l = 0; l < net.layer_count; l++)
        assert_int_equal(net.layers[l].torch_index, expected[l]);
    float *theta = sr_alloc(net.parameters, 4), *back = sr_alloc(net.parameters, 4);
    sr_net_init(&net, 1, theta);
    sr_tensors *tensors;
    assert_int_equal(sr_tensors_create(&tensors), SR_OK);
    assert_int_equal(sr_net_put(&net, theta, "raw.", tensors), SR_OK);
    assert_non_null(sr_tensors_find(tensors, "raw.7.weight"));
    assert_int_equal(sr_tensors_find(tensors, "raw.7.weight")->rank, 2);
    assert_int_equal(sr_net_take(&net, tensors, "raw.", back), SR_OK);
    assert_memory_equal(theta, back, net.parameters * 4);
    assert_int_equal(sr_net_take(&net, tensors, "", back), SR_ERROR_FORMAT);
    sr_net other;
    assert_int_equal(sr_net_classifier(&other, 1, 28, 4, 16, 9, SR_RELU), SR_OK);
    assert_int_equal(sr_net_take(&other, tensors, "raw.", back), SR_ERROR_FORMAT);
    assert_non_null(strstr(sr_error_message(), "expected (9, 16)"));
    sr_tensors_destroy(tensors);
    sr_free(theta);
    sr_free(back);
}

// Largest singular value of a layer's operator on its images, from the whole matrix: a column for
// each input, LAPACK's singular values.
static double operator_norm(const sr_layer *layer, const float *weight) {
    const sr_conv_shape *shape = &layer->shape;
    const size_t in = shape->in_channels * shape->in_height * shape->in_width;
    const size_t out = shape->out_channels * shape->out_height * shape->out_width;
    const size_t least = in < out ? in : out;
    float *x = sr_alloc(in, sizeof *x), *y = sr_alloc(out, sizeof *y);
    double *matrix = sr_alloc(in * out, sizeof *matrix), *values = sr_alloc(least, sizeof *values);
    assert_true(x && y && matrix && values);
    for (size_t i = 0; i < in; i++) {
        x[i] = 1;
        sr_conv_forward_scalar(shape, 1, x, weight, NULL, y);
        x[i] = 0;
        for (size_t o = 0; o < out; o++)
            matrix[i * out + o] = y[o];
    }
    double spare[1];
    assert_int_equal(LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', (int)out, (int)in, matrix, (int)out,
                                    values, spare, 1, spare, 1),
                     0);
    const double norm = values[0];
    sr_free(x), sr_free(y), sr_free(matrix), sr_free(values);
    return norm;
}

// What is divided by is the norm of the convolution on its images, not of the reshaped matrix.
static void spectral_values_are_those_of_the_operator(void **state) {
    const char *const nets[] = {"convnet:channels=2,size=12,nf=3,activation=silu",
                                "mlp:dim=5,widths=17x9,activation=silu"};
    for (size_t n = 0; n < 2; n++) {
        sr_net net;
        sr_spectral *spectral;
        assert_int_equal(sr_net_parse(nets[n], &net), SR_OK);
        assert_int_equal(sr_spectral_create(&net, SR_ENGINE_AUTO, 1, &spectral), SR_OK);
        float *theta = sr_alloc(net.parameters, sizeof *theta);
        float *effective = sr_alloc(net.parameters, sizeof *effective);
        assert_true(theta && effective);
        sr_net_init(&net, 4, theta);
        sr_spectral_apply(spectral, 1000, theta, effective);
        for (size_t l = 0; l < net.layer_count; l++) {
            const double norm = operator_norm(&net.layers[l], theta + net.layers[l].weight);
            assert_true(fabs(sr_spectral_values(spectral)[l] / norm - 1) < 1e-4);
            assert_true(fabs(operator_norm(&net.layers[l], effective + net.layers[l].weight) - 1) <
                        1e-4);
        }
        sr_spectral_destroy(spectral);
        sr_free(theta), sr_free(effective);
    }
}

// One dense layer: the singular value against power iteration on W^T W in double, and dsigma/dW
// against finite differences through sr_spectral_pull_back.
static void test_spectral(void **state) {
    sr_net net;
    assert_int_equal(sr_net_parse("convnet:channels=1,size=12,nf=3,activation=silu", &net), SR_OK);
    sr_spectral *spectral;
    assert_int_equal(sr_spectral_create(&net, SR_ENGINE_AUTO, 1, &spectral), SR_OK);
    size_t p = net.parameters;
    float *theta = sr_alloc(p, 4), *effective = sr_alloc(p, 4), *weight = sr_alloc(p, 4);
    sr_net_init(&net, 1, theta);
    sr_spectral_apply(spectral, 500, theta, effective);
    const double *values = sr_spectral_values(spectral);
    for (size_t l = 0; l < net.layer_count; l++) {
        // the effective layer's norm is one: no image grows, the kept direction hardly shrinks
        const sr_layer *layer = &net.layers[l];
        size_t in = layer->shape.in_channels * layer->shape.in_height * layer->shape.in_width;
        size_t out = layer->shape.out_channels * layer->shape.out_height * layer->shape.out_width;
        float *x = sr_alloc(in, 4), *y = sr_alloc(out, 4);
        double best = 0;
        fill(x, in, 9, 1.0f);
        for (int i = 0; i < 200; i++) {
            double length = sqrt(sr_kernels_get()->sum_squares(in, x));
            for (size_t k = 0; k < in; k++)
                x[k] = (float)(x[k] / length);
            sr_conv_forward_scalar(&layer->shape, 1, x, effective + layer->weight, NULL, y);
            best = sqrt(sr_kernels_get()->sum_squares(out, y));
            sr_conv_backward_data_scalar(&layer->shape, 1, y, effective + layer->weight, x);
        }
        assert_true(fabs(best - 1) < 1e-3);
        assert_true(values[l] > 0);
        sr_free(x);
        sr_free(y);
    }
    // d/dtheta <weight, effective(theta)> against finite differences along a random direction
    float *direction = sr_alloc(p, 4), *moved = sr_alloc(p, 4), *gradient = sr_alloc(p, 4);
    fill(weight, p, 11, 1.0f);
    fill(direction, p, 12, 1.0f);
    memcpy(gradient, weight, p * 4);
    sr_spectral_pull_back(spectral, effective, gradient);
    double slope = 0, difference = 0, step = 2e-3;
    for (size_t i = 0; i < p; i++)
        slope += (double)gradient[i] * direction[i];
    for (int side = -1; side <= 1; side += 2) {
        for (size_t i = 0; i < p; i++)
            moved[i] = theta[i] + (float)(side * step) * direction[i];
        sr_spectral_apply(spectral, 500, moved, effective);
        for (size_t i = 0; i < p; i++)
            difference += side * (double)weight[i] * effective[i] / (2 * step);
    }
    assert_true(fabs(slope - difference) < 0.02 * fabs(slope) + 1e-2);
    // vectors survive a checkpoint to the bit
    sr_spectral_apply(spectral, 1, theta, effective);
    sr_tensors *tensors;
    sr_spectral *other;
    assert_int_equal(sr_tensors_create(&tensors), SR_OK);
    assert_int_equal(sr_spectral_put(spectral, tensors), SR_OK);
    assert_int_equal(sr_spectral_create(&net, SR_ENGINE_AUTO, 99, &other), SR_OK);
    assert_int_equal(sr_spectral_take(other, tensors), SR_OK);
    sr_spectral_apply(other, 0, theta, moved);
    assert_memory_equal(effective, moved, p * 4);
    sr_tensors_destroy(tensors);
    sr_spectral_destroy(other);
    sr_spectral_destroy(spectral);
    void *all[] = {theta, effective, weight, direction, moved, gradient};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sr_free(all[i]);
}

// Gradient in x of a wide network in one precision, against fp32 (whose own error is a hundredth of
// what is asked): relative L2 error.
static double gradient_error(const sr_net *net, sr_precision precision, size_t n) {
    float *theta = sr_alloc(net->parameters, 4), *x = sr_alloc(n * net->inputs, 4), *dx[2];
    double error = 0, square = 0;
    sr_net_init(net, 3, theta);
    fill(x, n * net->inputs, 1, 1.0f);
    for (int i = 0; i < 2; i++) {
        sr_plan *plan;
        sr_workspace *workspace;
        dx[i] = sr_alloc(n * net->inputs, 4);
        assert_int_equal(sr_plan_create(net, 16, SR_ENGINE_NATIVE, i ? precision : SR_FP32, &plan),
                         SR_OK);
        assert_int_equal(sr_workspace_create(plan, &workspace), SR_OK);
        sr_plan_set_weights(plan, theta);
        sr_plan_gradient_x(plan, workspace, n, x, NULL, NULL, dx[i]);
        sr_workspace_destroy(workspace);
        sr_plan_destroy(plan);
    }
    for (size_t i = 0; i < n * net->inputs; i++) {
        error += pow(dx[1][i] - dx[0][i], 2);
        square += pow(dx[0][i], 2);
    }
    sr_free(theta), sr_free(x), sr_free(dx[0]), sr_free(dx[1]);
    return sqrt(error / square);
}

static void wide_networks_lose_little_in_bf16(void **state) {
    sr_net net;
    // smaller images where the tiles may be a model of them, which is slow
    const size_t size = sr_cpu_get()->active == SR_ISA_AMX ? 16 : 32;
    assert_int_equal(sr_net_convnet(&net, 3, size, 64, SR_SILU), SR_OK);
    const double bf16 = gradient_error(&net, SR_BF16, 2);
    const double split = gradient_error(&net, SR_BF16X3, 2);
    printf("relative L2 error at nf = 64: bf16 %.2g, bf16x3 %.2g\n", bf16, split);
    assert_true(bf16 < 1e-2 && bf16 > 1e-4);
    assert_true(split < 3e-5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_torch_names),
        cmocka_unit_test(test_reference_gradient),
        cmocka_unit_test(test_engines),
        cmocka_unit_test(test_refused_precisions),
        cmocka_unit_test(spectral_values_are_those_of_the_operator),
        cmocka_unit_test(test_spectral),
        cmocka_unit_test(wide_networks_lose_little_in_bf16),
    };
    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
