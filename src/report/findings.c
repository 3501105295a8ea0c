// Sentences that restate numbers of the tables: the best entry of each data set, the best with and
// without noise, what uniform noise scores, how many cells diverged. Measured statements only;
// nothing is concluded.
#include "report/page_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void append_value(const sr_section *section, sr_quantity quantity, const sr_stat *stat,
                         sr_text *out) {
    char text[96];
    sr_stat_text(stat, sr_section_decimals(section, quantity), text, sizeof text);
    sr_text_append(out, "<b>%s</b>", text);
    if (stat->n > 1)
        sr_text_append(out, " (%zu seeds)", stat->n);
    else
        sr_text_append(out, " (one seed)");
}

static void append_place(const sr_section *section, size_t row, size_t column, sr_text *out) {
    sr_text words = {0};
    sr_row_words(section, row, "σ", &words);
    sr_text_append(out, " at <i>K</i> = %zu, ", section->steps[column]);
    sr_page_text(out, sr_text_string(&words));
    sr_text_clear(&words);
}

// The best entry among rows with noise, or among those without.
static bool best_of(const sr_section *section, sr_quantity quantity, int direction, bool noisy,
                    size_t *row, size_t *column) {
    bool found = false;
    double best = 0;
    for (size_t r = 0; r < section->rows; r++) {
        if ((section->row_cells[r]->cell.train.dynamics.noise > 0) != noisy)
            continue;
        for (size_t c = 0; c < section->columns; c++) {
            sr_stat stat = sr_section_stat(section, r, c, quantity);
            if (stat.n == 0 || stat.diverged > 0 || (found && (stat.mean - best) * direction <= 0))
                continue;
            best = stat.mean;
            *row = r;
            *column = c;
            found = true;
        }
    }
    return found;
}

static void append_best(const sr_section *section, sr_quantity quantity,
                        const sr_metric_words *words, sr_text *out) {
    size_t row, column;
    if (!sr_section_best(section, quantity, words->direction, &row, &column))
        return;
    sr_stat stat = sr_section_stat(section, row, column, quantity);
    sr_text_append(out, "<li>%s ", words->direction < 0 ? "Lowest" : "Highest");
    sr_page_text(out, words->title);
    sr_text_append(out, ": ");
    append_value(section, quantity, &stat, out);
    append_place(section, row, column, out);
    sr_text_append(out, ".");
    double uniform =
        sr_section_stat(section, row, column, (sr_quantity){false, "frechet_uniform"}).mean;
    if (strcmp(quantity.name, "frechet") == 0 && uniform > 0)
        sr_text_append(out,
                       " Uniform noise scores %.4g in the same features; the ratio is <b>%.3f</b>.",
                       uniform, stat.mean / uniform);
    sr_quantity gibbs = {false, "kl_gibbs"}, modes = {false, "modes_covered"};
    sr_stat other = sr_section_stat(section, row, column, gibbs);
    if (strcmp(quantity.name, "kl") == 0 && other.n > 0) {
        sr_text_append(out, " There KL(data || exp(-E)/Z) of the same energies is ");
        append_value(section, gibbs, &other, out);
        sr_text_append(out, ".");
    }
    other = sr_section_stat(section, row, column, modes);
    double count = sr_section_stat(section, row, column, (sr_quantity){false, "mode_count"}).mean;
    if (other.n > 0 && count > 0)
        sr_text_append(out, " Modes covered there: %.3g of %.0f.", other.mean, count);
    sr_text_append(out, "</li>\n");
}

static void append_noise_comparison(const sr_section *section, sr_quantity quantity,
                                    const sr_metric_words *words, sr_text *out) {
    size_t row[2], column[2];
    if (!best_of(section, quantity, words->direction, false, &row[0], &column[0]) ||
        !best_of(section, quantity, words->direction, true, &row[1], &column[1]))
        return;
    sr_text_append(out, "<li>");
    for (size_t i = 0; i < 2; i++) {
        sr_stat stat = sr_section_stat(section, row[i], column[i], quantity);
        sr_text_append(out,
                       i ? "; best entry with noise in the dynamics: " : "Best noise-free entry: ");
        append_value(section, quantity, &stat, out);
        append_place(section, row[i], column[i], out);
    }
    sr_text_append(out, ". Both were picked after the fact, so that they show no difference by "
                        "themselves.</li>\n");
}

