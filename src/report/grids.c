// Grids of image samples: one small PNG a cell, the training data in the same form, and an overview
// that assembles them, rows by noise and columns by K.
#include "report/figure_layout.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SIDE 6             // images in a row of a grid, and rows
#define IMAGE_PIXELS 56    // images are magnified to about so many pixels
#define IMAGE_LARGEST 1024 // pixels of an image's side
#define THUMB 232          // CSS pixels of a grid in the overview
#define GAP 10

// The first SIDE x SIDE of n images x (n, channels, height, width) in [-1, 1]; clears what is not
// finite.
static bool save_images(size_t n, size_t channels, size_t height, size_t width, float *x,
                        const char *to) {
    n = n < SIDE * SIDE ? n : SIDE * SIDE;
    for (size_t i = 0; i < n * channels * height * width; i++)
        x[i] = isfinite(x[i]) ? x[i] : -1;
    size_t zoom = width < IMAGE_PIXELS ? (IMAGE_PIXELS + width / 2) / width : 1;
    return sr_png_save_grid(to, n, channels, height, width, x, -1, 1, SIDE, zoom) == SR_OK;
}

// From a .npy file, rank 3 (n, h, w) or 4 (n, c, h, w).
static bool save_grid(const sr_report_input *input, const char *from, const char *to) {
    sr_array array = {0};
    float *x = NULL;
    bool saved = false;
    if (!sr_file_exists(from))
        return false;
    if (sr_npy_load(from, &array)) {
        sr_monitor_log(input->monitor, SR_LEVEL_WARNING, "left out of the report: %s",
                       sr_error_message());
        return false;
    }
    const size_t *shape = array.shape;
    size_t channels = array.rank == 4 ? shape[1] : 1;
    size_t height = array.rank >= 3 ? shape[array.rank - 2] : 0;
    size_t width = array.rank >= 3 ? shape[array.rank - 1] : 0;
    bool fits = (array.rank == 3 || array.rank == 4) && shape[0] > 0 &&
                (channels == 1 || channels == 3) && height > 0 && width > 0 &&
                height <= IMAGE_LARGEST && width <= IMAGE_LARGEST;
    if (fits && sr_array_to_f32(&array, &x) == SR_OK)
        saved = save_images(shape[0], channels, height, width, x, to);
    sr_free(x);
    sr_array_clear(&array);
    return saved;
}

// Without an array of samples the cell's own picture is taken as it is.
static bool copy_picture(const char *from, const char *to) {
    void *bytes = NULL;
    size_t count;
    bool copied = sr_file_exists(from) && sr_file_read(from, 4u << 20, &bytes, &count) == SR_OK &&
                  sr_file_write(to, bytes, count) == SR_OK;
    sr_free(bytes);
    return copied;
}

static bool make_grid(const sr_report_input *input, const sr_record *record, const char *to) {
    char from[4608];
    sr_input_cell_path(input, record, "samples.npy", from, sizeof from);
    if (save_grid(input, from, to))
        return true;
    sr_input_cell_path(input, record, "samples.png", from, sizeof from);
    return copy_picture(from, to);
}

// The first training images, from the cell's folder or, where they can be found, from the data set.
static bool make_data_grid(const sr_report_input *input, const sr_section *section,
                           const char *to) {
    for (size_t i = 0; i < section->count; i++) {
        char from[4608];
        sr_input_cell_path(input, section->records[i], "data.npy", from, sizeof from);
        if (save_grid(input, from, to))
            return true;
    }
    sr_dataset data = {0};
    if (sr_dataset_load(section->dataset, NULL, SR_TRAIN, SIDE * SIDE, 0, &data))
        return false; // a report can be made where the data is not
    bool image = (data.channels == 1 || data.channels == 3) && data.height > 1 &&
                 data.height <= IMAGE_LARGEST && data.width <= IMAGE_LARGEST;
    bool made =
        image && save_images(data.count, data.channels, data.height, data.width, data.x, to);
    sr_dataset_clear(&data);
    return made;
}

