// Records sorted into sections (one a group and data set), rows (one a setting) and columns (K),
// and the statistics of an entry over its seeds. Not here: how any of it is printed.
#include "report/report_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- rows ---------------------------------------------------------------------------------------

typedef struct keyed_record {
    const sr_record *record;
    size_t position;               // in the section, to write the result back
    char (*text)[SR_SETTING_TEXT]; // (SR_SETTING_COUNT)
} keyed_record;

static int compare_texts(const char *a, const char *b) {
    char *end_a, *end_b;
    double x = strtod(a, &end_a), y = strtod(b, &end_b);
    if (*a && *b && *end_a == 0 && *end_b == 0 && x != y)
        return x < y ? -1 : 1;
    return strcmp(a, b);
}

// By sigma, so that noise-free comes first, then setting by setting; 0 only where all agree.
static int compare_keyed(const void *left, const void *right) {
    const keyed_record *a = left, *b = right;
    int order = compare_texts(a->text[SR_SETTING_SIGMA], b->text[SR_SETTING_SIGMA]);
    for (size_t s = 0; s < SR_SETTING_COUNT && order == 0; s++)
        order = compare_texts(a->text[s], b->text[s]);
    return order;
}

static int compare_keyed_stable(const void *left, const void *right) {
    const keyed_record *a = left, *b = right;
    int order = compare_keyed(a, b);
    return order ? order : a->position < b->position ? -1 : 1;
}

static int compare_sizes(const void *left, const void *right) {
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    return a < b ? -1 : a > b;
}

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static sr_status make_rows(sr_section *section) {
    sr_status status = SR_ERROR_MEMORY;
    size_t count = section->count;
    keyed_record *keyed = sr_alloc(count, sizeof *keyed);
    char(*texts)[SR_SETTING_TEXT] = sr_alloc(count, SR_SETTING_COUNT * sizeof *texts);
    section->row = sr_alloc(count, sizeof *section->row);
    section->row_cells = sr_alloc(count, sizeof *section->row_cells);
    if (!keyed || !texts || !section->row || !section->row_cells)
        goto done;
    for (size_t i = 0; i < count; i++) {
        keyed[i] = (keyed_record){section->records[i], i, texts + i * SR_SETTING_COUNT};
        for (size_t s = 0; s < SR_SETTING_COUNT; s++) {
            sr_setting_text(&section->records[i]->cell, (sr_setting)s, keyed[i].text[s]);
            if (strcmp(keyed[i].text[s], keyed[0].text[s]) != 0)
                section->varies[s] = true;
        }
    }
    qsort(keyed, count, sizeof *keyed, compare_keyed_stable);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || compare_keyed(&keyed[i - 1], &keyed[i]) != 0)
            section->row_cells[section->rows++] = keyed[i].record;
        section->row[keyed[i].position] = section->rows - 1;
    }
    status = SR_OK;
done:
    sr_free(texts);
    sr_free(keyed);
    return status;
}

static sr_status make_columns(sr_section *section) {
    section->column = sr_alloc(section->count, sizeof *section->column);
    section->steps = sr_alloc(section->count, sizeof *section->steps);
    if (!section->column || !section->steps)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < section->count; i++)
        section->steps[i] = section->records[i]->cell.train.dynamics.steps;
    qsort(section->steps, section->count, sizeof *section->steps, compare_sizes);
    for (size_t i = 0; i < section->count; i++) {
        if (i == 0 || section->steps[i] != section->steps[section->columns - 1])
            section->steps[section->columns++] = section->steps[i];
    }
    for (size_t i = 0; i < section->count; i++) {
        size_t steps = section->records[i]->cell.train.dynamics.steps;
        while (section->steps[section->column[i]] != steps)
            section->column[i]++;
    }
    return SR_OK;
}

// ---- sections -----------------------------------------------------------------------------------

static bool belongs(const sr_section *section, const sr_record *record) {
    return strcmp(section->group, record->cell.group) == 0 &&
           strcmp(section->dataset, record->cell.dataset) == 0;
}

