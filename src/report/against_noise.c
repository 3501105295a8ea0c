// Noise against none: for every setting with noise in the dynamics the setting without, at the same
// K and with everything else alike, by the leading score. Over seeds where there are several, else
// by the rows of the samples; where those are not at hand, by the intervals in the records.
//
// The comparisons of one section are one family: Holm's correction is over them.
#include "report/report_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void sr_noise_comparisons_clear(sr_noise_comparisons *comparisons) {
    sr_free(comparisons->list);
    *comparisons = (sr_noise_comparisons){0};
}

// ---- pairs --------------------------------------------------------------------------------------

// The noise-free row that differs from `row` in the noise alone; false where there is none.
static bool find_noise_free(const sr_section *section, size_t row, size_t *out) {
    sr_text words = {0};
    bool found = false;
    sr_setting_words(section, &section->row_cells[row]->cell, SR_WORDS_WITHOUT_NOISE_LAST, &words);
    for (size_t r = 0; r < section->rows && !found; r++) {
        sr_text other = {0};
        if (section->row_cells[r]->cell.train.dynamics.noise == 0) {
            sr_setting_words(section, &section->row_cells[r]->cell, SR_WORDS_WITHOUT_NOISE_LAST,
                             &other);
            found = strcmp(sr_text_string(&words), sr_text_string(&other)) == 0;
            *out = r;
        }
        sr_text_clear(&other);
    }
    sr_text_clear(&words);
    return found;
}

static const sr_record *find_seed(const sr_section *section, size_t row, size_t column,
                                  uint64_t seed) {
    for (size_t i = 0; i < section->count; i++) {
        const sr_record *record = section->records[i];
        if (section->row[i] == row && section->column[i] == column &&
            record->state == SR_CELL_DONE && record->cell.train.seed == seed)
            return record;
    }
    return NULL;
}

// a, b (section->count): finished records of the same seeds.
static size_t pair_up(const sr_section *section, const sr_noise_comparison *c, const sr_record **a,
                      const sr_record **b) {
    size_t pairs = 0;
    for (size_t i = 0; i < section->count; i++) {
        const sr_record *record = section->records[i];
        if (section->row[i] != c->without || section->column[i] != c->column ||
            record->state != SR_CELL_DONE)
            continue;
        a[pairs] = record;
        b[pairs] = find_seed(section, c->row, c->column, record->cell.train.seed);
        pairs += b[pairs] != NULL;
    }
    return pairs;
}

// ---- one comparison -----------------------------------------------------------------------------

// Both scores share the data, so that this interval is rather too wide.
static bool compare_intervals(const sr_record *a, const sr_record *b, const char *name,
                              sr_score_comparison *out) {
    const sr_value *left = sr_record_value(a, (sr_quantity){false, name});
    const sr_value *right = sr_record_value(b, (sr_quantity){false, name});
    if (!left || !right || !isfinite(left->error) || !isfinite(right->error))
        return false;
    const double value = right->value - left->value, error = hypot(left->error, right->error);
    *out = (sr_score_comparison){
        .n_a = left->n,
        .n_b = right->n,
        .a = {left->value, left->error, left->low, left->high},
        .b = {right->value, right->error, right->low, right->high},
        .difference = {value, error, value - 1.96 * error, value + 1.96 * error},
        .p = error > 0    ? erfc(fabs(value / error) * M_SQRT1_2)
             : value == 0 ? 1
                          : NAN,
        .test = "z, two intervals"};
    snprintf(out->name, sizeof out->name, "%s", name);
    return true;
}

static bool compare_pair(const sr_section *section, sr_comparer *comparer,
                         const sr_compare_options *options, const sr_record **a,
                         const sr_record **b, sr_noise_comparison *c) {
    sr_comparison *found = sr_alloc(1, sizeof *found);
    c->pairs = pair_up(section, c, a, b);
    bool done = false;
    if (found && c->pairs > 1)
        done = sr_compare_seeds(c->pairs, a, b, options, found) == SR_OK;
    else if (found && c->pairs == 1)
        done = comparer && sr_comparer_cells(comparer, a[0], b[0], found) == SR_OK;
    if (done)
        c->score = found->score[0];
    else if (c->pairs == 1)
        done = compare_intervals(a[0], b[0], options->only, &c->score);
    sr_free(found);
    return done;
}

