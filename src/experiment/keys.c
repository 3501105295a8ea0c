// The table of keys and what works on one key: parsing, checking, formatting, documentation.
// Reading files is in yaml.c, the grid in grid.c.
#include "experiment/keys.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- names of choices ---------------------------------------------------------------------------

static const char *start_choice(int value) {
    return sr_start_name((sr_start)value);
}

static const char *integrator_choice(int value) {
    return sr_integrator_name((sr_integrator)value);
}

static const char *optimiser_choice(int value) {
    return sr_optimiser_name((sr_optimiser)value);
}

static const char *engine_choice(int value) {
    return sr_engine_name((sr_engine)value);
}

static const char *precision_choice(int value) {
    return sr_precision_name((sr_precision)value);
}

static const char *method_choice(int value) {
    return value == 0 ? "auto" : sr_log_det_name((sr_log_det)(value - 1));
}

static const char *mode_choice(int value) {
    return value == SR_DATA_NOISE_FIXED ? "fixed" : "matched";
}

// ---- checks of texts ----------------------------------------------------------------------------

// A data set is a name that the program knows or a path. Whether the files are there is seen when a
// cell runs: the folder they lie in is not the experiment's business.
static sr_status check_dataset(const char *text) {
    const char *const *names = sr_dataset_names();
    size_t count = 0;
    sr_text list = {0};
    for (; names[count]; count++) {
        if (strcmp(names[count], text) == 0) {
            sr_text_clear(&list);
            return SR_OK;
        }
        sr_text_append(&list, "%s%s", count ? ", " : "", names[count]);
    }
    if (strpbrk(text, "/.") || sr_file_exists(text)) {
        sr_text_clear(&list);
        return SR_OK;
    }
    const char *near = sr_nearest(text, names, count);
    sr_fail(SR_ERROR_ARGUMENT, "dataset: unknown data set '%s'%s%s%s; known: %s, or a path", text,
            near ? ", did you mean " : "", near ? near : "", near ? "?" : "",
            sr_text_string(&list));
    sr_text_clear(&list);
    return SR_ERROR_ARGUMENT;
}

static sr_status check_model(const char *text) {
    sr_net net;
    sr_status status = sr_net_parse(text, &net);
    if (status == SR_OK && net.outputs != 1)
        status = sr_fail(SR_ERROR_ARGUMENT,
                         "model: '%s' has %zu outputs; an energy has one (mlp or convnet)", text,
                         net.outputs);
    return status;
}

// ---- the table ----------------------------------------------------------------------------------

#define AT(field) .offset = offsetof(sr_cell, field), .size = sizeof(((sr_cell *)NULL)->field)
#define TRAINING(key, field) .section = "training", .name = key, .column = key, AT(train.field)
#define DYNAMICS(key, field)                                                                       \
    .section = "dynamics", .name = key, .column = key, AT(train.dynamics.field)
#define DENSITY(key, field)                                                                        \
    .section = "density", .name = key, .column = "density_" key, .later = true, AT(density.field)
#define COUNT(lowest, highest) .type = SR_KEY_COUNT, .low = (lowest), .high = (highest)
#define NUMBER(lowest, highest) .type = SR_KEY_NUMBER, .low = (lowest), .high = (highest)
#define CHOICE(n, names) .type = SR_KEY_CHOICE, .choices = (n), .choice = (names)

