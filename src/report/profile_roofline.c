// The roofline of a profile (Williams, Waterman and Patterson 2009): a point for each layer and
// direction, arithmetic intensity against speed, under the measured bandwidth of the L2 and the
// measured peaks.
#include "report/figure_layout.h"
#include "report/profile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Styles of the directions: a full circle, and an open square and triangle, which do not hide it.
static const size_t markers[SR_DIRECTION_COUNT] = {0, 6, 7};

#define POINTS_MAX (SR_MAX_LAYERS * SR_DIRECTION_COUNT)
#define REACH 7.0     // CSS pixels from a point's middle that its marker takes
#define NUMBER_W 15.0 // of a label, one or two digits
#define NUMBER_H 13.0
#define WORDS_W 168.0 // of a peak's line
#define WORDS_H 15.0

typedef struct point {
    size_t layer;
    sr_direction direction;
    double x, y; // CSS pixels from the lower left corner of the drawing area
    bool numbered;
} point;

typedef struct box {
    double left, right, low, high; // pixels
} box;

typedef struct roofline {
    const sr_profile *profile;
    double x_low, x_high, y_low, y_high; // axes: FLOP/byte, GFLOP/s
    double width, height;                // of the drawing area, CSS pixels
    size_t count;
    point points[POINTS_MAX];
    size_t taken; // boxes in which no label may stand
    box boxes[2 * POINTS_MAX + 4];
    sr_text data, script;
} roofline;

// ---- geometry -----------------------------------------------------------------------------------

static double to_x(const roofline *r, double intensity) {
    return r->width * log(intensity / r->x_low) / log(r->x_high / r->x_low);
}

static double to_y(const roofline *r, double gflops) {
    return r->height * log(gflops / r->y_low) / log(r->y_high / r->y_low);
}

static double from_x(const roofline *r, double x) {
    return r->x_low * pow(r->x_high / r->x_low, x / r->width);
}

static double from_y(const roofline *r, double y) {
    return r->y_low * pow(r->y_high / r->y_low, y / r->height);
}

static void take(roofline *r, box b) {
    r->boxes[r->taken++] = b;
}

static bool is_free(const roofline *r, const box *b) {
    if (b->left < 0 || b->right > r->width || b->low < 0 || b->high > r->height)
        return false;
    for (size_t i = 0; i < r->taken; i++) {
        const box *t = &r->boxes[i];
        if (b->left < t->right && t->left < b->right && b->low < t->high && t->low < b->high)
            return false;
    }
    return true;
}

// Whether the slanted line of the bandwidth passes through a box.
static bool under_bandwidth(const roofline *r, const box *b) {
    const double left = to_y(r, r->profile->l2_gbs * from_x(r, b->left));
    const double right = to_y(r, r->profile->l2_gbs * from_x(r, b->right));
    return right < b->low - 2 || left > b->high + 2;
}

// ---- points and axes ----------------------------------------------------------------------------

static void choose_axes(roofline *r) {
    const sr_profile *p = r->profile;
    const double ridge = p->peak_gflops / p->l2_gbs;
    double x_low = ridge, x_high = ridge, y_low = p->fma_gflops;
    for (size_t l = 0; l < p->of.net.layer_count; l++) {
        for (int d = 0; d < SR_DIRECTION_COUNT; d++) {
            const sr_profile_pass *pass = &p->layers[l].pass[d];
            if (!(pass->gflops > 0))
                continue;
            x_low = fmin(x_low, pass->flop / pass->bytes);
            x_high = fmax(x_high, pass->flop / pass->bytes);
            y_low = fmin(y_low, pass->gflops);
        }
    }
    r->x_low = x_low / 2;
    r->x_high = x_high * 3;
    r->y_low = y_low / 2;
    r->y_high = fmax(p->peak_gflops, p->fma_gflops) * 2.5;
}

static void place_points(roofline *r) {
    const sr_profile *p = r->profile;
    for (size_t l = 0; l < p->of.net.layer_count; l++) {
        for (int d = 0; d < SR_DIRECTION_COUNT; d++) {
            const sr_profile_pass *pass = &p->layers[l].pass[d];
            if (!(pass->gflops > 0))
                continue;
            const double x = to_x(r, pass->flop / pass->bytes), y = to_y(r, pass->gflops);
            r->points[r->count++] = (point){l, (sr_direction)d, x, y, false};
            take(r, (box){x - REACH, x + REACH, y - REACH, y + REACH});
        }
    }
}

// No number stands on a peak's line.
static void take_peaks(roofline *r) {
    const double peaks[] = {to_y(r, r->profile->peak_gflops), to_y(r, r->profile->fma_gflops)};
    for (size_t i = 0; i < 2; i++)
        take(r, (box){0, r->width, peaks[i] - 1, peaks[i] + 1});
}

