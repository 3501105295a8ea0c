// Random numbers: Philox against Random123's known answers, the documented place of every element,
// and the statistics of the normals.
#include <shortrun/kernels.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#if defined(__has_include)
#if __has_include(<Random123/philox.h>)
#include <Random123/philox.h>
#define HAVE_RANDOM123 1
#endif
#endif

// From the file kat_vectors of Random123.
static void philox_known_answers(void **state) {
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        sr_philox4x32(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

#ifdef HAVE_RANDOM123
static void philox_is_random123(void **state) {
    uint32_t words[6] = {1, 2, 3, 4, 5, 6};
    for (int i = 0; i < 10000; i++) {
        philox4x32_ctr_t counter = {{words[0], words[1], words[2], words[3]}};
        philox4x32_key_t key = {{words[4], words[5]}};
        philox4x32_ctr_t expected = philox4x32(counter, key);
        uint32_t out[4];
        sr_philox4x32(words, words + 4, out);
        assert_memory_equal(out, expected.v, sizeof out);
        memcpy(words + (i % 3), out, sizeof out); // wander
    }
}
#endif

static void streams_differ(void **state) {
    const uint32_t counter[4] = {SR_PURPOSE_DYNAMICS, 0x89abcdef, 0x01234567, 0};
    const uint32_t key[2] = {0x76543210, 0xfedcba98};
    uint32_t out[4];
    sr_philox4x32(counter, key, out);
    sr_stream stream =
        sr_stream_make(0xfedcba9876543210u, SR_PURPOSE_DYNAMICS, 0x0123456789abcdefu);
    assert_memory_equal(stream.key, out, sizeof stream.key);
    sr_stream others[] = {sr_stream_make(1, SR_PURPOSE_START, 0),
                          sr_stream_make(2, SR_PURPOSE_START, 0),
                          sr_stream_make(1, SR_PURPOSE_TEST, 0),
                          sr_stream_make(1, SR_PURPOSE_START, 1),
                          sr_stream_make(1, SR_PURPOSE_START, (uint64_t)1 << 32),
                          sr_stream_make((uint64_t)1 << 32 | 1, SR_PURPOSE_START, 0)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(&others[i], &others[j], sizeof(sr_stream));
}

// The Philox word that belongs to element e, as kernels.h says.
static uint32_t word_of(sr_stream stream, uint64_t chain, uint32_t step, size_t e, unsigned word) {
    const uint32_t counter[4] = {(uint32_t)(16 * (e / 64) + e % 16), step, (uint32_t)chain,
                                 (uint32_t)(chain >> 32)};
    uint32_t out[4];
    sr_philox4x32(counter, stream.key, out);
    return out[word];
}

static void elements_are_where_they_belong(void **state) {
    enum { N = 333 };
    const uint64_t chain = 0x123456789abu;
    const uint32_t step = 77;
    sr_stream stream = sr_stream_make(5, SR_PURPOSE_TEST, 6);
    for (int isa = SR_ISA_SCALAR; isa <= SR_ISA_AMX; isa++) {
        const sr_kernels *k = sr_kernels_for((sr_isa)isa);
        float u[N], z[N];
        k->uniform(stream, chain, step, N, u);
        k->normal(stream, chain, step, N, z);
        for (size_t e = 0; e < N; e++) {
            unsigned word = (unsigned)(e % 64 / 16);
            float uniform = (float)(word_of(stream, chain, step, e, word) >> 8) / 16777216.0f;
            assert_memory_equal(&u[e], &uniform, sizeof uniform);
            double first = word_of(stream, chain, step, e, word & ~1u) >> 1;
            double turn = word_of(stream, chain, step, e, word | 1u) / 4294967296.0;
            double radius = sqrt(-2 * log((first + 0.5) / 2147483648.0));
            double angle = 6.28318530717958647693 * turn;
            double normal = radius * (word & 1 ? sin(angle) : cos(angle));
            assert_true(fabs(z[e] - normal) <= 4e-7 * (1 + radius));
        }
    }
}

// ---- statistics ---------------------------------------------------------------------------------

enum { CHAINS = 100, STEPS = 100, ELEMENTS = 1000, SAMPLES = CHAINS * STEPS * ELEMENTS };

static float *samples; // (CHAINS, STEPS, ELEMENTS)

static int draw_samples(void **state) {
    samples = sr_alloc(SAMPLES, sizeof *samples);
    if (!samples)
        return -1;
    sr_stream stream = sr_stream_make(2024, SR_PURPOSE_TEST, 0);
    for (size_t c = 0; c < CHAINS; c++)
        for (size_t s = 0; s < STEPS; s++)
            sr_kernels_get()->normal(stream, c, (uint32_t)s, ELEMENTS,
                                     samples + (c * STEPS + s) * ELEMENTS);
    return 0;
}

static int drop_samples(void **state) {
    sr_free(samples);
    return 0;
}

// Four standard errors each; the numbers are fixed, so the test is too.
static void moments_are_normal(void **state) {
    double sum[5] = {0};
    for (size_t i = 0; i < SAMPLES; i++) {
        double x = samples[i], power = 1;
        for (int p = 1; p <= 4; p++) {
            power *= x;
            sum[p] += power / SAMPLES;
        }
    }
    const double root = sqrt((double)SAMPLES);
    assert_true(fabs(sum[1]) < 4 / root);
    assert_true(fabs(sum[2] - 1) < 4 * sqrt(2) / root);
    assert_true(fabs(sum[3]) < 4 * sqrt(15) / root);
    assert_true(fabs(sum[4] - 3) < 4 * sqrt(96) / root);
}

static void tails_are_normal(void **state) {
    static const double beyond[] = {2, 3, 4, 4.5, 5};
    for (size_t t = 0; t < sizeof beyond / sizeof *beyond; t++) {
        double expected = SAMPLES * 0.5 * erfc(beyond[t] / sqrt(2)), high = 0, low = 0;
        for (size_t i = 0; i < SAMPLES; i++) {
            high += samples[i] > beyond[t];
            low += samples[i] < -beyond[t];
        }
        assert_true(fabs(high - expected) < 4 * sqrt(expected) + 1);
        assert_true(fabs(low - expected) < 4 * sqrt(expected) + 1);
    }
}

// Kolmogorov and Smirnov's distance of 10^8 normals on 2^16 equally likely bins; 1.95 / sqrt(n) is
// exceeded by chance once in a thousand.
static void distribution_is_normal(void **state) {
    enum { BINS = 1 << 16, RUN = 100000, RUNS = 1000 };
    const double n = (double)RUN * RUNS;
    size_t *counts = sr_alloc(BINS, sizeof *counts);
    float *run = sr_alloc(RUN, sizeof *run);
    assert_non_null(counts);
    assert_non_null(run);
    const sr_stream stream = sr_stream_make(2025, SR_PURPOSE_TEST, 0);
    for (uint64_t chain = 0; chain < RUNS; chain++) {
        sr_kernels_get()->normal(stream, chain, 7, RUN, run);
        for (size_t i = 0; i < RUN; i++) {
            double p = 0.5 * erfc(-(double)run[i] * 0.70710678118654752440);
            size_t bin = (size_t)(p * BINS);
            counts[bin < BINS ? bin : BINS - 1]++;
        }
    }
    double distance = 0, below = 0;
    for (size_t b = 0; b < BINS; b++) {
        below += (double)counts[b];
        distance = fmax(distance, fabs(below / n - (double)(b + 1) / BINS));
    }
    sr_free(counts);
    sr_free(run);
    assert_true(distance < 1.95 / sqrt(n));
}

// Of x[i] and x[i + lag], and of their squares, over all i with a partner in the same run of
// `period`.
static void uncorrelated(size_t period, size_t lag) {
    double plain = 0, squares = 0, pairs = 0;
    for (size_t start = 0; start < SAMPLES; start += period) {
        for (size_t i = start; i + lag < start + period; i++) {
            double a = samples[i], b = samples[i + lag];
            plain += a * b;
            squares += (a * a - 1) * (b * b - 1) / 2;
            pairs++;
        }
    }
    assert_true(fabs(plain / pairs) < 4.5 / sqrt(pairs));
    assert_true(fabs(squares / pairs) < 4.5 / sqrt(pairs));
}

static void nothing_is_correlated(void **state) {
    uncorrelated(ELEMENTS, 1);                        // neighbours
    uncorrelated(ELEMENTS, 16);                       // cosine and sine of one block, mostly
    uncorrelated(ELEMENTS, 32);                       // the two pairs of one block
    uncorrelated(ELEMENTS, 64);                       // groups
    uncorrelated((size_t)STEPS * ELEMENTS, ELEMENTS); // steps
    uncorrelated(SAMPLES, (size_t)STEPS * ELEMENTS);  // chains
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
#ifdef HAVE_RANDOM123
        cmocka_unit_test(philox_is_random123),
#endif
        cmocka_unit_test(streams_differ),         cmocka_unit_test(elements_are_where_they_belong),
        cmocka_unit_test(moments_are_normal),     cmocka_unit_test(tails_are_normal),
        cmocka_unit_test(distribution_is_normal), cmocka_unit_test(nothing_is_correlated),
    };
    return cmocka_run_group_tests(tests, draw_samples, drop_samples);
}