// The last part of a path, without a final slash: "data/photos/" -> "photos/".
static const char *last_part(const char *path) {
    const char *part = path;
    for (const char *p = path; *p; p++) {
        if (*p == '/' && p[1] && p[1] != '/')
            part = p + 1;
    }
    return part;
}

static void append_slug(char *slug, size_t size, const char *text) {
    size_t length = strlen(slug);
    for (; *text && length + 1 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 128 && (isalnum(c) || c == '-'))
            slug[length++] = (char)tolower(c);
        else if (length > 0 && slug[length - 1] != '_')
            slug[length++] = '_';
    }
    while (length > 0 && slug[length - 1] == '_')
        length--;
    slug[length] = 0;
}

static bool slug_taken(const sr_sections *sections, size_t before, const char *slug) {
    for (size_t i = 0; i < before; i++) {
        if (strcmp(sections->list[i].slug, slug) == 0)
            return true;
    }
    return false;
}

static void name_section(sr_sections *sections, size_t index) {
    sr_section *section = &sections->list[index];
    bool shared = false;
    for (size_t i = 0; i < sections->count; i++)
        shared |= i != index && strcmp(sections->list[i].dataset, section->dataset) == 0;
    char slug[sizeof section->slug - 8] = "";
    append_slug(slug, 48, last_part(section->dataset));
    if (shared && section->group[0]) {
        snprintf(section->title, sizeof section->title, "%s (%s)", section->dataset,
                 section->group);
        strcat(slug, slug[0] ? "-" : "");
        append_slug(slug, sizeof slug, section->group);
    } else {
        snprintf(section->title, sizeof section->title, "%s", section->dataset);
    }
    if (!slug[0])
        snprintf(slug, sizeof slug, "data");
    snprintf(section->slug, sizeof section->slug, "%s", slug);
    for (unsigned i = 2; slug_taken(sections, index, section->slug); i++)
        snprintf(section->slug, sizeof section->slug, "%s-%u", slug, i);
}

static sr_status fill_section(sr_section *section, const sr_record *records, size_t count) {
    section->records = sr_alloc(count, sizeof *section->records);
    if (!section->records)
        return SR_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        if (records[i].state != SR_CELL_ABSENT && belongs(section, &records[i]))
            section->records[section->count++] = &records[i];
    }
    section->toy = sr_toy_parse(section->dataset, &section->toy_kind) == SR_OK;
    sr_status status = make_rows(section);
    return status ? status : make_columns(section);
}

static sr_status collect_sigmas(sr_sections *sections, const sr_record *records, size_t count) {
    sections->sigma = sr_alloc(count, sizeof *sections->sigma);
    if (!sections->sigma)
        return SR_ERROR_MEMORY;
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (records[i].state != SR_CELL_ABSENT)
            sections->sigma[found++] = records[i].cell.train.dynamics.noise;
    }
    if (found > 1)
        qsort(sections->sigma, found, sizeof *sections->sigma, compare_doubles);
    for (size_t i = 0; i < found; i++) {
        if (i == 0 || sections->sigma[i] != sections->sigma[sections->sigmas - 1])
            sections->sigma[sections->sigmas++] = sections->sigma[i];
    }
    return SR_OK;
}

sr_status sr_sections_make(const sr_record *records, size_t count, sr_sections *out) {
    *out = (sr_sections){0};
    sr_status status = SR_ERROR_MEMORY;
    out->list = sr_alloc(count, sizeof *out->list);
    if (!out->list)
        return status;
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < out->count && !belongs(&out->list[at], &records[i]))
            at++;
        if (records[i].state == SR_CELL_ABSENT || at < out->count)
            continue;
        out->list[out->count].group = records[i].cell.group;
        out->list[out->count++].dataset = records[i].cell.dataset;
    }
    for (size_t i = 0; i < out->count; i++) {
        if ((status = fill_section(&out->list[i], records, count)))
            goto fail;
        name_section(out, i);
    }
    if ((status = collect_sigmas(out, records, count)))
        goto fail;
    return SR_OK;
