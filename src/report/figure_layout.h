// Layout of a figure with one or more panels and a legend below them, shared by figures.c and
// curves.c. All lengths are CSS pixels; the PNG has twice as many.
#ifndef SHORTRUN_REPORT_FIGURE_LAYOUT_H
#define SHORTRUN_REPORT_FIGURE_LAYOUT_H

#include "report/report_internal.h"

typedef struct sr_layout {
    size_t panels, columns, rows;     // grid of panels
    size_t panel_width, panel_height; // with its labels and tics
    size_t legend_height, title_height;
    size_t width, height; // of the figure
} sr_layout;

// How a line looks: colour, dash and marker.
typedef struct sr_line_style {
    const char *colour; // "#rrggbb"
    size_t variant;     // dash and marker: 0 is solid with filled circles
} sr_line_style;

typedef struct sr_legend_entry {
    char label[256];
    sr_line_style style;
} sr_legend_entry;

sr_layout sr_layout_make(size_t panels, size_t entries, const sr_legend_entry *legend);
// Title over the whole figure; multiplot begins.
void sr_layout_begin(sr_text *script, const char *title);
// Margins and title of panel i; scales, labels and decorations of the one before are undone.
void sr_layout_panel(sr_text *script, const sr_layout *layout, size_t i, const char *title);
// How an entry of the legend looks.
typedef enum sr_legend_mark {
    SR_LEGEND_LINE,
    SR_LEGEND_LINE_POINT,
    SR_LEGEND_POINT,
    SR_LEGEND_BOX
} sr_legend_mark;

// The legend, in a strip below the panels; multiplot ends.
void sr_layout_end(sr_text *script, const sr_layout *layout, size_t entries,
                   const sr_legend_entry *legend, sr_legend_mark mark);
// "linecolor rgb '#0072B2' dashtype 1 linewidth 1.8 pointtype 7 pointsize 0.9"
void sr_layout_style(sr_text *script, sr_line_style style, double width, bool points);
// " pointtype 7 pointsize 1 * marker", size times the usual one.
void sr_layout_marker(sr_text *script, sr_line_style style, double size);
// The drawing area of panel 0 in a figure of one panel.
void sr_layout_area(const sr_layout *layout, double *width, double *height);
// For pictures in a matrix, rows by noise and columns by K. Positions in pixels from the upper left
// corner of a figure of width x height.
typedef struct sr_canvas {
    size_t width, height;
} sr_canvas;
// Margins of a square.
void sr_layout_square(sr_text *script, sr_canvas canvas, size_t left, size_t top, size_t size);
// A word; align: "left", "center" or "right".
void sr_layout_word(sr_text *script, sr_canvas canvas, const char *word, double x, double y,
                    const char *align);
// A row's words, one part a line, ending at x and starting at y; the width that the widest line
// needs.
void sr_layout_row_words(sr_text *script, sr_canvas canvas, const sr_section *section, size_t row,
                         double x, double y);
size_t sr_layout_row_width(const sr_section *section);

// Words and style of a row: colour by sigma, the same in every figure; dash and marker by what else
// differs.
void sr_layout_row(const sr_sections *sections, const sr_section *section, size_t row,
                   sr_legend_entry *entry);

#endif