const sr_key sr_keys[] = {
    {.section = "",
     .name = "dataset",
     .column = "dataset",
     .type = SR_KEY_TEXT,
     AT(dataset),
     .check = check_dataset,
     .required = true,
     .meaning =
         "What is learnt: a 2-D density or image set by name (`shortrun info` lists them), or "
         "the path of a folder of PNG, an IDX file or a .npy file."},
    {.section = "",
     .name = "data_limit",
     .column = "data_limit",
     COUNT(0, 1e9),
     AT(data_limit),
     .meaning = "Number of training rows; 0: all (2-D densities: 10000 points)."},
    {.section = "",
     .name = "model",
     .column = "model",
     .type = SR_KEY_TEXT,
     AT(model),
     .check = check_model,
     .required = true,
     .meaning = "The energy's network, like `mlp:dim=2,widths=128x128,activation=silu` or "
                "`convnet:channels=1,size=28,nf=8,activation=leaky_relu`; in a [list], in quotes."},
    {.section = "",
     .name = "iterations",
     .column = "iterations",
     COUNT(1, 1e9),
     AT(train.iterations),
     .meaning = "Training iterations (updates of the weights)."},
    {.section = "",
     .name = "batch",
     .column = "batch",
     COUNT(1, 1048576),
     AT(train.batch),
     .meaning = "Data rows per iteration, and as many chains."},
    {.section = "",
     .name = "samples",
     .column = "samples",
     COUNT(16, 1e6),
     AT(samples),
     .meaning = "Samples drawn from the trained model and judged, against as many data rows."},
    {.section = "",
     .name = "sample_steps",
     .column = "sample_steps",
     COUNT(0, 1e6),
     AT(sample_steps),
     .meaning = "Steps when sampling for judgement; 0: as in training."},
    {TRAINING("engine", engine), CHOICE(SR_ENGINE_COUNT, engine_choice),
     .meaning = "Who multiplies; auto takes what was measured to be faster on this machine."},
    {TRAINING("precision", precision), CHOICE(SR_PRECISION_COUNT, precision_choice),
     .meaning = "Of the products in the energy: fp32, bf16, or bf16x3 (on AMX; fp32 elsewhere)."},
    {TRAINING("tile", tile), COUNT(0, 65536),
     .meaning = "Chains a thread takes at a time; 0: chosen."},
    {TRAINING("optimiser", optimiser), CHOICE(2, optimiser_choice), .meaning = "The optimiser."},
    {TRAINING("rate", rate), NUMBER(0, 1e6), .open_low = true, .meaning = "Learning rate."},
    {TRAINING("beta1", beta1), NUMBER(0, 1), .open_high = true,
     .meaning = "Adam's first decay; SGD's momentum. 0 keeps the game with the sampler stable."},
    {TRAINING("beta2", beta2), NUMBER(0, 1), .open_high = true, .meaning = "Adam's second decay."},
    {TRAINING("epsilon", epsilon), NUMBER(1e-30, 1), .meaning = "Added to Adam's denominator."},
    {TRAINING("decay_from", decay_from), NUMBER(0, 1), .open_low = true,
     .meaning = "Share of the run after which the learning rate falls linearly; 1: never."},
    {TRAINING("decay_to", decay_to), NUMBER(0, 1),
     .meaning = "Share of the learning rate that is left at the end."},
    {TRAINING("average", average), NUMBER(0, 1), .open_high = true,
     .meaning = "Decay of the running average of the weights, which sampling then uses; 0: none."},
    {TRAINING("energy_l2", energy_l2), NUMBER(0, 1e6),
     .meaning = "Weight of the penalty mean E^2 over data and samples."},
    {TRAINING("clip_norm", clip_norm), NUMBER(0, 1e6),
     .meaning = "The gradient's norm is clipped to this; 0: not clipped."},
    {TRAINING("spectral_iterations", spectral_iterations), COUNT(0, 1000),
     .meaning = "Power iterations of spectral normalisation per iteration; 0: no normalisation."},
    {TRAINING("curvature_cap", curvature_cap), .later = true, NUMBER(0, 100),
     .meaning =
         "Bound on s ||H|| along the trajectories, to which the energy is scaled in training "
         "(the last layer's weights): below 1, noise-free Euler steps can be inverted. Not "
         "for relu and leaky_relu. 0: no cap."},
    {TRAINING("curvature_every", curvature_every), .later = true, COUNT(1, 1000000),
     .meaning = "Iterations between two estimates of s ||H|| for the cap."},
    {TRAINING("exact_grid", exact_grid), .later = true, COUNT(0, SR_EXACT_GRID_MAX),
     .meaning = "Exact maximum likelihood of 2-D data, without sampler: the expectation under "
                "exp(-E)/Z by quadrature on so many cells a side; 0: training by samples."},
    {TRAINING("exact_window", exact_window), .later = true, NUMBER(0, 1e6), .open_low = true,
     .meaning = "Half-width of that grid's window, which must hold the mass of exp(-E)."},
    {TRAINING("gap_bound", gap_bound), NUMBER(0, 1e30),
     .meaning = "An energy gap |E(data) - E(samples)| beyond this is divergence; 0: no bound."},
    {DYNAMICS("start", start), CHOICE(4, start_choice),
     .meaning = "Where chains start: uniform on [-1, 1]^d, Gaussian N(0, I), data rows, or where "
                "they were left (persistent)."},
    {DYNAMICS("restart_from", restart_from), CHOICE(3, start_choice),
     .meaning = "Persistent chains: where they start anew, also when samples are drawn for "
                "judgement."},
    {DYNAMICS("restart_rate", restart_rate), NUMBER(0, 1),
     .meaning = "Persistent chains: probability of starting anew in an iteration."},
    {DYNAMICS("clamp", clamp), NUMBER(0, 1e6),
     .meaning = "States are clamped to [-clamp, clamp] after every step; 0: not clamped."},
    {DYNAMICS("integrator", integrator), .later = true,
     CHOICE(SR_INTEGRATOR_COUNT, integrator_choice),
     .meaning = "How a step follows the flow of -grad E over a time of s: euler (order 1, one "
                "gradient), heun (order 2, two), rk4 (order 4, four), adaptive (error-controlled; "
                "SUNDIALS). All but euler need noise 0 and no clamp."},
    {DYNAMICS("tolerance", tolerance), .later = true, NUMBER(SR_TOLERANCE_LOW, SR_TOLERANCE_HIGH),
     .meaning = "adaptive: of the local error, relative and absolute."},
    {DYNAMICS("step_size", step_size), .alias = "s", NUMBER(0, 1e6), .open_low = true,
     .meaning = "Step size s of x - s grad E(x) + sigma eps."},
    {DYNAMICS("noise_last", noise_last), .type = SR_KEY_SWITCH,
     .meaning = "Whether the last step adds noise too."},
    {DENSITY("points", points), COUNT(0, 1e6),
     .meaning = "Held-out rows whose likelihood is taken under the induced density, exp(-E)/Z and, "
                "in 2-D, the true density; 0: no densities."},
    {DENSITY("method", method), CHOICE(4, method_choice),
     .meaning = "Log determinants: exact, series (unbiased, by probes), trace (continuous time); "
                "auto: exact up to 64 dimensions, else series."},
    {DENSITY("probes", probes), COUNT(2, 4096), .meaning = "Independent estimates of each row."},
    {DENSITY("lanczos", lanczos), COUNT(0, 1000),
     .meaning = "Iterations for the eigenvalues of s H along the trajectories; 0: not asked."},
    {DENSITY("grid", grid), COUNT(16, 2000),
     .meaning = "2-D: cells a side of the window on which densities are integrated."},
    {DENSITY("long_chains", long_chains), COUNT(0, 1e6),
     .meaning = "Chains of HMC on the same energy, run to convergence; 0: none."},
    {DENSITY("long_steps", long_steps), COUNT(200, 1e9),
     .meaning = "At most so many steps of each of them."},
    {DENSITY("ais_chains", ais_chains), COUNT(0, 1e5),
     .meaning = "Images: chains of annealed importance sampling for log Z; 0: none."},
    {DENSITY("ais_levels", ais_levels), COUNT(2, 1e7),
     .meaning = "Intermediate densities of annealed importance sampling."},
    {DENSITY("beyond", beyond), COUNT(1, 100000),
     .meaning = "Samples are also judged after up to so many times K steps; 1: after K only."},
    {.section = "training",
     .name = "data_noise_mode",
     .column = "data_noise_mode",
     CHOICE(2, mode_choice),
     AT(data_noise_mode),
     .undecisive = true,
     .meaning =
         "fixed: data_noise as given; matched: raised to the noise of the dynamics where that "
         "is larger."},
    {TRAINING("data_noise", data_noise), NUMBER(0, 1e3),
     .meaning = "Standard deviation of Gaussian noise added to data rows in training."},
    {DYNAMICS("noise", noise), .alias = "sigma", NUMBER(0, 1e6),
     .meaning = "Noise scale sigma; 0: noise-free. Langevin at temperature T has sigma^2 = 2 s T."},
    {DYNAMICS("steps", steps), .alias = "K", COUNT(1, 1e6), .meaning = "Number of steps K."},
    {.section = "",
     .name = "seeds",
     .alias = "seed",
     .column = "seed",
     COUNT(0, 9007199254740992.0),
     AT(train.seed),
     .meaning = "Seed of weights, batches, chains and noise."},
};

