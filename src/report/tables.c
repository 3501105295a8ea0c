// Table 1 (quality), Table 2 (time) and the table of phases, from sections to cells of text. How
// text is aligned or marked up is table.c's; the CSV forms are csv.c's.
#include "report/report_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LONG_LABEL                                                                                 \
    18 // characters; longer settings are named by a letter and explained below the table

static const struct {
    const char *name, *title;
    int direction; // 0: not marked - the fewest steps are the fastest iteration, no news
} time_quantities[] = {
    {"iteration_ms", "ms per training iteration", 0},
    {"step_ms", "ms per dynamics step of a batch", -1},
    {"chain_steps_per_s", "chain-steps per second", 1},
};
#define TIME_QUANTITIES (sizeof time_quantities / sizeof *time_quantities)

static const struct {
    const char *name, *heading;
    double factor;
    int decimals;
} phase_quantities[] = {
    {"iteration_ms", "iteration ms", 1, 2},
    {"forward_ms", "forward ms", 1, 2},
    {"backward_data_ms", "backward-data ms", 1, 2},
    {"noise_update_ms", "noise + update ms", 1, 2},
    {"backward_weights_ms", "backward-weights ms", 1, 2},
    {"optimiser_ms", "optimiser ms", 1, 2},
    {"gflops", "GFLOP/s", 1, 1},
    {"peak_share", "% of FMA peak", 100, 1},
    {"peak_memory_mb", "peak memory MB", 1, 0},
};
#define PHASE_QUANTITIES (sizeof phase_quantities / sizeof *phase_quantities)

// ---- label columns ------------------------------------------------------------------------------

// The settings shown as label columns: s, sigma, T always, then what varies; the mode of the data
// noise goes into its column.
static size_t label_settings(const sr_section *section, sr_setting list[SR_SETTING_COUNT]) {
    size_t count = 0;
    list[count++] = SR_SETTING_STEP_SIZE;
    list[count++] = SR_SETTING_SIGMA;
    list[count++] = SR_SETTING_TEMPERATURE;
    for (size_t s = SR_SETTING_DATA_NOISE; s < SR_SETTING_COUNT; s++) {
        bool shown = section->varies[s];
        if (s == SR_SETTING_DATA_NOISE)
            shown |= section->varies[SR_SETTING_DATA_NOISE_MODE];
        if (shown && s != SR_SETTING_DATA_NOISE_MODE)
            list[count++] = (sr_setting)s;
    }
    return count;
}

static void label_text(const sr_section *section, size_t row, sr_setting setting,
                       char out[SR_SETTING_TEXT]) {
    const sr_cell *cell = &section->row_cells[row]->cell;
    sr_setting_shown(cell, setting, out);
    if (setting == SR_SETTING_DATA_NOISE && section->varies[SR_SETTING_DATA_NOISE_MODE]) {
        char mode[SR_SETTING_TEXT];
        sr_setting_text(cell, SR_SETTING_DATA_NOISE_MODE, mode);
        size_t length = strlen(out);
        snprintf(out + length, SR_SETTING_TEXT - length, " %s", mode);
    }
}

// Letters for long values of a setting: A, B, ..., then "setting 27". letter_of: (rows).
static void name_long_values(const sr_section *section, sr_setting setting, char (*name)[16],
                             sr_text *notes) {
    size_t used = 0;
    for (size_t r = 0; r < section->rows; r++) {
        char text[SR_SETTING_TEXT], other[SR_SETTING_TEXT];
        label_text(section, r, setting, text);
        size_t same = 0;
        for (; same < r; same++) {
            label_text(section, same, setting, other);
            if (strcmp(other, text) == 0)
                break;
        }
        if (same < r) {
            memcpy(name[r], name[same], sizeof *name);
            continue;
        }
        used++;
        if (used <= 26)
            snprintf(name[r], sizeof *name, "%c", (char)('A' + used - 1));
        else
            snprintf(name[r], sizeof *name, "%zu", used);
        sr_text_append(notes, "%s %s: %s\n", sr_setting_heading(setting), name[r], text);
    }
}

