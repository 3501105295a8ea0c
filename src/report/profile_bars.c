// Where the time of several profiles goes: one horizontal bar for each, stacked from the layers and
// phases of a step, or from the phases of an iteration of training.
#include "report/figure_layout.h"
#include "report/profile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BARS_MAX 24   // more do not fit a page
#define BAR_PIXELS 46 // of a bar with the words above it
#define PARTS_MAX (SR_MAX_LAYERS * 2 + 2)
#define LIGHTER 0.55 // share of white in the colour of backward-data

#define COLOUR_UPDATE "#6b6b6b"
#define COLOUR_OTHER "#d0d0d0"

typedef struct part {
    char name[96];
    char colour[8];
    double ms;
} part;

// What one figure shows: the parts of a profile, and their words.
typedef struct bars {
    const char *name, *title, *axis;
    size_t (*parts)(const sr_profile *p, part *out);
    double (*whole)(const sr_profile *p);
    size_t (*legend)(const sr_profile *p, sr_legend_entry *out);
    size_t count;
    const sr_profile *profiles[BARS_MAX];
    sr_text data, script;
} bars;

static void set_part(part *out, const char *name, const char *colour, double ms) {
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(out->colour, sizeof out->colour, "%s", colour);
    out->ms = ms;
}

static void lighten(const char *colour, char out[8]) {
    unsigned rgb = 0, mixed = 0;
    sscanf(colour, "#%x", &rgb);
    for (int shift = 0; shift < 24; shift += 8) {
        const double c = (double)(rgb >> shift & 255);
        mixed |= (unsigned)lround(c + LIGHTER * (255 - c)) << shift;
    }
    snprintf(out, 8, "#%06X", mixed & 0xffffffu);
}

static size_t add_other(part *out, size_t count, double whole) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += out[i].ms;
    set_part(&out[count], "other", COLOUR_OTHER, fmax(whole - sum, 0));
    return count + 1;
}

static void set_entry(sr_legend_entry *entry, const char *label, const char *colour) {
    snprintf(entry->label, sizeof entry->label, "%s", label);
    entry->style = (sr_line_style){colour, 0};
}

// ---- a step -------------------------------------------------------------------------------------

static size_t step_parts(const sr_profile *p, part *out) {
    size_t count = 0;
    for (size_t l = 0; l < p->of.net.layer_count; l++) {
        char name[96], light[8];
        lighten(sr_script_colour(l), light);
        snprintf(name, sizeof name, "%s forward", p->layers[l].name);
        set_part(&out[count++], name, sr_script_colour(l), p->layers[l].pass[SR_FORWARD].ms);
        snprintf(name, sizeof name, "%s backward_data", p->layers[l].name);
        set_part(&out[count++], name, light, p->layers[l].pass[SR_BACKWARD_DATA].ms);
    }
    set_part(&out[count++], "noise_update", COLOUR_UPDATE, p->phase_ms[SR_PHASE_NOISE_UPDATE]);
    return add_other(out, count, p->step_ms);
}

static double step_whole(const sr_profile *p) {
    return p->step_ms;
}

static size_t step_legend(const sr_profile *p, sr_legend_entry *out) {
    size_t count = 0;
    for (; count < p->of.net.layer_count; count++)
        set_entry(&out[count], p->layers[count].name, sr_script_colour(count));
    set_entry(&out[count++], "noise and update", COLOUR_UPDATE);
    set_entry(&out[count++], "other (threads waiting)", COLOUR_OTHER);
    return count;
}

// ---- an iteration of training -------------------------------------------------------------------

static size_t iteration_parts(const sr_profile *p, part *out) {
    size_t count = 0;
    for (; count < SR_PHASE_COUNT; count++)
        set_part(&out[count], sr_phase_name((sr_phase)count), sr_script_colour(count),
                 p->iteration_phase_ms[count]);
    return add_other(out, count, p->iteration_ms);
}

static double iteration_whole(const sr_profile *p) {
    return p->iteration_ms;
}

static size_t iteration_legend(const sr_profile *p, sr_legend_entry *out) {
    static const char *const words[SR_PHASE_COUNT] = {
        "forward", "backward-data", "backward-weights", "noise and update", "optimiser"};
    size_t count = 0;
    for (; count < SR_PHASE_COUNT; count++)
        set_entry(&out[count], words[count], sr_script_colour(count));
    set_entry(&out[count++], "other (threads waiting)", COLOUR_OTHER);
    return count;
}

// ---- drawing ------------------------------------------------------------------------------------

