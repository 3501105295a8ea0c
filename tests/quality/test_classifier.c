// Feature networks: the loss and its gradient, learning, files, refusals, the same bits for any
// thread count.
#include "quality/classifier.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define SIZE 12
#define PIXELS (SIZE * SIZE)

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s: %s", sr_status_string(status), sr_error_message());
}

// Three classes of a bright blob in noise: upper left, upper right, lower middle, each jittered.
static sr_dataset blobs(uint64_t seed, size_t n) {
    static const float centre[3][2] = {{3, 3}, {3, 8}, {8, 6}};
    sr_dataset set = {.name = "blobs",
                      .count = n,
                      .channels = 1,
                      .height = SIZE,
                      .width = SIZE,
                      .dim = PIXELS,
                      .classes = 3};
    set.x = sr_alloc(n * PIXELS, sizeof(float));
    set.labels = sr_alloc(n, 1);
    assert_non_null(set.x);
    assert_non_null(set.labels);
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_TEST, 0);
    const sr_kernels *kernels = sr_kernels_get();
    for (size_t i = 0; i < n; i++) {
        float *x = set.x + i * PIXELS, at[2];
        set.labels[i] = (uint8_t)(i % 3);
        kernels->normal(stream, i, 0, PIXELS, x);
        kernels->uniform(stream, i, 1, 2, at);
        for (size_t p = 0; p < PIXELS; p++) {
            float dy = (float)(p / SIZE) - centre[i % 3][0] - 2 * at[0] + 1;
            float dx = (float)(p % SIZE) - centre[i % 3][1] - 2 * at[1] + 1;
            x[p] = fmaxf(-1, fminf(1, -0.6f + 0.3f * x[p] + 1.2f * expf(-(dx * dx + dy * dy) / 4)));
        }
    }
    sr_hash_hex(set.x, n * PIXELS * sizeof(float), set.hash);
    return set;
}

static void blobs_clear(sr_dataset *set) {
    sr_free(set->x);
    sr_free(set->labels);
}

static sr_classifier_options options(unsigned threads) {
    sr_classifier_options o;
    sr_classifier_options_default(&o);
    o.nf = 4;
    o.features = 16;
    o.epochs = 6;
    o.batch = 40; // two whole shards and a half
    o.rate = 5e-3;
    o.threads = threads;
    return o;
}

static sr_classifier *trained(const sr_dataset *train, const sr_dataset *test, unsigned threads,
                              double *accuracy) {
    sr_classifier_options o = options(threads);
    sr_classifier *c = NULL;
    must(sr_classifier_train(train, test, &o, NULL, &c, accuracy));
    assert_non_null(c);
    return c;
}

static void test_cross_entropy(void **state) {
    const size_t n = 3, classes = 4;
    float z[12] = {0.5f, -1, 2, 0, 1e4f, 0, -1e4f, 3, -2, -2, -2, -2}, seed[12];
    const uint8_t labels[3] = {2, 0, 3};
    double loss = sr_cross_entropy(n, classes, z, labels, 1, seed);
    double sum = exp(-1.5) + exp(-3) + 1 + exp(-2);
    assert_true(fabs(loss - (log(sum) + 0 + log(4))) < 1e-9);
    for (size_t i = 0; i < n * classes; i++) {
        float keep = z[i], step = 1.0f / 64; // exact in float at these magnitudes
        z[i] = keep + step;
        double up = sr_cross_entropy(n, classes, z, labels, 1, NULL);
        z[i] = keep - step;
        double down = sr_cross_entropy(n, classes, z, labels, 1, NULL);
        z[i] = keep;
        assert_true(fabs((up - down) / (2 * step) - seed[i]) < 1e-4);
    }
    float half[12];
    sr_cross_entropy(n, classes, z, labels, 0.5, half);
    for (size_t i = 0; i < n * classes; i++)
        assert_true(half[i] == 0.5f * seed[i]);
    assert_true(sr_top_one(n, classes, z, labels) == 2.0 / 3); // of a tie the first
}

// dtheta of the mean cross-entropy through the whole network, against central differences of the
// double reference.
typedef struct loss_of {
    const uint8_t *labels;
    size_t classes, n;
} loss_of;

static void fill_seed(void *user, size_t n, const float *out, float *seed) {
    const loss_of *l = user;
    sr_cross_entropy(n, l->classes, out, l->labels, 1.0 / (double)l->n, seed);
}

