// What the files of this module share: records sorted into tables' rows and columns, a table of
// text cells with its printers, and the figures. No file here reads a database or trains anything.
#ifndef SHORTRUN_REPORT_INTERNAL_H
#define SHORTRUN_REPORT_INTERNAL_H

#include <shortrun/report.h>

// ---- settings of a cell, as text (settings.c) ---------------------------------------------------

// Everything that decides a cell's result besides K (the columns of the tables) and the seed (which
// is averaged over). Two cells belong into one row only where all of these agree.
typedef enum sr_setting {
    SR_SETTING_STEP_SIZE,
    SR_SETTING_SIGMA,
    SR_SETTING_TEMPERATURE, // follows from the two above
    SR_SETTING_DATA_NOISE,
    SR_SETTING_DATA_NOISE_MODE,
    SR_SETTING_NOISE_LAST,
    SR_SETTING_START,
    SR_SETTING_RESTART_FROM,
    SR_SETTING_RESTART_RATE,
    SR_SETTING_CLAMP,
    SR_SETTING_INTEGRATOR,
    SR_SETTING_TOLERANCE,
    SR_SETTING_MODEL,
    SR_SETTING_DATA_LIMIT,
    SR_SETTING_ITERATIONS,
    SR_SETTING_BATCH,
    SR_SETTING_OPTIMISER,
    SR_SETTING_RATE,
    SR_SETTING_BETA1,
    SR_SETTING_BETA2,
    SR_SETTING_EPSILON,
    SR_SETTING_DECAY_FROM,
    SR_SETTING_DECAY_TO,
    SR_SETTING_AVERAGE,
    SR_SETTING_ENERGY_L2,
    SR_SETTING_CLIP_NORM,
    SR_SETTING_SPECTRAL,
    SR_SETTING_CURVATURE_CAP,
    SR_SETTING_CURVATURE_EVERY,
    SR_SETTING_EXACT_GRID,
    SR_SETTING_EXACT_WINDOW,
    SR_SETTING_GAP_BOUND,
    SR_SETTING_ENGINE,
    SR_SETTING_PRECISION,
    SR_SETTING_TILE,
    SR_SETTING_SAMPLES,
    SR_SETTING_SAMPLE_STEPS,
    SR_SETTING_COUNT
} sr_setting;

#define SR_SETTING_TEXT 160 // bytes that hold any setting's text

const char *sr_setting_name(sr_setting setting);    // in CSV files: "step_size", "data_noise", ...
const char *sr_setting_heading(sr_setting setting); // in tables: "s", "data noise", ...
// The value, with exactly enough digits to tell any two apart: for CSV files and comparisons.
void sr_setting_text(const sr_cell *cell, sr_setting setting, char out[SR_SETTING_TEXT]);
// The same for people: a 0 that means "all" or "none" says so.
void sr_setting_shown(const sr_cell *cell, sr_setting setting, char out[SR_SETTING_TEXT]);
// The shortest decimal text that reads back as the same double.
void sr_number_text(double value, char *out, size_t size);
// Four significant digits and no exponent where that reads well: for headings and sentences.
void sr_number_short(double value, char *out, size_t size);

// ---- metrics, in words (metrics.c) --------------------------------------------------------------

typedef struct sr_metric_words {
    const char *name;       // as in the records
    const char *title;      // "Frechet distance"
    const char *definition; // one or two sentences, plain text
    int direction;          // -1 lower is better, +1 higher is better, 0 neither
} sr_metric_words;

// Words for a metric; an unknown one is described by its own name, direction 0. Never NULL; the
// result is valid until the next call of the same thread.
const sr_metric_words *sr_metric_describe(const char *name);
// Metrics in the order in which reports show them; NULL-terminated.
extern const sr_metric_words sr_metric_list[];
extern const sr_metric_words sr_density_metric_list[]; // those that the tables on densities hold
const char *sr_metric_direction_words(int direction);  // "lower is better"; "" for 0

// ---- comparisons (comparison.c) -----------------------------------------------------------------

// Decimals that show two digits of a standard error.
int sr_error_decimals(double error);
// "0.003", "< 0.0001"; "-" for NaN.
void sr_p_text(double p, char *out, size_t size);
// "2.10 [0.80, 3.40]"; the value alone where there is no interval.
void sr_estimate_text(const sr_estimate *estimate, int decimals, char *out, size_t size);

// ---- records in rows and columns (grouping.c) ---------------------------------------------------

