// Activations: names, the double definition (known values, derivatives by differences), and the
// limits of the float kernels. Their accuracy is swept by check_kernels.
#include <shortrun/kernels.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void names_go_both_ways(void **state) {
    for (int a = 0; a <= SR_IDENTITY; a++) {
        sr_activation parsed = SR_IDENTITY;
        assert_int_equal(sr_activation_parse(sr_activation_name((sr_activation)a), &parsed), SR_OK);
        assert_int_equal(parsed, a);
    }
    assert_string_equal(sr_activation_name(SR_LEAKY_RELU), "leaky_relu");
    assert_string_equal(sr_activation_name((sr_activation)99), "unknown");
    sr_activation untouched = SR_GELU;
    assert_int_equal(sr_activation_parse("swish", &untouched), SR_ERROR_ARGUMENT);
    assert_int_equal(untouched, SR_GELU);
    assert_non_null(strstr(sr_error_message(), "'swish'"));
    assert_non_null(strstr(sr_error_message(), "softplus"));
}

static double value(sr_activation a, double z) {
    double y;
    sr_activation_scalar_f64(a, 1, &z, &y, NULL, NULL);
    return y;
}

static void known_values(void **state) {
    static const struct {
        sr_activation activation;
        double z, y;
    } known[] = {
        {SR_SILU, 1, 0.7310585786300049},
        {SR_SILU, -2, -0.2384058440442351},
        {SR_LEAKY_RELU, 3, 3},
        {SR_LEAKY_RELU, -5, -1},
        {SR_RELU, -5, 0},
        {SR_RELU, 2, 2},
        {SR_SOFTPLUS, 0, 0.6931471805599453},
        {SR_SOFTPLUS, 800, 800},
        {SR_ELU, -1, -0.6321205588285577},
        {SR_ELU, 4, 4},
        {SR_GELU, 1, 0.8413447460685429},
        {SR_GELU, -1, -0.15865525393145707},
        {SR_TANH, 0.5, 0.46211715726000973},
        {SR_IDENTITY, -7, -7},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_true(fabs(value(known[i].activation, known[i].z) - known[i].y) <=
                    1e-15 * fmax(1, fabs(known[i].y)));
}

static void derivatives_by_differences(void **state) {
    const double h = 1e-5;
    for (int a = 0; a <= SR_IDENTITY; a++) {
        for (double z = -9.05; z < 9; z += 0.1) {
            double y, slope;
            sr_activation_scalar_f64((sr_activation)a, 1, &z, &y, &slope, NULL);
            double difference =
                (value((sr_activation)a, z + h) - value((sr_activation)a, z - h)) / (2 * h);
            assert_true(fabs(slope - difference) < 1e-9);
        }
    }
}

static void second_derivatives_by_differences(void **state) {
    const double h = 1e-5;
    for (int a = 0; a <= SR_IDENTITY; a++) {
        for (double z = -9.05; z < 9; z += 0.1) {
            double at[3] = {z - h, z + h, z}, y[3], slope[3], second[3];
            sr_activation_scalar_f64((sr_activation)a, 3, at, y, slope, second);
            assert_true(fabs(second[2] - (slope[1] - slope[0]) / (2 * h)) < 1e-9);
        }
    }
}

static void curvature_by_differences(void **state) {
    for (int a = 0; a <= SR_IDENTITY; a++) {
        double largest = 0;
        for (double z = -3.05; z < 3; z += 0.1) {
            double at[2] = {z, z + 1e-3}, y[2], slope[2];
            sr_activation_scalar_f64((sr_activation)a, 2, at, y, slope, NULL);
            largest = fmax(largest, fabs(slope[1] - slope[0]));
        }
        assert_int_equal(sr_activation_has_curvature((sr_activation)a), largest > 1e-9);
    }
}

static void limits_at_infinity(void **state) {
    static const struct {
        float low, high, slope_low, slope_high; // at -infinity and +infinity
    } limits[SR_ACTIVATION_COUNT + 1] = {
        [SR_SILU] = {0, INFINITY, 0, 1}, [SR_LEAKY_RELU] = {-INFINITY, INFINITY, SR_LEAKY_SLOPE, 1},
        [SR_RELU] = {0, INFINITY, 0, 1}, [SR_SOFTPLUS] = {0, INFINITY, 0, 1},
        [SR_ELU] = {-1, INFINITY, 0, 1}, [SR_GELU] = {0, INFINITY, 0, 1},
        [SR_TANH] = {-1, 1, 0, 0},       [SR_IDENTITY] = {-INFINITY, INFINITY, 1, 1},
    };
    static const float ends[2][2] = {{-INFINITY, INFINITY}, {-3e38f, 3e38f}};
    for (int isa = SR_ISA_SCALAR; isa <= SR_ISA_AMX; isa++) {
        for (int a = 0; a <= SR_IDENTITY; a++) {
            for (int finite = 0; finite < 2; finite++) {
                float y[2], slope[2];
                sr_kernels_for((sr_isa)isa)
                    ->activation((sr_activation)a, 2, ends[finite], y, slope, NULL);
                if (!finite || isfinite(limits[a].low))
                    assert_true(y[0] == limits[a].low);
                if (!finite || isfinite(limits[a].high))
                    assert_true(y[1] == limits[a].high);
                else
                    assert_true(y[1] == ends[1][1]);
                assert_true(slope[0] == limits[a].slope_low && slope[1] == limits[a].slope_high);
            }
            double z[2] = {-INFINITY, INFINITY}, y[2], slope[2];
            sr_activation_scalar_f64((sr_activation)a, 2, z, y, slope, NULL);
            assert_true((float)y[0] == limits[a].low && (float)y[1] == limits[a].high);
            assert_true((float)slope[0] == limits[a].slope_low &&
                        (float)slope[1] == limits[a].slope_high);
        }
    }
}

// As PyTorch: at 0 the piecewise linear ones take the slope from the left.
static void slope_at_zero(void **state) {
    const float zero = 0;
    float y, slope;
    sr_kernels_get()->activation(SR_RELU, 1, &zero, &y, &slope, NULL);
    assert_true(y == 0 && slope == 0);
    sr_kernels_get()->activation(SR_LEAKY_RELU, 1, &zero, &y, &slope, NULL);
    assert_true(y == 0 && slope == SR_LEAKY_SLOPE);
    sr_kernels_get()->activation(SR_ELU, 1, &zero, &y, &slope, NULL);
    assert_true(y == 0 && slope == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(known_values),
        cmocka_unit_test(derivatives_by_differences),
        cmocka_unit_test(curvature_by_differences),
        cmocka_unit_test(second_derivatives_by_differences),
        cmocka_unit_test(limits_at_infinity),
        cmocka_unit_test(slope_at_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