// The record of an entry whose grid is shown: the finished one with the lowest seed, else a
// diverged one.
static const sr_record *shown_record(const sr_section *section, size_t row, size_t column) {
    const sr_record *shown = NULL;
    for (size_t i = 0; i < section->count; i++) {
        const sr_record *record = section->records[i];
        if (section->row[i] != row || section->column[i] != column)
            continue;
        bool better =
            !shown || (record->state == SR_CELL_DONE && shown->state != SR_CELL_DONE) ||
            (record->state == shown->state && record->cell.train.seed < shown->cell.train.seed);
        shown = better ? record : shown;
    }
    return shown;
}

static sr_status cell_grid(const sr_report_input *input, const sr_sections *sections, size_t index,
                           size_t row, size_t column, sr_figures *figures) {
    const sr_section *section = &sections->list[index];
    const sr_record *record = shown_record(section, row, column);
    if (!record)
        return SR_OK;
    char end[64], path[4352];
    snprintf(end, sizeof end, "samples_row%zu_K%zu", row + 1, section->steps[column]);
    sr_figure *figure = sr_figures_add(figures, SR_FIGURE_SAMPLES, section, index, end);
    if (!figure)
        return SR_ERROR_MEMORY;
    figure->row = row;
    figure->column = column;
    figure->width = 300;
    if (!sr_figure_path(figures, figure, ".png", path, sizeof path) ||
        !make_grid(input, record, path)) {
        figures->count--; // nothing to show for this cell
        return SR_OK;
    }
    sr_text words = {0};
    sr_row_words(section, row, "σ", &words);
    snprintf(figure->alt, sizeof figure->alt, "Grid of samples: %.60s, K = %zu, %.140s, seed %llu.",
             section->title, section->steps[column], sr_text_string(&words),
             (unsigned long long)record->cell.train.seed);
    char score[32] = "";
    const char *leading = sr_section_leading(section);
    double value = sr_record_quantity(record, (sr_quantity){false, leading}, NULL);
    sr_number_short(value, score, sizeof score);
    snprintf(figure->caption, sizeof figure->caption, "seed %llu%s%s%s%s%s",
             (unsigned long long)record->cell.train.seed, isfinite(value) ? ", " : "",
             isfinite(value) ? leading : "", isfinite(value) ? " " : "",
             isfinite(value) ? score : "", record->state == SR_CELL_DIVERGED ? ", diverged" : "");
    sr_text_clear(&words);
    return SR_OK;
}

static sr_status data_grid(const sr_report_input *input, const sr_sections *sections, size_t index,
                           sr_figures *figures) {
    const sr_section *section = &sections->list[index];
    char path[4352];
    sr_figure *figure = sr_figures_add(figures, SR_FIGURE_DATA, section, index, "data");
    if (!figure)
        return SR_ERROR_MEMORY;
    if (!sr_figure_path(figures, figure, ".png", path, sizeof path) ||
        !make_data_grid(input, section, path)) {
        figures->count--;
        return SR_OK;
    }
    figure->width = 300;
    snprintf(figure->caption, sizeof figure->caption, "training data");
    snprintf(figure->alt, sizeof figure->alt, "Grid of training images of %.120s.", section->title);
    return SR_OK;
}

// ---- overview -----------------------------------------------------------------------------------

static const sr_figure *find_grid(const sr_figure *grids, size_t count, size_t row, size_t column) {
    for (size_t i = 0; i < count; i++) {
        if (grids[i].row == row && grids[i].column == column)
            return &grids[i];
    }
    return NULL;
}