const size_t sr_key_count = sizeof sr_keys / sizeof *sr_keys;
_Static_assert(sizeof sr_keys / sizeof *sr_keys <= SR_KEYS_MAX, "raise SR_KEYS_MAX");

void sr_cell_default(sr_cell *cell, bool image) {
    *cell = (sr_cell){.data_noise_mode = SR_DATA_NOISE_FIXED,
                      .samples = image ? 2048 : 5000,
                      .density = {.points = 0,
                                  .probes = 8,
                                  .lanczos = image ? 12 : 2,
                                  .grid = 200,
                                  .long_chains = image ? 64 : 500,
                                  .long_steps = image ? 4000 : 10000,
                                  .ais_chains = image ? 64 : 0,
                                  .ais_levels = 2000,
                                  .beyond = 16}};
    sr_train_options_default(&cell->train, image);
}

const sr_key *sr_key_find(const char *section, const char *name) {
    for (size_t i = 0; i < sr_key_count; i++) {
        const sr_key *key = &sr_keys[i];
        if (section && strcmp(key->section, section) != 0)
            continue;
        if (strcmp(key->name, name) == 0 || (!section && key->alias && !strcmp(key->alias, name)))
            return key;
    }
    return NULL;
}

// ---- one value ----------------------------------------------------------------------------------

