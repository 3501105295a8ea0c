// Profiles as text and CSV, and the folder that holds all forms of them. JSON and figures have
// files of their own.
#include "report/profile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *sr_profile_format_name(sr_profile_format format) {
    static const char *const names[] = {"text", "csv", "json"};
    return names[format];
}

void sr_profile_label(const sr_profile *p, char *out, size_t size) {
    snprintf(out, size, "%s %s, %u thread%s, batch %zu, K = %zu", sr_engine_name(p->of.engine),
             sr_precision_name(p->of.precision), p->of.threads, p->of.threads == 1 ? "" : "s",
             p->of.batch, p->of.steps);
}

void sr_profile_slug(const sr_profile *p, char *out, size_t size) {
    snprintf(out, size, "%s_%s_t%u_b%zu_k%zu", sr_engine_name(p->of.engine),
             sr_precision_name(p->of.precision), p->of.threads, p->of.batch, p->of.steps);
}

bool sr_profile_has(const sr_profile *p, sr_direction direction) {
    return direction != SR_BACKWARD_WEIGHTS || p->of.training;
}

// ---- text ---------------------------------------------------------------------------------------

// A number with three significant digits in a table's cell.
static void set_number(sr_table *table, size_t row, size_t column, double value) {
    char text[32];
    if (fabs(value) >= 100)
        snprintf(text, sizeof text, "%.0f", value);
    else
        snprintf(text, sizeof text, "%.*f",
                 fabs(value) >= 10  ? 1
                 : fabs(value) >= 1 ? 2
                                    : 3,
                 value);
    sr_table_set(table, row, column, text, false);
}

static void set_percent(sr_table *table, size_t row, size_t column, double share) {
    char text[32];
    snprintf(text, sizeof text, "%.*f%%", share < 0.0995 ? 1 : 0, 100 * share);
    sr_table_set(table, row, column, text, false);
}

static void set_count(sr_table *table, size_t row, size_t column, size_t value) {
    char text[32];
    snprintf(text, sizeof text, "%zu", value);
    sr_table_set(table, row, column, text, false);
}

static void summary_row(const sr_profile *p, sr_table *table) {
    const size_t row = sr_table_add_row(table);
    size_t column = 0;
    sr_table_set(table, row, column++, sr_engine_name(p->of.engine), false);
    sr_table_set(table, row, column++, sr_precision_name(p->of.precision), false);
    set_count(table, row, column++, p->of.threads);
    set_count(table, row, column++, p->of.batch);
    set_count(table, row, column++, p->of.steps);
    set_number(table, row, column++, p->step_ms);
    set_number(table, row, column++, p->chain_steps_per_s);
    set_number(table, row, column++, p->gflops);
    set_percent(table, row, column++, p->share);
    if (p->of.training)
        set_number(table, row, column++, p->iteration_ms);
}

// One line for what differs in threads, batch or steps only.
static void print_skipped(const sr_profile *profiles, size_t count, sr_text *out) {
    for (size_t i = 0; i < count; i++) {
        const sr_profile_case *of = &profiles[i].of;
        if (!profiles[i].skipped[0] || (i > 0 && profiles[i - 1].of.engine == of->engine &&
                                        profiles[i - 1].of.precision == of->precision))
            continue;
        sr_text_append(out, "skipped: %s %s: %s\n", sr_engine_name(of->engine),
                       sr_precision_name(of->precision), profiles[i].skipped);
    }
}

static sr_status print_summary(const sr_profile *profiles, size_t count, sr_text *out) {
    static const char *const heads[] = {"engine",  "precision",   "threads",       "batch",
                                        "K",       "ms/step",     "chain-steps/s", "GFLOP/s",
                                        "of peak", "ms/iteration"};
    const size_t labels = 5, columns = profiles[0].of.training ? 10 : 9;
    sr_table table;
    sr_text model = {0};
    sr_table_init(&table, columns, labels);
    sr_net_format(&profiles[0].of.net, &model);
    sr_text_append(&table.title, "%s", sr_text_string(&model));
    sr_text_append(&table.caption, "%s, %s; shortrun " SR_VERSION, sr_cpu_get()->brand,
                   sr_isa_name(sr_cpu_get()->active));
    if (sr_engine_available(SR_ENGINE_ONEDNN))
        sr_text_append(&table.caption, ", oneDNN %s", sr_engine_version(SR_ENGINE_ONEDNN));
    sr_text_append(&table.caption, "\n");
    for (size_t c = 0; c < columns; c++)
        sr_table_head(&table, c, heads[c]);
    for (size_t i = 0; i < count; i++)
        if (!profiles[i].skipped[0])
            summary_row(&profiles[i], &table);
    print_skipped(profiles, count, &table.notes);
    const sr_status status = sr_table_status(&table);
    if (!status)
        sr_table_print(&table, SR_MARKUP_TEXT, out);
    sr_table_clear(&table);
    sr_text_clear(&model);
    return status;
}