// The records of one group and data set: what makes one table.
typedef struct sr_section {
    const char *group, *dataset; // belong to the records
    char title[352];             // data set, and the group where several use the same one
    char slug[96];               // the same as a file name
    bool toy;                    // a 2-D density
    sr_toy toy_kind;
    size_t count; // records
    const sr_record **records;
    size_t *row, *column; // of each record
    size_t rows;
    const sr_record **row_cells; // a record of each row, noise-free first, then by sigma
    size_t columns, *steps;      // values of K, ascending
    bool varies[SR_SETTING_COUNT];
} sr_section;

typedef struct sr_sections {
    size_t count;
    sr_section *list;
    size_t sigmas; // distinct noise scales of all sections, ascending: they choose the colours
    double *sigma;
} sr_sections;

sr_status sr_sections_make(const sr_record *records, size_t count, sr_sections *out);
void sr_sections_clear(sr_sections *sections);
size_t sr_sections_sigma_index(const sr_sections *sections, double sigma);

// Words for a row: "noise-free", "sigma = 0.03, data noise 0.1 matched": sigma and whatever else
// varies. sigma_word: "sigma" or "σ".
void sr_row_words(const sr_section *section, size_t row, const char *sigma_word, sr_text *out);
// Only what varies besides sigma; "" where nothing does. For a line across values of sigma, what
// follows from sigma is left out: the value of matched data noise, and where noise is added when
// there is none.
typedef enum sr_words { SR_WORDS_ALL, SR_WORDS_ACROSS_NOISE, SR_WORDS_WITHOUT_NOISE_LAST } sr_words;
void sr_setting_words(const sr_section *section, const sr_cell *cell, sr_words which, sr_text *out);

// The first record of an entry, by seed; NULL where there is none.
const sr_record *sr_section_record(const sr_section *section, size_t row, size_t column);
// The finished record of an entry with the lowest seed, whose pictures stand for it; or NULL.
const sr_record *sr_section_shown(const sr_section *section, size_t row, size_t column);

// A named number of a record.
typedef struct sr_quantity {
    bool timing; // among the timings, else the metrics
    const char *name;
} sr_quantity;

// NaN when absent; n (may be NULL) receives the number of samples behind it.
double sr_record_quantity(const sr_record *record, sr_quantity quantity, size_t *n);
// The whole entry; NULL when absent.
const sr_value *sr_record_value(const sr_record *record, sr_quantity quantity);

// An entry of a table: one quantity over the seeds.
typedef struct sr_stat {
    size_t cells;    // records of the entry
    size_t diverged; // of them
    size_t n; // finite values of cells that did not diverge: what mean and deviation are over
    double mean, deviation;           // sample deviation (n - 1); 0 for n = 1, NaN for n = 0
    size_t samples_low, samples_high; // range of n samples behind the values
    // 95%: of one value its own interval, of several Student's for their mean; NaN: none.
    double error, low, high;
} sr_stat;

sr_stat sr_section_stat(const sr_section *section, size_t row, size_t column, sr_quantity quantity);
bool sr_section_has(const sr_section *section, sr_quantity quantity); // any finite value
// The metric that the first table shows: frechet, kl or what there is.
const char *sr_section_leading(const sr_section *section);
// The best entry by mean: entries without a diverged seed go before those with one. False where the
// quantity has no direction or no value.
bool sr_section_best(const sr_section *section, sr_quantity quantity, int direction, size_t *row,
                     size_t *column);

// ---- tables of text (table.c) -------------------------------------------------------------------

typedef struct sr_table_cell {
    char *text; // owned
    bool best;
} sr_table_cell;

typedef struct sr_table_row {
    char *label;          // owned; not NULL: the row is one label over all columns
    sr_table_cell *cells; // (columns), owned; NULL for a label row
} sr_table_row;

// A table as every printer sees it: a title, lines of caption, a head, rows, notes below.
typedef struct sr_table {
    size_t columns;
    size_t labels; // the first columns are labels: repeated when a wide table is broken
    sr_text title, caption, notes; // caption and notes: lines
    char **head;                   // (columns), owned
    size_t rows, capacity;
    sr_table_row *row;
    bool failed; // memory ran out while it was filled
} sr_table;

typedef enum sr_markup {
    SR_MARKUP_TEXT,
    SR_MARKUP_MARKDOWN,
    SR_MARKUP_LATEX,
    SR_MARKUP_HTML
} sr_markup;