void sr_key_allowed(const sr_key *key, sr_text *out) {
    switch (key->type) {
    case SR_KEY_TEXT:
        sr_text_append(out, "a text of 1 to %zu bytes", key->size - 1);
        break;
    case SR_KEY_COUNT:
        sr_text_append(out, "a whole number from %.0f to %.0f", key->low, key->high);
        break;
    case SR_KEY_NUMBER:
        if (key->open_low)
            sr_text_append(out, "a number above %g, at most %.10g", key->low, key->high);
        else
            sr_text_append(out, "a number from %g to %s%.10g", key->low,
                           key->open_high ? "below " : "", key->high);
        break;
    case SR_KEY_SWITCH:
        sr_text_append(out, "true or false");
        break;
    case SR_KEY_CHOICE:
        for (int i = 0; i < key->choices; i++)
            sr_text_append(out, "%s%s",
                           i == 0                 ? ""
                           : i + 1 < key->choices ? ", "
                                                  : " or ",
                           key->choice(i));
    }
}

static sr_status refuse(const sr_key *key, const char *text) {
    sr_text allowed = {0};
    sr_key_allowed(key, &allowed);
    if (*text)
        sr_fail(SR_ERROR_ARGUMENT, "%s: '%.80s' is not allowed; expected %s", key->name, text,
                sr_text_string(&allowed));
    else
        sr_fail(SR_ERROR_ARGUMENT, "%s has no value; expected %s", key->name,
                sr_text_string(&allowed));
    sr_text_clear(&allowed);
    return SR_ERROR_ARGUMENT;
}

static bool parse_count(const char *text, uint64_t *out) {
    if (!isdigit((unsigned char)*text) || text[strspn(text, "0123456789")])
        return false;
    errno = 0;
    *out = strtoull(text, NULL, 10);
    return errno == 0;
}

// Decimal numbers only: no hexadecimal, infinity or NaN.
static bool parse_number(const char *text, double *out) {
    char *end;
    if (!*text || text[strspn(text, "0123456789+-.eE")])
        return false;
    *out = strtod(text, &end);
    return !*end && isfinite(*out);
}

static bool within(const sr_key *key, double value) {
    return (key->open_low ? value > key->low : value >= key->low) &&
           (key->open_high ? value < key->high : value <= key->high);
}

