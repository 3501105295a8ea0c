// OpenBLAS's threads, which nothing here wants: it runs on whichever thread calls it.
#include <shortrun/base.h>

#include <cblas.h>

// No header of it declares this function, and another BLAS has none.
int blas_thread_shutdown_(void) __attribute__((weak));

int sr_blas_alone(void) {
    int threads = openblas_get_num_threads();
    if (threads != 1) // or it would start the threads that sr_blas_stop_threads has ended
        openblas_set_num_threads(1);
    return threads;
}

void sr_blas_restore(int threads) {
    if (threads != 1)
        openblas_set_num_threads(threads);
}

void sr_blas_stop_threads(void) {
    openblas_set_num_threads(1);
    if (blas_thread_shutdown_)
        blas_thread_shutdown_();
}
