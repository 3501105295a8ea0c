// The tables on densities: a row for every setting and K.
#include "report/report_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static sr_quantity metric(const char *name) {
    return (sr_quantity){false, name};
}

bool sr_section_has_densities(const sr_section *section) {
    return sr_section_has(section, metric("not_inverted"));
}

// Whether exact maximum likelihood trained this cell, on that data set with that model.
static bool is_exact(const sr_record *record, const char *dataset, const char *model) {
    return record->cell.train.exact_grid > 0 && record->state == SR_CELL_DONE &&
           strcmp(record->cell.dataset, dataset) == 0 && strcmp(record->cell.model, model) == 0;
}

const sr_record *sr_exact_record(const sr_report_input *input, const sr_record *record) {
    for (size_t i = 0; i < input->count; i++) {
        const sr_record *other = &input->records[i];
        if (is_exact(other, record->cell.dataset, record->cell.model) &&
            other->cell.train.seed == record->cell.train.seed)
            return other;
    }
    return NULL;
}

typedef struct column {
    const char *heading, *name; // name NULL: the verdict on the gain
} column;

#define EXACT "exact_ml" // no metric of the cell: of its yardstick

static const column plane_likelihood[] = {
    {"short run", "ll_run"},   {"noise-free map", "ll_induced"},
    {"exp(-E)/Z", "ll_gibbs"}, {"exp(-E/T)/Z", "ll_gibbs_t"},
    {"exact ML", EXACT},       {"true density", "ll_true"},
    {"gain", "run_gain"},      {"short run fits", NULL}};
static const column image_likelihood[] = {
    {"bits per dim", "bpd_induced"},        {"log p_K", "ll_induced"},
    {"exp(-E)/Z at least", "ll_gibbs_low"}, {"exp(-E)/Z at most", "ll_gibbs_high"},
    {"log Z >=", "ais_log_z_low"},          {"log Z <=", "ais_log_z_high"},
    {"gain at least", "ll_gain"},           {"short run fits", NULL}};
static const column geometry[] = {{"KL(data || short run)", "kl_density_run"},
                                  {"KL(data || exp(-E)/Z)", "kl_density_gibbs"},
                                  {"TV induced", "tv_induced"},
                                  {"TV exp(-E)/Z", "tv_gibbs"},
                                  {"mass", "mass_induced"},
                                  {"not inverted", "not_inverted"},
                                  {"s lambda from", "s_lambda_smallest"},
                                  {"to", "s_lambda_largest"},
                                  {"s ||H|| >= 1", "beyond_one"}};
static const column plane_long[] = {{"KL short run", "kl_true"},
                                    {"KL long run", "long_kl_true"},
                                    {"KL far beyond K", "beyond_kl_true"},
                                    {"high quality, short", "high_quality"},
                                    {"long", "long_high_quality"},
                                    {"R-hat", "long_r_hat"},
                                    {"steps", "long_steps"}};
static const column image_long[] = {{"FD short run", "frechet"},
                                    {"FD long run", "long_frechet"},
                                    {"FD far beyond K", "beyond_frechet"},
                                    {"R-hat", "long_r_hat"},
                                    {"steps", "long_steps"}};
#define COUNT(list) (sizeof(list) / sizeof *(list))

// Held-out log-likelihood of exact maximum likelihood on the section's data set with its model:
// mean and deviation over seeds, or one seed's interval. n is 0 where there is none.
static sr_stat exact_stat(const sr_sections *sections, const sr_section *section) {
    sr_stat out = {0};
    double sum = 0, square = 0;
    for (size_t i = 0; i < sections->count; i++) {
        const sr_section *other = &sections->list[i];
        for (size_t k = 0; k < other->count; k++) {
            const sr_record *r = other->records[k];
            const sr_value *value = sr_record_value(r, metric("ll_gibbs"));
            if (!value || !is_exact(r, section->dataset, section->records[0]->cell.model))
                continue;
            out.n++;
            out.error = value->error;
            out.low = value->low;
            out.high = value->high;
            sum += value->value;
            square += value->value * value->value;
        }
    }
    const double n = (double)out.n;
    out.mean = out.n ? sum / n : (double)NAN;
    out.deviation = out.n > 1 ? sqrt(fmax(square - sum * sum / n, 0) / (n - 1)) : 0;
    return out;
}

// The columns of a part that any cell has.
static size_t choose(const sr_sections *sections, const sr_section *section, sr_density_part part,
                     const column **out) {
    const column *list = geometry;
    size_t count = COUNT(geometry), found = 0;
    if (part == SR_DENSITY_LIKELIHOOD) {
        list = section->toy ? plane_likelihood : image_likelihood;
        count = section->toy ? COUNT(plane_likelihood) : COUNT(image_likelihood);
    } else if (part == SR_DENSITY_LONG_RUN) {
        list = section->toy ? plane_long : image_long;
        count = section->toy ? COUNT(plane_long) : COUNT(image_long);
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = list[i].name ? list[i].name : list[i - 1].name;
        const bool there = strcmp(name, EXACT) == 0 ? exact_stat(sections, section).n > 0
                                                    : sr_section_has(section, metric(name));
        if (there)
            out[found++] = &list[i];
    }
    return found;
}

