// Adam against PyTorch: the parameters after every step of the oracle file, on every instruction
// set.
#include <shortrun/io.h>
#include <shortrun/kernels.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static float meta(const sr_tensors *tensors, const char *key) {
    const char *text = sr_tensors_meta(tensors, key);
    assert_non_null(text);
    return strtof(text, NULL);
}

static void follows_pytorch(void **state) {
    const char *folder = getenv("SHORTRUN_ORACLE_DIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/adam.safetensors", folder && *folder ? folder : SR_ORACLE_DIR);
    sr_tensors *oracle;
    if (sr_tensors_load(path, &oracle) != SR_OK)
        fail_msg("%s", sr_error_message());
    const sr_array *p0 = sr_tensors_find(oracle, "p0"), *grads = sr_tensors_find(oracle, "grads");
    const sr_array *expected = sr_tensors_find(oracle, "expect.params");
    assert_true(p0 && grads && expected);
    size_t n = sr_array_count(p0), steps = grads->shape[0];
    assert_true(steps > 1 && sr_array_count(grads) == steps * n &&
                sr_array_count(expected) == steps * n);
    float *gradient;
    double *reference;
    assert_int_equal(sr_array_to_f32(grads, &gradient), SR_OK);
    assert_int_equal(sr_array_to_f64(expected, &reference), SR_OK);
    for (int isa = SR_ISA_SCALAR; isa <= SR_ISA_AMX; isa++) {
        float *theta, *m = sr_alloc(n, sizeof *m), *v = sr_alloc(n, sizeof *v);
        assert_int_equal(sr_array_to_f32(p0, &theta), SR_OK);
        for (size_t t = 0; t < steps; t++) {
            sr_kernels_for((sr_isa)isa)
                ->adam(n, theta, gradient + t * n, m, v, meta(oracle, "lr"), meta(oracle, "beta1"),
                       meta(oracle, "beta2"), meta(oracle, "eps"), t + 1);
            double largest = 0, error = 0;
            for (size_t i = 0; i < n; i++) {
                largest = fmax(largest, fabs(reference[t * n + i]));
                error = fmax(error, fabs(theta[i] - reference[t * n + i]));
            }
            assert_true(error <= 1e-6 * largest);
        }
        sr_free(theta);
        sr_free(m);
        sr_free(v);
    }
    sr_free(gradient);
    sr_free(reference);
    sr_tensors_destroy(oracle);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(follows_pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