static bool has_long_value(const sr_section *section, sr_setting setting) {
    for (size_t r = 0; r < section->rows; r++) {
        char text[SR_SETTING_TEXT];
        label_text(section, r, setting, text);
        if (strlen(text) > LONG_LABEL)
            return true;
    }
    return false;
}

// Fills the label columns of `rows` table rows that start at `first`, `repeat` of them for each row
// of the section.
static void fill_labels(const sr_section *section, sr_table *table, size_t first, size_t repeat,
                        bool notes) {
    sr_setting settings[SR_SETTING_COUNT];
    size_t count = label_settings(section, settings);
    char(*name)[16] = sr_alloc(section->rows, sizeof *name);
    if (!name) {
        table->failed = true;
        return;
    }
    for (size_t c = 0; c < count; c++) {
        bool letters = has_long_value(section, settings[c]);
        sr_text unused = {0};
        if (letters)
            name_long_values(section, settings[c], name, notes ? &table->notes : &unused);
        sr_text_clear(&unused);
        sr_table_head(table, c, sr_setting_heading(settings[c]));
        for (size_t r = 0; r < section->rows; r++) {
            char text[SR_SETTING_TEXT];
            label_text(section, r, settings[c], text);
            for (size_t i = 0; i < repeat; i++)
                sr_table_set(table, first + r * repeat + i, c, letters ? name[r] : text, false);
        }
    }
    sr_free(name);
}

// ---- entries ------------------------------------------------------------------------------------

int sr_section_decimals(const sr_section *section, sr_quantity quantity) {
    double smallest = INFINITY;
    bool whole = true;
    for (size_t r = 0; r < section->rows; r++) {
        for (size_t c = 0; c < section->columns; c++) {
            sr_stat stat = sr_section_stat(section, r, c, quantity);
            if (stat.n == 0)
                continue;
            whole &= stat.mean == floor(stat.mean) && stat.deviation == floor(stat.deviation);
            if (fabs(stat.mean) > 0 && fabs(stat.mean) < smallest)
                smallest = fabs(stat.mean);
        }
    }
    if (whole || !isfinite(smallest))
        return 0;
    int decimals = 2 - (int)floor(log10(smallest));
    return decimals < 0 ? 0 : decimals > 4 ? 4 : decimals;
}

void sr_stat_text(const sr_stat *stat, int decimals, char *out, size_t size) {
    if (stat->n == 0)
        snprintf(out, size, "-");
    else if (stat->n == 1 && isfinite(stat->low) && isfinite(stat->high))
        snprintf(out, size, "%.*f [%.*f, %.*f]", decimals, stat->mean, decimals, stat->low,
                 decimals, stat->high);
    else if (stat->n == 1)
        snprintf(out, size, "%.*f", decimals, stat->mean);
    else
        snprintf(out, size, "%.*f ± %.*f", decimals, stat->mean, decimals, stat->deviation);
}

// What the entries of one quantity have in common, for captions and notes.
typedef struct entry_facts {
    size_t seeds;       // most values behind an entry
    bool fewer, partly; // some entry has fewer seeds; some entry lost seeds to divergence
    bool intervals;     // some entry of one seed has an interval
    size_t samples_low, samples_high;
} entry_facts;

static entry_facts gather_facts(const sr_section *section, sr_quantity quantity) {
    entry_facts facts = {0};
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t r = 0; r < section->rows; r++) {
            for (size_t c = 0; c < section->columns; c++) {
                sr_stat stat = sr_section_stat(section, r, c, quantity);
                if (pass == 0 && stat.cells > facts.seeds)
                    facts.seeds = stat.cells;
                if (pass == 0 || stat.n == 0)
                    continue;
                facts.fewer |= stat.n + stat.diverged < facts.seeds;
                facts.partly |= stat.diverged > 0;
                facts.intervals |= stat.n == 1 && isfinite(stat.low);
                if (facts.samples_high == 0 || stat.samples_low < facts.samples_low)
                    facts.samples_low = stat.samples_low;
                if (stat.samples_high > facts.samples_high)
                    facts.samples_high = stat.samples_high;
            }
        }
    }
    return facts;
}

