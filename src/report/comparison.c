// A comparison of two sides A and B as a table with sentences, as JSON and as CSV.
#include "report/report_internal.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEVEL 0.05
#define FEW_SEEDS 6 // from so many on, all sign flips can give a p below LEVEL: 2 / 2^6

const char *sr_comparison_format_name(sr_comparison_format format) {
    static const char *const names[] = {"table", "json", "csv"};
    return format < SR_COMPARISON_FORMAT_COUNT ? names[format] : "";
}

// ---- numbers ------------------------------------------------------------------------------------

int sr_error_decimals(double error) {
    if (!(error > 0) || !isfinite(error))
        return 3;
    const int decimals = 1 - (int)floor(log10(error));
    return decimals < 0 ? 0 : decimals > 7 ? 7 : decimals;
}

void sr_p_text(double p, char *out, size_t size) {
    if (isnan(p))
        snprintf(out, size, "-");
    else if (p < 1e-4)
        snprintf(out, size, "< 0.0001");
    else if (p < 0.0995)
        snprintf(out, size, "%.2g", p);
    else
        snprintf(out, size, "%.2f", p);
}

void sr_estimate_text(const sr_estimate *estimate, int decimals, char *out, size_t size) {
    if (isnan(estimate->value))
        snprintf(out, size, "-");
    else if (isnan(estimate->low))
        snprintf(out, size, "%.*f", decimals, estimate->value);
    else
        snprintf(out, size, "%.*f [%.*f, %.*f]", decimals, estimate->value, decimals, estimate->low,
                 decimals, estimate->high);
}

// "p = 0.003", "p < 0.0001".
static void append_p(double p, sr_text *out) {
    char text[32];
    sr_p_text(p, text, sizeof text);
    sr_text_append(out, "p %s%s", text[0] == '<' ? "" : "= ", text);
}

// ---- sentences ----------------------------------------------------------------------------------

// What B is, if the difference is real.
static const char *verdict(const sr_score_comparison *score) {
    const int direction = sr_metric_describe(score->name)->direction;
    const double value = score->difference.value;
    if (direction == 0)
        return value > 0 ? "higher" : "lower";
    return value * direction > 0 ? "better" : "worse";
}

void sr_comparison_sentence(const sr_score_comparison *score, size_t scores, sr_text *out) {
    char difference[96], holm[32];
    const double p = score->p, adjusted = scores > 1 ? score->p_holm : p;
    sr_estimate_text(&score->difference, sr_error_decimals(score->difference.error), difference,
                     sizeof difference);
    if (score->difference.value == 0)
        sr_text_append(out, "A and B are equal");
    else if (adjusted <= LEVEL)
        sr_text_append(out, "B is %s", verdict(score));
    else if (p <= LEVEL)
        sr_text_append(out, "B may be %s", verdict(score));
    else
        sr_text_append(out, "no difference is shown");
    sr_text_append(out, ": %s, ", difference);
    append_p(p, out);
    if (scores > 1 && p <= LEVEL) {
        sr_p_text(adjusted, holm, sizeof holm);
        sr_text_append(out, " (%s by Holm for %zu scores)", holm, scores);
    }
}

// ---- the table ----------------------------------------------------------------------------------

static void print_head(const sr_comparison *c, const char *a, const char *b, sr_text *out) {
    sr_text_append(out, "A: %s\nB: %s\n", a, b);
    const sr_score_comparison *first = &c->score[0];
    if (c->seeds)
        sr_text_append(out,
                       "%zu pairs of the same seed; p by flipping the signs of their "
                       "differences; [low, high]: 95%%\n",
                       first->n_a);
    else
        sr_text_append(
            out,
            "n: %zu of A, %zu of B, %zu of the data; %zu permutations; [low, high]: 95%% "
            "over new data and samples\n",
            first->n_a, first->n_b, c->n_real, c->permutations);
    if (c->seeds && first->n_a < FEW_SEEDS)
        sr_text_append(out, "%zu pairs can give no p below %.3g.\n", first->n_a,
                       2 / exp2((double)first->n_a));
    if (c->features[0])
        sr_text_append(out, "features: %s\n", c->features);
    sr_text_append(out, "\n");
}

static bool all_by(const sr_comparison *c, const char *test) {
    bool all = true;
    for (size_t i = 0; i < c->count; i++)
        all &= strncmp(c->score[i].test, test, strlen(test)) == 0;
    return all;
}