void sr_table_init(sr_table *table, size_t columns, size_t labels);
void sr_table_clear(sr_table *table);
void sr_table_head(sr_table *table, size_t column, const char *text);
size_t sr_table_add_row(sr_table *table);                    // empty cells; its index
void sr_table_add_label(sr_table *table, const char *label); // a row that is one label
void sr_table_set(sr_table *table, size_t row, size_t column, const char *text, bool best);
sr_status sr_table_status(const sr_table *table);
void sr_table_print(const sr_table *table, sr_markup markup, sr_text *out);

void sr_escape(sr_markup markup, const char *text, sr_text *out); // text for that markup
void sr_csv_field(const char *text, sr_text *out);                // quoted where it must be

// ---- the tables of a report (tables.c, csv.c) ---------------------------------------------------

// One quantity of a section; table is initialised here, cleared by the caller.
sr_status sr_quality_table(const sr_section *section, const char *metric, sr_table *table);
sr_status sr_time_table(const sr_section *section, sr_table *table);
// Where the time goes: one row a row and K, the phases in columns.
sr_status sr_phase_table(const sr_section *section, sr_table *table);
// Densities: held-out likelihoods and whether the short run fits better than exp(-E)/Z, what lies
// behind them, and what the energy itself generates in long runs. No rows where no cell was asked.
typedef enum sr_density_part {
    SR_DENSITY_LIKELIHOOD,
    SR_DENSITY_GEOMETRY,
    SR_DENSITY_LONG_RUN,
    SR_DENSITY_PARTS
} sr_density_part;
bool sr_section_has_densities(const sr_section *section);
// Of section number `index`; the others may hold the yardstick, exact maximum likelihood.
sr_status sr_density_table(const sr_sections *sections, size_t index, sr_density_part part,
                           sr_table *table);
// "65.2 ± 3.1" with the given decimals; for one seed "65.2 [63.1, 67.3]", where it has an interval.
void sr_stat_text(const sr_stat *stat, int decimals, char *out, size_t size);
// Decimals that show three digits of the smallest entry of the quantity.
int sr_section_decimals(const sr_section *section, sr_quantity quantity);

// Long form: one line a cell and quantity. name NULL: all.
void sr_csv_long(const sr_sections *sections, bool timing, const char *name, sr_text *out);
// One line a row of the tables and quantity, columns for each K.
void sr_csv_pivot(const sr_sections *sections, bool timing, sr_text *out);

// ---- figures (figures.c, panels.c, gnuplot.c) ---------------------------------------------------

// Where records' files are and where the report goes.
typedef struct sr_report_input {
    const char *folder;              // results folder: folder/cells/<hash>/<file>, folder/report/
    const char *name, *title, *file; // of the experiment
    const sr_record *records;
    size_t count, expected; // records there are; cells of the experiment
    const sr_monitor *monitor;
    sr_comparer *comparer; // NULL: cells are compared by their records alone
} sr_report_input;

// ---- noise against none (against_noise.c) -------------------------------------------------------

// An entry with noise in the dynamics and the one without at the same K.
typedef struct sr_noise_comparison {
    size_t section, row, without, column;
    size_t pairs;              // of seeds; 1: by the samples of one seed
    size_t family;             // comparisons that p_holm is adjusted for
    sr_score_comparison score; // a: without noise; of the leading metric
} sr_noise_comparison;

typedef struct sr_noise_comparisons {
    size_t count, capacity;
    sr_noise_comparison *list;
} sr_noise_comparisons;

sr_status sr_noise_comparisons_make(const sr_report_input *input, const sr_sections *sections,
                                    sr_noise_comparisons *out);
void sr_noise_comparisons_clear(sr_noise_comparisons *comparisons);
// Those of one section; no rows where there are none.
sr_status sr_noise_table(const sr_sections *sections, const sr_noise_comparisons *comparisons,
                         size_t index, sr_table *table);
void sr_noise_csv(const sr_sections *sections, const sr_noise_comparisons *comparisons,
                  sr_text *out);

void sr_input_cell_path(const sr_report_input *input, const sr_record *record, const char *name,
                        char *out, size_t size);

typedef enum sr_figure_kind {
    SR_FIGURE_SCORE_STEPS,
    SR_FIGURE_SCORE_NOISE,
    SR_FIGURE_TIME,
    SR_FIGURE_GAP,
    SR_FIGURE_TRACE,
    SR_FIGURE_OVERVIEW,
    SR_FIGURE_PANELS,      // 2-D: one cell
    SR_FIGURE_SAMPLES,     // images: one cell's grid, made without gnuplot
    SR_FIGURE_DATA,        // images: training data in the same grid
    SR_FIGURE_COMPONENTS,  // images: features of data and samples in two principal components
    SR_FIGURE_NEIGHBOURS,  // images: samples beside their nearest training images
    SR_FIGURE_DENSITIES,   // 2-D: one cell's densities on one colour scale
    SR_FIGURE_FLOW,        // 2-D: one cell's gradient flow and trajectories
    SR_FIGURE_PATH,        // log p_k of held-out rows against k
    SR_FIGURE_EIGENVALUES, // of s H along trajectories
    SR_FIGURE_BEYOND,      // score and energy against the number of sampling steps
    SR_FIGURE_ROOFLINE,    // of a profile
    SR_FIGURE_BARS         // times of profiles
} sr_figure_kind;