fail:
    sr_sections_clear(out);
    return status;
}

void sr_sections_clear(sr_sections *sections) {
    for (size_t i = 0; i < sections->count; i++) {
        sr_section *section = &sections->list[i];
        sr_free(section->records);
        sr_free(section->row);
        sr_free(section->column);
        sr_free(section->row_cells);
        sr_free(section->steps);
    }
    sr_free(sections->list);
    sr_free(sections->sigma);
    *sections = (sr_sections){0};
}

size_t sr_sections_sigma_index(const sr_sections *sections, double sigma) {
    size_t i = 0;
    while (i + 1 < sections->sigmas && sections->sigma[i] < sigma)
        i++;
    return i;
}

// ---- words --------------------------------------------------------------------------------------

static void append_data_noise(const sr_section *section, const sr_cell *cell, sr_words which,
                              const char *text, sr_text *out) {
    bool matched = cell->data_noise_mode == SR_DATA_NOISE_MATCHED;
    const char *mode = !section->varies[SR_SETTING_DATA_NOISE_MODE] ? ""
                       : matched                                    ? " matched"
                                                                    : " fixed";
    if (matched && which != SR_WORDS_ALL)
        sr_text_append(out, "data noise matched");
    else
        sr_text_append(out, "data noise %s%s", text, mode);
}

void sr_setting_words(const sr_section *section, const sr_cell *cell, sr_words which,
                      sr_text *out) {
    size_t before = out->length;
    for (size_t s = 0; s < SR_SETTING_COUNT; s++) {
        if (!section->varies[s] || s == SR_SETTING_SIGMA || s == SR_SETTING_TEMPERATURE)
            continue;
        if (s == SR_SETTING_DATA_NOISE_MODE && section->varies[SR_SETTING_DATA_NOISE])
            continue; // said together with the data noise
        if (s == SR_SETTING_NOISE_LAST &&
            (which == SR_WORDS_WITHOUT_NOISE_LAST || cell->train.dynamics.noise == 0))
            continue;
        char text[SR_SETTING_TEXT];
        sr_setting_shown(cell, (sr_setting)s, text);
        sr_text_append(out, out->length > before ? ", " : "");
        if (s == SR_SETTING_DATA_NOISE)
            append_data_noise(section, cell, which, text, out);
        else if (s == SR_SETTING_STEP_SIZE)
            sr_text_append(out, "s = %s", text);
        else if (s == SR_SETTING_MODEL)
            sr_text_append(out, "%s", text);
        else
            sr_text_append(out, "%s %s", sr_setting_heading((sr_setting)s), text);
    }
}

void sr_row_words(const sr_section *section, size_t row, const char *sigma_word, sr_text *out) {
    const sr_cell *cell = &section->row_cells[row]->cell;
    if (cell->train.dynamics.noise == 0) {
        sr_text_append(out, "noise-free");
    } else {
        char text[SR_SETTING_TEXT];
        sr_setting_text(cell, SR_SETTING_SIGMA, text);
        sr_text_append(out, "%s = %s", sigma_word, text);
    }
    sr_text rest = {0};
    sr_setting_words(section, cell, SR_WORDS_ALL, &rest);
    sr_text_append(out, "%s%s", rest.length ? ", " : "", sr_text_string(&rest));
    sr_text_clear(&rest);
}

// ---- statistics ---------------------------------------------------------------------------------

static const sr_record *first_record(const sr_section *section, size_t row, size_t column,
                                     bool finished) {
    const sr_record *first = NULL;
    for (size_t i = 0; i < section->count; i++) {
        const sr_record *record = section->records[i];
        if (section->row[i] == row && section->column[i] == column &&
            (!finished || record->state == SR_CELL_DONE) &&
            (!first || record->cell.train.seed < first->cell.train.seed))
            first = record;
    }
    return first;
}