sr_status sr_key_parse(const sr_key *key, const char *text, sr_key_value *out) {
    *out = (sr_key_value){0};
    bool good = false;
    switch (key->type) {
    case SR_KEY_TEXT:
        if (!*text || strlen(text) >= key->size)
            return refuse(key, text);
        snprintf(out->text, sizeof out->text, "%s", text);
        return key->check ? key->check(text) : SR_OK;
    case SR_KEY_COUNT:
        good = parse_count(text, &out->count) && within(key, (double)out->count);
        break;
    case SR_KEY_NUMBER:
        good = parse_number(text, &out->number) && within(key, out->number);
        break;
    case SR_KEY_SWITCH:
        out->on = strcmp(text, "true") == 0;
        good = out->on || strcmp(text, "false") == 0;
        break;
    case SR_KEY_CHOICE:
        for (int i = 0; i < key->choices && !good; i++) {
            out->choice = i;
            good = strcmp(text, key->choice(i)) == 0;
        }
    }
    return good ? SR_OK : refuse(key, text);
}

bool sr_key_equal(const sr_key *key, const sr_key_value *a, const sr_key_value *b) {
    switch (key->type) {
    case SR_KEY_TEXT:
        return strcmp(a->text, b->text) == 0;
    case SR_KEY_COUNT:
        return a->count == b->count;
    case SR_KEY_NUMBER:
        return a->number == b->number;
    case SR_KEY_SWITCH:
        return a->on == b->on;
    case SR_KEY_CHOICE:
        return a->choice == b->choice;
    }
    return false;
}

void sr_key_set(const sr_key *key, const sr_key_value *value, sr_cell *cell) {
    char *field = (char *)cell + key->offset;
    size_t size = (size_t)value->count;
    switch (key->type) {
    case SR_KEY_TEXT:
        snprintf(field, key->size, "%s", value->text);
        break;
    case SR_KEY_COUNT:
        if (key->size == sizeof value->count)
            memcpy(field, &value->count, sizeof value->count);
        else
            memcpy(field, &size, sizeof size);
        break;
    case SR_KEY_NUMBER:
        memcpy(field, &value->number, sizeof value->number);
        break;
    case SR_KEY_SWITCH:
        memcpy(field, &value->on, sizeof value->on);
        break;
    case SR_KEY_CHOICE: // enums have the size of int with every compiler that this is built with
        memcpy(field, &value->choice, sizeof value->choice);
    }
}

void sr_key_get(const sr_key *key, const sr_cell *cell, sr_key_value *value) {
    const char *field = (const char *)cell + key->offset;
    size_t size = 0;
    *value = (sr_key_value){0};
    switch (key->type) {
    case SR_KEY_TEXT:
        snprintf(value->text, sizeof value->text, "%s", field);
        break;
    case SR_KEY_COUNT:
        if (key->size == sizeof value->count) {
            memcpy(&value->count, field, sizeof value->count);
        } else {
            memcpy(&size, field, sizeof size);
            value->count = size;
        }
        break;
    case SR_KEY_NUMBER:
        memcpy(&value->number, field, sizeof value->number);
        break;
    case SR_KEY_SWITCH:
        memcpy(&value->on, field, sizeof value->on);
        break;
    case SR_KEY_CHOICE:
        memcpy(&value->choice, field, sizeof value->choice);
    }
}

_Static_assert(sizeof(sr_start) == sizeof(int) && sizeof(sr_engine) == sizeof(int) &&
                   sizeof(sr_optimiser) == sizeof(int) && sizeof(sr_integrator) == sizeof(int) &&
                   sizeof(sr_data_noise_mode) == sizeof(int),
               "choices are copied as int");

void sr_key_format(const sr_key *key, const sr_key_value *value, bool exact, sr_text *out) {
    char number[40];
    switch (key->type) {
    case SR_KEY_TEXT:
        sr_text_append(out, "%s", value->text);
        break;
    case SR_KEY_COUNT:
        sr_text_append(out, "%llu", (unsigned long long)value->count);
        break;
    case SR_KEY_NUMBER:
        for (int digits = exact ? 17 : 6; digits <= 17; digits++) {
            snprintf(number, sizeof number, "%.*g", digits, value->number);
            if (strtod(number, NULL) == value->number)
                break;
        }
        sr_text_append(out, "%s", number);
        break;
    case SR_KEY_SWITCH:
        sr_text_append(out, "%s", value->on ? "true" : "false");
        break;
    case SR_KEY_CHOICE:
        sr_text_append(out, "%s", key->choice(value->choice));
    }
}

