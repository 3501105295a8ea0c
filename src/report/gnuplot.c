// The list of figures, the frame of a gnuplot script (terminals, style, quoting), and the run of
// gnuplot on all scripts. What a figure shows is decided in figures.c and panels.c.
#include "report/report_internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SCRIPTS_A_RUN                                                                              \
    64 // scripts given to one gnuplot process: its start costs more than a small figure

// Okabe and Ito's palette without its yellow, which is too faint on white.
static const char *const colours[] = {"#0072B2", "#E69F00", "#009E73", "#CC3311",
                                      "#CC79A7", "#56B4E9", "#333333", "#999933"};
#define COLOURS (sizeof colours / sizeof *colours)
const size_t sr_script_colours = COLOURS;

// Viridis from dark to light, without the lightest end.
static const char *const ordered[] = {"#440154", "#443A83", "#31688E",
                                      "#21908C", "#2FB47C", "#5EC962"};
#define ORDERED (sizeof ordered / sizeof *ordered)

const char *sr_script_colour(size_t index) {
    return colours[index % COLOURS];
}

const char *sr_script_ordered_colour(size_t i, size_t n) {
    if (n <= 1)
        return ordered[1];
    return ordered[n > ORDERED ? i % ORDERED : i * (ORDERED - 1) / (n - 1)];
}

// ---- list of figures ----------------------------------------------------------------------------

void sr_figures_clear(sr_figures *figures) {
    sr_free(figures->list);
    *figures = (sr_figures){0};
}

sr_figure *sr_figures_add(sr_figures *figures, sr_figure_kind kind, const sr_section *section,
                          size_t section_index, const char *end) {
    if (figures->count == figures->capacity) {
        size_t capacity = figures->capacity ? 2 * figures->capacity : 32;
        sr_figure *bigger =
            sr_realloc(figures->list, figures->capacity, capacity, sizeof *figures->list);
        if (!bigger)
            return NULL;
        figures->list = bigger;
        figures->capacity = capacity;
    }
    sr_figure *figure = &figures->list[figures->count++];
    *figure = (sr_figure){.kind = kind, .section = section_index};
    snprintf(figure->name, sizeof figure->name, "%s_%s", section->slug, end);
    return figure;
}

bool sr_figure_path(const sr_figures *figures, const sr_figure *figure, const char *suffix,
                    char *out, size_t size) {
    int length = snprintf(out, size, "%s/%s%s", figures->folder, figure->name, suffix);
    return length > 0 && (size_t)length < size;
}

sr_status sr_figure_write(const sr_figures *figures, const sr_figure *figure, const char *suffix,
                          const sr_text *text) {
    char path[4352];
    sr_status status = sr_text_status(text);
    if (status)
        return status;
    if (!sr_figure_path(figures, figure, suffix, path, sizeof path))
        return sr_fail(SR_ERROR_ARGUMENT, "the path of figure %s is too long", figure->name);
    return sr_file_write(path, sr_text_string(text), text->length);
}

// ---- scripts ------------------------------------------------------------------------------------

void sr_script_quote(sr_text *script, const char *text) {
    sr_text_append(script, "'"); // within single quotes only the quote itself is special
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '\'')
            sr_text_append(script, "''");
        else if (c >= 32 && c != 127)
            sr_text_append_bytes(script, text, 1);
    }
    sr_text_append(script, "'");
}

void sr_script_begin(sr_text *script, const sr_figure *figure, size_t width, size_t height,
                     double scale) {
    sr_text_append(script,
                   "# Writes %s.png and %s.svg. To draw it again, in this folder: gnuplot %s.gp\n"
                   "do for [pass = 1:2] {\n"
                   "reset\n"
                   "set encoding utf8\n"
                   "if (pass == 1) {\n"
                   "    if (strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) {\n"
                   "        set terminal pngcairo noenhanced size %.0f,%.0f font 'sans,10' "
                   "fontscale %g linewidth %g pointscale %g background rgb '#ffffff'\n"
                   "    } else {\n"
                   "        set terminal png noenhanced size %zu,%zu\n"
                   "    }\n"
                   "    small = ',9'; large = ',12'; cross = ',13'; marker = 0.9 # points\n"
                   "    set output '%s.png'\n"
                   "} else {\n"
                   "    set terminal svg noenhanced size %zu,%zu dynamic font 'sans-serif,13' "
                   "background rgb '#ffffff'\n"
                   "    small = ',12'; large = ',16'; cross = ',17'; marker = 0.65 # pixels\n"
                   "    set output '%s.svg'\n"
                   "}\n",
                   figure->name, figure->name, figure->name, (double)width * scale,
                   (double)height * scale, scale, scale, scale, width, height, figure->name, width,
                   height, figure->name);
    sr_text_append(script, "set border 3 linecolor rgb '#555555'\n"
                           "set tics nomirror font small textcolor rgb '#333333'\n"
                           "set grid linecolor rgb '#e4e4e4' linetype 1 linewidth 0.6\n"
                           "set errorbars small\n"
                           "set key noautotitle\n");
}

