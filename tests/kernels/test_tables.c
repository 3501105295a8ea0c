// The dispatcher, the geometry and a small convolution worked by hand, the measured peak.
#include <shortrun/kernels.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void the_ladder_stops_at_the_cpu(void **state) {
    const sr_cpu *cpu = sr_cpu_get();
    sr_isa last = SR_ISA_SCALAR;
    for (int isa = SR_ISA_SCALAR; isa <= SR_ISA_AMX; isa++) {
        const sr_kernels *k = sr_kernels_for((sr_isa)isa);
        assert_non_null(k);
        assert_true(k->isa <= (sr_isa)isa && k->isa <= cpu->best && k->isa >= last);
        assert_non_null(k->activation);
        assert_non_null(k->multiply);
        assert_non_null(k->uniform);
        assert_non_null(k->normal);
        assert_non_null(k->update);
        assert_non_null(k->adam);
        assert_non_null(k->sum_squares);
        last = k->isa;
    }
    assert_int_equal(sr_kernels_for(SR_ISA_SCALAR)->isa, SR_ISA_SCALAR);
    assert_ptr_equal(sr_kernels_get(), sr_kernels_for(cpu->active));
#if defined(__x86_64__) && !defined(SR_PORTABLE)
    if (cpu->best >= SR_ISA_AVX2)
        assert_int_equal(sr_kernels_for(SR_ISA_AVX2)->isa, SR_ISA_AVX2);
    if (cpu->best >= SR_ISA_AVX512)
        assert_int_equal(sr_kernels_for(SR_ISA_AVX512)->isa, SR_ISA_AVX512);
#endif
}

static void shapes_of_the_convnet(void **state) {
    sr_conv_shape s = sr_conv_shape_make(1, 28, 28, 8, 3, 3, 1, 1);
    assert_int_equal(s.out_height, 28);
    assert_int_equal(s.out_width, 28);
    assert_true(sr_conv_shape_multiply_adds(&s) == 28.0 * 28 * 9 * 8);
    size_t expected[] = {14, 7, 3};
    for (size_t i = 0; i < 3; i++) {
        s = sr_conv_shape_make(s.out_channels, s.out_height, s.out_width, 2 * s.out_channels, 4, 4,
                               2, 1);
        assert_int_equal(s.out_height, expected[i]);
        assert_int_equal(s.out_width, expected[i]);
        assert_int_equal(s.in_channels, 8u << i);
    }
    s = sr_conv_shape_make(s.out_channels, 3, 3, 1, 3, 3, 1, 0);
    assert_int_equal(s.out_height * s.out_width * s.out_channels, 1);
    s = sr_conv_shape_make(2, 9, 4, 3, 5, 1, 1, 2);
    assert_int_equal(s.out_height, 9);
    assert_int_equal(s.out_width, 8);
}

// 3 x 3 image, 2 x 2 kernel, worked by hand; the kernel is not flipped.
static void convolution_by_hand(void **state) {
    sr_conv_shape s = sr_conv_shape_make(1, 3, 3, 1, 2, 2, 1, 0);
    const float x[] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, w[] = {1, 10, 100, 1000}, bias[] = {0.5f};
    const float expected[] = {5421.5f, 6532.5f, 8754.5f, 9865.5f};
    float y[4];
    sr_conv_forward_scalar(&s, 1, x, w, bias, y);
    assert_memory_equal(y, expected, sizeof y);
    const float dy[] = {1, 0, 0, 2};
    const float dx_expected[] = {1, 10, 0, 100, 1002, 20, 0, 200, 2000};
    float dx[9], dw[4], dbias[1];
    sr_conv_backward_data_scalar(&s, 1, dy, w, dx);
    assert_memory_equal(dx, dx_expected, sizeof dx);
    const float dw_expected[] = {1 + 2 * 5, 2 + 2 * 6, 4 + 2 * 8, 5 + 2 * 9};
    sr_conv_backward_weights_scalar(&s, 1, x, dy, dw, dbias);
    assert_memory_equal(dw, dw_expected, sizeof dw);
    assert_true(dbias[0] == 3);
    // Stride 2, padding 1: the zeros around the image take part.
    s = sr_conv_shape_make(1, 3, 3, 1, 2, 2, 2, 1);
    const float strided[] = {1000 * 1, 100 * 2 + 1000 * 3, 10 * 4 + 1000 * 7,
                             1 * 5 + 10 * 6 + 100 * 8 + 1000 * 9};
    sr_conv_forward_scalar(&s, 1, x, w, NULL, y);
    assert_memory_equal(y, strided, sizeof y);
}

static void peak_is_measured_and_remembered(void **state) {
    double one = sr_peak_gflops(1);
    assert_true(one > 0.05 && one < 1e5);
    double start = sr_seconds();
    assert_true(sr_peak_gflops(1) == one);
    assert_true(sr_seconds() - start < 0.005);
    assert_true(sr_peak_gflops(2) > 0.05 * one); // whatever else the machine does now
    assert_true(sr_peak_gflops(0) == sr_peak_gflops(sr_cpu_get()->threads));
}

// No speeds are asserted, but what must hold between the peaks whatever the machine does.
static void peaks_of_the_precisions(void **state) {
    const double fp32 = sr_peak_gflops(1), bf16 = sr_peak_bf16_gflops(1);
    const sr_cpu *cpu = sr_cpu_get();
    const bool tiles = cpu->active == SR_ISA_AMX && cpu->amx_bf16;
    assert_true(bf16 > 0.05 && bf16 < 1e6);
    if (cpu->active < SR_ISA_AVX512 || !(cpu->avx512_bf16 || cpu->amx_bf16))
        assert_true(bf16 == fp32);
    assert_true(sr_peak_for(SR_FP32, 1) == fp32);
    assert_true(sr_peak_for(SR_BF16, 1) == bf16);
    if (!tiles)
        assert_true(sr_peak_for(SR_BF16X3, 1) == fp32);
    const double l2 = sr_peak_l2_gbs(1);
    assert_true(l2 > 0.05 && l2 < 1e5);
    assert_true(sr_peak_l2_gbs(1) == l2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ladder_stops_at_the_cpu),
        cmocka_unit_test(shapes_of_the_convnet),
        cmocka_unit_test(convolution_by_hand),
        cmocka_unit_test(peak_is_measured_and_remembered),
        cmocka_unit_test(peaks_of_the_precisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