static double reference_loss(const sr_net *net, const double *theta, const double *x,
                             const loss_of *l) {
    double out[16 * 3], loss = 0;
    must(sr_net_reference_f64(net, theta, l->n, x, NULL, out, NULL, NULL));
    for (size_t i = 0; i < l->n; i++) {
        double sum = 0;
        for (size_t c = 0; c < l->classes; c++)
            sum += exp(out[i * l->classes + c]);
        loss += (log(sum) - out[i * l->classes + l->labels[i]]) / (double)l->n;
    }
    return loss;
}

static void test_gradient(void **state) {
    sr_net net;
    must(sr_net_classifier(&net, 1, SIZE, 3, 8, 3, SR_SILU)); // smooth, for finite differences
    sr_dataset set = blobs(3, 16);
    loss_of l = {.labels = set.labels, .classes = 3, .n = 16};
    float *theta = sr_alloc(net.parameters, sizeof(float));
    float *gradient = sr_alloc(net.parameters, sizeof(float));
    double *wide = sr_alloc(net.parameters, sizeof(double)),
           *x = sr_alloc(16 * PIXELS, sizeof(double));
    sr_plan *plan;
    sr_workspace *workspace;
    sr_net_init(&net, 5, theta);
    must(sr_plan_create(&net, 16, SR_ENGINE_AUTO, SR_FP32, &plan));
    must(sr_workspace_create(plan, &workspace));
    sr_plan_set_weights(plan, theta);
    sr_plan_gradient_theta(plan, workspace, 16, set.x, NULL, fill_seed, &l, NULL, gradient);
    double largest = 0;
    for (size_t i = 0; i < net.parameters; i++) {
        wide[i] = theta[i];
        largest = fmax(largest, fabs(gradient[i]));
    }
    for (size_t i = 0; i < 16 * PIXELS; i++)
        x[i] = set.x[i];
    for (size_t i = 0; i < net.parameters; i += 1 + net.parameters / 97) {
        double keep = wide[i], step = 1e-5;
        wide[i] = keep + step;
        double up = reference_loss(&net, wide, x, &l);
        wide[i] = keep - step;
        double down = reference_loss(&net, wide, x, &l);
        wide[i] = keep;
        if (!(fabs((up - down) / (2 * step) - gradient[i]) < 1e-4 * largest))
            fail_msg("parameter %zu: %g, finite difference %g", i, (double)gradient[i],
                     (up - down) / (2 * step));
    }
    sr_workspace_destroy(workspace);
    sr_plan_destroy(plan);
    sr_free(theta);
    sr_free(gradient);
    sr_free(wide);
    sr_free(x);
    blobs_clear(&set);
}

static void test_learns_and_files(void **state) {
    sr_dataset train = blobs(1, 1200), test = blobs(2, 300);
    double accuracy = 0;
    sr_classifier *c = trained(&train, &test, 2, &accuracy), *d = NULL;
    assert_true(accuracy > 0.95);
    assert_true(sr_classifier_accuracy(c) == accuracy);
    assert_int_equal(sr_classifier_features(c), 16);
    assert_int_equal(sr_classifier_net(c)->outputs, 3);
    assert_int_equal(strlen(sr_classifier_hash(c)), 32);

    char path[] = P_tmpdir "/shortrun-classifier-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    must(sr_classifier_save(c, path));
    must(sr_classifier_load(path, SR_ENGINE_AUTO, 1, &d));
    assert_string_equal(sr_classifier_hash(c), sr_classifier_hash(d));
    assert_true(sr_classifier_accuracy(d) == accuracy);
    assert_string_equal(d->dataset, "blobs");
    assert_string_equal(d->data_hash, train.hash);
    assert_int_equal(d->epochs, 6);
    assert_int_equal(d->train_count, 1200);
    float *features[2], *logits = sr_alloc(300 * 3, sizeof(float));
    for (size_t i = 0; i < 2; i++)
        features[i] = sr_alloc(300 * 16, sizeof(float));
    must(sr_classifier_features_of(c, 300, test.x, features[0], logits));
    must(sr_classifier_features_of(d, 300, test.x, features[1], NULL));
    assert_memory_equal(features[0], features[1], 300 * 16 * sizeof(float));
    assert_true(sr_top_one(300, 3, logits, test.labels) == accuracy);

    sr_free(features[0]);
    sr_free(features[1]);
    sr_free(logits);
    unlink(path);
    sr_classifier_destroy(c);
    sr_classifier_destroy(d);
    blobs_clear(&train);
    blobs_clear(&test);
}

