// Checks every kernel of every instruction set that this machine has against the scalar reference,
// and times it; after the checkasm tool of dav1d.
//
//   check_kernels [--seed N] [--bench] [--list] [NAME]    only kernels whose name contains NAME
//
// The contract of the element kernels is strict: the same bits on every instruction set. So what is
// compared is bits (any NaN equals any NaN); accuracy against double precision is a second check.
// Outputs end where an inaccessible page begins and have guard bytes before them. Exit status 0
// when all is well.
#include "check_kernels.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// ---- what is being checked, failures ------------------------------------------------------------

const char *current_kernel = "", *current_isa = "";
volatile size_t current_length;
size_t failures, comparisons;

void complain(const char *format, ...) {
    failures++;
    if (failures > 40)
        return;
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    printf("FAIL %s %s n=%zu: %s\n", current_kernel, current_isa, (size_t)current_length, line);
}

static void on_fault(int number) {
    static const char text[] = "FAIL: access beyond the end of an array in ";
    ssize_t written = write(2, text, sizeof text - 1);
    written += write(2, current_kernel, strlen(current_kernel));
    written += write(2, " ", 1);
    written += write(2, current_isa, strlen(current_isa));
    written += write(2, "\n", 1);
    _exit(written < 0 ? 3 : 2);
}

// ---- random input -------------------------------------------------------------------------------

static uint64_t seed = 1;
static uint64_t random_position;

uint32_t random_word(void) {
    uint32_t counter[4] = {(uint32_t)random_position, (uint32_t)(random_position >> 32), 0, 0};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, out[4];
    random_position++;
    sr_philox4x32(counter, key, out);
    return out[0];
}

uint64_t random_place(void) {
    return random_position;
}

void random_go_to(uint64_t place) {
    random_position = place;
}

float random_between(float low, float high) {
    return low + (high - low) * (float)(random_word() >> 8) * 0x1p-24f;
}

// Mostly moderate numbers, some large, tiny and subnormal ones, and the special values.
static float random_wild(void) {
    static const float special[] = {0.0f,     -0.0f,    INFINITY, -INFINITY, NAN,     FLT_MAX,
                                    -FLT_MAX, FLT_MIN,  -FLT_MIN, 1e-45f,    -1e-45f, 87.0f,
                                    -87.0f,   88.8f,    -88.8f,   -104.5f,   104.5f,  14.0f,
                                    -14.0f,   0.41421f, 1e-20f,   -1e-20f};
    uint32_t kind = random_word() % 16;
    if (kind == 0)
        return special[random_word() % (sizeof special / sizeof *special)];
    if (kind == 1)
        return random_between(-120, 120);
    if (kind == 2)
        return ldexpf(random_between(-1, 1), -(int)(random_word() % 140));
    if (kind == 3)
        return ldexpf(random_between(-1, 1), (int)(random_word() % 120));
    return random_between(-8, 8);
}

// ---- guarded arrays -----------------------------------------------------------------------------

#define GUARD 32 // floats before the data, and `gap` floats after it, that must not change
#define LARGEST 5003
#define GUARD_BITS 0x7fc5a5a5u // a NaN that no kernel produces

guarded guarded_make(size_t n, size_t gap) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    guarded g = {.n = n, .gap = gap};
    size_t used = ((GUARD + n + gap) * sizeof(float) + page - 1) / page * page;
    g.bytes = used + page;
    g.pages = mmap(NULL, g.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.pages == MAP_FAILED || mprotect(g.pages + used, page, PROT_NONE) != 0) {
        perror("check_kernels: mmap");
        exit(2);
    }
    g.data = (float *)(void *)(g.pages + used) - gap - n;
    for (ptrdiff_t i = -GUARD; i < (ptrdiff_t)(n + gap); i++)
        memcpy(g.data + i, &(uint32_t){GUARD_BITS}, sizeof(float));
    return g;
}

guarded guarded_copy(const guarded *from, size_t gap) {
    guarded g = guarded_make(from->n, gap);
    memcpy(g.data, from->data, from->n * sizeof(float));
    return g;
}

guarded guarded_random(size_t n, size_t gap, float (*draw)(void)) {
    guarded g = guarded_make(n, gap);
    for (size_t i = 0; i < n; i++)
        g.data[i] = draw();
    return g;
}

// Checks the guards and gives the pages back.
void guarded_end(guarded *g, const char *what) {
    for (ptrdiff_t i = -GUARD; i < (ptrdiff_t)(g->n + g->gap); i++) {
        uint32_t bits;
        memcpy(&bits, g->data + i, sizeof bits);
        if ((i < 0 || i >= (ptrdiff_t)g->n) && bits != GUARD_BITS)
            complain("%s: wrote outside, at element %td", what, i);
    }
    munmap(g->pages, g->bytes);
}