void sr_script_end(sr_text *script) {
    sr_text_append(script, "unset output\n}\n");
}

// ---- drawing ------------------------------------------------------------------------------------

static bool has_script(const sr_figure *figure) {
    return figure->kind != SR_FIGURE_SAMPLES && figure->kind != SR_FIGURE_DATA;
}

// Pictures of an earlier run would not belong to the data that lies beside them now.
static void remove_pictures(const sr_figures *figures, const sr_figure *figure) {
    char path[4352];
    if (sr_figure_path(figures, figure, ".png", path, sizeof path))
        unlink(path);
    if (sr_figure_path(figures, figure, ".svg", path, sizeof path))
        unlink(path);
}

static void make_one_line(sr_text *text) {
    for (size_t i = 0; i < text->length; i++) {
        if (text->data[i] == '\n' || text->data[i] == '\r')
            text->data[i] = ' ';
    }
}

// gnuplot on `count` scripts, file names in this folder.
static sr_status draw_scripts(const sr_figures *figures, const char *const *scripts, size_t count,
                              const sr_monitor *monitor, bool *missing) {
    const char *args[SCRIPTS_A_RUN + 3] = {"gnuplot", "-d"}; // -d: not the user's own settings
    for (size_t i = 0; i < count; i++)
        args[i + 2] = scripts[i];
    sr_text errors = {0};
    int code = 0;
    sr_status status = sr_child_run(figures->folder, args, &errors, &code, missing);
    make_one_line(&errors);
    if (!status && !*missing && code != 0)
        status = sr_fail(SR_ERROR_LIBRARY, "gnuplot failed (status %d) in %s: %s", code,
                         figures->folder, sr_text_string(&errors));
    else if (!status && errors.length > 0)
        sr_monitor_log(monitor, SR_LEVEL_WARNING, "gnuplot: %s", sr_text_string(&errors));
    sr_text_clear(&errors);
    return status;
}

// The next scripts in one process. A script that fails takes those behind it along, so each is then
// given a process of its own; the last failure is returned.
static sr_status draw_some(const sr_figures *figures, size_t *next, const sr_monitor *monitor,
                           bool *missing) {
    char names[SCRIPTS_A_RUN][sizeof figures->list->name + 4];
    const char *scripts[SCRIPTS_A_RUN];
    size_t count = 0;
    for (; *next < figures->count && count < SCRIPTS_A_RUN; ++*next) {
        const sr_figure *figure = &figures->list[*next];
        if (!has_script(figure))
            continue;
        snprintf(names[count], sizeof names[count], "%s.gp", figure->name);
        scripts[count] = names[count];
        count++;
    }
    if (count == 0)
        return SR_OK;
    sr_status status = draw_scripts(figures, scripts, count, monitor, missing), last = SR_OK;
    if (!status || *missing || count == 1)
        return status;
    for (size_t i = 0; i < count; i++) {
        status = draw_scripts(figures, &scripts[i], 1, monitor, missing);
        last = status ? status : last;
    }
    return last;
}

sr_status sr_figures_draw(const sr_figures *figures, const sr_monitor *monitor, bool *missing) {
    sr_status last = SR_OK;
    *missing = false;
    for (size_t i = 0; i < figures->count; i++) {
        if (has_script(&figures->list[i]))
            remove_pictures(figures, &figures->list[i]);
    }
    for (size_t next = 0; next < figures->count && !*missing;) {
        sr_monitor_progress(monitor, "report", "figures", (double)next, (double)figures->count);
        sr_status status = draw_some(figures, &next, monitor, missing);
        last = status ? status : last;
    }
    return last;
}