static void test_outputs(void **state) {
    sr_dataset train = blobs(1, 120);
    sr_classifier *c = trained(&train, NULL, 1, NULL);
    float features[2][2 * 16], *all = sr_alloc(120 * 16, sizeof(float)), logits[120 * 3];
    must(sr_classifier_features_of(c, 120, train.x, all, logits));
    double variance = 0; // the features' average variance on the training images is 1
    for (size_t f = 0; f < 16; f++) {
        double mean = 0;
        for (size_t i = 0; i < 120; i++)
            mean += all[i * 16 + f] / 120;
        for (size_t i = 0; i < 120; i++)
            variance += (all[i * 16 + f] - mean) * (all[i * 16 + f] - mean) / (120 * 16);
    }
    assert_true(fabs(variance - 1) < 1e-5);
    sr_free(all);
    // Another scale of the same function comes back to the same weights.
    const sr_layer *inner = &c->net.layers[3], *last = &c->net.layers[4];
    float *kept = sr_alloc(c->net.parameters, sizeof(float));
    memcpy(kept, c->theta, c->net.parameters * sizeof(float));
    for (size_t i = inner->weight; i < last->bias; i++)
        c->theta[i] *= i < last->weight ? 4 : 0.25f;
    sr_plan_set_weights(c->plan, c->theta);
    must(sr_classifier_unit_variance(c, 120, train.x));
    for (size_t i = 0; i < c->net.parameters; i++)
        assert_true(fabsf(c->theta[i] - kept[i]) <= 1e-5f * fabsf(kept[i]));
    sr_free(kept);

    // Logits are those of the whole network, features those before its last layer.
    sr_plan *plan;
    sr_workspace *workspace;
    float whole[3];
    must(sr_plan_create(sr_classifier_net(c), 1, SR_ENGINE_SCALAR, SR_FP32, &plan));
    must(sr_workspace_create(plan, &workspace));
    sr_plan_set_weights(plan, c->theta);
    for (size_t i = 0; i < 120; i += 7) {
        sr_plan_forward(plan, workspace, 1, train.x + i * PIXELS, whole);
        for (size_t o = 0; o < 3; o++)
            assert_true(fabsf(whole[o] - logits[i * 3 + o]) < 1e-4f * (1 + fabsf(whole[o])));
    }
    sr_workspace_destroy(workspace);
    sr_plan_destroy(plan);

    // Values outside [-1, 1] are clamped, values that are not finite are refused.
    for (size_t i = 0; i < PIXELS; i++)
        train.x[i] = 5;
    must(sr_classifier_features_of(c, 1, train.x, features[0], NULL));
    for (size_t i = 0; i < PIXELS; i++)
        train.x[i] = 1;
    must(sr_classifier_features_of(c, 1, train.x, features[1], NULL));
    assert_memory_equal(features[0], features[1], 16 * sizeof(float));
    train.x[PIXELS + 7] = NAN;
    assert_int_equal(sr_classifier_features_of(c, 2, train.x, features[0], NULL),
                     SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "image 1, value 7"));

    sr_classifier_destroy(c);
    blobs_clear(&train);
}

static void test_threads(void **state) {
    sr_dataset train = blobs(1, 200);
    sr_classifier *one = trained(&train, NULL, 1, NULL), *three = trained(&train, NULL, 3, NULL);
    assert_string_equal(sr_classifier_hash(one), sr_classifier_hash(three));
    assert_true(isnan(sr_classifier_accuracy(one)));
    float *a = sr_alloc(200 * 16, sizeof(float)), *b = sr_alloc(200 * 16, sizeof(float));
    must(sr_classifier_features_of(one, 200, train.x, a, NULL));
    must(sr_classifier_features_of(three, 200, train.x, b, NULL));
    assert_memory_equal(a, b, 200 * 16 * sizeof(float));
    sr_free(a);
    sr_free(b);
    sr_classifier_destroy(one);
    sr_classifier_destroy(three);
    blobs_clear(&train);
}