// ---- did you mean -------------------------------------------------------------------------------

#define WORD_MAX 32

// Levenshtein distance; words are cut to WORD_MAX bytes.
static size_t distance(const char *a, const char *b) {
    const size_t n = strnlen(a, WORD_MAX), m = strnlen(b, WORD_MAX);
    size_t row[WORD_MAX + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

const char *sr_nearest(const char *word, const char *const *names, size_t count) {
    const char *nearest = NULL;
    size_t least = strnlen(word, WORD_MAX) / 3 + 1; // a third of the letters may be wrong
    for (size_t i = 0; i < count; i++) {
        const size_t d = distance(word, names[i]);
        if (d <= least && (!nearest || d < least)) {
            least = d;
            nearest = names[i];
        }
    }
    return nearest;
}

// ---- documentation ------------------------------------------------------------------------------

static void describe_default(const sr_key *key, sr_text *out) {
    sr_cell toy, image;
    sr_key_value for_toy, for_image;
    if (key->required) {
        sr_text_append(out, "required");
        return;
    }
    sr_cell_default(&toy, false);
    sr_cell_default(&image, true);
    sr_key_get(key, &toy, &for_toy);
    sr_key_get(key, &image, &for_image);
    sr_text_append(out, "default ");
    sr_key_format(key, &for_toy, false, out);
    if (!sr_key_equal(key, &for_toy, &for_image)) {
        sr_text_append(out, " (images: ");
        sr_key_format(key, &for_image, false, out);
        sr_text_append(out, ")");
    }
}

// A paragraph, two columns in, broken at the last space before the width.
static void append_wrapped(const char *text, sr_text *out) {
    enum { WIDTH = 104 };
    while (strlen(text) > WIDTH) {
        size_t length = WIDTH;
        while (length > 1 && text[length] != ' ')
            length--;
        sr_text_append(out, "  %.*s\n", (int)length, text);
        text += length + (text[length] == ' ');
    }
    sr_text_append(out, "  %s\n", text);
}

static void describe_section(const char *section, sr_text *out) {
    for (size_t i = 0; i < sr_key_count; i++) {
        const sr_key *key = &sr_keys[i];
        if (strcmp(key->section, section) != 0)
            continue;
        sr_text_append(out, "- `%s`: ", key->name);
        sr_key_allowed(key, out);
        sr_text_append(out, "; ");
        describe_default(key, out);
        sr_text_append(out, ".\n");
        append_wrapped(key->meaning, out);
    }
}

void sr_experiment_keys(sr_text *out) {
    sr_text_append(out, "### The file\n\n"
                        "- `name`: letters, digits, '.', '_' and '-', at most 63; required.\n"
                        "  The experiment's name.\n"
                        "- `title`: a text of at most 255 bytes; default the name.\n"
                        "  The report's heading.\n"
                        "- `groups`: a list of groups; required.\n"
                        "  Each group is a grid of its own and makes its own tables.\n\n"
                        "### A group\n\n"
                        "- `name`: as the file's; required, each only once.\n"
                        "  The group's name.\n");
    describe_section("", out);
    sr_text_append(out, "- `dynamics`: the section of that name.\n"
                        "- `training`: the section of that name.\n"
                        "- `density`: the section of that name.\n\n"
                        "### dynamics\n\n");
    describe_section("dynamics", out);
    sr_text_append(out, "\n### training\n\n");
    describe_section("training", out);
    sr_text_append(out, "\n### density\n\n");
    describe_section("density", out);
    sr_text_append(out,
                   "\n### The order of the grid\n\n"
                   "Any value of a group but its name may be a list. The grid is the product of "
                   "the lists; from the\noutermost loop to the one that changes fastest:\n");
    size_t column = 80;
    for (size_t i = 0; i < sr_key_count; i++) {
        const bool last = i + 1 == sr_key_count;
        if (column + strlen(sr_keys[i].name) + 2 > 76) {
            sr_text_append(out, "%s", i ? "\n" : "");
            column = 0;
        }
        sr_text_append(out, "%s%s%s", column ? " " : "", sr_keys[i].name, last ? ".\n" : ",");
        column += strlen(sr_keys[i].name) + 2;
    }
}
