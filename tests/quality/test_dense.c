// Dense matrices: Cholesky's factor and eigenvectors put the matrix together again, for sizes
// within and across blocks; the same bits for any number of threads.
#include "quality/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <cmocka.h>

// c (dim, dim; from the diagonal on) = x' x / rows, x (rows, dim) of normal values.
static void covariance(size_t dim, size_t rows, uint64_t purpose, double *c) {
    float *x = sr_alloc(rows, dim * sizeof *x);
    sr_kernels_get()->normal(sr_stream_make(5, SR_PURPOSE_TEST, purpose), 0, 0, rows * dim, x);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < dim; i++)
            for (size_t j = i; j < dim; j++)
                c[i * dim + j] += (double)x[r * dim + i] * x[r * dim + j] / (double)rows;
    sr_free(x);
}

static void factors_multiply_to_the_matrix(void **state) {
    const size_t dims[] = {1, 2, 255, 256, 257, 600};
    for (size_t s = 0; s < sizeof dims / sizeof *dims; s++) {
        size_t dim = dims[s], bytes = dim * dim * sizeof(double);
        double *a = sr_alloc(1, bytes), *f = sr_alloc(1, bytes), *again = sr_alloc(1, bytes);
        covariance(dim, 2 * dim, dim, a);
        memcpy(f, a, bytes);
        assert_int_equal(sr_cholesky(dim, f, 1), dim);
        for (unsigned threads = 2; threads <= 3; threads++) {
            memcpy(again, a, bytes);
            assert_int_equal(sr_cholesky(dim, again, threads), dim);
            assert_memory_equal(again, f, bytes);
        }
        for (size_t i = 0; i < dim; i++)
            for (size_t j = i; j < dim; j += 1 + (dim > 300)) {
                double sum = 0;
                for (size_t k = 0; k <= i; k++)
                    sum += f[k * dim + i] * f[k * dim + j];
                if (!(fabs(sum - a[i * dim + j]) < 1e-12))
                    fail_msg("dim %zu, (%zu, %zu): %.17g, expected %.17g", dim, i, j, sum,
                             a[i * dim + j]);
            }
        sr_free(a);
        sr_free(f);
        sr_free(again);
    }
}

static void rows_end_where_pivots_do(void **state) {
    enum { DIM = 400, BAD = 300 };
    double *a = sr_alloc(DIM, DIM * sizeof *a);
    covariance(DIM, 2 * DIM, 9, a);
    for (size_t i = 0; i <= BAD; i++) // the feature is now uncorrelated, of a negative variance
        a[i * DIM + BAD] = i == BAD ? -1 : 0;
    assert_int_equal(sr_cholesky(DIM, a, 2), BAD);
    a[0] = 0;
    assert_int_equal(sr_cholesky(DIM, a, 2), 0);
    sr_free(a);
}

// Of 1,100 features they come back in float, of 60 in double.
static void eigenvectors_put_the_matrix_together(void **state) {
    const size_t dims[] = {60, 1100};
    for (size_t s = 0; s < 2; s++) {
        size_t dim = dims[s];
        double *a = sr_alloc(dim, dim * sizeof *a), *v = sr_alloc(dim, dim * sizeof *v);
        double *values = sr_alloc(dim, sizeof *values), most = s ? 2e-5 : 1e-12;
        covariance(dim, 64, 20 + s, a); // of low rank: many eigenvalues of 0
        memcpy(v, a, dim * dim * sizeof *v);
        sr_eigen_job job = {.vectors = true, .dim = dim, .a = v, .values = values};
        assert_int_equal(sr_eigen(1, &(sr_eigen_job *){&job}, 1), SR_OK);
        for (size_t i = 0; i < dim; i += 7)
            for (size_t j = i; j < dim; j += 5) {
                double sum = 0;
                for (size_t k = 0; k < dim; k++)
                    sum += v[k * dim + i] * values[k] * v[k * dim + j];
                if (!(fabs(sum - a[i * dim + j]) < most))
                    fail_msg("dim %zu, (%zu, %zu): %.9g, expected %.9g", dim, i, j, sum,
                             a[i * dim + j]);
            }
        sr_free(a);
        sr_free(v);
        sr_free(values);
    }
}

int main(void) {
    int threads = sr_blas_alone();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_multiply_to_the_matrix),
        cmocka_unit_test(rows_end_where_pivots_do),
        cmocka_unit_test(eigenvectors_put_the_matrix_together),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sr_blas_restore(threads);
    return failed;
}