typedef struct sr_figure {
    sr_figure_kind kind;
    size_t section, row, column;
    char name[160];    // file name without suffix
    char caption[768]; // what it shows, plain text
    char alt[320];     // the same in short
    size_t width;      // CSS pixels
} sr_figure;

typedef struct sr_figures {
    size_t count, capacity;
    sr_figure *list;
    char folder[4096]; // folder/report/figures
} sr_figures;

void sr_figures_clear(sr_figures *figures);
// A new entry, zeroed apart from its name (section's slug and the given end); NULL when memory is
// short.
sr_figure *sr_figures_add(sr_figures *figures, sr_figure_kind kind, const sr_section *section,
                          size_t section_index, const char *end);
bool sr_figure_path(const sr_figures *figures, const sr_figure *figure, const char *suffix,
                    char *out, size_t size);
// Writes NAME.gp or NAME.dat; frees nothing.
sr_status sr_figure_write(const sr_figures *figures, const sr_figure *figure, const char *suffix,
                          const sr_text *text);

// Head and tail of a script: between them stand drawing commands, run once for the PNG and once for
// the SVG. scale: PNG pixels per CSS pixel.
void sr_script_begin(sr_text *script, const sr_figure *figure, size_t width, size_t height,
                     double scale);
void sr_script_end(sr_text *script);
// The text as a quoted gnuplot string.
void sr_script_quote(sr_text *script, const char *text);
extern const size_t sr_script_colours;      // distinct colours of the next function
const char *sr_script_colour(size_t index); // categorical, colour-blind safe (Okabe and Ito)
// Colour of K number i of n: ordered from dark to light.
const char *sr_script_ordered_colour(size_t i, size_t n);

sr_status sr_figures_lines(const sr_sections *sections, sr_figures *figures);
sr_status sr_figures_curves(const sr_sections *sections, sr_figures *figures);
sr_status sr_figures_panels(const sr_report_input *input, const sr_sections *sections,
                            sr_figures *figures);
sr_status sr_figures_densities(const sr_report_input *input, const sr_sections *sections,
                               sr_figures *figures);
sr_status sr_figures_density_lines(const sr_report_input *input, const sr_sections *sections,
                                   sr_figures *figures);
// The finished record of exact maximum likelihood on the same data set, with the same model and
// seed; NULL: none.
const sr_record *sr_exact_record(const sr_report_input *input, const sr_record *record);
// A float32 array of a cell's file with the given rank, whose last dimension is `last` (0: any):
// shape (rank). False (and no memory) where there is none; a warning where it does not fit.
bool sr_input_array(const sr_report_input *input, const sr_record *record, const char *name,
                    size_t rank, size_t last, float **out, size_t *shape);
sr_status sr_figures_grids(const sr_report_input *input, const sr_sections *sections,
                           sr_figures *figures);
sr_status sr_figures_features(const sr_report_input *input, const sr_sections *sections,
                              sr_figures *figures);
// Runs gnuplot in figures->folder on every script. *missing: there is no gnuplot (and nothing was
// done).
sr_status sr_figures_draw(const sr_figures *figures, const sr_monitor *monitor, bool *missing);
// Runs a program found in PATH, in a folder, without a shell; args NULL-terminated, args[0] its
// name. Standard error (at most the first 4 KB) is captured. *missing: there is no such program.
sr_status sr_child_run(const char *folder, const char *const *args, sr_text *errors,
                       int *exit_status, bool *missing);

// ---- the page (html.c, page.c) ------------------------------------------------------------------

void sr_base64(const void *bytes, size_t count, sr_text *out);
sr_status sr_page_make(const sr_report_input *input, const sr_sections *sections,
                       const sr_noise_comparisons *comparisons, const sr_figures *figures,
                       sr_text *out);
extern const char sr_page_style[]; // CSS

// Everything that sr_report_write does once the records are there.
sr_status sr_report_make(const sr_report_input *input, char *html, size_t size);

#endif