// ---- all of a section ---------------------------------------------------------------------------

static sr_status add(sr_noise_comparisons *out, const sr_noise_comparison *c) {
    if (out->count == out->capacity) {
        const size_t capacity = out->capacity ? 2 * out->capacity : 16;
        sr_noise_comparison *bigger =
            sr_realloc(out->list, out->capacity, capacity, sizeof *out->list);
        if (!bigger)
            return SR_ERROR_MEMORY;
        out->list = bigger;
        out->capacity = capacity;
    }
    out->list[out->count++] = *c;
    return SR_OK;
}

static sr_status adjust(sr_noise_comparisons *out, size_t first) {
    const size_t count = out->count - first;
    double *p = sr_alloc(count, 2 * sizeof *p);
    if (!p)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++)
        p[i] = out->list[first + i].score.p;
    sr_holm(count, p, p + count);
    for (size_t i = 0; i < count; i++) {
        out->list[first + i].score.p_holm = p[count + i];
        out->list[first + i].family = count;
    }
    sr_free(p);
    return SR_OK;
}

static sr_status compare_section(const sr_report_input *input, const sr_sections *sections,
                                 size_t index, sr_noise_comparisons *out) {
    const sr_section *section = &sections->list[index];
    const size_t first = out->count;
    sr_compare_options options;
    sr_compare_options_default(&options);
    options.only = sr_section_leading(section);
    const sr_record **a = sr_alloc(section->count, sizeof *a);
    const sr_record **b = sr_alloc(section->count, sizeof *b);
    sr_status status = a && b ? SR_OK : SR_ERROR_MEMORY;
    if (input->comparer)
        sr_comparer_only(input->comparer, options.only);
    for (size_t column = 0; column < section->columns && status == SR_OK; column++) {
        for (size_t row = 0; row < section->rows && status == SR_OK; row++) {
            sr_noise_comparison c = {.section = index, .row = row, .column = column};
            if (section->row_cells[row]->cell.train.dynamics.noise == 0 ||
                !find_noise_free(section, row, &c.without))
                continue;
            sr_monitor_progress(input->monitor, "report", "comparing", (double)column,
                                (double)section->columns);
            if (compare_pair(section, input->comparer, &options, a, b, &c))
                status = add(out, &c);
        }
    }
    sr_free(a);
    sr_free(b);
    return status == SR_OK ? adjust(out, first) : status;
}

sr_status sr_noise_comparisons_make(const sr_report_input *input, const sr_sections *sections,
                                    sr_noise_comparisons *out) {
    sr_status status = SR_OK;
    *out = (sr_noise_comparisons){0};
    for (size_t i = 0; i < sections->count && status == SR_OK; i++)
        status = compare_section(input, sections, i, out);
    if (status != SR_OK)
        sr_noise_comparisons_clear(out);
    return status;
}

// ---- as a table ---------------------------------------------------------------------------------

// What the noise does to the score, as far as it is shown.
static const char *verdict(const sr_noise_comparison *c) {
    const int direction = sr_metric_describe(c->score.name)->direction;
    const bool better = c->score.difference.value * direction > 0;
    if (c->score.p_holm <= 0.05)
        return better ? "better" : "worse";
    if (c->score.p <= 0.05)
        return better ? "perhaps better" : "perhaps worse";
    return "not shown";
}

