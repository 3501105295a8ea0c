// From groups to cells: the product of the lists, the settings of one cell brought to one form, its
// hash, its label and what --cells matches.
#include "experiment/keys.h"
#include "experiment/run.h"

#include <stdio.h>
#include <string.h>

// ---- one cell -----------------------------------------------------------------------------------

// Length of one sample of the sets whose files need not be opened to know it; 0: unknown.
static size_t known_dim(const char *dataset) {
    sr_toy toy;
    if (sr_toy_parse(dataset, &toy) == SR_OK)
        return 2;
    if (strcmp(dataset, "fashion_mnist") == 0 || strcmp(dataset, "mnist") == 0)
        return 28 * 28;
    return strcmp(dataset, "cifar10") == 0 ? 3 * 32 * 32 : 0;
}

// Settings that cannot matter take one value, so that cells which would give the same result are
// the same cell.
static void settle(sr_cell *cell) {
    sr_cell usual;
    sr_cell_default(&usual, true);
    sr_train_options *train = &cell->train;
    sr_dynamics *dynamics = &train->dynamics;
    if (cell->data_noise_mode == SR_DATA_NOISE_MATCHED && train->data_noise < dynamics->noise)
        train->data_noise = dynamics->noise;
    if (dynamics->noise == 0)
        dynamics->noise_last = true;
    if (dynamics->start != SR_START_PERSISTENT) {
        dynamics->restart_from = usual.train.dynamics.restart_from;
        dynamics->restart_rate = usual.train.dynamics.restart_rate;
    }
    if (dynamics->integrator != SR_INTEGRATOR_ADAPTIVE)
        dynamics->tolerance = usual.train.dynamics.tolerance;
    if (train->optimiser == SR_SGD) {
        train->beta2 = usual.train.beta2;
        train->epsilon = usual.train.epsilon;
    }
    if (train->curvature_cap == 0)
        train->curvature_every = usual.train.curvature_every;
    if (train->exact_grid == 0)
        train->exact_window = usual.train.exact_window;
    if (cell->density.points == 0)
        cell->density = usual.density;
    if (cell->sample_steps == dynamics->steps)
        cell->sample_steps = 0;
    train->threads = 0;
}

static sr_status settle_model(sr_cell *cell) {
    sr_net net;
    sr_text text = {0};
    sr_status status = sr_net_parse(cell->model, &net);
    if (status != SR_OK)
        return status;
    if (cell->train.curvature_cap > 0 && (status = sr_net_check_curvature(&net)) != SR_OK)
        return sr_fail_context(status, "curvature_cap: ");
    if (cell->train.exact_grid > 0 && net.inputs != 2)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "exact_grid: exact maximum likelihood is for two dimensions, the model has "
                       "%zu",
                       net.inputs);
    const size_t dim = known_dim(cell->dataset);
    if (dim != 0 && dim != net.inputs)
        return sr_fail(SR_ERROR_ARGUMENT, "model: '%s' takes %zu numbers, a sample of %s has %zu",
                       cell->model, net.inputs, cell->dataset, dim);
    sr_net_format(&net, &text);
    status = sr_text_status(&text);
    if (status == SR_OK && text.length >= sizeof cell->model)
        status = sr_fail(SR_ERROR_ARGUMENT, "model: '%s' is too long", sr_text_string(&text));
    if (status == SR_OK)
        snprintf(cell->model, sizeof cell->model, "%s", sr_text_string(&text));
    sr_text_clear(&text);
    return status;
}

static sr_status hash_cell(sr_cell *cell) {
    sr_text text = {0};
    sr_cell usual;
    sr_cell_default(&usual, true);
    sr_text_append(&text, "shortrun results %d\n", SR_RESULTS_VERSION);
    for (size_t i = 0; i < sr_key_count; i++) {
        sr_key_value value, usual_value;
        if (sr_keys[i].undecisive)
            continue;
        sr_key_get(&sr_keys[i], cell, &value);
        sr_key_get(&sr_keys[i], &usual, &usual_value);
        if (sr_keys[i].later && sr_key_equal(&sr_keys[i], &value, &usual_value))
            continue;
        sr_text_append(&text, "%s=", sr_keys[i].column);
        sr_key_format(&sr_keys[i], &value, true, &text);
        sr_text_append(&text, "\n");
    }
    const sr_status status = sr_text_status(&text);
    if (status == SR_OK)
        sr_hash_hex(sr_text_string(&text), text.length, cell->hash);
    sr_text_clear(&text);
    return status;
}