bool same_bits(float a, float b) {
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

void compare_bits(const char *what, size_t n, const float *expected, const float *found) {
    for (size_t i = 0; i < n; i++) {
        comparisons++;
        if (!same_bits(expected[i], found[i])) {
            complain("%s[%zu] is %a, the reference %a", what, i, (double)found[i],
                     (double)expected[i]);
            return;
        }
    }
}

static void compare_untouched(const char *what, const guarded *before, const guarded *after) {
    if (before->n > 0 && memcmp(before->data, after->data, before->n * sizeof(float)) != 0)
        complain("the input %s was changed", what);
}

// ---- activation ---------------------------------------------------------------------------------

static void check_activation(const sr_kernels *reference, const sr_kernels *kernels, size_t n,
                             size_t gap) {
    guarded z = guarded_random(n, gap, random_wild);
    guarded z0 = guarded_copy(&z, 0);
    for (int a = 0; a <= SR_IDENTITY; a++) {
        guarded y = guarded_make(n, gap), d = guarded_make(n, gap), b = guarded_make(n, gap);
        guarded ry = guarded_make(n, 0), rd = guarded_make(n, 0), rb = guarded_make(n, 0);
        guarded inplace = guarded_copy(&z, gap), d2 = guarded_make(n, gap);
        reference->activation((sr_activation)a, n, z.data, ry.data, rd.data, rb.data);
        kernels->activation((sr_activation)a, n, z.data, y.data, d.data, b.data);
        kernels->activation((sr_activation)a, n, z.data, y.data, d2.data, NULL);
        compare_bits(sr_activation_name((sr_activation)a), n, ry.data, y.data);
        compare_bits("derivative", n, rd.data, d.data);
        compare_bits("second derivative", n, rb.data, b.data);
        compare_bits("derivative without the second", n, rd.data, d2.data);
        for (size_t i = 0; i < n; i++) {
            if (isnan(z.data[i]) != isnan(y.data[i]))
                complain("%s(%g) is %g", sr_activation_name((sr_activation)a), (double)z.data[i],
                         (double)y.data[i]);
        }
        kernels->activation((sr_activation)a, n, inplace.data, inplace.data, NULL, NULL);
        compare_bits("in place", n, ry.data, inplace.data);
        guarded_end(&y, "y");
        guarded_end(&d, "derivative");
        guarded_end(&d2, "derivative");
        guarded_end(&b, "second derivative");
        guarded_end(&ry, "y");
        guarded_end(&rd, "derivative");
        guarded_end(&rb, "second derivative");
        guarded_end(&inplace, "y in place");
    }
    compare_untouched("z", &z0, &z);
    guarded_end(&z, "z");
    guarded_end(&z0, "z");
}

// What the terms of y and y' weigh where they may cancel: errors are measured against it.
static double derivative_scale(sr_activation activation, double z, double derivative) {
    double phi;
    switch (activation) {
    case SR_SILU:
        return fabs(derivative) + fabs(z) / (2 + 2 * cosh(z)); // |z| s (1 - s)
    case SR_GELU:
        phi = 0.5 * erfc(-z * 0.70710678118654752440);
        return phi + fabs(z) * 0.39894228040143267794 * exp(-0.5 * z * z);
    default:
        return fabs(derivative);
    }
}

// The same for y'': the sum of the magnitudes of its terms.
static double second_scale(sr_activation activation, double z, double second) {
    const double density = 0.39894228040143267794 * exp(-0.5 * z * z);
    switch (activation) {
    case SR_SILU: // s t (2 + z (t - s)), s t = 1 / (2 + 2 cosh z)
        return (2 + fabs(z)) / (2 + 2 * cosh(z));
    case SR_GELU:
        return density * (2 + z * z);
    default:
        return fabs(second);
    }
}

// Sweeps the bit patterns of all finite floats with a stride, and a fine grid around zero.
static void accuracy_activation(const sr_kernels *kernels, bool verbose) {
    enum { BLOCK = 4096, SWEEP = 1 << 18, GRID = 1 << 18 };
    static float z[BLOCK], y[BLOCK], d[BLOCK], b[BLOCK];
    static double z64[BLOCK], y64[BLOCK], d64[BLOCK], b64[BLOCK];
    const double bound = 1e-6, flushed = 1e-35; // below `flushed`, results may be 0
    for (int a = 0; a < SR_ACTIVATION_COUNT; a++) {
        double worst_y = 0, worst_d = 0, worst_b = 0;
        for (uint32_t start = 0; start < SWEEP + GRID; start += BLOCK) {
            for (uint32_t i = 0; i < BLOCK; i++) {
                uint32_t k = start + i, bits = k * 16381u;
                memcpy(&z[i], &bits, sizeof bits);
                if (k >= SWEEP)
                    z[i] = 20.0f * ((float)(k - SWEEP) / GRID - 0.5f);
                if (!isfinite(z[i]))
                    z[i] = 0.5f;
                z64[i] = z[i];
            }
            kernels->activation((sr_activation)a, BLOCK, z, y, d, b);
            sr_activation_scalar_f64((sr_activation)a, BLOCK, z64, y64, d64, b64);
            for (uint32_t i = 0; i < BLOCK; i++) {
                comparisons += 3;
                double error_y = fmax(0, fabs(y[i] - y64[i]) - flushed) / (fabs(y64[i]) + flushed);
                double scale = derivative_scale((sr_activation)a, z64[i], d64[i]);
                double error_d = fmax(0, fabs(d[i] - d64[i]) - flushed) / (scale + flushed);
                double scale_b = second_scale((sr_activation)a, z64[i], b64[i]);
                double error_b = fmax(0, fabs(b[i] - b64[i]) - flushed) / (scale_b + flushed);
                if (!(error_y <= bound) || !(error_d <= bound) || !(error_b <= bound))
                    complain(
                        "%s at %.9g: y %.9g (%.9g), derivative %.9g (%.9g), second %.9g (%.9g)",
                        sr_activation_name((sr_activation)a), z64[i], (double)y[i], y64[i],
                        (double)d[i], d64[i], (double)b[i], b64[i]);
                worst_y = fmax(worst_y, error_y);
                worst_d = fmax(worst_d, error_d);
                worst_b = fmax(worst_b, error_b);
            }
        }
        if (verbose)
            printf("  %-10s relative error %.1e, derivative %.1e, second %.1e\n",
                   sr_activation_name((sr_activation)a), worst_y, worst_d, worst_b);
    }
}

// ---- the other element kernels ------------------------------------------------------------------

static void check_multiply_tangent(const sr_kernels *reference, const sr_kernels *kernels, size_t n,
                                   size_t gap) {
    guarded in[4], expected[2], found[2];
    for (int i = 0; i < 4; i++)
        in[i] = guarded_random(n, gap, random_wild);
    for (int i = 0; i < 2; i++) {
        expected[i] = guarded_make(n, 0);
        found[i] = guarded_make(n, gap);
    }
    reference->multiply_tangent(n, in[0].data, in[1].data, in[2].data, in[3].data, expected[0].data,
                                expected[1].data);
    kernels->multiply_tangent(n, in[0].data, in[1].data, in[2].data, in[3].data, found[0].data,
                              found[1].data);
    for (size_t i = 0; i < n; i++) {
        const float product = in[0].data[i] * in[2].data[i];
        const float tangent = fmaf(in[1].data[i], in[2].data[i], in[0].data[i] * in[3].data[i]);
        if (!same_bits(product, expected[0].data[i]) || !same_bits(tangent, expected[1].data[i]))
            complain("product %a and tangent %a at %zu, expected %a and %a",
                     (double)expected[0].data[i], (double)expected[1].data[i], i, (double)product,
                     (double)tangent);
    }
    compare_bits("product", n, expected[0].data, found[0].data);
    compare_bits("tangent", n, expected[1].data, found[1].data);
    kernels->multiply_add(n, in[1].data, in[2].data, in[0].data, in[3].data, found[0].data);
    compare_bits("sum of products", n, expected[1].data, found[0].data);
    guarded sum = guarded_copy(&in[1], gap);
    kernels->multiply_add(n, sum.data, in[2].data, in[0].data, in[3].data, sum.data);
    compare_bits("sum of products in place", n, expected[1].data, sum.data);
    guarded_end(&sum, "sum of products");
    kernels->multiply_tangent(n, in[0].data, in[1].data, in[2].data, in[3].data, in[0].data,
                              in[1].data);
    compare_bits("product in place", n, expected[0].data, in[0].data);
    compare_bits("tangent in place", n, expected[1].data, in[1].data);
    for (int i = 0; i < 4; i++)
        guarded_end(&in[i], "in");
    for (int i = 0; i < 2; i++) {
        guarded_end(&expected[i], "out");
        guarded_end(&found[i], "out");
    }
}

static void check_multiply(const sr_kernels *reference, const sr_kernels *kernels, size_t n,
                           size_t gap) {
    guarded a = guarded_random(n, gap, random_wild), b = guarded_random(n, gap, random_wild);
    guarded expected = guarded_make(n, 0), found = guarded_make(n, gap);
    guarded a2 = guarded_copy(&a, gap), b2 = guarded_copy(&b, gap);
    reference->multiply(n, a.data, b.data, expected.data);
    kernels->multiply(n, a.data, b.data, found.data);
    compare_bits("out", n, expected.data, found.data);
    compare_untouched("a", &a2, &a);
    compare_untouched("b", &b2, &b);
    kernels->multiply(n, a2.data, b.data, a2.data);
    compare_bits("out in place of a", n, expected.data, a2.data);
    kernels->multiply(n, a.data, b2.data, b2.data);
    compare_bits("out in place of b", n, expected.data, b2.data);
    guarded_end(&a, "a");
    guarded_end(&b, "b");
    guarded_end(&expected, "out");
    guarded_end(&found, "out");
    guarded_end(&a2, "a");
    guarded_end(&b2, "b");
}

static void check_multiply_slope(const sr_kernels *reference, const sr_kernels *kernels, size_t n,
                                 size_t gap) {
    static const sr_activation kinds[] = {SR_RELU, SR_LEAKY_RELU, SR_ELU, SR_TANH};
    for (size_t a = 0; a < sizeof kinds / sizeof *kinds; a++) {
        guarded dy = guarded_random(n, gap, random_wild), z = guarded_random(n, gap, random_wild);
        guarded y = guarded_make(n, gap), slope = guarded_make(n, 0), found = guarded_make(n, gap);
        guarded expected = guarded_make(n, 0);
        reference->activation(kinds[a], n, z.data, y.data, slope.data, NULL);
        reference->multiply_slope(kinds[a], n, dy.data, y.data, expected.data);
        kernels->multiply_slope(kinds[a], n, dy.data, y.data, found.data);
        compare_bits(sr_activation_name(kinds[a]), n, expected.data, found.data);
        for (size_t i = 0; i < n; i++) { // and the slope is the derivative at z
            double exact = (double)dy.data[i] * slope.data[i];
            if (isfinite(exact) && fabs(exact) < 1e38 && isfinite(z.data[i]) &&
                !(fabs(found.data[i] - exact) <= 6e-7 * fabs(dy.data[i]) + 1e-37))
                complain("%s at %g: %g, from the derivative %g", sr_activation_name(kinds[a]),
                         (double)z.data[i], (double)found.data[i], exact);
        }
        kernels->multiply_slope(kinds[a], n, dy.data, y.data, dy.data);
        compare_bits("in place", n, expected.data, dy.data);
        guarded *all[] = {&dy, &z, &y, &slope, &found, &expected};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            guarded_end(all[i], "multiply_slope");
    }
}

static void check_random(const sr_kernels *reference, const sr_kernels *kernels, size_t n,
                         size_t gap, bool normal) {
    sr_stream stream = sr_stream_make(random_word(), SR_PURPOSE_TEST, random_word());
    uint64_t chain = (uint64_t)(random_word() % 3) << 32 | random_word();
    uint32_t step = random_word();
    guarded expected = guarded_make(n, 0), found = guarded_make(n, gap);
    (normal ? reference->normal : reference->uniform)(stream, chain, step, n, expected.data);
    (normal ? kernels->normal : kernels->uniform)(stream, chain, step, n, found.data);
    compare_bits("out", n, expected.data, found.data);
    for (size_t i = 0; i < n; i++) {
        float limit = normal ? 6.67f : 1.0f, value = found.data[i];
        if (!(value < limit && value >= (normal ? -limit : 0)))
            complain("out[%zu] is %g", i, (double)value);
    }
    guarded_end(&expected, "out");
    guarded_end(&found, "out");
}

static void check_uniform(const sr_kernels *reference, const sr_kernels *kernels, size_t n,
                          size_t gap) {
    check_random(reference, kernels, n, gap, false);
}

static void check_normal(const sr_kernels *reference, const sr_kernels *kernels, size_t n,
                         size_t gap) {
    check_random(reference, kernels, n, gap, true);
}

static void check_update(const sr_kernels *reference, const sr_kernels *kernels, size_t n,
                         size_t gap) {
    for (int variant = 0; variant < 4; variant++) {
        guarded x = guarded_random(n, gap, random_wild), expected = guarded_copy(&x, 0);
        guarded before = guarded_copy(&x, 0);
        guarded g = guarded_random(n, gap, random_wild), e = guarded_random(n, gap, random_wild);
        float step = random_between(0, 10), scale = random_between(0, 1);
        float low = variant & 1 ? -1.0f : -INFINITY, high = variant & 1 ? 1.0f : INFINITY;
        const float *noise = variant & 2 ? e.data : NULL;
        reference->update(n, expected.data, g.data, noise, step, scale, low, high);
        kernels->update(n, x.data, g.data, noise, step, scale, low, high);
        compare_bits("x", n, expected.data, x.data);
        for (size_t i = 0; i < n; i++) {
            double sum = (double)before.data[i] - (double)step * g.data[i];
            double size = fabs((double)before.data[i]) + fabs((double)step * g.data[i]);
            if (noise) {
                sum += (double)scale * noise[i];
                size += fabs((double)scale * noise[i]);
            }
            double clamped = isnan(sum) ? sum : fmin(fmax(sum, low), high);
            if (isnan(sum) ? !isnan(x.data[i])
                           : isfinite(size) && size < 1e38 &&
                                 !(fabs(x.data[i] - clamped) <= 2e-7 * size + 1e-44))
                complain("x[%zu] is %g, expected %g", i, (double)x.data[i], clamped);
        }
        guarded_end(&x, "x");
        guarded_end(&expected, "x");
        guarded_end(&before, "x");
        guarded_end(&g, "gradient");
        guarded_end(&e, "noise");
    }
}

static float random_moderate(void) {
    return random_between(-2, 2);
}

static float random_positive(void) {
    return random_between(0, 3);
}

static void check_adam(const sr_kernels *reference, const sr_kernels *kernels, size_t n,
                       size_t gap) {
    static const float betas[][2] = {{0.9f, 0.999f}, {0.0f, 0.9f}};
    for (size_t variant = 0; variant < 2; variant++) {
        guarded theta = guarded_random(n, gap, random_moderate), theta2 = guarded_copy(&theta, 0);
        guarded m = guarded_random(n, gap, random_moderate), m2 = guarded_copy(&m, 0);
        guarded v = guarded_random(n, gap, random_positive), v2 = guarded_copy(&v, 0);
        guarded g = guarded_random(n, gap, variant ? random_wild : random_moderate);
        uint64_t t = 1 + random_word() % 1000;
        reference->adam(n, theta2.data, g.data, m2.data, v2.data, 1e-3f, betas[variant][0],
                        betas[variant][1], 1e-8f, t);
        kernels->adam(n, theta.data, g.data, m.data, v.data, 1e-3f, betas[variant][0],
                      betas[variant][1], 1e-8f, t);
        compare_bits("theta", n, theta2.data, theta.data);
        compare_bits("m", n, m2.data, m.data);
        compare_bits("v", n, v2.data, v.data);
        guarded_end(&theta, "theta");
        guarded_end(&theta2, "theta");
        guarded_end(&m, "m");
        guarded_end(&m2, "m");
        guarded_end(&v, "v");
        guarded_end(&v2, "v");
        guarded_end(&g, "gradient");
    }
}

static void check_sum_squares(const sr_kernels *reference, const sr_kernels *kernels, size_t n,
                              size_t gap) {
    guarded x = guarded_random(n, gap, random_moderate);
    double expected = reference->sum_squares(n, x.data), found = kernels->sum_squares(n, x.data);
    long double exact = 0;
    for (size_t i = 0; i < n; i++)
        exact += (long double)x.data[i] * x.data[i];
    comparisons++;
    if (memcmp(&expected, &found, sizeof found) != 0)
        complain("sum is %a, the reference %a", found, expected);
    if (fabsl(exact - found) > 1e-14L * exact)
        complain("sum is %.17g, expected %.17Lg", found, exact);
    if (n > 0) {
        x.data[n - 1] = NAN;
        if (!isnan(kernels->sum_squares(n, x.data)))
            complain("a NaN was lost");
    }
    guarded_end(&x, "x");
}

// ---- convolution --------------------------------------------------------------------------------

// Shapes of layers, with the corner cases of the geometry. Checks of engines go through the same
// table.
static const struct {
    size_t batch, in_channels, in_height, in_width, out_channels, kernel_height, kernel_width,
        stride, padding;
} conv_table[] = {
    {2, 1, 5, 7, 3, 3, 3, 1, 1},   // as at the head of the convnet
    {2, 3, 8, 8, 4, 4, 4, 2, 1},   // as in its body
    {3, 2, 7, 7, 2, 4, 4, 2, 1},   // odd: a last column that no kernel reaches
    {2, 5, 3, 3, 1, 3, 3, 1, 0},   // over the remaining pixels
    {3, 17, 1, 1, 13, 1, 1, 1, 0}, // dense
    {3, 2, 3, 4, 5, 3, 4, 2, 0},   // kernel as large as the image
    {1, 1, 1, 1, 1, 1, 1, 1, 0},   // one multiplication
    {1, 2, 4, 9, 3, 1, 5, 1, 2},   // kernels that are not square, wide
    {2, 2, 9, 4, 3, 5, 1, 3, 0},   // and tall
    {1, 2, 2, 2, 2, 5, 5, 1, 2},   // kernel larger than the image
    {1, 1, 3, 3, 2, 2, 2, 2, 3},   // padding larger than the kernel
    {0, 2, 4, 4, 2, 3, 3, 1, 1},   // nothing
};

typedef struct conv_arrays {
    size_t inputs, outputs, weights, channels;
    double *x, *w, *bias, *y, *dy, *dx, *dw, *dbias;
    float *x32, *w32, *bias32, *y32, *dy32, *dx32, *dw32, *dbias32;
} conv_arrays;

double *random_doubles(size_t n, float **copy) {
    double *a = sr_alloc(n, sizeof *a);
    *copy = sr_alloc(n, sizeof **copy);
    if (!a || !*copy)
        exit(2);
    for (size_t i = 0; i < n; i++)
        a[i] = (*copy)[i] = random_between(-1, 1);
    return a;
}

static double dot(size_t n, const double *a, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

// The definition, one output at a time.
static double conv_definition(const sr_conv_shape *s, const conv_arrays *a, size_t n, size_t o,
                              size_t i, size_t j) {
    double sum = a->bias[o];
    for (size_t c = 0; c < s->in_channels; c++)
        for (size_t u = 0; u < s->kernel_height; u++)
            for (size_t v = 0; v < s->kernel_width; v++) {
                ptrdiff_t row = (ptrdiff_t)(i * s->stride + u) - (ptrdiff_t)s->padding;
                ptrdiff_t column = (ptrdiff_t)(j * s->stride + v) - (ptrdiff_t)s->padding;
                if (row < 0 || column < 0 || row >= (ptrdiff_t)s->in_height ||
                    column >= (ptrdiff_t)s->in_width)
                    continue;
                size_t at = ((n * s->in_channels + c) * s->in_height + (size_t)row) * s->in_width;
                size_t weight = ((o * s->in_channels + c) * s->kernel_height + u) * s->kernel_width;
                sum += a->w[weight + v] * a->x[at + (size_t)column];
            }
    return sum;
}

static void compare_close(const char *what, size_t n, const double *expected, const float *found,
                          double bound) {
    for (size_t i = 0; i < n; i++) {
        comparisons++;
        if (!(fabs(found[i] - expected[i]) <= bound)) {
            complain("%s[%zu] is %.9g, in double %.9g", what, i, (double)found[i], expected[i]);
            return;
        }
    }
}

static void check_conv_arrays(const sr_conv_shape *s, size_t batch, const conv_arrays *a) {
    sr_conv_forward_scalar_f64(s, batch, a->x, a->w, a->bias, a->y);
    sr_conv_forward_scalar(s, batch, a->x32, a->w32, a->bias32, a->y32);
    size_t at = 0;
    for (size_t n = 0; n < batch; n++)
        for (size_t o = 0; o < s->out_channels; o++)
            for (size_t i = 0; i < s->out_height; i++)
                for (size_t j = 0; j < s->out_width; j++, at++)
                    if (fabs(conv_definition(s, a, n, o, i, j) - a->y[at]) > 1e-12)
                        complain("y[%zu] is not the definition", at);
    double terms = (double)(s->in_channels * s->kernel_height * s->kernel_width + 1);
    compare_close("y", a->outputs, a->y, a->y32, 1e-7 * terms);

    // The backward passes are transposes: <dy, conv x> = <x, dx> = <w, dw>, without the bias.
    double biased = dot(a->outputs, a->dy, a->y);
    sr_conv_forward_scalar_f64(s, batch, a->x, a->w, NULL, a->y);
    double plain = dot(a->outputs, a->dy, a->y);
    sr_conv_backward_data_scalar_f64(s, batch, a->dy, a->w, a->dx);
    sr_conv_backward_weights_scalar_f64(s, batch, a->x, a->dy, a->dw, a->dbias);
    double through_x = dot(a->inputs, a->x, a->dx), through_w = dot(a->weights, a->w, a->dw);
    double through_bias = dot(a->channels, a->bias, a->dbias);
    comparisons += 3;
    if (fabs(plain - through_x) > 1e-11)
        complain("<dy, conv x> = %.15g but <x, dx> = %.15g", plain, through_x);
    if (fabs(plain - through_w) > 1e-11)
        complain("<dy, conv x> = %.15g but <w, dw> = %.15g", plain, through_w);
    if (fabs(biased - plain - through_bias) > 1e-11)
        complain("<dy, bias> = %.15g but <bias, dbias> = %.15g", biased - plain, through_bias);

    sr_conv_backward_data_scalar(s, batch, a->dy32, a->w32, a->dx32);
    sr_conv_backward_weights_scalar(s, batch, a->x32, a->dy32, a->dw32, a->dbias32);
    terms = (double)(s->out_channels * s->kernel_height * s->kernel_width);
    compare_close("dx", a->inputs, a->dx, a->dx32, 1e-7 * terms);
    terms = (double)(batch * s->out_height * s->out_width);
    compare_close("dw", a->weights, a->dw, a->dw32, 1e-7 * terms);
    compare_close("dbias", a->channels, a->dbias, a->dbias32, 1e-7 * terms);
}

static void check_conv(size_t batch, const sr_conv_shape *s) {
    conv_arrays a = {
        .inputs = batch * s->in_channels * s->in_height * s->in_width,
        .outputs = batch * s->out_channels * s->out_height * s->out_width,
        .weights = s->out_channels * s->in_channels * s->kernel_height * s->kernel_width,
        .channels = s->out_channels,
    };
    // Outputs start from noise: what is not written shows.
    a.x = random_doubles(a.inputs, &a.x32);
    a.w = random_doubles(a.weights, &a.w32);
    a.bias = random_doubles(a.channels, &a.bias32);
    a.y = random_doubles(a.outputs, &a.y32);
    a.dy = random_doubles(a.outputs, &a.dy32);
    a.dx = random_doubles(a.inputs, &a.dx32);
    a.dw = random_doubles(a.weights, &a.dw32);
    a.dbias = random_doubles(a.channels, &a.dbias32);
    check_conv_arrays(s, batch, &a);
    void *all[] = {a.x,   a.w,   a.bias,   a.y,   a.dy,   a.dx,   a.dw,   a.dbias,
                   a.x32, a.w32, a.bias32, a.y32, a.dy32, a.dx32, a.dw32, a.dbias32};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sr_free(all[i]);
}

static void check_convs(void) {
    current_kernel = "conv";
    current_isa = "scalar";
    for (size_t i = 0; i < sizeof conv_table / sizeof *conv_table; i++) {
        current_length = i; // the row of the table
        sr_conv_shape shape = sr_conv_shape_make(
            conv_table[i].in_channels, conv_table[i].in_height, conv_table[i].in_width,
            conv_table[i].out_channels, conv_table[i].kernel_height, conv_table[i].kernel_width,
            conv_table[i].stride, conv_table[i].padding);
        check_conv(conv_table[i].batch, &shape);
    }
}

// ---- timing -------------------------------------------------------------------------------------

#define BENCH_N 4096 // floats: arrays that stay in the first-level cache, or nearly

static float bench_a[BENCH_N], bench_b[BENCH_N], bench_c[BENCH_N], bench_d[BENCH_N];
static volatile double bench_sink;

static void bench_activation_of(const sr_kernels *k, sr_activation activation) {
    k->activation(activation, BENCH_N, bench_a, bench_b, bench_c, NULL);
}

#define BENCH_ACTIVATION(name, activation)                                                         \
    static void bench_##name(const sr_kernels *k) {                                                \
        bench_activation_of(k, activation);                                                        \
    }
BENCH_ACTIVATION(silu, SR_SILU)
BENCH_ACTIVATION(leaky_relu, SR_LEAKY_RELU)
BENCH_ACTIVATION(relu, SR_RELU)
BENCH_ACTIVATION(softplus, SR_SOFTPLUS)
BENCH_ACTIVATION(elu, SR_ELU)
BENCH_ACTIVATION(gelu, SR_GELU)
BENCH_ACTIVATION(tanh, SR_TANH)

static void bench_multiply(const sr_kernels *k) {
    k->multiply(BENCH_N, bench_a, bench_b, bench_c);
}

static void bench_uniform(const sr_kernels *k) {
    k->uniform((sr_stream){{1, 2}}, 3, 4, BENCH_N, bench_b);
}

static void bench_normal(const sr_kernels *k) {
    k->normal((sr_stream){{1, 2}}, 3, 4, BENCH_N, bench_b);
}

static void bench_update(const sr_kernels *k) {
    k->update(BENCH_N, bench_b, bench_a, bench_c, 1e-9f, 1e-9f, -1, 1);
}

static void bench_adam(const sr_kernels *k) {
    k->adam(BENCH_N, bench_b, bench_a, bench_c, bench_d, 1e-9f, 0.9f, 0.999f, 1e-8f, 10);
}

static void bench_sum_squares(const sr_kernels *k) {
    bench_sink = k->sum_squares(BENCH_N, bench_a);
}

// Nanoseconds an element, the best of ten runs of about 2 ms.
static double bench_time(void (*run)(const sr_kernels *), const sr_kernels *k) {
    double best = INFINITY;
    size_t calls = 1;
    for (int i = 0; i < 10;) {
        double start = sr_seconds();
        for (size_t c = 0; c < calls; c++)
            run(k);
        double seconds = sr_seconds() - start;
        if (seconds < 1e-3) {
            calls *= 2;
            continue;
        }
        best = fmin(best, 1e9 * seconds / (double)(calls * BENCH_N));
        i++;
    }
    return best;
}

static void bench_conv(const char *filter) {
    if (filter && !strstr("conv", filter))
        return;
    sr_conv_shape s = sr_conv_shape_make(16, 14, 14, 32, 4, 4, 2, 1);
    float *x, *w, *y;
    sr_free(random_doubles(8 * 16 * 14 * 14, &x));
    sr_free(random_doubles(32 * 16 * 16, &w));
    sr_free(random_doubles(8 * 32 * 7 * 7, &y));
    double flops = 2 * 8 * sr_conv_shape_multiply_adds(&s),
           best[3] = {INFINITY, INFINITY, INFINITY};
    for (int i = 0; i < 5; i++) {
        double t0 = sr_seconds();
        sr_conv_forward_scalar(&s, 8, x, w, NULL, y);
        double t1 = sr_seconds();
        sr_conv_backward_data_scalar(&s, 8, y, w, x);
        double t2 = sr_seconds();
        sr_conv_backward_weights_scalar(&s, 8, x, y, w, NULL);
        double t3 = sr_seconds();
        best[0] = fmin(best[0], t1 - t0);
        best[1] = fmin(best[1], t2 - t1);
        best[2] = fmin(best[2], t3 - t2);
    }
    printf("conv (16,14,14)->(32,7,7), scalar, GFLOP/s: forward %.2f, backward-data %.2f, "
           "backward-weights %.2f\n",
           1e-9 * flops / best[0], 1e-9 * flops / best[1], 1e-9 * flops / best[2]);
    sr_free(x);
    sr_free(w);
    sr_free(y);
}

// Thin backward-data of every instruction set against the double reference, on shapes around the
// vectors.
static void check_conv_thin(const sr_kernels *kernels) {
    static const size_t shapes[][6] = {
        // in channels, height, width, out channels, kernel, padding
        {1, 28, 28, 8, 3, 1}, {3, 32, 32, 5, 3, 1}, {2, 1, 1, 1, 1, 0},  {1, 7, 15, 3, 3, 0},
        {4, 5, 16, 2, 3, 2},  {1, 9, 17, 4, 5, 2},  {3, 4, 33, 7, 4, 1}, {2, 6, 3, 9, 2, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const size_t *p = shapes[i], batch = 3;
        sr_conv_shape s = sr_conv_shape_make(p[0], p[1], p[2], p[3], p[4], p[4], 1, p[5]);
        size_t inputs = batch * s.in_channels * s.in_height * s.in_width;
        size_t outputs = batch * s.out_channels * s.out_height * s.out_width;
        float *dy, *w, *frame = sr_alloc(sr_conv_thin_frame(&s), sizeof *frame);
        double *dy64 = random_doubles(outputs, &dy);
        double *w64 = random_doubles(s.out_channels * s.in_channels * p[4] * p[4], &w);
        double *expected = sr_alloc(inputs, sizeof *expected);
        float *dx = sr_alloc(inputs + 1, sizeof *dx); // the last one is a guard
        dx[inputs] = 12345.0f;
        sr_conv_backward_data_scalar_f64(&s, batch, dy64, w64, expected);
        kernels->conv_backward_data_thin(&s, batch, dy, w, frame, dx);
        double worst = 0, largest = 0;
        for (size_t k = 0; k < inputs; k++) {
            worst = fmax(worst, fabs(dx[k] - expected[k]));
            largest = fmax(largest, fabs(expected[k]));
        }
        comparisons++;
        if (!(worst <= 1e-5 * largest) || dx[inputs] != 12345.0f) {
            failures++;
            printf("FAIL conv_thin %s shape %zu: error %g of %g, guard %g\n",
                   sr_isa_name(kernels->isa), i, worst, largest, dx[inputs]);
        }
        void *all[] = {dy, w, frame, dy64, w64, expected, dx};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            sr_free(all[k]);
    }
}

// ---- the table and the main loop ----------------------------------------------------------------

static const struct {
    const char *name;
    void (*check)(const sr_kernels *reference, const sr_kernels *kernels, size_t n, size_t gap);
} checks[] = {
    {"activation", check_activation},
    {"multiply", check_multiply},
    {"multiply_tangent", check_multiply_tangent},
    {"uniform", check_uniform},
    {"normal", check_normal},
    {"update", check_update},
    {"adam", check_adam},
    {"sum_squares", check_sum_squares},
    {"multiply_slope", check_multiply_slope},
};

static const struct {
    const char *name;
    void (*run)(const sr_kernels *kernels);
} benches[] = {
    {"silu+derivative", bench_silu},    {"leaky_relu+derivative", bench_leaky_relu},
    {"relu+derivative", bench_relu},    {"softplus+derivative", bench_softplus},
    {"elu+derivative", bench_elu},      {"gelu+derivative", bench_gelu},
    {"tanh+derivative", bench_tanh},    {"multiply", bench_multiply},
    {"uniform", bench_uniform},         {"normal", bench_normal},
    {"update", bench_update},           {"adam", bench_adam},
    {"sum_squares", bench_sum_squares},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

// Instruction sets with a table of their own, up to what is active.
static size_t tables(const sr_kernels *out[4]) {
    size_t count = 0;
    for (int isa = SR_ISA_SCALAR; isa <= (int)sr_cpu_get()->active; isa++) {
        const sr_kernels *k = sr_kernels_for((sr_isa)isa);
        if (count == 0 || out[count - 1]->isa != k->isa)
            out[count++] = k;
    }
    return count;
}

static void check_all(const char *filter) {
    // Every tail of the widest vector (1 ... 17, 31 ... 33), the group of the random numbers,
    // primes.
    static const size_t lengths[] = {0,  1,  2,  3,  4,  5,   6,   7,   8,    9,
                                     10, 11, 12, 13, 14, 15,  16,  17,  31,   32,
                                     33, 47, 63, 64, 65, 127, 128, 129, 1009, LARGEST};
    const sr_kernels *all[4];
    size_t count = tables(all);
    for (size_t c = 0; c < COUNT(checks); c++) {
        if (filter && !strstr(checks[c].name, filter))
            continue;
        current_kernel = checks[c].name;
        for (size_t k = 0; k < count; k++) {
            current_isa = sr_isa_name(all[k]->isa);
            for (size_t l = 0; l < COUNT(lengths); l++) {
                current_length = lengths[l];
                for (size_t gap = 0; gap < 4; gap++) // also every alignment of a float
                    checks[c].check(all[0], all[k], lengths[l], gap);
            }
            if (checks[c].check == check_activation)
                accuracy_activation(all[k], k + 1 == count);
        }
        printf("%-12s done\n", checks[c].name);
    }
    if (!filter || strstr("conv", filter)) {
        check_convs();
        for (size_t k = 0; k < count; k++)
            check_conv_thin(all[k]);
        printf("%-12s done\n", "conv");
    }
    check_lanes(filter);
}

static void bench_all(const char *filter) {
    const sr_kernels *all[4];
    size_t count = tables(all);
    for (size_t i = 0; i < BENCH_N; i++)
        bench_a[i] = random_between(-4, 4);
    printf("%s\n%-24s", sr_cpu_get()->brand, "ns an element");
    for (size_t k = 0; k < count; k++)
        printf("%10s", sr_isa_name(all[k]->isa));
    printf("\n");
    for (size_t b = 0; b < COUNT(benches); b++) {
        if (filter && !strstr(benches[b].name, filter))
            continue;
        memset(bench_b, 0, sizeof bench_b);
        memset(bench_c, 0, sizeof bench_c);
        memset(bench_d, 0, sizeof bench_d);
        printf("%-24s", benches[b].name);
        for (size_t k = 0; k < count; k++)
            printf("%10.3f", bench_time(benches[b].run, all[k]));
        printf("\n");
    }
    bench_conv(filter);
    bench_lanes(filter);
    printf("peak of one thread: %.1f GFLOP/s\n", sr_peak_gflops(1));
}

int main(int argc, char **argv) {
    bool bench = false;
    const char *filter = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0) {
            bench = true;
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 0);
        } else if (strcmp(argv[i], "--list") == 0) {
            for (size_t c = 0; c < COUNT(checks); c++)
                printf("%s\n", checks[c].name);
            printf("conv\nlanes\n");
            return 0;
        } else if (argv[i][0] != '-' && !filter) {
            filter = argv[i];
        } else {
            fprintf(stderr, "usage: check_kernels [--seed N] [--bench] [--list] [NAME]\n");
            return 2;
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    printf("seed %" PRIu64 ", instruction sets up to %s\n", seed,
           sr_isa_name(sr_cpu_get()->active));
    check_all(filter);
    printf("%zu comparisons, %zu failures\n", comparisons, failures);
    if (bench)
        bench_all(filter);
    return failures > 0;
}