sr_status sr_noise_table(const sr_sections *sections, const sr_noise_comparisons *comparisons,
                         size_t index, sr_table *table) {
    static const char *const head[] = {"K",          "with", "noise-free", "with noise",
                                       "difference", "p",    "p (Holm)",   "effect"};
    const sr_section *section = &sections->list[index];
    const sr_noise_comparison *first = NULL;
    sr_table_init(table, sizeof head / sizeof *head, 2);
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        sr_table_head(table, i, head[i]);
    for (size_t i = 0; i < comparisons->count; i++) {
        const sr_noise_comparison *c = &comparisons->list[i];
        if (c->section != index)
            continue;
        first = first ? first : c;
        const sr_estimate *const estimates[3] = {&c->score.a, &c->score.b, &c->score.difference};
        char text[96];
        sr_text words = {0};
        const size_t row = sr_table_add_row(table);
        snprintf(text, sizeof text, "%zu", section->steps[c->column]);
        sr_table_set(table, row, 0, text, false);
        sr_row_words(section, c->row, "σ", &words);
        sr_table_set(table, row, 1, sr_text_string(&words), false);
        sr_text_clear(&words);
        for (size_t k = 0; k < 3; k++) {
            sr_estimate_text(estimates[k], sr_error_decimals(c->score.difference.error), text,
                             sizeof text);
            sr_table_set(table, row, 2 + k, text, false);
        }
        sr_p_text(c->score.p, text, sizeof text);
        sr_table_set(table, row, 5, text, false);
        sr_p_text(c->score.p_holm, text, sizeof text);
        sr_table_set(table, row, 6, text, false);
        sr_table_set(table, row, 7, verdict(c), false);
    }
    if (first) {
        sr_text_append(&table->title, "%s: noise against none, %s", section->title,
                       sr_metric_describe(first->score.name)->title);
        sr_text_append(&table->caption,
                       "Difference: with noise minus noise-free at the same K, 95%% interval. ");
        if (first->pairs > 1)
            sr_text_append(&table->caption,
                           "Paired over %zu seeds, p by sign flips (at least %.3g)", first->pairs,
                           2 / exp2((double)first->pairs));
        else
            sr_text_append(&table->caption, "One seed: n = %zu and %zu samples, %s",
                           first->score.n_a, first->score.n_b, first->score.test);
        sr_text_append(
            &table->caption,
            "; %zu comparison%s, so p is also adjusted by Holm, and the last column goes "
            "by that at 5%%.\n",
            first->family, first->family == 1 ? "" : "s");
        if (first->pairs == 1)
            sr_text_append(&table->notes, "One trained model of each setting is compared with "
                                          "another: what another seed would train is not in these "
                                          "intervals.\n");
    }
    return sr_table_status(table);
}

static void csv_number(double value, sr_text *out) {
    char text[32];
    sr_number_text(value, text, sizeof text);
    sr_text_append(out, ",%s", isnan(value) ? "" : text);
}

void sr_noise_csv(const sr_sections *sections, const sr_noise_comparisons *comparisons,
                  sr_text *out) {
    sr_text_append(out, "group,dataset,K,with,metric,n_a,n_b,seeds,noise_free,noisy,difference,"
                        "error,low,high,p,p_holm,comparisons,test\n");
    for (size_t i = 0; i < comparisons->count; i++) {
        const sr_noise_comparison *c = &comparisons->list[i];
        const sr_section *section = &sections->list[c->section];
        const double numbers[] = {c->score.a.value,
                                  c->score.b.value,
                                  c->score.difference.value,
                                  c->score.difference.error,
                                  c->score.difference.low,
                                  c->score.difference.high,
                                  c->score.p,
                                  c->score.p_holm};
        sr_text words = {0};
        sr_csv_field(section->group, out);
        sr_text_append(out, ",");
        sr_csv_field(section->dataset, out);
        sr_text_append(out, ",%zu,", section->steps[c->column]);
        sr_row_words(section, c->row, "sigma", &words);
        sr_csv_field(sr_text_string(&words), out);
        sr_text_clear(&words);
        sr_text_append(out, ",%s,%zu,%zu,%zu", c->score.name, c->score.n_a, c->score.n_b, c->pairs);
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
            csv_number(numbers[k], out);
        sr_text_append(out, ",%zu,%s\n", c->family, c->score.test);
    }
}