static void entry_text(const sr_stat *stat, const entry_facts *facts, int decimals, char *out,
                       size_t size) {
    if (stat->n == 0 && stat->diverged > 0) {
        snprintf(out, size, "diverged (%zu/%zu)", stat->diverged, stat->cells);
        return;
    }
    sr_stat_text(stat, decimals, out, size);
    size_t length = strlen(out);
    if (stat->n > 0 && stat->diverged > 0)
        snprintf(out + length, size - length, " †%zu/%zu", stat->diverged, stat->cells);
    else if (stat->n > 0 && stat->n < facts->seeds)
        snprintf(out + length, size - length, " (%zu)", stat->n);
}

// Where every entry has the same mean none is best.
static bool all_equal(const sr_section *section, sr_quantity quantity) {
    double first = NAN;
    size_t entries = 0;
    for (size_t r = 0; r < section->rows; r++) {
        for (size_t c = 0; c < section->columns; c++) {
            sr_stat stat = sr_section_stat(section, r, c, quantity);
            if (stat.n > 0 && entries++ > 0 && stat.mean != first)
                return false;
            first = stat.n > 0 ? stat.mean : first;
        }
    }
    return entries > 1;
}

// Fills the value columns, one a K, of the rows from `first`.
static void fill_entries(const sr_section *section, sr_table *table, size_t first,
                         sr_quantity quantity, int direction, const entry_facts *facts) {
    int decimals = sr_section_decimals(section, quantity);
    size_t best_row = 0, best_column = 0;
    bool marked = !all_equal(section, quantity) &&
                  sr_section_best(section, quantity, direction, &best_row, &best_column);
    for (size_t c = 0; c < section->columns; c++) {
        char text[96];
        snprintf(text, sizeof text, "K = %zu", section->steps[c]);
        sr_table_head(table, table->labels + c, text);
        for (size_t r = 0; r < section->rows; r++) {
            sr_stat stat = sr_section_stat(section, r, c, quantity);
            entry_text(&stat, facts, decimals, text, sizeof text);
            sr_table_set(table, first + r, table->labels + c, text,
                         marked && r == best_row && c == best_column);
        }
    }
}

static void append_seeds(const entry_facts *facts, sr_text *out) {
    if (facts->seeds > 1)
        sr_text_append(out, "mean ± standard deviation over %zu seeds", facts->seeds);
    else
        sr_text_append(out, "one seed");
}

static void append_notes(const entry_facts *facts, sr_text *notes) {
    if (facts->intervals)
        sr_text_append(notes, "[low, high]: 95%% interval over new data and new samples of this n, "
                              "the trained model as it is.\n");
    if (facts->partly)
        sr_text_append(
            notes,
            "† a/b: a of b seeds diverged; the mean and deviation are those of the others.\n");
    if (facts->fewer)
        sr_text_append(notes, "(n): only n seeds have a value so far.\n");
}

static double section_mean(const sr_section *section, const char *name) {
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < section->count; i++) {
        double value = sr_record_quantity(section->records[i], (sr_quantity){false, name}, NULL);
        if (isfinite(value)) {
            sum += value;
            count++;
        }
    }
    return count ? sum / (double)count : NAN;
}

// ---- the tables ---------------------------------------------------------------------------------

static void open_table(const sr_section *section, sr_table *table, size_t extra) {
    sr_setting settings[SR_SETTING_COUNT];
    size_t labels = label_settings(section, settings);
    sr_table_init(table, labels + extra, labels);
}

