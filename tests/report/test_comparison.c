// Comparisons: which cells a name stands for, what is refused, seeds and samples, sentences, the
// three formats; noise against none in a report.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "fabricate.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(sr_status status) {
    if (status != SR_OK)
        fail_msg("%s", sr_error_message());
}

static void assert_refused(sr_status status, const char *part) {
    assert_int_not_equal(status, SR_OK);
    if (!strstr(sr_error_message(), part))
        fail_msg("'%s' is not in: %s", part, sr_error_message());
}

static sr_score_comparison score(const char *name, double value, double half, double p,
                                 double holm) {
    sr_score_comparison out = {.n_a = 100,
                               .n_b = 100,
                               .a = {1, 0.1, 0.8, 1.2},
                               .b = {1 + value, 0.1, 0.8 + value, 1.2 + value},
                               .difference = {value, half / 2, value - half, value + half},
                               .p = p,
                               .p_holm = holm,
                               .test = "permutation of rows"};
    snprintf(out.name, sizeof out.name, "%s", name);
    return out;
}

static void assert_sentence(sr_score_comparison of, size_t scores, const char *expected) {
    sr_text out = {0};
    sr_comparison_sentence(&of, scores, &out);
    assert_string_equal(sr_text_string(&out), expected);
    sr_text_clear(&out);
}

static void test_sentences(void **state) {
    assert_sentence(score("frechet", 2.1, 1.3, 0.003, 0.003), 1,
                    "B is worse: 2.10 [0.80, 3.40], p = 0.003");
    assert_sentence(score("frechet", -2.1, 1.3, 0.003, 0.003), 1,
                    "B is better: -2.10 [-3.40, -0.80], p = 0.003");
    assert_sentence(score("recall", -0.2, 0.1, 1e-5, 1e-5), 1,
                    "B is worse: -0.200 [-0.300, -0.100], p < 0.0001");
    assert_sentence(score("one_nn_accuracy", 0.2, 0.1, 0.01, 0.01), 1,
                    "B is higher: 0.200 [0.100, 0.300], p = 0.01");
    assert_sentence(score("frechet", 2.1, 1.3, 0.03, 0.12), 4,
                    "B may be worse: 2.10 [0.80, 3.40], p = 0.03 (0.12 by Holm for 4 scores)");
    assert_sentence(score("frechet", 0.5, 1.3, 0.41, 1), 4,
                    "no difference is shown: 0.50 [-0.80, 1.80], p = 0.41");
    assert_sentence(score("modes_covered", 0, 0, 1, 1), 1,
                    "A and B are equal: 0.000 [0.000, 0.000], p = 1.00");
}

static void test_formats(void **state) {
    sr_comparison c = {.n_real = 200, .permutations = 999, .count = 2, .features = "some net"};
    c.score[0] = score("frechet", 2.1, 1.3, 0.003, 0.006);
    c.score[1] = score("recall", 0.1, 0.3, 0.3, 0.3);
    c.score[1].test = "t";
    c.score[1].a.error = c.score[1].a.low = c.score[1].a.high = NAN;
    sr_text out = {0};
    must(sr_comparison_print(&c, "the \"first\"", "b,c", SR_COMPARISON_TABLE, &out));
    static const char *const parts[] = {"A: the \"first\"\n",
                                        "200 of the data; 999 permutations",
                                        "features: some net",
                                        "2.10 [0.80, 3.40]",
                                        "0.30 (t)",
                                        "frechet: B is worse",
                                        "recall: no difference is shown"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(sr_text_string(&out), parts[i]))
            fail_msg("'%s' is not in:\n%s", parts[i], sr_text_string(&out));
    sr_text_clear(&out);
    must(sr_comparison_print(&c, "the \"first\"", "b,c", SR_COMPARISON_CSV, &out));
    assert_non_null(
        strstr(sr_text_string(&out), "\"the \"\"first\"\"\",\"b,c\",recall,100,100,1,,,,"));
    sr_text_clear(&out);
    must(sr_comparison_print(&c, "the \"first\"", "b,c", SR_COMPARISON_JSON, &out));
    json_t *root = json_loads(sr_text_string(&out), 0, NULL), *scores;
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "a")), "the \"first\"");
    scores = json_object_get(root, "scores");
    assert_int_equal(json_array_size(scores), 2);
    json_t *first = json_array_get(scores, 0);
    assert_true(json_real_value(json_object_get(json_object_get(first, "difference"), "high")) ==
                2.1 + 1.3);
    assert_true(json_real_value(json_object_get(first, "p_holm")) == 0.006);
    json_decref(root);
    sr_text_clear(&out);
}

// ---- cells --------------------------------------------------------------------------------------

