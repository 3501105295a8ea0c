// Layout of figures: panels in a grid with the same margins, one legend in a strip of its own, so
// that it never covers data. Only gnuplot commands are written here; nothing is drawn.
#include "report/figure_layout.h"

#include <string.h>

// Room around the drawing area of a panel.
#define LEFT 92
#define RIGHT 18
#define TOP 30
#define BOTTOM 54
#define LEGEND_LINE 22       // height of a line of the legend
#define LEGEND_CHARACTER 7.2 // mean width of a character
#define LEGEND_SAMPLE 62     // the line's sample and the gap behind an entry

static size_t legend_columns(size_t width, size_t entries, const sr_legend_entry *legend) {
    double widest = 0;
    for (size_t i = 0; i < entries; i++) {
        double w = LEGEND_SAMPLE + LEGEND_CHARACTER * (double)strlen(legend[i].label);
        widest = w > widest ? w : widest;
    }
    size_t columns = widest > 0 ? (size_t)((double)width / widest) : 1;
    columns = columns < 1 ? 1 : columns;
    return columns > entries && entries > 0 ? entries : columns;
}

sr_layout sr_layout_make(size_t panels, size_t entries, const sr_legend_entry *legend) {
    sr_layout layout = {.panels = panels, .title_height = 38};
    layout.columns = panels < 3 ? panels : panels == 4 ? 2 : 3;
    layout.rows = (panels + layout.columns - 1) / layout.columns;
    layout.panel_width = layout.columns == 1 ? 760 : layout.columns == 2 ? 500 : 350;
    layout.panel_height = layout.columns == 1 ? 400 : layout.columns == 2 ? 360 : 300;
    layout.width = layout.columns * layout.panel_width;
    size_t columns = legend_columns(layout.width - 40, entries, legend);
    layout.legend_height = entries ? (entries + columns - 1) / columns * LEGEND_LINE + 14 : 8;
    layout.height = layout.title_height + layout.rows * layout.panel_height + layout.legend_height;
    return layout;
}

void sr_layout_area(const sr_layout *layout, double *width, double *height) {
    *width = (double)layout->panel_width - LEFT - RIGHT;
    *height = (double)layout->panel_height - TOP - BOTTOM;
}

void sr_layout_begin(sr_text *script, const char *title) {
    sr_text_append(script, "set multiplot\nset label 1000 ");
    sr_script_quote(script, title);
    sr_text_append(script, " at screen 0.5, screen 1 offset 0,-1.1 center font large "
                           "textcolor rgb '#111111'\n");
}

void sr_layout_panel(sr_text *script, const sr_layout *layout, size_t i, const char *title) {
    double w = (double)layout->width, h = (double)layout->height;
    double left = (double)(i % layout->columns * layout->panel_width);
    double top = (double)(layout->title_height + i / layout->columns * layout->panel_height);
    sr_text_append(script,
                   "set lmargin at screen %.5f\nset rmargin at screen %.5f\n"
                   "set tmargin at screen %.5f\nset bmargin at screen %.5f\n",
                   (left + LEFT) / w, (left + (double)layout->panel_width - RIGHT) / w,
                   1 - (top + TOP) / h, 1 - (top + (double)layout->panel_height - BOTTOM) / h);
    sr_text_append(script, "unset logscale\nunset nonlinear y\nunset arrow\nset autoscale\nset "
                           "xtics auto\nset ytics auto\n"
                           "unset key\nunset mxtics\nunset mytics\nset format '%%g'\nset title ");
    if (i > 0)
        sr_text_append(script, "'' offset 0,-0.4\nunset label\nset title ");
    sr_script_quote(script, title);
    sr_text_append(script, " offset 0,-0.4 textcolor rgb '#333333'\n");
}

void sr_layout_marker(sr_text *script, sr_line_style style, double size) {
    static const int markers[] = {7, 5, 9, 13, 11, 6, 4, 8};
    sr_text_append(script, " pointtype %d pointsize %g * marker", markers[style.variant % 8], size);
}

void sr_layout_style(sr_text *script, sr_line_style style, double width, bool points) {
    static const char *const dashes[] = {"1", "'-'", "'.'", "'-.'", "'_'", "'_.'"};
    sr_text_append(script, "linecolor rgb '%s' dashtype %s linewidth %g", style.colour,
                   dashes[style.variant % 6], width);
    if (points)
        sr_layout_marker(script, style, 1);
}