static int decimals_of(const sr_stat *stat) {
    if (stat->n > 1 && stat->deviation > 0)
        return sr_error_decimals(stat->deviation);
    if (stat->n == 1 && stat->high > stat->low) // a share of 0 has no error, but an interval
        return sr_error_decimals(stat->error > 0 ? stat->error : stat->high - stat->low);
    return stat->mean == floor(stat->mean) ? 0 : 3;
}

// By the 95% interval of the gain: one seed's over held-out rows, Student's over several seeds.
static const char *verdict(const sr_stat *gain) {
    if (gain->n == 0)
        return "-";
    if (gain->low > 0)
        return "better";
    return gain->high < 0 ? "worse" : "not shown";
}

static void fill_row(const sr_sections *sections, const sr_section *section, size_t r, size_t c,
                     size_t count, const column *const *columns, sr_table *table) {
    char text[128];
    sr_text words = {0};
    const size_t row = sr_table_add_row(table);
    sr_row_words(section, r, "σ", &words);
    sr_table_set(table, row, 0, sr_text_string(&words), false);
    sr_text_clear(&words);
    snprintf(text, sizeof text, "%zu", section->steps[c]);
    sr_table_set(table, row, 1, text, false);
    sr_stat stat = {0};
    for (size_t i = 0; i < count; i++) {
        if (!columns[i]->name) { // behind the gain
            sr_table_set(table, row, 2 + i, verdict(&stat), false);
            continue;
        }
        stat = strcmp(columns[i]->name, EXACT) == 0
                   ? exact_stat(sections, section)
                   : sr_section_stat(section, r, c, metric(columns[i]->name));
        sr_stat_text(&stat, decimals_of(&stat), text, sizeof text);
        if (stat.n == 0 && stat.diverged > 0)
            snprintf(text, sizeof text, "diverged");
        sr_table_set(table, row, 2 + i, text, false);
    }
}

static void describe(const sr_section *section, sr_density_part part, sr_table *table) {
    static const char *const titles[] = {"held-out log-likelihood (nats)", "densities",
                                         "does the energy itself generate?"};
    sr_text_append(&table->title, "%s: %s", section->title, titles[part]);
    if (part == SR_DENSITY_LIKELIHOOD && section->toy)
        sr_text_append(
            &table->caption,
            "Mean log density of held-out points. Short run: of the cell's own dynamics, "
            "noise included; noise-free map: of the same energy without noise; gain: short "
            "run minus exp(-E)/Z, row by row, 95%% interval. exp(-E)/Z is normalised over "
            "the window, which flatters it.\n");
    else if (part == SR_DENSITY_LIKELIHOOD)
        sr_text_append(
            &table->caption,
            "Held-out images, dequantised. exp(-E)/Z on the box [-1, 1]^d, log Z bracketed "
            "by annealed importance sampling; the gain is that over the upper end.\n");
    else if (part == SR_DENSITY_GEOMETRY)
        sr_text_append(
            &table->caption,
            "TV and mass (integral over the window) are those of the noise-free map; a mass "
            "far from 1 where all is inverted says that the density is narrower than the "
            "grid's cells. s lambda: eigenvalues of s H along the sampler's trajectories; the "
            "map cannot fold where all are below 1, and below 1 in size a contraction undoes "
            "it.\n");
    else
        sr_text_append(
            &table->caption,
            "Long run: HMC on the same energy, R-hat below 1.01 counts as converged. Far "
            "beyond K: the cell's own dynamics after the most steps tried.\n");
}

sr_status sr_density_table(const sr_sections *sections, size_t index, sr_density_part part,
                           sr_table *table) {
    const sr_section *section = &sections->list[index];
    const column *columns[16];
    const size_t count = choose(sections, section, part, columns);
    sr_table_init(table, 2 + count, 2);
    sr_table_head(table, 0, "dynamics");
    sr_table_head(table, 1, "K");
    for (size_t i = 0; i < count; i++)
        sr_table_head(table, 2 + i, columns[i]->heading);
    if (count == 0 || !sr_section_has_densities(section))
        return sr_table_status(table);
    for (size_t r = 0; r < section->rows; r++)
        for (size_t c = 0; c < section->columns; c++)
            if (sr_section_record(section, r, c))
                fill_row(sections, section, r, c, count, columns, table);
    describe(section, part, table);
    return sr_table_status(table);
}