static void layer_rows(const sr_profile *p, size_t l, sr_table *table) {
    const sr_profile_layer *layer = &p->layers[l];
    for (int d = 0; d < SR_DIRECTION_COUNT; d++) {
        const sr_profile_pass *pass = &layer->pass[d];
        if (!sr_profile_has(p, (sr_direction)d))
            continue;
        const size_t row = sr_table_add_row(table);
        const double whole = d == SR_BACKWARD_WEIGHTS ? p->iteration_ms : p->step_ms;
        sr_table_set(table, row, 0, d == 0 ? layer->name : "", false);
        sr_table_set(table, row, 1, sr_direction_name((sr_direction)d), false);
        set_number(table, row, 2, pass->ms);
        set_percent(table, row, 3, pass->ms / whole);
        set_number(table, row, 4, 1e-6 * pass->flop);
        set_number(table, row, 5, pass->bytes > 0 ? pass->flop / pass->bytes : 0);
        if (!(pass->ms > 0)) // the engine leaves out what nobody wants
            continue;
        set_number(table, row, 6, pass->gflops);
        set_percent(table, row, 7, pass->share);
    }
}

static void print_phases(const char *what, double whole, const double *phases, sr_text *out) {
    double sum = 0;
    sr_text_append(out, "%s: ", what);
    for (size_t i = 0; i < SR_PHASE_COUNT; i++) {
        sum += phases[i];
        if (phases[i] > 0)
            sr_text_append(out, "%s %.4g ms, ", sr_phase_name((sr_phase)i), phases[i]);
    }
    sr_text_append(out, "other %.4g ms\n", whole - sum);
}

// What auto has chosen.
static void print_engines(const sr_profile *p, sr_text *out) {
    if (p->of.engine != SR_ENGINE_AUTO)
        return;
    sr_text_append(out, "Layers by engine: ");
    for (size_t l = 0; l < p->of.net.layer_count; l++)
        sr_text_append(out, "%s%s", l ? ", " : "", sr_engine_name(p->layers[l].engine));
    sr_text_append(out, ".\n");
}

static void print_caption(const sr_profile *p, sr_text *out) {
    sr_text_append(
        out,
        "%.4g ms a step (%.4g to %.4g in %zu runs of %zu steps, %zu chains a tile), %.4g "
        "chain-steps/s.\n",
        p->step_ms, p->step_ms_least, p->step_ms_most, p->runs, p->steps, p->of.tile,
        p->chain_steps_per_s);
    sr_text_append(out, "%.4g GFLOP/s are %.1f%% of the peak %.4g of %s", p->gflops, 100 * p->share,
                   p->peak_gflops, sr_precision_name(p->of.precision));
    if (p->peak_gflops != p->fma_gflops)
        sr_text_append(out, " and %.1f%% of the fp32 peak %.4g", 100 * p->fma_share, p->fma_gflops);
    sr_text_append(out, ".\n");
    sr_text_append(out, "At least %.3g GB/s move, %.1f%% of the L2's %.4g; %.0f MB at the peak.\n",
                   p->gbs, 100 * p->l2_share, p->l2_gbs, p->peak_memory_mb);
    print_engines(p, out);
    print_phases("Of a step", p->step_ms, p->phase_ms, out);
    if (!p->of.training)
        return;
    sr_text_append(out, "%.4g ms an iteration of training with K = %zu.\n", p->iteration_ms,
                   p->of.steps);
    print_phases("Of an iteration", p->iteration_ms, p->iteration_phase_ms, out);
}

static sr_status print_layers(const sr_profile *p, sr_text *out) {
    static const char *const heads[] = {"layer", "direction", "ms",      "of time",
                                        "MFLOP", "FLOP/byte", "GFLOP/s", "of peak"};
    char label[128];
    sr_table table;
    sr_table_init(&table, sizeof heads / sizeof *heads, 2);
    sr_profile_label(p, label, sizeof label);
    sr_text_append(&table.title, "%s", label);
    print_caption(p, &table.caption);
    for (size_t c = 0; c < table.columns; c++)
        sr_table_head(&table, c, heads[c]);
    for (size_t l = 0; l < p->of.net.layer_count; l++)
        layer_rows(p, l, &table);
    if (p->of.training)
        sr_text_append(&table.notes, "backward_weights: of an iteration, the others: of a step\n");
    const sr_status status = sr_table_status(&table);
    if (!status)
        sr_table_print(&table, SR_MARKUP_TEXT, out);
    sr_table_clear(&table);
    return status;
}

static sr_status print_text(const sr_profile *profiles, size_t count, sr_text *out) {
    sr_status status = print_summary(profiles, count, out);
    for (size_t i = 0; i < count && !status; i++) {
        if (profiles[i].skipped[0])
            continue;
        sr_text_append(out, "\n");
        status = print_layers(&profiles[i], out);
    }
    return status;
}

// ---- CSV ----------------------------------------------------------------------------------------

