// The CSV forms of the tables: the long form, one line a cell and quantity, and the pivot, one line
// a row of the tables and quantity. Both have one header line and load with pandas.read_csv as they
// are.
#include "report/report_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAMES_MAX 96 // distinct metrics or timings of a section

// The distinct names in a section, in the order of their first appearance.
static size_t collect_names(const sr_section *section, bool timing, const char *only,
                            const char *names[NAMES_MAX]) {
    size_t count = 0;
    for (size_t i = 0; i < section->count; i++) {
        const sr_record *record = section->records[i];
        const sr_value *values = timing ? record->timings : record->metrics;
        size_t n = timing ? record->timing_count : record->metric_count;
        for (size_t v = 0; v < n; v++) {
            size_t at = 0;
            while (at < count && strcmp(names[at], values[v].name) != 0)
                at++;
            if (at == count && count < NAMES_MAX && (!only || strcmp(only, values[v].name) == 0))
                names[count++] = values[v].name;
        }
    }
    return count;
}

static void append_number(double value, sr_text *out) {
    char text[32];
    sr_number_text(value, text, sizeof text);
    sr_text_append(out, "%s", isnan(value) ? "" : text); // pandas reads an empty field as NaN
}

static void append_settings(const sr_cell *cell, sr_text *out) {
    for (size_t s = 0; s < SR_SETTING_COUNT; s++) {
        char text[SR_SETTING_TEXT];
        sr_setting_text(cell, (sr_setting)s, text);
        sr_text_append(out, ",");
        sr_csv_field(text, out);
    }
}

static void append_long_line(const sr_record *record, sr_quantity quantity, sr_text *out) {
    const sr_cell *cell = &record->cell;
    size_t n;
    double value = sr_record_quantity(record, quantity, &n);
    sr_text_append(out, "%s,", cell->hash);
    sr_csv_field(cell->group, out);
    sr_text_append(out, ",");
    sr_csv_field(cell->dataset, out);
    sr_text_append(out, ",%zu,%" PRIu64, cell->train.dynamics.steps, cell->train.seed);
    append_settings(cell, out);
    sr_text_append(out, ",%s,%s,", record->state == SR_CELL_DIVERGED ? "diverged" : "done",
                   quantity.name);
    append_number(value, out);
    if (!quantity.timing) {
        const sr_value *entry = sr_record_value(record, quantity);
        for (size_t i = 0; i < 3; i++) {
            sr_text_append(out, ",");
            append_number(!entry   ? NAN
                          : i == 0 ? entry->error
                          : i == 1 ? entry->low
                                   : entry->high,
                          out);
        }
    }
    sr_text_append(out, ",");
    if (n > 0)
        sr_text_append(out, "%zu", n);
    sr_text_append(out, ",");
    sr_csv_field(record->message, out);
    sr_text_append(out, "\n");
}

void sr_csv_long(const sr_sections *sections, bool timing, const char *name, sr_text *out) {
    sr_text_append(out, "hash,group,dataset,K,seed");
    for (size_t s = 0; s < SR_SETTING_COUNT; s++)
        sr_text_append(out, ",%s", sr_setting_name((sr_setting)s));
    sr_text_append(out, ",state,%s,value%s,n,message\n", timing ? "timing" : "metric",
                   timing ? "" : ",error,low,high");
    for (size_t i = 0; i < sections->count; i++) {
        const sr_section *section = &sections->list[i];
        const char *names[NAMES_MAX];
        size_t count = collect_names(section, timing, name, names);
        if (count == 0) { // nothing but diverged cells: they are still named
            names[count++] = name ? name : timing ? "iteration_ms" : sr_section_leading(section);
        }
        for (size_t r = 0; r < section->count; r++) {
            for (size_t v = 0; v < count; v++)
                append_long_line(section->records[r], (sr_quantity){timing, names[v]}, out);
        }
    }
}

// Every K of any section, ascending.
static size_t collect_steps(const sr_sections *sections, size_t *steps) {
    size_t count = 0;
    for (size_t i = 0; i < sections->count; i++) {
        for (size_t c = 0; c < sections->list[i].columns; c++) {
            size_t value = sections->list[i].steps[c], at = 0;
            while (at < count && steps[at] < value)
                at++;
            if (at < count && steps[at] == value)
                continue;
            memmove(steps + at + 1, steps + at, (count - at) * sizeof *steps);
            steps[at] = value;
            count++;
        }
    }
    return count;
}

static void append_pivot_line(const sr_section *section, size_t row, sr_quantity quantity,
                              const size_t *steps, size_t count, sr_text *out) {
    const sr_cell *cell = &section->row_cells[row]->cell;
    sr_csv_field(cell->group, out);
    sr_text_append(out, ",");
    sr_csv_field(cell->dataset, out);
    append_settings(cell, out);
    sr_text_append(out, ",%s", quantity.name);
    for (size_t i = 0; i < count; i++) {
        size_t column = 0;
        while (column < section->columns && section->steps[column] != steps[i])
            column++;
        sr_stat stat = {.mean = NAN, .deviation = NAN, .low = NAN, .high = NAN};
        if (column < section->columns)
            stat = sr_section_stat(section, row, column, quantity);
        sr_text_append(out, ",");
        append_number(stat.mean, out);
        sr_text_append(out, ",");
        append_number(stat.n > 1 ? stat.deviation : NAN, out); // one seed has no deviation
        if (!quantity.timing) {
            sr_text_append(out, ",");
            append_number(stat.low, out);
            sr_text_append(out, ",");
            append_number(stat.high, out);
        }
        sr_text_append(out, ",%zu,%zu", stat.cells, stat.diverged);
    }
    sr_text_append(out, "\n");
}

void sr_csv_pivot(const sr_sections *sections, bool timing, sr_text *out) {
    size_t total = 0;
    for (size_t i = 0; i < sections->count; i++)
        total += sections->list[i].columns;
    size_t *steps = sr_alloc(total + 1, sizeof *steps);
    if (!steps) {
        out->failed = true;
        return;
    }
    size_t count = collect_steps(sections, steps);
    sr_text_append(out, "group,dataset");
    for (size_t s = 0; s < SR_SETTING_COUNT; s++)
        sr_text_append(out, ",%s", sr_setting_name((sr_setting)s));
    sr_text_append(out, ",%s", timing ? "timing" : "metric");
    for (size_t i = 0; i < count; i++) {
        sr_text_append(out, timing ? ",K%zu_mean,K%zu_sd" : ",K%zu_mean,K%zu_sd,K%zu_low,K%zu_high",
                       steps[i], steps[i], steps[i], steps[i]);
        sr_text_append(out, ",K%zu_seeds,K%zu_diverged", steps[i], steps[i]);
    }
    sr_text_append(out, "\n");
    for (size_t i = 0; i < sections->count; i++) {
        const sr_section *section = &sections->list[i];
        const char *names[NAMES_MAX];
        size_t name_count = collect_names(section, timing, NULL, names);
        for (size_t v = 0; v < name_count; v++) {
            for (size_t r = 0; r < section->rows; r++)
                append_pivot_line(section, r, (sr_quantity){timing, names[v]}, steps, count, out);
        }
    }
    sr_free(steps);
}