static sr_status print_table(const sr_comparison *c, sr_text *out) {
    static const char *const head[] = {"score", "A", "B", "B - A", "p", "p (Holm)"};
    sr_table table;
    sr_table_init(&table, 6, 1);
    for (size_t i = 0; i < 6; i++)
        sr_table_head(&table, i, head[i]);
    const bool mark = !c->seeds && !all_by(c, "permutation");
    for (size_t i = 0; i < c->count; i++) {
        const sr_score_comparison *score = &c->score[i];
        const int decimals = sr_error_decimals(score->difference.error);
        const sr_estimate *const estimates[3] = {&score->a, &score->b, &score->difference};
        char text[96];
        const size_t row = sr_table_add_row(&table);
        sr_table_set(&table, row, 0, score->name, false);
        for (size_t k = 0; k < 3; k++) {
            sr_estimate_text(estimates[k], decimals, text, sizeof text);
            sr_table_set(&table, row, 1 + k, text, false);
        }
        sr_p_text(score->p, text, sizeof text);
        if (mark && strcmp(score->test, "t") == 0)
            snprintf(text + strlen(text), 8, " (t)");
        sr_table_set(&table, row, 4, text, false);
        sr_p_text(score->p_holm, text, sizeof text);
        sr_table_set(&table, row, 5, text, false);
    }
    if (mark)
        sr_text_append(&table.notes, "(t): no permutation test for this score; Student's t of the "
                                     "jack-knife instead.\n");
    const sr_status status = sr_table_status(&table);
    sr_text text = {0};
    if (status == SR_OK)
        sr_table_print(&table, SR_MARKUP_TEXT, &text);
    sr_text_append(out, "%s", sr_text_string(&text) + strspn(sr_text_string(&text), "\n"));
    sr_text_clear(&text);
    sr_table_clear(&table);
    sr_text_append(out, "\n");
    for (size_t i = 0; i < c->count; i++) {
        sr_text_append(out, "%s: ", c->score[i].name);
        sr_comparison_sentence(&c->score[i], c->count, out);
        sr_text_append(out, "\n");
    }
    return status;
}

// ---- CSV and JSON -------------------------------------------------------------------------------

static void csv_number(double value, sr_text *out) {
    char text[32];
    sr_number_text(value, text, sizeof text);
    sr_text_append(out, ",%s", isnan(value) ? "" : text);
}

static void print_csv(const sr_comparison *c, const char *a, const char *b, sr_text *out) {
    sr_text_append(out, "A,B,score,n_a,n_b,a,a_error,a_low,a_high,b,b_error,b_low,b_high,"
                        "difference,error,low,high,p,p_holm,test\n");
    for (size_t i = 0; i < c->count; i++) {
        const sr_score_comparison *s = &c->score[i];
        const sr_estimate *const estimates[3] = {&s->a, &s->b, &s->difference};
        sr_csv_field(a, out);
        sr_text_append(out, ",");
        sr_csv_field(b, out);
        sr_text_append(out, ",%s,%zu,%zu", s->name, s->n_a, s->n_b);
        for (size_t k = 0; k < 3; k++) {
            csv_number(estimates[k]->value, out);
            csv_number(estimates[k]->error, out);
            csv_number(estimates[k]->low, out);
            csv_number(estimates[k]->high, out);
        }
        csv_number(s->p, out);
        csv_number(s->p_holm, out);
        sr_text_append(out, ",%s\n", s->test);
    }
}

static json_t *json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *json_estimate(const sr_estimate *e) {
    return json_pack("{s:o, s:o, s:o, s:o}", "value", json_number(e->value), "error",
                     json_number(e->error), "low", json_number(e->low), "high",
                     json_number(e->high));
}

static sr_status print_json(const sr_comparison *c, const char *a, const char *b, sr_text *out) {
    json_t *scores = json_array();
    for (size_t i = 0; i < c->count; i++) {
        const sr_score_comparison *s = &c->score[i];
        sr_text sentence = {0};
        sr_comparison_sentence(s, c->count, &sentence);
        json_array_append_new(
            scores,
            json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "score", s->name, "n_a",
                      (json_int_t)s->n_a, "n_b", (json_int_t)s->n_b, "a", json_estimate(&s->a), "b",
                      json_estimate(&s->b), "difference", json_estimate(&s->difference), "p",
                      json_number(s->p), "p_holm", json_number(s->p_holm), "test", s->test,
                      "statement", sr_text_string(&sentence)));
        sr_text_clear(&sentence);
    }
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:o}", "a", a, "b", b, "pairs_of",
                  c->seeds ? "seeds" : "samples", "n_real", (json_int_t)c->n_real, "permutations",
                  (json_int_t)c->permutations, "features", c->features, "scores", scores);
    char *text =
        root ? json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17))
             : NULL;
    const sr_status status =
        text ? SR_OK : sr_fail(SR_ERROR_ARGUMENT, "the comparison cannot be written as JSON");
    if (text)
        sr_text_append(out, "%s\n", text);
    free(text);
    json_decref(root);
    return status;
}

sr_status sr_comparison_print(const sr_comparison *comparison, const char *a, const char *b,
                              sr_comparison_format format, sr_text *out) {
    sr_status status = SR_OK;
    if (format == SR_COMPARISON_JSON)
        status = print_json(comparison, a, b, out);
    else if (format == SR_COMPARISON_CSV)
        print_csv(comparison, a, b, out);
    else {
        print_head(comparison, a, b, out);
        status = print_table(comparison, out);
    }
    return status == SR_OK ? sr_text_status(out) : status;
}