bool sr_cell_same_but_seed(const sr_cell *a, const sr_cell *b) {
    sr_cell left = *a, right = *b;
    left.train.seed = right.train.seed = 0;
    return hash_cell(&left) == SR_OK && hash_cell(&right) == SR_OK &&
           strcmp(left.hash, right.hash) == 0;
}

sr_status sr_cell_finish(sr_cell *cell) {
    sr_status status = settle_model(cell);
    if (status != SR_OK)
        return status;
    settle(cell);
    status = sr_train_options_check(&cell->train);
    if (status == SR_OK)
        status = sr_density_check(cell);
    return status == SR_OK ? hash_cell(cell) : status;
}

// ---- the grid -----------------------------------------------------------------------------------

static bool is_image(const char *dataset, const char *model) {
    sr_toy toy;
    sr_net net;
    return sr_toy_parse(dataset, &toy) != SR_OK &&
           !(sr_net_parse(model, &net) == SR_OK && net.inputs == 2);
}

static sr_status count_cells(const sr_group *group, const sr_experiment *experiment,
                             size_t *count) {
    *count = 1;
    for (size_t i = 0; i < sr_key_count; i++) {
        const size_t values = group->lists[i].count;
        if (values > 0 && (!sr_size_mul(*count, values, count) || *count > SR_CELLS_MAX))
            break;
    }
    if (*count + experiment->cell_count > SR_CELLS_MAX)
        return sr_fail(SR_ERROR_ARGUMENT, "%s:%zu: group %s brings the grid to more than %d cells",
                       experiment->file, group->line, group->name, SR_CELLS_MAX);
    return SR_OK;
}

// Cell `number` of the group's product.
static sr_status make_cell(const sr_group *group, size_t number, sr_cell *cell) {
    const sr_key_value *chosen[SR_KEYS_MAX] = {0};
    const char *dataset = "", *model = "";
    for (size_t i = sr_key_count; i-- > 0;) {
        const sr_key_list *list = &group->lists[i];
        if (list->count == 0)
            continue;
        chosen[i] = &list->values[number % list->count];
        number /= list->count;
        if (strcmp(sr_keys[i].name, "dataset") == 0)
            dataset = chosen[i]->text;
        else if (strcmp(sr_keys[i].name, "model") == 0)
            model = chosen[i]->text;
    }
    sr_cell_default(cell, is_image(dataset, model));
    snprintf(cell->group, sizeof cell->group, "%s", group->name);
    for (size_t i = 0; i < sr_key_count; i++) {
        if (chosen[i])
            sr_key_set(&sr_keys[i], chosen[i], cell);
    }
    return sr_cell_finish(cell);
}

// Open-addressed set of cell numbers by hash: grids have up to 100000 cells.
static bool seen_before(const sr_experiment *experiment, size_t *slots, size_t slot_count,
                        const sr_cell *cell) {
    size_t at = 0;
    for (int i = 0; i < 12; i++)
        at = at * 31 + (unsigned char)cell->hash[i];
    for (at %= slot_count; slots[at] != 0; at = (at + 1) % slot_count) {
        if (strcmp(experiment->cells[slots[at] - 1].hash, cell->hash) == 0)
            return true;
    }
    slots[at] = experiment->cell_count + 1;
    return false;
}

sr_status sr_group_expand(const sr_group *group, sr_experiment *experiment) {
    size_t count;
    sr_status status = count_cells(group, experiment, &count);
    if (status != SR_OK)
        return status;
    const size_t slot_count = 2 * count + 1;
    size_t *slots = sr_alloc(slot_count, sizeof *slots);
    sr_cell *cells = sr_realloc(experiment->cells, experiment->cell_count,
                                experiment->cell_count + count, sizeof *cells);
    if (!slots || !cells) {
        sr_free(slots);
        if (cells)
            experiment->cells = cells;
        return SR_ERROR_MEMORY;
    }
    experiment->cells = cells;
    for (size_t i = 0; i < count && status == SR_OK; i++) {
        sr_cell *cell = &cells[experiment->cell_count];
        status = make_cell(group, i, cell);
        if (status != SR_OK)
            sr_fail_context(status, "%s:%zu: group %s: ", experiment->file, group->line,
                            group->name);
        else if (!seen_before(experiment, slots, slot_count, cell))
            experiment->cell_count++;
    }
    sr_free(slots);
    return status;
}