static void test_selection(void **state) {
    made_set made = {0};
    const sr_record **found;
    size_t n;
    for (uint64_t seed = 3; seed >= 1; seed--) {
        made_add(&made, "rings", 10, 0.1, 0, seed);
        made_add(&made, "rings", 20, 0.1, 0.1, seed);
    }
    made_add(&made, "rings", 10, 0.1, 0, 9)->state = SR_CELL_ABSENT;
    for (size_t i = 0; i < made.count; i++) {
        snprintf(made.records[i].cell.hash, 33, "%032zx", 0xabc0000 + i);
        memmove(made.records[i].cell.hash, made.records[i].cell.hash + 25, 8);
    }
    must(sr_records_select(made.records, made.count, "K=10", &found, &n));
    assert_int_equal(n, 3);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(found[i]->cell.train.seed, i + 1); // by seed
    sr_free(found);
    must(sr_records_select(made.records, made.count, "rings K=20 seed=2", &found, &n));
    assert_int_equal(n, 1);
    assert_int_equal(found[0]->cell.train.dynamics.steps, 20);
    sr_free(found);
    must(sr_records_select(made.records, made.count, "abc0002", &found, &n));
    assert_int_equal(n, 1);
    assert_ptr_equal(found[0], &made.records[2]);
    sr_free(found);
    assert_refused(sr_records_select(made.records, made.count, "seed=1", &found, &n),
                   "differ in more than the seed");
    assert_null(found);
    assert_refused(sr_records_select(made.records, made.count, "abc", &found, &n),
                   "no finished cell");
    assert_refused(sr_records_select(made.records, made.count, "K=11", &found, &n),
                   "no finished cell");
    assert_refused(sr_records_select(made.records, made.count, "sgima=1", &found, &n),
                   "unknown key");
    assert_refused(sr_records_select(made.records, made.count, "", &found, &n), "empty");
    made_clear(&made);
}

static void test_seeds(void **state) {
    made_set made = {0};
    sr_compare_options options;
    sr_comparison *c = malloc(sizeof *c);
    sr_compare_options_default(&options);
    for (uint64_t seed = 1; seed <= 8; seed++)
        for (size_t side = 0; side < 2; side++) {
            sr_record *record = made_add(&made, "rings", 10, 0.1, side ? 0.1 : 0, seed);
            // seeds differ by more than the sides, which pairing takes away
            made_metric(record, "kl", 10.0 * (double)seed + (side ? 1.0 + 0.01 * (double)seed : 0),
                        5);
            made_metric(record, "mode_count", 8, 0);
            if (side == 0 || seed < 8)
                made_metric(record, "w2", 1, 5);
        }
    const sr_record *a[8], *b[8];
    for (size_t i = 0; i < 8; i++) {
        a[i] = &made.records[2 * i];
        b[i] = &made.records[2 * i + 1];
    }
    must(sr_compare_seeds(8, a, b, &options, c));
    assert_true(c->seeds);
    assert_int_equal(c->count, 1); // w2 is missing in one, the number of modes is the data's
    assert_string_equal(c->score[0].name, "kl");
    assert_true(fabs(c->score[0].difference.value - 1.045) < 1e-12);
    assert_true(c->score[0].difference.low > 1 && c->score[0].difference.high < 1.1);
    assert_true(c->score[0].a.value == 45 && c->score[0].b.value > 46);
    assert_true(c->score[0].p == 2.0 / 256 && c->score[0].p_holm == c->score[0].p);
    options.only = "w2";
    assert_refused(sr_compare_seeds(8, a, b, &options, c), "no score w2");
    options.only = NULL;
    assert_refused(sr_compare_seeds(1, a, b, &options, c), "at least 2");
    free(c);
    made_clear(&made);
}

static void remove_folder(const char *folder) {
    const char *args[] = {"rm", "-rf", folder, NULL};
    sr_text errors = {0};
    int code;
    bool missing;
    must(sr_child_run("/", args, &errors, &code, &missing));
    sr_text_clear(&errors);
}