static void test_broken_files(void **state) {
    sr_dataset train = blobs(1, 60);
    sr_classifier *c = trained(&train, NULL, 1, NULL), *d = NULL;
    char path[] = P_tmpdir "/shortrun-classifier-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    must(sr_classifier_save(c, path));
    void *bytes;
    size_t count;
    must(sr_file_read(path, 0, &bytes, &count));
    ((unsigned char *)bytes)[count - 3] ^= 1; // one weight changes a little
    must(sr_file_write(path, bytes, count));
    assert_int_equal(sr_classifier_load(path, SR_ENGINE_AUTO, 1, &d), SR_ERROR_FORMAT);
    assert_null(d);
    assert_non_null(strstr(sr_error_message(), "hash"));
    must(sr_file_write(path, bytes, count / 2));
    assert_int_equal(sr_classifier_load(path, SR_ENGINE_AUTO, 1, &d), SR_ERROR_FORMAT);
    assert_non_null(strstr(sr_error_message(), path));
    unlink(path);
    assert_int_equal(sr_classifier_load(path, SR_ENGINE_AUTO, 1, &d), SR_ERROR_IO);
    sr_free(bytes);
    sr_classifier_destroy(c);
    blobs_clear(&train);
}

static bool stop_at_once(void *user) {
    return true;
}

static void refuse(const sr_dataset *train, const sr_dataset *test, const sr_classifier_options *o,
                   const char *text) {
    sr_classifier *c = NULL;
    assert_int_equal(sr_classifier_train(train, test, o, NULL, &c, NULL), SR_ERROR_ARGUMENT);
    assert_null(c);
    if (!strstr(sr_error_message(), text))
        fail_msg("the message '%s' does not say '%s'", sr_error_message(), text);
}

static void test_refusals(void **state) {
    sr_dataset train = blobs(1, 60), other = blobs(2, 60);
    sr_classifier_options o = options(1);
    sr_classifier *c = NULL;
    uint8_t *labels = train.labels;
    train.labels = NULL;
    refuse(&train, NULL, &o, "no labels");
    train.labels = labels;
    labels[5] = 3;
    refuse(&train, NULL, &o, "label 3 of image 5");
    labels[5] = 2;
    other.classes = 4;
    refuse(&train, &other, &o, "4 classes, expected");
    other.classes = 3;
    o.batch = 61;
    refuse(&train, NULL, &o, "a batch of 61, but 60");
    o.batch = 10;
    o.rate = NAN;
    refuse(&train, NULL, &o, "rate nan");
    o.rate = 1e-3;
    sr_monitor monitor = {.stop = stop_at_once};
    assert_int_equal(sr_classifier_train(&train, NULL, &o, &monitor, &c, NULL),
                     SR_ERROR_INTERRUPTED);
    assert_null(c);
    sr_classifier_destroy(NULL);
    blobs_clear(&train);
    blobs_clear(&other);
}

static void test_find(void **state) {
    char folder[] = P_tmpdir "/shortrun-features-XXXXXX", path[512], file[256];
    assert_non_null(mkdtemp(folder));
    setenv("SHORTRUN_FEATURES", folder, 1);
    assert_int_equal(sr_classifier_find("no_such_set", path, sizeof path), SR_ERROR_IO);
    assert_non_null(strstr(sr_error_message(), folder));
    assert_non_null(strstr(sr_error_message(), "no_such_set"));
    snprintf(file, sizeof file, "%s/no_such_set.safetensors", folder);
    must(sr_file_write(file, "x", 1));
    must(sr_classifier_find("no_such_set", path, sizeof path));
    assert_string_equal(path, file);
    setenv("SHORTRUN_FEATURES", file, 1); // a file serves any set
    must(sr_classifier_find("/some/folder", path, sizeof path));
    assert_string_equal(path, file);
    unlink(file);
    assert_int_equal(sr_classifier_find("/some/folder", path, sizeof path), SR_ERROR_IO);
    rmdir(folder);
    unsetenv("SHORTRUN_FEATURES");
}

// The weights that the project ships are those that scores are compared with.
static void test_shipped_weights(void **state) {
    char path[4096];
    sr_classifier *c = NULL;
    unsetenv("SHORTRUN_FEATURES");
    must(sr_classifier_find("fashion_mnist", path, sizeof path));
    must(sr_classifier_load(path, SR_ENGINE_AUTO, 1, &c));
    assert_true(sr_classifier_accuracy(c) >= 0.9);
    assert_int_equal(sr_classifier_net(c)->inputs, 28 * 28);
    assert_int_equal(sr_classifier_net(c)->outputs, 10);
    assert_string_equal(c->dataset, "fashion_mnist");
    sr_classifier_destroy(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cross_entropy),    cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_learns_and_files), cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_threads),          cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_refusals),         cmocka_unit_test(test_find),
        cmocka_unit_test(test_shipped_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