const sr_record *sr_section_record(const sr_section *section, size_t row, size_t column) {
    return first_record(section, row, column, false);
}

const sr_record *sr_section_shown(const sr_section *section, size_t row, size_t column) {
    return first_record(section, row, column, true);
}

const sr_value *sr_record_value(const sr_record *record, sr_quantity quantity) {
    const sr_value *values = quantity.timing ? record->timings : record->metrics;
    size_t count = quantity.timing ? record->timing_count : record->metric_count;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(values[i].name, quantity.name) == 0)
            return &values[i];
    }
    return NULL;
}

double sr_record_quantity(const sr_record *record, sr_quantity quantity, size_t *n) {
    const sr_value *value = sr_record_value(record, quantity);
    if (n)
        *n = value ? value->n : 0;
    return value ? value->value : NAN;
}

// Of the t interval the half width is known from the deviation; of a single value it was stored.
static void add_interval(const sr_value *only, sr_stat *stat) {
    stat->error = stat->low = stat->high = NAN;
    if (stat->n == 1 && only) {
        stat->error = only->error;
        stat->low = only->low;
        stat->high = only->high;
    } else if (stat->n > 1) {
        sr_estimate mean;
        sr_seeds_interval(stat->n, stat->mean, stat->deviation, &mean);
        stat->error = mean.error;
        stat->low = mean.low;
        stat->high = mean.high;
    }
}

sr_stat sr_section_stat(const sr_section *section, size_t row, size_t column,
                        sr_quantity quantity) {
    sr_stat stat = {0};
    const sr_value *only = NULL;
    double sum = 0, squares = 0;
    for (int pass = 0; pass < 2; pass++) { // the mean, then the deviation from it
        for (size_t i = 0; i < section->count; i++) {
            if (section->row[i] != row || section->column[i] != column)
                continue;
            const sr_record *record = section->records[i];
            bool diverged = record->state == SR_CELL_DIVERGED;
            size_t n;
            double value = sr_record_quantity(record, quantity, &n);
            bool counts = !diverged && isfinite(value);
            if (pass == 1) {
                squares += counts ? (value - stat.mean) * (value - stat.mean) : 0;
                continue;
            }
            stat.cells++;
            stat.diverged += diverged;
            if (!counts)
                continue;
            only = sr_record_value(record, quantity);
            sum += value;
            if (stat.n == 0 || n < stat.samples_low)
                stat.samples_low = n;
            if (n > stat.samples_high)
                stat.samples_high = n;
            stat.n++;
        }
        stat.mean = stat.n ? sum / (double)stat.n : NAN;
    }
    stat.deviation = stat.n > 1 ? sqrt(squares / (double)(stat.n - 1)) : stat.n ? 0 : NAN;
    add_interval(only, &stat);
    return stat;
}

bool sr_section_has(const sr_section *section, sr_quantity quantity) {
    for (size_t i = 0; i < section->count; i++) {
        if (isfinite(sr_record_quantity(section->records[i], quantity, NULL)))
            return true;
    }
    return false;
}

const char *sr_section_leading(const sr_section *section) {
    static const char *const names[] = {"frechet", "kl", "sliced_w2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (sr_section_has(section, (sr_quantity){false, names[i]}))
            return names[i];
    }
    return section->toy ? "kl" : "frechet";
}

bool sr_section_best(const sr_section *section, sr_quantity quantity, int direction, size_t *row,
                     size_t *column) {
    bool found = false, best_clean = false;
    double best = 0;
    for (size_t r = 0; r < section->rows && direction != 0; r++) {
        for (size_t c = 0; c < section->columns; c++) {
            sr_stat stat = sr_section_stat(section, r, c, quantity);
            if (stat.n == 0)
                continue;
            bool clean = stat.diverged == 0, better = (stat.mean - best) * direction > 0;
            if (!found || (clean && !best_clean) || (clean == best_clean && better)) {
                best = stat.mean;
                best_clean = clean;
                *row = r;
                *column = c;
            }
            found = true;
        }
    }
    return found;
}