// One entry of the matrix: its grid, drawn from the PNG, or a word that says why there is none.
static void print_entry(const sr_section *section, size_t row, size_t column, const sr_figure *grid,
                        bool first, sr_text *script) {
    if (grid) {
        sr_text_append(script, "plot '%s.png' binary filetype=png with rgbimage\n", grid->name);
    } else {
        const sr_record *record = shown_record(section, row, column);
        const char *word = !record                             ? "not run"
                           : record->state == SR_CELL_DIVERGED ? "diverged"
                                                               : "no samples";
        sr_text_append(
            script,
            "set label 999 '%s' at graph 0.5, graph 0.5 center textcolor rgb '#888888'\n"
            "set xrange [0:1]\nset yrange [0:1]\nplot NaN\nset autoscale\nset autoscale fix\n",
            word);
    }
    sr_text_append(script, first ? "unset label\n" : "unset label 999\n"); // words stand once
}

static sr_canvas print_overview(const sr_section *section, const sr_figure *figure,
                                const sr_figure *grids, size_t count, sr_text *script) {
    size_t left = sr_layout_row_width(section), top = 72, step = THUMB + GAP;
    sr_canvas canvas = {left + section->columns * step, top + section->rows * step};
    char text[400];
    sr_script_begin(script, figure, canvas.width, canvas.height, 1.5);
    sr_text_append(script,
                   "unset border\nunset tics\nunset grid\nset autoscale fix\nset multiplot\n");
    snprintf(text, sizeof text, "%s: samples", section->title);
    sr_text_append(script, "set label ");
    sr_script_quote(script, text);
    sr_text_append(script, " at screen 0.5, screen 1 offset 0,-1.1 center font large\n");
    for (size_t c = 0; c < section->columns; c++) {
        snprintf(text, sizeof text, "K = %zu", section->steps[c]);
        sr_layout_word(script, canvas, text, (double)(left + c * step) + THUMB / 2.0,
                       (double)top - 14, "center");
    }
    for (size_t r = 0; r < section->rows; r++)
        sr_layout_row_words(script, canvas, section, r, (double)left - 12,
                            (double)(top + r * step) + THUMB / 2.0);
    for (size_t r = 0; r < section->rows; r++) {
        for (size_t c = 0; c < section->columns; c++) {
            sr_layout_square(script, canvas, left + c * step, top + r * step, THUMB);
            print_entry(section, r, c, find_grid(grids, count, r, c), r == 0 && c == 0, script);
        }
    }
    sr_text_append(script, "unset multiplot\n");
    sr_script_end(script);
    return canvas;
}

static sr_status overview_figure(const sr_sections *sections, size_t index, size_t first,
                                 sr_figures *figures) {
    const sr_section *section = &sections->list[index];
    size_t count = figures->count - first;
    if (count < 2)
        return SR_OK; // one grid is its own overview
    sr_figure *figure = sr_figures_add(figures, SR_FIGURE_OVERVIEW, section, index, "overview");
    if (!figure)
        return SR_ERROR_MEMORY;
    sr_text script = {0};
    sr_canvas canvas = print_overview(section, figure, &figures->list[first], count, &script);
    snprintf(figure->caption, sizeof figure->caption, "Samples, rows by noise, columns by K.");
    snprintf(figure->alt, sizeof figure->alt, "Matrix of sample grids of %.120s.", section->title);
    figure->width = canvas.width;
    sr_status status = sr_figure_write(figures, figure, ".gp", &script);
    sr_text_clear(&script);
    return status;
}

sr_status sr_figures_grids(const sr_report_input *input, const sr_sections *sections,
                           sr_figures *figures) {
    sr_status status = SR_OK;
    for (size_t i = 0; i < sections->count && !status; i++) {
        const sr_section *section = &sections->list[i];
        if (section->toy)
            continue;
        status = data_grid(input, sections, i, figures);
        size_t first = figures->count;
        for (size_t r = 0; r < section->rows && !status; r++) {
            for (size_t c = 0; c < section->columns && !status; c++)
                status = cell_grid(input, sections, i, r, c, figures);
        }
        if (!status)
            status = overview_figure(sections, i, first, figures);
    }
    return status;
}