static void csv_line(const sr_profile *p, const char *part, const char *direction, double ms,
                     const sr_profile_pass *pass, sr_text *out) {
    sr_text model = {0};
    sr_net_format(&p->of.net, &model);
    sr_csv_field(sr_text_string(&model), out);
    sr_text_clear(&model);
    sr_text_append(out, ",%s,%s,%u,%zu,%zu,%zu,", sr_engine_name(p->of.engine),
                   sr_precision_name(p->of.precision), p->of.threads, p->of.batch, p->of.steps,
                   p->of.tile);
    sr_csv_field(part, out);
    sr_text_append(out, ",%s,%.6g,", direction, ms);
    if (pass)
        sr_text_append(out, "%.10g,%.10g,%.6g,%.6g,%.6g\n", pass->flop, pass->bytes, pass->gflops,
                       p->peak_gflops, pass->share);
    else
        sr_text_append(out, ",,,,\n");
}

static void csv_lines(const sr_profile *p, sr_text *out) {
    const sr_profile_pass step = {p->step_ms, p->flop, p->bytes, p->gflops, p->share};
    csv_line(p, "step", "", p->step_ms, &step, out);
    if (p->of.training)
        csv_line(p, "training_iteration", "", p->iteration_ms, NULL, out);
    for (size_t i = 0; i < SR_PHASE_COUNT; i++) {
        const char *name = sr_phase_name((sr_phase)i);
        if (p->phase_ms[i] > 0)
            csv_line(p, "step phase", name, p->phase_ms[i], NULL, out);
        if (p->of.training)
            csv_line(p, "training phase", name, p->iteration_phase_ms[i], NULL, out);
    }
    for (size_t l = 0; l < p->of.net.layer_count; l++)
        for (int d = 0; d < SR_DIRECTION_COUNT; d++)
            if (sr_profile_has(p, (sr_direction)d))
                csv_line(p, p->layers[l].name, sr_direction_name((sr_direction)d),
                         p->layers[l].pass[d].ms, &p->layers[l].pass[d], out);
}

static void print_csv(const sr_profile *profiles, size_t count, sr_text *out) {
    sr_text_append(out, "model,engine,precision,threads,batch,steps,tile,part,direction,ms,flop,"
                        "bytes,gflops,peak_gflops,share\n");
    for (size_t i = 0; i < count; i++)
        if (!profiles[i].skipped[0])
            csv_lines(&profiles[i], out);
}

sr_status sr_profile_print(const sr_profile *profiles, size_t count, sr_profile_format format,
                           sr_text *out) {
    sr_status status = SR_OK;
    if (count == 0)
        return sr_fail(SR_ERROR_ARGUMENT, "no profiles to print");
    if (format == SR_PROFILE_TEXT)
        status = print_text(profiles, count, out);
    else if (format == SR_PROFILE_JSON)
        status = sr_profile_json(profiles, count, out);
    else
        print_csv(profiles, count, out);
    return status ? status : sr_text_status(out);
}

// ---- the folder ---------------------------------------------------------------------------------

static sr_status write_form(const char *folder, const sr_profile *profiles, size_t count,
                            sr_profile_format format) {
    char path[4352];
    sr_text text = {0};
    snprintf(path, sizeof path, "%s/profile.%s", folder, sr_profile_format_name(format));
    sr_status status = sr_profile_print(profiles, count, format, &text);
    if (!status)
        status = sr_file_write(path, sr_text_string(&text), text.length);
    sr_text_clear(&text);
    return status;
}

static sr_status draw(sr_figures *figures, const sr_monitor *monitor) {
    bool missing = false;
    const sr_status status = sr_figures_draw(figures, monitor, &missing);
    if (missing)
        sr_monitor_log(monitor, SR_LEVEL_WARNING,
                       "gnuplot was not found: the figures' scripts and data are in %s, the "
                       "pictures are missing (Debian: apt install gnuplot-nox)",
                       figures->folder);
    return status;
}

sr_status sr_profile_write(const char *folder, const sr_profile *profiles, size_t count,
                           const sr_monitor *monitor) {
    sr_figures figures = {0};
    if (strlen(folder) > 3900)
        return sr_fail(SR_ERROR_ARGUMENT, "the path of the folder is too long (%zu bytes)",
                       strlen(folder));
    snprintf(figures.folder, sizeof figures.folder, "%s", folder);
    sr_status status = sr_folder_make(folder);
    if (!status)
        status = write_form(folder, profiles, count, SR_PROFILE_JSON);
    if (!status)
        status = write_form(folder, profiles, count, SR_PROFILE_CSV);
    for (size_t i = 0; i < count && !status; i++)
        if (!profiles[i].skipped[0])
            status = sr_profile_roofline(&profiles[i], &figures);
    if (!status)
        status = sr_profile_bars(profiles, count, &figures);
    if (!status)
        status = draw(&figures, monitor);
    sr_figures_clear(&figures);
    return status;
}