// One block a bar, one line a part: from, to, place of the bar, colour, name.
static double print_data(bars *b) {
    double longest = 0;
    sr_text_append(&b->data, "# from ms, to ms, place, colour, part; one block a bar\n");
    for (size_t i = 0; i < b->count; i++) {
        part parts[PARTS_MAX];
        const size_t count = b->parts(b->profiles[i], parts);
        double at = 0;
        sr_text_append(&b->data, "%s", i ? "\n\n" : "");
        for (size_t k = 0; k < count; k++) {
            sr_text_append(&b->data, "%.6g %.6g %zu 0x%s \"%s\"\n", at, at + parts[k].ms, i,
                           parts[k].colour + 1, parts[k].name);
            at += parts[k].ms;
        }
        longest = fmax(longest, at);
    }
    return longest;
}

static void print_words(bars *b) {
    for (size_t i = 0; i < b->count; i++) {
        char label[128], words[192];
        sr_profile_label(b->profiles[i], label, sizeof label);
        snprintf(words, sizeof words, "%s: %.3g ms", label, b->whole(b->profiles[i]));
        sr_text_append(&b->script, "set label ");
        sr_script_quote(&b->script, words);
        sr_text_append(&b->script, " at 0, %.2f left offset 0.3,0 textcolor rgb '#222222'\n",
                       (double)i - 0.42);
    }
}

static void print_plot(bars *b, const char *name, double longest) {
    sr_text_append(&b->script,
                   "set xrange [0:%.6g]\nset yrange [%.2f:-0.75]\nunset ytics\nset xlabel ",
                   longest * 1.02, (double)b->count - 0.55);
    sr_script_quote(&b->script, b->axis);
    sr_text_append(&b->script, " offset 0,0.4\n");
    print_words(b);
    sr_text_append(&b->script,
                   "plot '%s.dat' using (($1 + $2) / 2):3:1:2:($3 - 0.17):($3 + 0.3):4 with "
                   "boxxyerror fillstyle solid border rgb '#ffffff' linewidth 0.5 fillcolor rgb "
                   "variable\n",
                   name);
}

static sr_layout make_layout(const bars *b, size_t entries, const sr_legend_entry *legend) {
    sr_layout layout = sr_layout_make(1, entries, legend);
    layout.panel_height = 100 + b->count * BAR_PIXELS;
    layout.height = layout.title_height + layout.panel_height + layout.legend_height;
    return layout;
}

static sr_status write_bars(bars *b, sr_figures *figures) {
    sr_legend_entry legend[PARTS_MAX];
    const size_t entries = b->legend(b->profiles[0], legend);
    const sr_layout layout = make_layout(b, entries, legend);
    sr_section section = {.slug = "time"};
    sr_figure *figure = sr_figures_add(figures, SR_FIGURE_BARS, &section, 0, b->name);
    if (!figure)
        return SR_ERROR_MEMORY;
    const double longest = print_data(b);
    sr_script_begin(&b->script, figure, layout.width, layout.height, 2);
    sr_layout_begin(&b->script, b->title);
    sr_layout_panel(&b->script, &layout, 0, "");
    print_plot(b, figure->name, longest);
    sr_layout_end(&b->script, &layout, entries, legend, SR_LEGEND_BOX);
    sr_script_end(&b->script);
    figure->width = layout.width;
    const sr_status status = sr_figure_write(figures, figure, ".dat", &b->data);
    return status ? status : sr_figure_write(figures, figure, ".gp", &b->script);
}

static sr_status make_bars(bars *b, const sr_profile *profiles, size_t count, bool training,
                           sr_figures *figures) {
    sr_status status = SR_OK;
    for (size_t i = 0; i < count && b->count < BARS_MAX; i++)
        if (!profiles[i].skipped[0] && (!training || profiles[i].of.training))
            b->profiles[b->count++] = &profiles[i];
    if (b->count > 0)
        status = write_bars(b, figures);
    sr_text_clear(&b->data);
    sr_text_clear(&b->script);
    return status;
}

sr_status sr_profile_bars(const sr_profile *profiles, size_t count, sr_figures *figures) {
    bars step = {.name = "step",
                 .title = "Time of a step of the batch: layers forward (full colour) and "
                          "backward-data (light)",
                 .axis = "ms a step (time of all threads / threads)",
                 .parts = step_parts,
                 .whole = step_whole,
                 .legend = step_legend};
    bars iteration = {.name = "iteration",
                      .title = "Time of an iteration of training",
                      .axis = "ms an iteration (time of all threads / threads)",
                      .parts = iteration_parts,
                      .whole = iteration_whole,
                      .legend = iteration_legend};
    const sr_status status = make_bars(&step, profiles, count, false, figures);
    return status ? status : make_bars(&iteration, profiles, count, true, figures);
}