sr_status sr_quality_table(const sr_section *section, const char *metric, sr_table *table) {
    const sr_metric_words *words = sr_metric_describe(metric);
    sr_quantity quantity = {false, metric};
    entry_facts facts = gather_facts(section, quantity);
    open_table(section, table, section->columns);
    sr_text_append(&table->title, "%s: %s", section->title, words->title);
    if (strcmp(words->title, metric) != 0 && strncmp(words->title, "KL(", 3) != 0)
        sr_text_append(&table->title, " (%s)", metric);
    sr_text *caption = &table->caption;
    if (facts.samples_high > 0 && facts.samples_low == facts.samples_high)
        sr_text_append(caption, "n = %zu samples; ", facts.samples_high);
    else if (facts.samples_high > 0)
        sr_text_append(caption, "n = %zu to %zu samples; ", facts.samples_low, facts.samples_high);
    if (words->direction)
        sr_text_append(caption, "%s; ", sr_metric_direction_words(words->direction));
    append_seeds(&facts, caption);
    if (words->direction)
        sr_text_append(caption, "; the best entry is marked");
    double reference = section_mean(section, "frechet_uniform"),
           modes = section_mean(section, "mode_count");
    char number[32];
    if (strcmp(metric, "frechet") == 0 && isfinite(reference)) {
        sr_number_short(reference, number, sizeof number);
        sr_text_append(caption, ".\nUniform noise scores %s", number);
    }
    if (strcmp(metric, "modes_covered") == 0 && isfinite(modes))
        sr_text_append(caption, ".\nThe data has %.0f modes", modes);
    sr_text_append(caption, ".\n");
    for (size_t r = 0; r < section->rows; r++)
        sr_table_add_row(table);
    fill_labels(section, table, 0, 1, true);
    fill_entries(section, table, 0, quantity, words->direction, &facts);
    append_notes(&facts, &table->notes);
    return sr_table_status(table);
}

sr_status sr_time_table(const sr_section *section, sr_table *table) {
    entry_facts all = {0};
    open_table(section, table, section->columns);
    sr_text_append(&table->title, "%s: time", section->title);
    for (size_t q = 0; q < TIME_QUANTITIES; q++) {
        sr_quantity quantity = {true, time_quantities[q].name};
        if (!sr_section_has(section, quantity))
            continue;
        entry_facts facts = gather_facts(section, quantity);
        sr_table_add_label(table, time_quantities[q].title);
        size_t first = table->rows;
        for (size_t r = 0; r < section->rows; r++)
            sr_table_add_row(table);
        fill_labels(section, table, first, 1, q == 0);
        fill_entries(section, table, first, quantity, time_quantities[q].direction, &facts);
        all.seeds = facts.seeds > all.seeds ? facts.seeds : all.seeds;
        all.fewer |= facts.fewer;
        all.partly |= facts.partly;
    }
    const sr_cell *cell = section->count ? &section->records[0]->cell : NULL;
    if (cell && !section->varies[SR_SETTING_BATCH])
        sr_text_append(&table->caption, "%zu chains a batch; ", cell->train.batch);
    append_seeds(&all, &table->caption);
    sr_text_append(&table->caption, ".\n");
    append_notes(&all, &table->notes);
    return sr_table_status(table);
}

sr_status sr_phase_table(const sr_section *section, sr_table *table) {
    bool present[PHASE_QUANTITIES];
    size_t columns = 0, label_columns;
    for (size_t q = 0; q < PHASE_QUANTITIES; q++) {
        present[q] = sr_section_has(section, (sr_quantity){true, phase_quantities[q].name});
        columns += present[q];
    }
    sr_setting settings[SR_SETTING_COUNT];
    label_columns = label_settings(section, settings);
    sr_table_init(table, label_columns + 1 + columns, label_columns + 1);
    sr_text_append(&table->title, "%s: where the time goes", section->title);
    sr_text_append(
        &table->caption,
        "Means over seeds. Phases in ms of a training iteration, averaged over the threads; "
        "GFLOP/s of dynamics steps.\n");
    for (size_t r = 0; r < section->rows * section->columns; r++)
        sr_table_add_row(table);
    fill_labels(section, table, 0, section->columns, true);
    sr_table_head(table, label_columns, "K");
    for (size_t r = 0; r < section->rows; r++) {
        for (size_t c = 0; c < section->columns; c++) {
            char text[32];
            size_t at = label_columns, row = r * section->columns + c;
            snprintf(text, sizeof text, "%zu", section->steps[c]);
            sr_table_set(table, row, at++, text, false);
            for (size_t q = 0; q < PHASE_QUANTITIES; q++) {
                if (!present[q])
                    continue;
                sr_stat stat =
                    sr_section_stat(section, r, c, (sr_quantity){true, phase_quantities[q].name});
                stat.mean *= phase_quantities[q].factor;
                snprintf(text, sizeof text, stat.n ? "%.*f" : "-", phase_quantities[q].decimals,
                         stat.mean);
                sr_table_head(table, at, phase_quantities[q].heading);
                sr_table_set(table, row, at++, text, false);
            }
        }
    }
    return sr_table_status(table);
}