static void print_mark(sr_text *script, sr_line_style style, sr_legend_mark mark) {
    static const char *const kinds[] = {"lines", "linespoints", "points", "boxes"};
    sr_text_append(script, "with %s ", kinds[mark]);
    if (mark == SR_LEGEND_BOX)
        sr_text_append(script, "fillstyle solid noborder fillcolor rgb '%s'", style.colour);
    else if (mark != SR_LEGEND_POINT)
        sr_layout_style(script, style, 1.8, mark != SR_LEGEND_LINE);
    else {
        sr_text_append(script, "linecolor rgb '%s' linewidth 1.6", style.colour);
        sr_layout_marker(script, style, 1.4);
    }
}

void sr_layout_end(sr_text *script, const sr_layout *layout, size_t entries,
                   const sr_legend_entry *legend, sr_legend_mark mark) {
    if (entries > 0) {
        size_t columns = legend_columns(layout->width - 40, entries, legend);
        double top = (double)layout->legend_height / (double)layout->height;
        sr_text_append(
            script,
            "# the legend: a plot without data in the strip below the panels\n"
            "unset title\nunset xlabel\nunset ylabel\nunset border\nunset tics\nunset grid\n"
            "unset logscale\nunset nonlinear y\nunset label\nunset arrow\n"
            "set lmargin at screen 0.01\nset rmargin at screen 0.99\n"
            "set tmargin at screen %.5f\nset bmargin at screen 0.0\n"
            "set xrange [0:1]\nset yrange [0:1]\n"
            "set key inside center center horizontal Left reverse maxcols %zu "
            "samplen 3 width 1 textcolor rgb '#222222'\nplot ",
            top, columns);
        for (size_t i = 0; i < entries; i++) {
            sr_text_append(script, "%sNaN ", i ? ", \\\n    " : "");
            print_mark(script, legend[i].style, mark);
            sr_text_append(script, " title ");
            sr_script_quote(script, legend[i].label);
        }
        sr_text_append(script, "\n");
    }
    sr_text_append(script, "unset multiplot\n");
}

// ---- matrices of pictures -----------------------------------------------------------------------

#define ROW_LINES 6 // parts of a row's words that are shown

void sr_layout_square(sr_text *script, sr_canvas canvas, size_t left, size_t top, size_t size) {
    double w = (double)canvas.width, h = (double)canvas.height;
    sr_text_append(script,
                   "set lmargin at screen %.5f\nset rmargin at screen %.5f\n"
                   "set tmargin at screen %.5f\nset bmargin at screen %.5f\n",
                   (double)left / w, (double)(left + size) / w, 1 - (double)top / h,
                   1 - (double)(top + size) / h);
}

void sr_layout_word(sr_text *script, sr_canvas canvas, const char *word, double x, double y,
                    const char *align) {
    sr_text_append(script, "set label ");
    sr_script_quote(script, word);
    sr_text_append(script, " at screen %.5f, screen %.5f %s textcolor rgb '#222222'\n",
                   x / (double)canvas.width, 1 - y / (double)canvas.height, align);
}

// Splits ", " of a row's words in place; false at the end.
static bool next_line(char **rest, char **line) {
    *line = *rest;
    if (!*line)
        return false;
    char *comma = strstr(*line, ", ");
    if (comma)
        *comma = 0;
    *rest = comma ? comma + 2 : NULL;
    return true;
}

void sr_layout_row_words(sr_text *script, sr_canvas canvas, const sr_section *section, size_t row,
                         double x, double y) {
    sr_text words = {0};
    sr_row_words(section, row, "σ", &words);
    char *rest = words.data, *line;
    for (size_t i = 0; i < ROW_LINES && next_line(&rest, &line); i++)
        sr_layout_word(script, canvas, line, x, y + 18.0 * (double)i, "right");
    sr_text_clear(&words);
}

size_t sr_layout_row_width(const sr_section *section) {
    size_t widest = 0;
    for (size_t r = 0; r < section->rows; r++) {
        sr_text words = {0};
        sr_row_words(section, r, "σ", &words);
        char *rest = words.data, *line;
        while (next_line(&rest, &line))
            widest = strlen(line) > widest ? strlen(line) : widest;
        sr_text_clear(&words);
    }
    return (size_t)(LEGEND_CHARACTER * (double)widest) + 28;
}