static void append_range(const sr_section *section, const char *name, const char *before,
                         const char *after, sr_text *out) {
    double low = INFINITY, high = -INFINITY;
    for (size_t r = 0; r < section->rows; r++) {
        for (size_t c = 0; c < section->columns; c++) {
            sr_stat stat = sr_section_stat(section, r, c, (sr_quantity){true, name});
            if (stat.n == 0)
                continue;
            low = fmin(low, stat.mean);
            high = fmax(high, stat.mean);
        }
    }
    if (!isfinite(low))
        return;
    char a[32], b[32];
    snprintf(a, sizeof a, "%.3g", low);
    snprintf(b, sizeof b, "%.3g", high);
    if (strcmp(a, b) == 0)
        sr_text_append(out, "<li>%s %s %s.</li>\n", before, a, after);
    else
        sr_text_append(out, "<li>%s %s to %s %s.</li>\n", before, a, b, after);
}

// Whether the short run's own density fits held-out rows better than exp(-E)/Z, entry by entry.
static void append_densities(const sr_section *section, sr_text *out) {
    const sr_quantity gain = {false, section->toy ? "run_gain" : "ll_gain"};
    size_t entries = 0, better = 0, worse = 0;
    for (size_t r = 0; r < section->rows; r++) {
        for (size_t c = 0; c < section->columns; c++) {
            const sr_stat stat = sr_section_stat(section, r, c, gain);
            entries += stat.n > 0;
            better += stat.n > 0 && stat.low > 0;
            worse += stat.n > 0 && stat.high < 0;
        }
    }
    if (entries == 0)
        return;
    sr_text_append(
        out,
        "<li><a href=\"#densities\">Held-out rows</a>: of %zu settings the density of the "
        "short run fits better than exp(-E)/Z in <b>%zu</b> and worse in %zu; in %zu the "
        "95%% interval holds no difference too.</li>\n",
        entries, better, worse, entries - better - worse);
}

// What noise does, with its uncertainty.
static sr_status append_comparisons(const sr_sections *sections,
                                    const sr_noise_comparisons *comparisons, size_t index,
                                    sr_text *out) {
    sr_table table;
    sr_status status = sr_noise_table(sections, comparisons, index, &table);
    if (status == SR_OK && table.rows > 0)
        sr_table_print(&table, SR_MARKUP_HTML, out);
    sr_table_clear(&table);
    return status;
}

sr_status sr_page_findings(const sr_sections *sections, const sr_noise_comparisons *comparisons,
                           sr_text *out) {
    sr_status status = SR_OK;
    for (size_t i = 0; i < sections->count && status == SR_OK; i++) {
        const sr_section *section = &sections->list[i];
        const char *leading = sr_section_leading(section);
        const sr_metric_words words = *sr_metric_describe(leading);
        sr_quantity quantity = {false, leading};
        size_t diverged = 0;
        for (size_t r = 0; r < section->count; r++)
            diverged += section->records[r]->state == SR_CELL_DIVERGED;
        sr_text_append(out, "<div class=\"card\"><h3><a href=\"#set-%s\">", section->slug);
        sr_page_text(out, section->title);
        sr_text_append(out, "</a></h3>\n<ul>\n");
        append_best(section, quantity, &words, out);
        append_noise_comparison(section, quantity, &words, out);
        append_densities(section, out);
        if (diverged)
            sr_text_append(out, "<li>%zu of %zu cells <a href=\"#diverged\">diverged</a>.</li>\n",
                           diverged, section->count);
        else
            sr_text_append(out, "<li>None of %zu cells diverged.</li>\n", section->count);
        append_range(section, "iteration_ms", "A training iteration took", "ms", out);
        sr_text_append(out, "</ul>\n");
        status = append_comparisons(sections, comparisons, i, out);
        sr_text_append(out, "</div>\n");
    }
    return status;
}