// ---- public -------------------------------------------------------------------------------------

static const struct {
    const char *name;
    sr_table_format format;
} formats[] = {{"text", SR_TABLE_TEXT},         {"csv", SR_TABLE_CSV},
               {"markdown", SR_TABLE_MARKDOWN}, {"md", SR_TABLE_MARKDOWN},
               {"latex", SR_TABLE_LATEX},       {"tex", SR_TABLE_LATEX}};

sr_status sr_table_format_parse(const char *name, sr_table_format *out) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (strcmp(name, formats[i].name) == 0) {
            *out = formats[i].format;
            return SR_OK;
        }
    }
    return sr_fail(SR_ERROR_ARGUMENT,
                   "unknown table format '%s'; allowed: text, csv, markdown (md), latex (tex)",
                   name);
}

static sr_markup markup_of(sr_table_format format) {
    return format == SR_TABLE_MARKDOWN ? SR_MARKUP_MARKDOWN
           : format == SR_TABLE_LATEX  ? SR_MARKUP_LATEX
                                       : SR_MARKUP_TEXT;
}

static void print_heading(const char *heading, bool empty, sr_markup markup, sr_text *out) {
    const char *mark = markup == SR_MARKUP_MARKDOWN ? "## " : markup == SR_MARKUP_LATEX ? "% " : "";
    sr_text_append(out, "%s%s\n\n", mark, heading);
    if (empty)
        sr_text_append(out, "%sNo finished cells.\n", markup == SR_MARKUP_LATEX ? "% " : "");
}

static bool any_has(const sr_sections *sections, const char *metric) {
    bool has = sections->count == 0;
    for (size_t i = 0; i < sections->count; i++)
        has |= sr_section_has(&sections->list[i], (sr_quantity){false, metric});
    return has;
}

sr_status sr_table_quality(const sr_record *records, size_t count, const char *metric,
                           sr_table_format format, sr_text *out) {
    sr_sections sections;
    sr_status status = sr_sections_make(records, count, &sections);
    if (status)
        return status;
    if (metric && !any_has(&sections, metric)) {
        status = sr_fail(SR_ERROR_ARGUMENT, "no cell has a value of the metric '%s'", metric);
        goto done;
    }
    if (format == SR_TABLE_CSV) {
        sr_csv_long(&sections, false, metric, out);
        goto done;
    }
    print_heading("Table 1. Quality", sections.count == 0, markup_of(format), out);
    for (size_t i = 0; i < sections.count && !status; i++) {
        const sr_section *section = &sections.list[i];
        const char *name = metric ? metric : sr_section_leading(section);
        if (metric && !sr_section_has(section, (sr_quantity){false, metric}))
            continue;
        sr_table table;
        status = sr_quality_table(section, name, &table);
        if (!status)
            sr_table_print(&table, markup_of(format), out);
        sr_text_append(out, "\n");
        sr_table_clear(&table);
    }
done:
    sr_sections_clear(&sections);
    return status ? status : sr_text_status(out);
}

sr_status sr_table_time(const sr_record *records, size_t count, sr_table_format format,
                        sr_text *out) {
    sr_sections sections;
    sr_status status = sr_sections_make(records, count, &sections);
    if (status)
        return status;
    if (format == SR_TABLE_CSV) {
        sr_csv_long(&sections, true, NULL, out);
        goto done;
    }
    print_heading("Table 2. Time", sections.count == 0, markup_of(format), out);
    for (size_t i = 0; i < sections.count && !status; i++) {
        sr_table table;
        status = sr_time_table(&sections.list[i], &table);
        if (!status)
            sr_table_print(&table, markup_of(format), out);
        sr_text_append(out, "\n");
        sr_table_clear(&table);
    }
done:
    sr_sections_clear(&sections);
    return status ? status : sr_text_status(out);
}
