// Tables: statistics over seeds, rows and columns, diverged cells, escaping, the CSV forms.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "fabricate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void assert_has(const sr_text *text, const char *part) {
    if (!strstr(sr_text_string(text), part))
        fail_msg("'%s' is not in:\n%s", part, sr_text_string(text));
}

static void assert_lacks(const sr_text *text, const char *part) {
    if (strstr(sr_text_string(text), part))
        fail_msg("'%s' is in:\n%s", part, sr_text_string(text));
}

static size_t occurrences(const sr_text *text, const char *part) {
    size_t count = 0;
    for (const char *p = sr_text_string(text); (p = strstr(p, part)); p += strlen(part))
        count++;
    return count;
}

static void quality(const made_set *made, const char *metric, sr_table_format format,
                    sr_text *out) {
    sr_text_clear(out);
    assert_int_equal(sr_table_quality(made->records, made->count, metric, format, out), SR_OK);
}

// A 2-D cell with one score.
static sr_record *add_kl(made_set *made, size_t steps, double noise, uint64_t seed, double kl) {
    sr_record *record = made_add(made, "eight_gaussians", steps, 0.1, noise, seed);
    made_metric(record, "kl", kl, 1000);
    return record;
}

// ---- statistics ---------------------------------------------------------------------------------

static void test_mean_and_deviation(void **state) {
    made_set made = {0};
    sr_text out = {0};
    add_kl(&made, 10, 0, 1, 1.0);
    add_kl(&made, 10, 0, 2, 2.5);
    add_kl(&made, 10, 0, 3, 4.0); // mean 2.5, sample deviation 1.5
    add_kl(&made, 20, 0, 1, 7.25);
    add_kl(&made, 20, 0, 2, 7.25);
    add_kl(&made, 20, 0, 3, 7.25);
    quality(&made, NULL, SR_TABLE_TEXT, &out);
    assert_has(&out, "2.50 ± 1.50*");
    assert_has(&out, "7.25 ± 0.00\n");
    assert_has(&out, "over 3 seeds");
    assert_has(&out, "n = 1000 samples");
    assert_has(&out, "lower is better");
    sr_sections sections;
    assert_int_equal(sr_sections_make(made.records, made.count, &sections), SR_OK);
    sr_stat stat = sr_section_stat(&sections.list[0], 0, 0, (sr_quantity){false, "kl"});
    assert_int_equal(stat.n, 3);
    assert_true(fabs(stat.mean - 2.5) < 1e-15 && fabs(stat.deviation - 1.5) < 1e-15);
    sr_sections_clear(&sections);
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_one_seed_has_no_deviation(void **state) {
    made_set made = {0};
    sr_text out = {0};
    add_kl(&made, 10, 0, 1, 0.28);
    add_kl(&made, 20, 0, 1, 0.56);
    quality(&made, NULL, SR_TABLE_TEXT, &out);
    assert_has(&out, "0.280*");
    assert_has(&out, "one seed");
    assert_lacks(&out, "±");
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_one_seed_shows_its_interval(void **state) {
    made_set made = {0};
    sr_text out = {0};
    sr_record *record = made_add(&made, "eight_gaussians", 10, 0.1, 0, 1);
    made_interval(record, "kl", 0.28, 0.01, 1000);
    add_kl(&made, 20, 0, 1, 0.56); // an older record: a value alone
    quality(&made, NULL, SR_TABLE_TEXT, &out);
    assert_has(&out, "0.280 [0.260, 0.300]*");
    assert_has(&out, "0.560\n");
    assert_has(&out, "[low, high]: 95% interval");
    quality(&made, NULL, SR_TABLE_CSV, &out);
    assert_has(&out, ",metric,value,error,low,high,n,message\n");
    assert_has(&out, ",done,kl,0.28,0.01,0.26,0.3");
    assert_has(&out, ",done,kl,0.56,,,,1000,\n");
    made_metric(made_add(&made, "eight_gaussians", 10, 0.1, 0, 2), "kl", 0.3, 1000);
    quality(&made, NULL, SR_TABLE_TEXT, &out); // two seeds: their spread instead
    assert_has(&out, "0.290 ± 0.014*");
    assert_lacks(&out, "[low, high]");
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_fewer_seeds_are_said(void **state) {
    made_set made = {0};
    sr_text out = {0};
    add_kl(&made, 10, 0, 1, 0.1);
    add_kl(&made, 10, 0, 2, 0.2);
    add_kl(&made, 20, 0, 1, 0.4);
    quality(&made, NULL, SR_TABLE_TEXT, &out);
    assert_has(&out, "0.400 (1)");
    assert_has(&out, "(n): only n seeds");
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_diverged(void **state) {
    made_set made = {0};
    sr_text out = {0};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        add_kl(&made, 5, 0, seed, 0.5);
        sr_record *partly = add_kl(&made, 10, 0, seed, 0.1);
        if (seed == 3)
            made_diverge(partly, "gap");
        made_diverge(add_kl(&made, 20, 0, seed, 0), "gap");
    }
    quality(&made, NULL, SR_TABLE_TEXT, &out);
    assert_has(&out, "0.100 ± 0.000 †1/3");
    assert_has(&out, "diverged (3/3)");
    assert_has(&out, "0.500 ± 0.000*"); // not the entry that lost a seed
    assert_has(&out, "† a/b: a of b seeds diverged");
    quality(&made, NULL, SR_TABLE_LATEX, &out);
    assert_has(&out, "0.100 $\\pm$ 0.000 $\\dagger$1/3");
    assert_has(&out, "\\textbf{0.500 $\\pm$ 0.000}");
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_all_diverged(void **state) {
    made_set made = {0};
    sr_text out = {0};
    made_diverge(add_kl(&made, 5, 0, 1, 0), "gone, \"quickly\"");
    quality(&made, NULL, SR_TABLE_TEXT, &out);
    assert_has(&out, "diverged (1/1)");
    quality(&made, NULL, SR_TABLE_CSV, &out);
    assert_has(&out, "diverged,kl,,,,,,\"gone, \"\"quickly\"\"\"\n");
    sr_text_clear(&out);
    assert_int_equal(sr_table_time(made.records, made.count, SR_TABLE_TEXT, &out), SR_OK);
    sr_text_clear(&out);
    made_clear(&made);
}

// ---- rows ---------------------------------------------------------------------------------------

static void test_rows_are_sorted_and_apart(void **state) {
    made_set made = {0};
    sr_text out = {0};
    add_kl(&made, 10, 0.2, 1, 0.32);
    add_kl(&made, 10, 0.03, 1, 0.33);
    add_kl(&made, 10, 0, 1, 0.31);
    sr_record *matched = add_kl(&made, 10, 0.03, 1, 0.34);
    matched->cell.data_noise_mode = SR_DATA_NOISE_MATCHED;
    matched->cell.train.data_noise = 0.03;
    sr_record *slower = add_kl(&made, 10, 0.03, 1, 0.35);
    slower->cell.train.dynamics.step_size = 0.1 + 1e-12; // differs in the 12th digit only
    sr_record *model = add_kl(&made, 10, 0.2, 1, 0.36);
    snprintf(model->cell.model, sizeof model->cell.model, "mlp 2-64-1 with_a_long_name");
    quality(&made, NULL, SR_TABLE_TEXT, &out);
    static const char *const order[] = {"0.310", "0.33", "0.34", "0.35", "0.32", "0.36"};
    for (size_t i = 0; i < 6; i++)
        assert_has(&out, order[i]);
    const char *text = sr_text_string(&out);
    assert_true(strstr(text, "0.310") < strstr(text, "0.330"));
    assert_true(strstr(text, "0.330") < strstr(text, "0.320"));
    assert_has(&out, "0.03 matched");
    assert_has(&out, "0.100000000001");
    assert_has(&out, "model B: mlp 2-64-1 with_a_long_name"); // long values stand below
    sr_sections sections;
    assert_int_equal(sr_sections_make(made.records, made.count, &sections), SR_OK);
    assert_int_equal(sections.count, 1);
    assert_int_equal(sections.list[0].rows, 6);
    sr_sections_clear(&sections);
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_every_setting_separates(void **state) {
    for (size_t which = 0; which < 20; which++) {
        made_set made = {0};
        add_kl(&made, 10, 0.1, 1, 0.1);
        sr_cell *c = &add_kl(&made, 10, 0.1, 1, 0.2)->cell;
        c->train.dynamics.start += which == 0;
        if (which == 1) { // matters for persistent chains only
            made.records[0].cell.train.dynamics.start = SR_START_PERSISTENT;
            c->train.dynamics.start = SR_START_PERSISTENT;
            c->train.dynamics.restart_rate = 0.05;
        }
        c->train.dynamics.clamp += which == 2;
        c->data_limit += which == 3;
        c->train.iterations += which == 4;
        c->train.batch += which == 5;
        c->train.rate += which == 6 ? 1e-9 : 0;
        c->train.beta1 += which == 7;
        c->train.epsilon += which == 8 ? 1e-8 : 0;
        c->train.decay_from += which == 9;
        c->train.decay_to += which == 10;
        c->train.average += which == 11 ? 0.999 : 0;
        c->train.energy_l2 += which == 12;
        c->train.clip_norm += which == 13;
        c->train.spectral_iterations += which == 14;
        c->train.gap_bound += which == 15;
        c->samples += which == 16;
        c->sample_steps += which == 17;
        c->train.dynamics.noise_last = which != 18;
        c->train.optimiser = which == 19 ? SR_SGD : SR_ADAM;
        sr_sections sections;
        assert_int_equal(sr_sections_make(made.records, made.count, &sections), SR_OK);
        assert_int_equal(sections.list[0].rows, 2);
        sr_text a = {0}, b = {0}; // and the legends tell the rows apart
        sr_row_words(&sections.list[0], 0, "sigma", &a);
        sr_row_words(&sections.list[0], 1, "sigma", &b);
        assert_string_not_equal(sr_text_string(&a), sr_text_string(&b));
        sr_text_clear(&a);
        sr_text_clear(&b);
        sr_sections_clear(&sections);
        made_clear(&made);
    }
}

static void test_groups_make_tables(void **state) {
    made_set made = {0};
    sr_text out = {0};
    add_kl(&made, 10, 0, 1, 0.1);
    sr_record *other = add_kl(&made, 10, 0, 1, 0.2);
    snprintf(other->cell.group, sizeof other->cell.group, "wide net");
    add_kl(&made, 10, 0, 2, 0.1)->state = SR_CELL_ABSENT; // must not be seen
    quality(&made, NULL, SR_TABLE_TEXT, &out);
    assert_has(&out, "eight_gaussians (main): KL");
    assert_has(&out, "eight_gaussians (wide net): KL");
    assert_has(&out, "one seed");
    sr_sections sections;
    assert_int_equal(sr_sections_make(made.records, made.count, &sections), SR_OK);
    assert_string_equal(sections.list[0].slug, "eight_gaussians-main");
    assert_string_equal(sections.list[1].slug, "eight_gaussians-wide_net");
    sr_sections_clear(&sections);
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_file_names_are_tame(void **state) {
    made_set made = {0};
    made_add(&made, "/data/../My 'set'; rm -rf \"$HOME\"/", 5, 0.1, 0, 1);
    made_add(&made, "////", 5, 0.1, 0, 1);
    made_add(&made, "x.npy", 5, 0.1, 0, 1);
    made_add(&made, "elsewhere/x.npy", 5, 0.1, 0, 1);
    sr_sections sections;
    assert_int_equal(sr_sections_make(made.records, made.count, &sections), SR_OK);
    assert_int_equal(sections.count, 4);
    assert_string_equal(sections.list[0].slug, "my_set_rm_-rf_home");
    assert_string_equal(sections.list[1].slug, "data");
    assert_string_equal(sections.list[2].slug, "x_npy");
    assert_string_equal(sections.list[3].slug, "x_npy-2");
    sr_sections_clear(&sections);
    made_clear(&made);
}

// ---- printing -----------------------------------------------------------------------------------

static size_t widest_line(const char *text) {
    size_t widest = 0, width = 0;
    for (; *text; text++) {
        width = *text == '\n' ? 0 : width + (((unsigned char)*text & 0xC0) != 0x80);
        widest = width > widest ? width : widest;
    }
    return widest;
}

static void test_wide_tables_are_broken(void **state) {
    made_set made = {0};
    sr_text out = {0};
    for (size_t k = 1; k <= 12; k++) {
        for (uint64_t seed = 1; seed <= 2; seed++) {
            sr_record *record = add_kl(&made, 5 * k, 0.1, seed, 100 + (double)k);
            snprintf(record->cell.model, sizeof record->cell.model, "mlp of a rather long name %d",
                     (int)seed / 3);
        }
    }
    quality(&made, NULL, SR_TABLE_TEXT, &out);
    for (const char *line = sr_text_string(&out); *line; line += strcspn(line, "\n") + 1) {
        if (strstr(line, "K = ") == line + strspn(line, " "))
            assert_true(strcspn(line, "\n") <= 100);
    }
    assert_true(widest_line(strstr(sr_text_string(&out), "\n\n")) <=
                102); // the caption may be longer
    assert_has(&out, "K = 60");
    assert_true(occurrences(&out, "sigma") >= 2); // labels repeat
    quality(&made, NULL, SR_TABLE_MARKDOWN, &out);
    assert_int_equal(occurrences(&out, "sigma"), 1);
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_alignment(void **state) {
    made_set made = {0};
    sr_text out = {0};
    for (uint64_t seed = 1; seed <= 2; seed++) {
        add_kl(&made, 5, 0, seed, 10 + (double)seed);
        add_kl(&made, 5, 0.125, seed, 1);
    }
    quality(&made, NULL, SR_TABLE_TEXT, &out);
    assert_has(&out, "  s  sigma       T         K = 5\n");
    assert_has(&out, "0.1      0       0  11.50 ± 0.71\n");
    assert_has(&out, "0.1  0.125  0.0781   1.00 ± 0.00*\n");
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_escaping(void **state) {
    sr_text out = {0};
    sr_escape(SR_MARKUP_HTML, "<a href=\"x\">&'</a>", &out);
    assert_string_equal(sr_text_string(&out), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;&lt;/a&gt;");
    sr_text_clear(&out);
    sr_escape(SR_MARKUP_LATEX, "a_b % #1 {x}^2 ~ \\ $ & ± †", &out);
    assert_string_equal(sr_text_string(&out),
                        "a\\_b \\% \\#1 \\{x\\}\\textasciicircum{}2 \\textasciitilde{} "
                        "\\textbackslash{} \\$ \\& $\\pm$ $\\dagger$");
    sr_text_clear(&out);
    sr_escape(SR_MARKUP_MARKDOWN, "a|b *c* _d_ <e>\n", &out);
    assert_string_equal(sr_text_string(&out), "a\\|b \\*c\\* \\_d\\_ &lt;e&gt; ");
    sr_text_clear(&out);
    sr_csv_field("plain", &out);
    sr_csv_field("a,b", &out);
    sr_csv_field("say \"x\"\n", &out);
    assert_string_equal(sr_text_string(&out), "plain\"a,b\"\"say \"\"x\"\"\n\"");
    sr_text_clear(&out);
    sr_script_quote(&out, "it's \\n `x` $y\n\"z\"");
    assert_string_equal(sr_text_string(&out), "'it''s \\n `x` $y\"z\"'");
    sr_text_clear(&out);
}

static void test_hostile_names(void **state) {
    made_set made = {0};
    sr_text out = {0};
    sr_record *record = made_add(&made, "bad_set & 100%,\"<b>\"|\033[31m", 5, 0.1, 0, 1);
    made_metric(record, "frechet", 50, 100);
    quality(&made, NULL, SR_TABLE_LATEX, &out);
    assert_has(&out, "bad\\_set \\& 100\\%,");
    quality(&made, NULL, SR_TABLE_MARKDOWN, &out);
    assert_has(&out, "bad\\_set &amp; 100%,\"&lt;b&gt;\"\\|");
    quality(&made, NULL, SR_TABLE_CSV, &out);
    assert_has(&out, ",\"bad_set & 100%,\"\"<b>\"\"|");
    quality(&made, NULL, SR_TABLE_TEXT, &out);
    assert_lacks(&out, "\033");
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_empty(void **state) {
    sr_text out = {0};
    for (int format = SR_TABLE_TEXT; format <= SR_TABLE_LATEX; format++) {
        sr_text_clear(&out);
        assert_int_equal(sr_table_quality(NULL, 0, NULL, (sr_table_format)format, &out), SR_OK);
        if (format == SR_TABLE_CSV)
            assert_int_equal(occurrences(&out, "\n"), 1); // the header alone
        else
            assert_has(&out, "No finished cells.");
        sr_text_clear(&out);
        assert_int_equal(sr_table_time(NULL, 0, (sr_table_format)format, &out), SR_OK);
    }
    sr_text_clear(&out);
}

static void test_unknown_names(void **state) {
    made_set made = {0};
    sr_text out = {0};
    sr_table_format format;
    add_kl(&made, 5, 0, 1, 0.1);
    assert_int_equal(sr_table_quality(made.records, 1, "frehcet", SR_TABLE_TEXT, &out),
                     SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "frehcet"));
    assert_int_equal(sr_table_format_parse("xlsx", &format), SR_ERROR_ARGUMENT);
    assert_non_null(strstr(sr_error_message(), "latex"));
    assert_int_equal(sr_table_format_parse("md", &format), SR_OK);
    assert_int_equal(format, SR_TABLE_MARKDOWN);
    sr_text_clear(&out);
    made_clear(&made);
}

// ---- CSV ----------------------------------------------------------------------------------------

static size_t fields(const char *line) {
    size_t count = 1;
    bool quoted = false;
    for (; *line && (quoted || *line != '\n'); line++) {
        quoted ^= *line == '"';
        count += *line == ',' && !quoted;
    }
    return count;
}

static void assert_rectangular(const sr_text *csv, size_t lines) {
    const char *text = sr_text_string(csv);
    size_t width = fields(text), count = 0;
    for (; *text; text += strcspn(text, "\n") + 1, count++)
        assert_int_equal(fields(text), width);
    assert_int_equal(count, lines);
}

static void test_csv(void **state) {
    made_set made = {0};
    sr_text out = {0};
    made_experiment(&made, 2);
    sr_sections sections;
    assert_int_equal(sr_sections_make(made.records, made.count, &sections), SR_OK);
    quality(&made, "kl", SR_TABLE_CSV, &out);
    assert_rectangular(&out, 1 + 9 * 2 + 12 * 2 * 1); // image cells have no kl: an empty value
    assert_has(&out, "hash,group,dataset,K,seed,step_size,sigma,temperature,");
    quality(&made, NULL, SR_TABLE_CSV, &out);
    assert_rectangular(&out, 1 + 9 * 2 * 9 + 12 * 2 * 6);
    assert_has(&out, ",diverged,frechet,,,,,,iteration 520");
    sr_text_clear(&out);
    sr_csv_pivot(&sections, false, &out);
    assert_rectangular(&out, 1 + 3 * 9 + 4 * 6);
    assert_has(&out, "K5_mean,K5_sd,K5_low,K5_high,K5_seeds,K5_diverged,K10_mean");
    sr_sections_clear(&sections);
    sr_text_clear(&out);
    assert_int_equal(sr_table_time(made.records, made.count, SR_TABLE_CSV, &out), SR_OK);
    assert_rectangular(&out, 1 + (9 + 12) * 2 * 12);
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_pivot_numbers(void **state) {
    made_set made = {0};
    sr_text out = {0};
    sr_sections sections;
    add_kl(&made, 5, 0, 1, 1);
    add_kl(&made, 5, 0, 2, 2);
    made_diverge(add_kl(&made, 5, 0, 3, 0), "x");
    add_kl(&made, 20, 0, 1, 0.1);
    assert_int_equal(sr_sections_make(made.records, made.count, &sections), SR_OK);
    sr_csv_pivot(&sections, false, &out);
    assert_has(&out, ",kl,1.5,0.7071067811865476,-4.85");
    sr_sections_clear(&sections);
    sr_text_clear(&out);
    made_clear(&made);
}

static void test_numbers(void **state) {
    static const struct {
        double value;
        const char *text;
    } cases[] = {{10, "10"},           {0.03, "0.03"},
                 {0.1, "0.1"},         {1e-8, "1e-08"},
                 {1234567, "1234567"}, {0, "0"},
                 {-20, "-20"},         {0.30000000000000004, "0.30000000000000004"},
                 {1e300, "1e+300"},    {600, "600"},
                 {100000, "100000"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        sr_number_text(cases[i].value, text, sizeof text);
        assert_string_equal(text, cases[i].text);
        assert_true(strtod(text, NULL) == cases[i].value);
    }
}

static void test_leading_metric(void **state) {
    made_set made = {0};
    sr_record *record = made_add(&made, "photos", 5, 0.1, 0, 1);
    made_metric(record, "sliced_w2", 0.5, 100); // no feature network: no Frechet distance
    sr_sections sections;
    assert_int_equal(sr_sections_make(made.records, made.count, &sections), SR_OK);
    assert_string_equal(sr_section_leading(&sections.list[0]), "sliced_w2");
    sr_sections_clear(&sections);
    made_metric(made.records, "frechet", 70, 100);
    assert_int_equal(sr_sections_make(made.records, made.count, &sections), SR_OK);
    assert_string_equal(sr_section_leading(&sections.list[0]), "frechet");
    sr_sections_clear(&sections);
    made_clear(&made);
}

static void test_higher_is_better(void **state) {
    made_set made = {0};
    sr_text out = {0};
    made_metric(add_kl(&made, 5, 0, 1, 1), "coverage", 0.25, 10);
    made_metric(add_kl(&made, 10, 0, 1, 2), "coverage", 0.75, 10);
    quality(&made, "coverage", SR_TABLE_TEXT, &out);
    assert_has(&out, "0.750*");
    assert_has(&out, "higher is better");
    sr_text_clear(&out);
    made_clear(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mean_and_deviation),
        cmocka_unit_test(test_one_seed_has_no_deviation),
        cmocka_unit_test(test_one_seed_shows_its_interval),
        cmocka_unit_test(test_fewer_seeds_are_said),
        cmocka_unit_test(test_diverged),
        cmocka_unit_test(test_all_diverged),
        cmocka_unit_test(test_rows_are_sorted_and_apart),
        cmocka_unit_test(test_every_setting_separates),
        cmocka_unit_test(test_groups_make_tables),
        cmocka_unit_test(test_file_names_are_tame),
        cmocka_unit_test(test_wide_tables_are_broken),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_csv),
        cmocka_unit_test(test_pivot_numbers),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_leading_metric),
        cmocka_unit_test(test_higher_is_better),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
