// Dense matrices in double: products cut into fixed blocks of rows over threads, with OpenBLAS on
// one thread in each, so that no bit depends on the number of threads.
#include "metrics.h"

#include <cblas.h>
#include <lapacke.h>
#include <pthread.h>
#include <stdatomic.h>

#define BLOCK 256
#define NARROW_DIM 1024 // of matrices whose eigenvectors are finished in float
#define NARROW_ROWS 512 // whose products are one sum in float

void sr_multiply_transposed(size_t n, size_t k, size_t columns, const double *a, size_t a_pitch,
                            const double *b, size_t b_pitch, double *c, unsigned threads) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t i = 0; i < n; i += BLOCK)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)sr_smaller(BLOCK, n - i),
                    (int)columns, (int)k, 1.0, a + i * a_pitch, (int)a_pitch, b, (int)b_pitch, 0.0,
                    c + i * columns, (int)columns);
}

// c += factor x' x, x (n, dim), c (dim, dim) from the diagonal on; rows of both are `pitch` apart.
static void add_products(size_t n, size_t dim, size_t pitch, double factor, const double *x,
                         double *c, unsigned threads) {
    size_t across = (dim + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t t = 0; t < across * across; t++) {
        size_t i = t / across * BLOCK, j = t % across * BLOCK;
        if (j < i)
            continue;
        size_t rows = sr_smaller(BLOCK, dim - i), columns = sr_smaller(BLOCK, dim - j);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)rows, (int)columns, (int)n,
                    factor, x + i, (int)pitch, x + j, (int)pitch, 1.0, c + i * pitch + j,
                    (int)pitch);
    }
}

void sr_gram_add(size_t n, size_t dim, const double *x, double *c, unsigned threads) {
    add_products(n, dim, dim, 1, x, c, threads);
}

void sr_narrow(size_t n, const double *x, float *out, unsigned threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t i = 0; i < n; i++)
        out[i] = (float)x[i];
}

// part (rows, BLOCK) = products of columns i and j of x (n, dim); from the diagonal on where they
// are the same.
static void block_products(size_t n, size_t dim, const float *x, size_t i, size_t j, float *part) {
    int rows = (int)sr_smaller(BLOCK, dim - i), columns = (int)sr_smaller(BLOCK, dim - j);
    if (i == j)
        cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, rows, (int)n, 1.0f, x + i, (int)dim,
                    0.0f, part, BLOCK);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, columns, (int)n, 1.0f, x + i,
                    (int)dim, x + j, (int)dim, 0.0f, part, BLOCK);
}

void sr_gram_add_narrow(size_t n, size_t dim, const float *x, double *c, unsigned threads) {
    size_t across = (dim + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t t = 0; t < across * across; t++) {
        size_t i = t / across * BLOCK, j = t % across * BLOCK;
        float part[BLOCK * BLOCK];
        for (size_t first = 0; first < n && j >= i; first += NARROW_ROWS) {
            block_products(sr_smaller(NARROW_ROWS, n - first), dim, x + first * dim, i, j, part);
            for (size_t a = 0; a < sr_smaller(BLOCK, dim - i); a++)
                for (size_t b = i == j ? a : 0; b < sr_smaller(BLOCK, dim - j); b++)
                    c[(i + a) * dim + j + b] += part[a * BLOCK + b];
        }
    }
}

size_t sr_cholesky(size_t dim, double *a, unsigned threads) {
    for (size_t k = 0; k < dim; k += BLOCK) {
        double *corner = a + k * dim + k;
        int rows = (int)sr_smaller(BLOCK, dim - k);
        int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', rows, corner, (int)dim);
        if (info) // its arguments are sound: nothing but a pivot that is not positive
            return k + (size_t)(info > 0 ? info - 1 : 0);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
        for (size_t j = k + BLOCK; j < dim; j += BLOCK)
            cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, CblasTrans, CblasNonUnit, rows,
                        (int)sr_smaller(BLOCK, dim - j), 1.0, corner, (int)dim, a + k * dim + j,
                        (int)dim);
        size_t below = k + BLOCK; // from these rows on, the products are taken away
        if (below < dim)
            add_products(BLOCK, dim - below, dim, -1, a + k * dim + below, a + below * dim + below,
                         threads);
    }
    return dim;
}

// Eigenvectors of the tridiagonal matrix, in double, are brought back to those of a in float: half
// the time of the longest part. They are then orthogonal to 1e-6, the eigenvalues are not touched.
static int solve_vectors(const sr_eigen_job *job) {
    size_t dim = job->dim;
    int n = (int)dim, info = LAPACK_WORK_MEMORY_ERROR;
    double *off = sr_alloc(2, dim * sizeof *off), *tau = off ? off + dim : NULL;
    double *z = sr_alloc(dim, dim * sizeof *z);
    float *reflectors = sr_alloc(dim, dim * sizeof *reflectors);
    float *vectors = sr_alloc(dim, dim * sizeof *vectors), *scale = sr_alloc(dim, sizeof *scale);
    if (off && z && reflectors && vectors && scale) {
        info = LAPACKE_dsytrd(LAPACK_COL_MAJOR, 'L', n, job->a, n, job->values, off, tau);
        if (info == 0)
            info = LAPACKE_dstedc(LAPACK_COL_MAJOR, 'I', n, job->values, off, z, n);
        sr_narrow(dim * dim, job->a, reflectors, 1);
        sr_narrow(dim * dim, z, vectors, 1);
        sr_narrow(dim, tau, scale, 1);
        if (info == 0)
            info = LAPACKE_sormtr(LAPACK_COL_MAJOR, 'L', 'L', 'N', n, n, reflectors, n, scale,
                                  vectors, n);
        for (size_t i = 0; i < dim * dim; i++)
            job->a[i] = vectors[i];
    }
    sr_free(off);
    sr_free(z);
    sr_free(reflectors);
    sr_free(vectors);
    sr_free(scale);
    return info;
}