// ---- drawing ------------------------------------------------------------------------------------

// One number serves points of a layer that lie together.
static bool has_number(const roofline *r, const point *p) {
    for (size_t i = 0; i < r->count; i++) {
        const point *other = &r->points[i];
        if (other->layer == p->layer && other->numbered &&
            hypot(other->x - p->x, other->y - p->y) < 3 * REACH)
            return true;
    }
    return false;
}

// The layer's number at the first free place around its point; none where all are taken, since the
// colour says it too.
static void print_number(roofline *r, point *p) {
    static const double places[][2] = {{1, 0},  {-1, 0}, {0, 1},   {0, -1}, {1, 1},
                                       {-1, 1}, {1, -1}, {-1, -1}, {2, 0},  {-2, 0}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const double x = p->x + places[i][0] * (REACH + NUMBER_W / 2);
        const double y = p->y + places[i][1] * (REACH + NUMBER_H / 2);
        const box b = {x - NUMBER_W / 2, x + NUMBER_W / 2, y - NUMBER_H / 2, y + NUMBER_H / 2};
        if (!is_free(r, &b) || !under_bandwidth(r, &b))
            continue;
        take(r, b);
        p->numbered = true;
        sr_text_append(&r->script,
                       "set label '%zu' at %.6g, %.6g center font small textcolor rgb '%s'\n",
                       p->layer + 1, from_x(r, x), from_y(r, y), sr_script_colour(p->layer));
        return;
    }
}

// Where the words of a peak's line stand: the rightmost free place above the line, else below it.
static box find_words_place(const roofline *r, double line) {
    for (int below = 0; below < 2; below++) {
        const double low = below ? line - WORDS_H - 2 : line + 2;
        for (double right = r->width - 4; right > WORDS_W; right -= 10) {
            const box b = {right - WORDS_W, right, low, low + WORDS_H};
            if (is_free(r, &b) && under_bandwidth(r, &b))
                return b;
        }
    }
    return (box){r->width - WORDS_W - 4, r->width - 4, line + 2, line + 2 + WORDS_H};
}

static void print_peak(roofline *r, double gflops, const char *words, bool dashed) {
    const box place = find_words_place(r, to_y(r, gflops));
    take(r, place);
    sr_text_append(&r->script,
                   "set arrow from %.6g, %.6g to %.6g, %.6g nohead linecolor rgb '#333333' "
                   "linewidth 1.4 dashtype %s\n",
                   gflops / r->profile->l2_gbs, gflops, r->x_high, gflops, dashed ? "'-'" : "1");
    sr_text_append(&r->script,
                   "set label '%s: %.*f GFLOP/s' at %.6g, %.6g right font small textcolor rgb "
                   "'#333333'\n",
                   words, gflops < 100 ? 1 : 0, gflops, from_x(r, place.right),
                   from_y(r, (place.low + place.high) / 2));
}

// The slanted line, with its words along it where it starts.
static void print_bandwidth(roofline *r) {
    const sr_profile *p = r->profile;
    const double ridge = p->peak_gflops / p->l2_gbs;
    const double start = fmax(r->x_low, r->y_low / p->l2_gbs);
    const double slope = (to_y(r, p->peak_gflops) - to_y(r, start * p->l2_gbs)) /
                         fmax(to_x(r, ridge) - to_x(r, start), 1);
    const double at = from_x(r, to_x(r, start) + 0.08 * (to_x(r, ridge) - to_x(r, start)));
    sr_text_append(&r->script,
                   "set arrow from %.6g, %.6g to %.6g, %.6g nohead linecolor rgb '#333333' "
                   "linewidth 1.4\n"
                   "set label 'L2: %.3g GB/s' at %.6g, %.6g left offset 0,1 rotate by %.1f font "
                   "small textcolor rgb '#333333'\n",
                   start, start * p->l2_gbs, ridge, p->peak_gflops, p->l2_gbs, at, at * p->l2_gbs,
                   atan(slope) * 180 / M_PI);
}

static void print_roof(roofline *r) {
    const sr_profile *p = r->profile;
    char words[64];
    const bool fp32 = p->peak_gflops == p->fma_gflops;
    snprintf(words, sizeof words, "peak, %s", fp32 ? "fp32" : sr_precision_name(p->of.precision));
    print_bandwidth(r);
    print_peak(r, p->peak_gflops, words, false);
    if (!fp32)
        print_peak(r, p->fma_gflops, "peak, fp32", true);
}