static void test_cells_by_samples(void **state) {
    char folder[] = P_tmpdir "/shortrun-compare-XXXXXX";
    made_set made = {0};
    sr_compare_options options;
    sr_comparer *comparer;
    sr_comparison *c = malloc(sizeof *c), *again = malloc(sizeof *again);
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < 3; i++)
        made_add(&made, "eight_gaussians", i == 1 ? 40 : 5, 0.1, i == 2 ? 0.1 : 0, 1);
    made_diverge(made_add(&made, "eight_gaussians", 7, 0.1, 0, 1), "it ran away");
    made_files(&made, folder);
    made_add(&made, "eight_gaussians", 9, 0.1, 0, 1); // without files
    made_add(&made, "rings", 9, 0.1, 0, 1);
    const sr_record *r = made.records;
    sr_compare_options_default(&options);
    options.permutations = 499;
    must(sr_comparer_create(folder, &options, NULL, &comparer));
    must(sr_comparer_cells(comparer, &r[0], &r[1], c)); // B is sharper: its modes hold more
    assert_false(c->seeds);
    assert_string_equal(c->score[0].name, "kl");
    for (size_t i = 0; i < c->count; i++) {
        const sr_score_comparison *s = &c->score[i];
        assert_int_equal(s->n_a, 2000);
        assert_true(fabs(s->difference.value - (s->b.value - s->a.value)) < 1e-12);
        assert_true(s->difference.low < s->difference.value &&
                    s->difference.value < s->difference.high);
        assert_true(s->a.low <= s->a.value && s->a.value <= s->a.high);
        assert_true(s->p > 0 && s->p <= s->p_holm);
        if (strcmp(s->name, "kl") == 0)
            assert_true(s->difference.high < 0 && s->p == 1.0 / 500);
        if (strcmp(s->name, "high_quality") == 0)
            assert_true(s->difference.low > 0 && s->p == 1.0 / 500);
    }
    assert_true(c->count >= 5);
    must(sr_comparer_cells(comparer, &r[1], &r[0], again)); // the other way round
    for (size_t i = 0; i < c->count; i++)
        assert_true(fabs(c->score[i].difference.value + again->score[i].difference.value) < 1e-12);
    must(sr_comparer_cells(comparer, &r[0], &r[2], c)); // of one distribution
    for (size_t i = 0; i < c->count; i++)
        assert_true(c->score[i].p_holm > 0.01);
    assert_refused(sr_comparer_cells(comparer, &r[0], &r[0], c), "same cell");
    assert_refused(sr_comparer_cells(comparer, &r[0], &r[3], c), "it ran away");
    assert_refused(sr_comparer_cells(comparer, &r[0], &r[4], c), "samples.npy: no such file");
    assert_refused(sr_comparer_cells(comparer, &r[0], &r[5], c), "data set");
    sr_comparer_destroy(comparer);
    remove_folder(folder);
    free(c);
    free(again);
    made_clear(&made);
}

// ---- noise against none -------------------------------------------------------------------------

static void test_noise(void **state) {
    made_set made = {0};
    sr_sections sections;
    sr_noise_comparisons found;
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < 3; i++)
            made_interval(made_add(&made, "rings", 10 * (k + 1), 0.1, 0.1 * (double)i, 1), "kl",
                          1 + 0.5 * (double)i * (double)k, 0.1, 100);
    sr_record *other = made_add(&made, "rings", 10, 0.2, 0.3, 1); // has no noise-free partner
    made_interval(other, "kl", 9, 0.1, 100);
    must(sr_sections_make(made.records, made.count, &sections));
    const sr_report_input input = {.folder = "/nonexistent", .records = made.records};
    must(sr_noise_comparisons_make(&input, &sections, &found));
    assert_int_equal(found.count, 4); // two K, two noise levels
    for (size_t i = 0; i < found.count; i++) {
        const sr_noise_comparison *c = &found.list[i];
        assert_int_equal(c->family, 4);
        assert_int_equal(c->pairs, 1);
        assert_true(c->score.p_holm >= c->score.p);
        const double steps = (double)sections.list[0].steps[c->column];
        const double noise = sections.list[0].row_cells[c->row]->cell.train.dynamics.noise;
        assert_true(fabs(c->score.difference.value - (steps > 10 ? 5 * noise : 0)) < 1e-12);
        assert_true(fabs(c->score.difference.error - 0.1 * sqrt(2)) < 1e-12);
    }
    sr_table table;
    sr_text text = {0};
    must(sr_noise_table(&sections, &found, 0, &table));
    sr_table_print(&table, SR_MARKUP_MARKDOWN, &text);
    assert_non_null(strstr(sr_text_string(&text), "4 comparisons"));
    assert_non_null(strstr(sr_text_string(&text), "worse"));
    assert_non_null(strstr(sr_text_string(&text), "not shown"));
    sr_table_clear(&table);
    sr_text_clear(&text);
    sr_noise_csv(&sections, &found, &text);
    assert_non_null(strstr(sr_text_string(&text), "main,rings,20,"));
    sr_text_clear(&text);
    sr_noise_comparisons_clear(&found);
    sr_sections_clear(&sections);
    made_clear(&made);
}

static bool stop_after(void *user) {
    size_t *left = user;
    return *left == 0 || --*left == 0;
}

static void test_stopped(void **state) {
    (void)state;
    float x[60];
    size_t left = 1;
    const sr_monitor monitor = {.user = &left, .stop = stop_after};
    sr_compare_options options;
    sr_comparison *c = malloc(sizeof *c);
    assert_non_null(c);
    for (size_t i = 0; i < 60; i++)
        x[i] = (float)(i * i % 61);
    sr_compare_options_default(&options);
    options.permutations = 99;
    must(sr_compare_rows(10, x, 10, x + 20, 10, x + 40, 2, &options, c));
    options.monitor = &monitor;
    for (size_t asked = 1; asked < 4; asked++) { // at once, and between scores
        left = asked;
        assert_int_equal(sr_compare_rows(10, x, 10, x + 20, 10, x + 40, 2, &options, c),
                         SR_ERROR_INTERRUPTED);
    }
    free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_selection),        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_cells_by_samples), cmocka_unit_test(test_noise),
        cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