static int solve(const sr_eigen_job *job) {
    if (job->dim == 0)
        return 0;
    if (job->vectors && job->dim >= NARROW_DIM)
        return solve_vectors(job);
    return LAPACKE_dsyevd(LAPACK_COL_MAJOR, job->vectors ? 'V' : 'N', 'L', (int)job->dim, job->a,
                          (int)job->dim, job->values);
}

static sr_status judge(int info, size_t dim) {
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return sr_fail(SR_ERROR_MEMORY, "eigenvalues of a %zu x %zu matrix: out of memory", dim,
                       dim);
    if (info)
        return sr_fail(SR_ERROR_LIBRARY, "eigenvalues of a %zu x %zu matrix: LAPACK returned %d",
                       dim, dim, info);
    return SR_OK;
}

sr_status sr_eigen(size_t count, sr_eigen_job *const *jobs, unsigned threads) {
    int info[SR_EIGEN_JOBS];
    sr_status status = SR_OK;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t i = 0; i < count; i++)
        info[i] = solve(jobs[i]);
    for (size_t i = 0; i < count && status == SR_OK; i++)
        status = judge(info[i], jobs[i]->dim);
    return status;
}

// ---- eigenproblems beside other work ------------------------------------------------------------

typedef struct sr_eigen_crew {
    sr_eigen_queue *queue;
    pthread_t thread[SR_EIGEN_JOBS];
    size_t workers;
    int info[SR_EIGEN_JOBS];
    atomic_size_t next; // job that nobody has begun
    atomic_uint busy;
} sr_eigen_crew;

static void take_jobs(sr_eigen_crew *crew) {
    size_t i;
    while ((i = atomic_fetch_add(&crew->next, 1)) < crew->queue->count)
        crew->info[i] = solve(crew->queue->job[i]);
}

static void *worker(void *user) {
    sr_eigen_crew *crew = user;
    take_jobs(crew);
    atomic_fetch_sub(&crew->busy, 1);
    return NULL;
}

sr_status sr_eigen_start(sr_eigen_queue *queue, unsigned threads) {
    sr_eigen_crew *crew = queue->crew = sr_alloc(1, sizeof *crew);
    if (!crew)
        return SR_ERROR_MEMORY;
    crew->queue = queue;
    while (crew->workers < queue->count && crew->workers + 1 < threads) {
        atomic_fetch_add(&crew->busy, 1);
        if (pthread_create(&crew->thread[crew->workers], NULL, worker, crew) != 0) {
            atomic_fetch_sub(&crew->busy, 1);
            break;
        }
        crew->workers++;
    }
    return SR_OK;
}

unsigned sr_eigen_busy(const sr_eigen_queue *queue) {
    return queue->crew ? atomic_load(&queue->crew->busy) : 0;
}

static void join(sr_eigen_crew *crew) {
    for (size_t i = 0; i < crew->workers; i++)
        pthread_join(crew->thread[i], NULL);
    crew->workers = 0;
}

sr_status sr_eigen_wait(sr_eigen_queue *queue) {
    sr_status status = SR_OK;
    if (!queue->crew)
        return SR_OK;
    take_jobs(queue->crew);
    join(queue->crew);
    for (size_t i = 0; i < queue->count && status == SR_OK; i++)
        status = judge(queue->crew->info[i], queue->job[i]->dim);
    sr_free(queue->crew);
    queue->crew = NULL;
    return status;
}

void sr_eigen_abandon(sr_eigen_queue *queue) {
    if (!queue->crew)
        return;
    atomic_store(&queue->crew->next, queue->count);
    join(queue->crew);
    sr_free(queue->crew);
    queue->crew = NULL;
}

void sr_square_forms(size_t n, size_t dim, const float *x, const float *vectors, size_t count,
                     const double *weight, double *out, unsigned threads, float *scratch) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t rows = sr_smaller(BLOCK, n - i);
        float *product = scratch + i * count;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)count, (int)dim, 1.0f,
                    x + i * dim, (int)dim, vectors, (int)dim, 0.0f, product, (int)count);
        for (size_t r = 0; r < rows; r++) {
            double sum = 0;
            for (size_t k = 0; k < count; k++)
                sum += weight[k] * product[r * count + k] * product[r * count + k];
            out[i + r] = sum;
        }
    }
}