static void print_axes(roofline *r) {
    sr_text_append(&r->script,
                   "set logscale xy\nset xrange [%.6g:%.6g]\nset yrange [%.6g:%.6g]\n"
                   "set xlabel 'arithmetic intensity, FLOP/byte (bytes: a lower bound)' offset "
                   "0,0.4\nset ylabel 'speed, GFLOP/s' offset 0.5,0\n",
                   r->x_low, r->x_high, r->y_low, r->y_high);
}

static void print_points(roofline *r) {
    sr_text_append(&r->data, "# layer, direction, FLOP/byte, GFLOP/s, share of the peak; one point "
                             "a block\n");
    for (size_t i = 0; i < r->count; i++) {
        point *at = &r->points[i];
        const sr_profile_layer *layer = &r->profile->layers[at->layer];
        const sr_profile_pass *pass = &layer->pass[at->direction];
        sr_text_append(&r->data, "%s\"%s\" %s %.6g %.6g %.6g\n", i ? "\n\n" : "", layer->name,
                       sr_direction_name(at->direction), pass->flop / pass->bytes, pass->gflops,
                       pass->share);
        if (!has_number(r, at))
            print_number(r, at);
    }
}

static void print_plot(roofline *r, const char *name) {
    for (size_t i = 0; i < r->count; i++) {
        const point *at = &r->points[i];
        const sr_line_style style = {sr_script_colour(at->layer), markers[at->direction]};
        sr_text_append(&r->script, "%s'%s.dat' index %zu using 3:4 with points linecolor rgb '%s'",
                       i ? ", \\\n    " : "plot ", name, i, style.colour);
        sr_text_append(&r->script, " linewidth 1.6");
        sr_layout_marker(&r->script, style, 1.4);
    }
    sr_text_append(&r->script, "\n");
}

static size_t make_legend(const sr_profile *p, sr_legend_entry *legend) {
    size_t count = 0;
    for (int d = 0; d < SR_DIRECTION_COUNT; d++) {
        if (!sr_profile_has(p, (sr_direction)d))
            continue;
        legend[count].style = (sr_line_style){"#555555", markers[d]};
        snprintf(legend[count++].label, sizeof legend->label, "%s",
                 d == SR_FORWARD         ? "forward"
                 : d == SR_BACKWARD_DATA ? "backward-data"
                                         : "backward-weights");
    }
    for (size_t l = 0; l < p->of.net.layer_count; l++) {
        legend[count].style = (sr_line_style){sr_script_colour(l), 0};
        snprintf(legend[count++].label, sizeof legend->label, "%zu  %s", l + 1, p->layers[l].name);
    }
    return count;
}

static sr_status write_roofline(roofline *r, sr_figures *figures) {
    sr_legend_entry legend[SR_MAX_LAYERS + SR_DIRECTION_COUNT];
    char label[128], title[160], slug[96];
    const size_t entries = make_legend(r->profile, legend);
    sr_layout layout = sr_layout_make(1, entries, legend);
    sr_section section = {.slug = "roofline"};
    sr_profile_slug(r->profile, slug, sizeof slug);
    sr_profile_label(r->profile, label, sizeof label);
    snprintf(title, sizeof title, "Roofline: %s", label);
    sr_figure *figure = sr_figures_add(figures, SR_FIGURE_ROOFLINE, &section, 0, slug);
    if (!figure)
        return SR_ERROR_MEMORY;
    sr_layout_area(&layout, &r->width, &r->height);
    choose_axes(r);
    place_points(r);
    take_peaks(r);
    sr_script_begin(&r->script, figure, layout.width, layout.height, 2);
    sr_layout_begin(&r->script, title);
    sr_layout_panel(&r->script, &layout, 0, "");
    print_axes(r);
    print_roof(r);
    print_points(r);
    print_plot(r, figure->name);
    sr_layout_end(&r->script, &layout, entries, legend, SR_LEGEND_POINT);
    sr_script_end(&r->script);
    figure->width = layout.width;
    const sr_status status = sr_figure_write(figures, figure, ".dat", &r->data);
    return status ? status : sr_figure_write(figures, figure, ".gp", &r->script);
}

sr_status sr_profile_roofline(const sr_profile *profile, sr_figures *figures) {
    if (!(profile->peak_gflops > 0) || !(profile->l2_gbs > 0))
        return SR_OK; // no roof
    roofline *r = sr_alloc(1, sizeof *r);
    if (!r)
        return SR_ERROR_MEMORY;
    r->profile = profile;
    const sr_status status = write_roofline(r, figures);
    sr_text_clear(&r->data);
    sr_text_clear(&r->script);
    sr_free(r);
    return status;
}