// ---- labels and filters -------------------------------------------------------------------------

void sr_cell_label(const sr_cell *cell, char *out, size_t size) {
    const char *slash = strrchr(cell->dataset, '/');
    const char *name = slash && slash[1] ? slash + 1 : cell->dataset;
    const sr_dynamics *dynamics = &cell->train.dynamics;
    const bool euler = dynamics->integrator == SR_INTEGRATOR_EULER;
    snprintf(out, size, "%s%s%s K=%zu sigma=%g data_noise=%g seed=%llu", name, euler ? "" : " ",
             euler ? "" : sr_integrator_name(dynamics->integrator), dynamics->steps,
             dynamics->noise, cell->train.data_noise, (unsigned long long)cell->train.seed);
}

static sr_status unknown_term(const char *name) {
    const char *names[2 * SR_KEYS_MAX + 2] = {"group", "hash"};
    size_t count = 2;
    sr_text allowed = {0};
    sr_text_append(&allowed, "group, hash");
    for (size_t i = 0; i < sr_key_count; i++) {
        names[count++] = sr_keys[i].name;
        sr_text_append(&allowed, ", %s", sr_keys[i].name);
        if (sr_keys[i].alias) {
            names[count++] = sr_keys[i].alias;
            sr_text_append(&allowed, " or %s", sr_keys[i].alias);
        }
    }
    const char *near = sr_nearest(name, names, count);
    sr_fail(SR_ERROR_ARGUMENT, "cell filter: unknown key '%s'%s%s%s; allowed: %s", name,
            near ? ", did you mean " : "", near ? near : "", near ? "?" : "",
            sr_text_string(&allowed));
    sr_text_clear(&allowed);
    return SR_ERROR_ARGUMENT;
}

// Whether the cell has this one value for this key.
static sr_status match_value(const sr_cell *cell, const char *name, const char *text, bool *out) {
    sr_key_value wanted, has;
    if (strcmp(name, "group") == 0) {
        *out = strcmp(cell->group, text) == 0;
        return SR_OK;
    }
    if (strcmp(name, "hash") == 0) {
        *out = *text && strncmp(cell->hash, text, strlen(text)) == 0;
        return SR_OK;
    }
    const sr_key *key = sr_key_find(NULL, name);
    if (!key)
        return unknown_term(name);
    sr_key_get(key, cell, &has);
    if (key->type == SR_KEY_TEXT) { // the model by its beginning: its text holds commas
        *out = strcmp(key->name, "model") == 0 ? strncmp(has.text, text, strlen(text)) == 0
                                               : strcmp(has.text, text) == 0;
        return SR_OK;
    }
    const sr_status status = sr_key_parse(key, text, &wanted);
    if (status != SR_OK)
        return sr_fail_context(status, "cell filter: ");
    *out = sr_key_equal(key, &has, &wanted);
    return SR_OK;
}

static sr_status match_term(const sr_cell *cell, char *term, bool *out) {
    char *equals = strchr(term, '=');
    if (!equals || equals == term || !equals[1])
        return sr_fail(SR_ERROR_ARGUMENT,
                       "cell filter: '%s' is not of the form key=value or key=a|b (like K=10|20)",
                       term);
    *equals = '\0';
    *out = false;
    char *rest = equals + 1;
    for (char *value; (value = strsep(&rest, "|")) != NULL;) {
        bool one = false;
        const sr_status status = match_value(cell, term, value, &one);
        if (status != SR_OK)
            return status;
        *out = *out || one;
    }
    return SR_OK;
}

sr_status sr_cell_matches(const sr_cell *cell, const char *filter, bool *out) {
    *out = true;
    if (!filter || !*filter)
        return SR_OK;
    char *copy = sr_strdup(filter);
    if (!copy)
        return SR_ERROR_MEMORY;
    sr_status status = SR_OK;
    char *rest = copy;
    for (char *term; status == SR_OK && (term = strsep(&rest, ",")) != NULL;) {
        bool one = false;
        status = match_term(cell, term, &one);
        *out = *out && one;
    }
    sr_free(copy);
    return status;
}
