// Checkpoints: everything that decides the bits of the iterations to come, in one safetensors file
// that PyTorch opens. Tensors: "<index>.weight", "<index>.bias" (what sampling uses: effective,
// averaged where that is on), the same with "raw." before them (what the optimiser moves),
// "adam.m", "adam.v" or "sgd.momentum", "average", "spectral.*", "chains". Metadata: the network's
// description, and under "train." the iteration and every option that matters, as text that reads
// back to the same number. A file is taken as hostile: nothing in the trainer changes before all of
// it has been checked.
#include "train/trainer.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENGINES_KEY "train.engines"
// State of the cap on s ||H||, where there is one.
#define FOUND_KEY "train.curvature_found"
#define PEAK_KEY "train.curvature_peak"
#define SCALE_KEY "train.curvature_scale"
#define FORMAT "shortrun checkpoint 1"

// ---- options as text ----------------------------------------------------------------------------

// One option: its metadata key and value. Options that do nothing in this run (Adam's beta2 under
// SGD) read "unused", so that they never make two runs differ.
typedef struct field {
    const char *key;
    char text[72];
} field;

#define FIELD_LIMIT 48

typedef struct fields {
    size_t count;
    field at[FIELD_LIMIT];
} fields;

static void put_text(fields *f, const char *key, const char *text) {
    assert(f->count < FIELD_LIMIT);
    field *new = &f->at[f->count++];
    new->key = key;
    snprintf(new->text, sizeof new->text, "%s", text);
}

// The shortest of 15, 16 or 17 digits that reads back to the same double.
static void put_number(fields *f, const char *key, double value) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    put_text(f, key, text);
}

static void put_whole(fields *f, const char *key, uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    put_text(f, key, text);
}

static void put_if(fields *f, bool used, const char *key, double value) {
    if (used)
        put_number(f, key, value);
    else
        put_text(f, key, "unused");
}

// Everything that decides the bits but the network and the number of iterations. Threads do not;
// the gap bound only says where a run ends.
static void list_fields(const sr_trainer *t, fields *f) {
    const sr_train_options *o = &t->options;
    const sr_dynamics *d = &o->dynamics;
    const bool adam = o->optimiser == SR_ADAM, persistent = d->start == SR_START_PERSISTENT;
    f->count = 0;
    put_text(f, "train.data_hash", t->data->hash);
    put_whole(f, "train.seed", o->seed);
    put_whole(f, "train.batch", o->batch);
    put_whole(f, "train.steps", d->steps);
    put_number(f, "train.step_size", d->step_size);
    put_number(f, "train.noise", d->noise);
    put_text(f, "train.noise_last", d->noise > 0.0 ? d->noise_last ? "yes" : "no" : "unused");
    put_number(f, "train.clamp", d->clamp);
    put_text(f, "train.integrator", sr_integrator_name(d->integrator));
    put_if(f, d->integrator == SR_INTEGRATOR_ADAPTIVE, "train.tolerance", d->tolerance);
    put_text(f, "train.start", sr_start_name(d->start));
    put_text(f, "train.restart_from", persistent ? sr_start_name(d->restart_from) : "unused");
    put_if(f, persistent, "train.restart_rate", d->restart_rate);
    put_text(f, "train.engine", sr_engine_name(o->engine));
    put_text(f, "train.precision", sr_precision_name(o->precision));
    put_whole(f, "train.tile", sr_energy_gradient_tile(t->energy));
    put_text(f, "train.optimiser", sr_optimiser_name(o->optimiser));
    put_number(f, "train.rate", o->rate);
    put_number(f, "train.beta1", o->beta1);
    put_if(f, adam, "train.beta2", o->beta2);
    put_if(f, adam, "train.epsilon", o->epsilon);
    put_number(f, "train.decay_from", o->decay_from);
    put_number(f, "train.decay_to", o->decay_to);
    put_number(f, "train.average", o->average);
    put_number(f, "train.energy_l2", o->energy_l2);
    put_number(f, "train.clip_norm", o->clip_norm);
    put_whole(f, "train.spectral_iterations", o->spectral_iterations);
    put_number(f, "train.data_noise", o->data_noise);
    put_number(f, "train.curvature_cap", o->curvature_cap);
    put_if(f, o->curvature_cap > 0, "train.curvature_every", (double)o->curvature_every);
    put_whole(f, "train.exact_grid", o->exact_grid);
    put_if(f, o->exact_grid > 0, "train.exact_window", o->exact_window);
}

// ---- saving -------------------------------------------------------------------------------------

static sr_status put_engines(const sr_trainer *t, sr_tensors *tensors) {
    sr_text text = {0};
    sr_engines_format(sr_plan_engines(sr_energy_plan(t->energy)), t->net.layer_count, &text);
    sr_status status = sr_text_status(&text);
    if (status == SR_OK)
        status = sr_tensors_set_meta(tensors, ENGINES_KEY, sr_text_string(&text));
    sr_text_clear(&text);
    return status;
}

static sr_status put_meta(const sr_trainer *t, sr_tensors *tensors) {
    fields f;
    list_fields(t, &f);
    if (t->curvature) {
        put_number(&f, FOUND_KEY, sr_curvature_get(t->curvature)->found);
        put_number(&f, PEAK_KEY, sr_curvature_get(t->curvature)->peak);
        put_number(&f, SCALE_KEY, sr_curvature_get(t->curvature)->scale);
    }
    put_text(&f, "train.format", FORMAT);
    put_whole(&f, "train.iteration", t->iteration);
    put_whole(&f, "train.iterations", t->options.iterations);
    // For the record; the data's hash is what is compared.
    put_text(&f, "train.data", t->data->name);
    put_text(&f, "train.isa", sr_isa_name(sr_cpu_get()->active));
    put_text(&f, "train.engine_version", sr_engine_version(t->options.engine));
    sr_status status = sr_net_describe(&t->net, tensors);
    if (status == SR_OK)
        status = put_engines(t, tensors);
    for (size_t i = 0; i < f.count && status == SR_OK; i++)
        status = sr_tensors_set_meta(tensors, f.at[i].key, f.at[i].text);
    return status;
}

static sr_status put_vector(const sr_trainer *t, sr_tensors *tensors, const char *name,
                            const float *data) {
    if (!data)
        return SR_OK;
    return sr_tensors_add(tensors, name, SR_F32, 1, &t->net.parameters, data);
}

static void chains_shape(const sr_trainer *t, size_t shape[4]) {
    shape[0] = t->options.batch;
    shape[1] = t->net.channels;
    shape[2] = t->net.height;
    shape[3] = t->net.width;
}

static const char *first_moment_name(const sr_trainer *t) {
    return t->options.optimiser == SR_ADAM ? "adam.m" : "sgd.momentum";
}

sr_status sr_trainer_save(sr_trainer *t, const char *path) {
    sr_tensors *tensors = NULL;
    sr_status status = sr_tensors_create(&tensors);
    if (status != SR_OK)
        return status;
    size_t shape[4];
    chains_shape(t, shape);
    status = put_meta(t, tensors);
    if (!status)
        status = sr_net_put(&t->net, sr_trainer_parameters(t), "", tensors);
    if (!status)
        status = sr_net_put(&t->net, t->now.theta, "raw.", tensors);
    if (!status)
        status = put_vector(t, tensors, first_moment_name(t), t->now.m);
    if (!status)
        status = put_vector(t, tensors, "adam.v", t->now.v);
    if (!status)
        status = put_vector(t, tensors, "average", t->average);
    if (!status && t->chains)
        status = sr_tensors_add(tensors, "chains", SR_F32, 4, shape, t->chains);
    if (!status && t->spectral)
        status = sr_spectral_put(t->spectral, tensors);
    if (!status)
        status = sr_tensors_save(tensors, path);
    sr_tensors_destroy(tensors);
    return status;
}

// ---- checking a checkpoint against the trainer --------------------------------------------------

static sr_status check_net(const sr_trainer *t, const char *path, const sr_tensors *tensors) {
    sr_net net;
    sr_status status = sr_net_from_meta(tensors, &net);
    if (status != SR_OK)
        return sr_fail_context(status, "%s: ", path);
    sr_text found = {0}, expected = {0};
    sr_net_format(&net, &found);
    sr_net_format(&t->net, &expected);
    if ((status = sr_text_status(&found)) == SR_OK)
        status = sr_text_status(&expected);
    if (status == SR_OK && strcmp(sr_text_string(&found), sr_text_string(&expected)) != 0)
        status = sr_fail(SR_ERROR_ARGUMENT, "%s: checkpoint of network %.200s, this run has %.200s",
                         path, sr_text_string(&found), sr_text_string(&expected));
    sr_text_clear(&found);
    sr_text_clear(&expected);
    return status;
}

static sr_status read_whole(const char *path, const sr_tensors *tensors, const char *key,
                            uint64_t *out) {
    const char *text = sr_tensors_meta(tensors, key);
    if (!text)
        return sr_fail(SR_ERROR_FORMAT, "%s: checkpoint lacks the metadata key %s", path, key);
    char *end = NULL;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return sr_fail(SR_ERROR_FORMAT, "%s: metadata %s is '%.40s', expected a whole number", path,
                       key, text);
    *out = value;
    return SR_OK;
}

// The number of iterations decides the schedule of the rate. Going on is the same as never having
// stopped where both schedules agree on all iterations that are done.
static sr_status check_iterations(const sr_trainer *t, const char *path, const sr_tensors *tensors,
                                  uint64_t *done) {
    uint64_t total = 0;
    sr_status status = read_whole(path, tensors, "train.iteration", done);
    if (status == SR_OK)
        status = read_whole(path, tensors, "train.iterations", &total);
    if (status != SR_OK)
        return status;
    const size_t own = t->options.iterations;
    if (*done > total || total > 1000000000)
        return sr_fail(SR_ERROR_FORMAT, "%s: iteration %" PRIu64 " of %" PRIu64 " makes no sense",
                       path, *done, total);
    if (*done > own)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "%s: checkpoint has done %" PRIu64 " iterations, this run ends after %zu",
                       path, *done, own);
    const double start = fmin(sr_schedule_decay_start(&t->options, own),
                              sr_schedule_decay_start(&t->options, (size_t)total));
    if (total != own && (double)*done > start && t->options.decay_to < 1.0)
        return sr_fail(SR_ERROR_ARGUMENT,
                       "%s: checkpoint after iteration %" PRIu64 " of a run of %" PRIu64
                       ", this run has %zu; the learning rate already decays, so the number of "
                       "iterations must be the same",
                       path, *done, total, own);
    return SR_OK;
}

// What a file says of an option that is younger than its program: what that program did.
static const char *before_there_was(const char *name) {
    static const char *const then[][2] = {{"precision", "fp32"},         {"integrator", "euler"},
                                          {"tolerance", "unused"},       {"curvature_cap", "0"},
                                          {"curvature_every", "unused"}, {"exact_grid", "0"},
                                          {"exact_window", "unused"}};
    for (size_t i = 0; i < sizeof then / sizeof *then; i++)
        if (strcmp(name, then[i][0]) == 0)
            return then[i][1];
    return NULL;
}

static sr_status check_fields(const sr_trainer *t, const char *path, const sr_tensors *tensors) {
    const char *format = sr_tensors_meta(tensors, "train.format");
    if (!format)
        return sr_fail(SR_ERROR_FORMAT,
                       "%s: no training checkpoint (metadata key train.format is missing)", path);
    if (strcmp(format, FORMAT) != 0)
        return sr_fail(SR_ERROR_UNSUPPORTED, "%s: checkpoint format '%.40s', expected '%s'", path,
                       format, FORMAT);
    const sr_status status = check_net(t, path, tensors);
    if (status != SR_OK)
        return status;
    fields f;
    list_fields(t, &f);
    for (size_t i = 0; i < f.count; i++) {
        const char *name = strchr(f.at[i].key, '.') + 1;
        const char *found = sr_tensors_meta(tensors, f.at[i].key);
        if (!found)
            found = before_there_was(name);
        if (!found)
            return sr_fail(SR_ERROR_FORMAT, "%s: checkpoint lacks the metadata key %s", path,
                           f.at[i].key);
        if (strcmp(found, f.at[i].text) != 0)
            return sr_fail(SR_ERROR_ARGUMENT, "%s: checkpoint made with %s %.72s, this run has %s",
                           path, name, found, f.at[i].text);
    }
    return SR_OK;
}

// ---- loading ------------------------------------------------------------------------------------

static sr_status check_finite(const char *path, const char *name, size_t n, const float *data) {
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(data[i]))
            return sr_fail(SR_ERROR_FORMAT, "%s: tensor %s holds %g at position %zu", path, name,
                           (double)data[i], i);
    }
    return SR_OK;
}

// Copies the tensor `name` of exactly this shape into `to`.
static sr_status take(const char *path, const sr_tensors *tensors, const char *name, size_t rank,
                      const size_t *shape, float *to) {
    const sr_array *array = sr_tensors_find(tensors, name);
    if (!array)
        return sr_fail(SR_ERROR_FORMAT, "%s: tensor %s is missing", path, name);
    size_t count = 1;
    bool same = array->rank == rank && array->dtype == SR_F32;
    for (size_t i = 0; i < rank; i++) {
        same = same && array->shape[i] == shape[i];
        count *= shape[i]; // the trainer's own shape, which it has allocated
    }
    if (!same)
        return sr_fail(SR_ERROR_FORMAT,
                       "%s: tensor %s is %s with %zu values of rank %zu, expected F32 with %zu "
                       "values of rank %zu",
                       path, name, sr_dtype_name(array->dtype), sr_array_count(array), array->rank,
                       count, rank);
    memcpy(to, array->data, count * sizeof(float));
    return check_finite(path, name, count, to);
}

// Spectral vectors have unit length (or are zero where a layer's weights are all zero). Checked
// here, all of them, before sr_spectral_take changes the first.
static sr_status check_spectral(const sr_trainer *t, const char *path, const sr_tensors *tensors) {
    char name[48];
    for (size_t i = 0; i < t->net.layer_count; i++) {
        const sr_conv_shape *shape = &t->net.layers[i].shape;
        const size_t inputs = shape->in_channels * shape->in_height * shape->in_width;
        snprintf(name, sizeof name, "spectral.%zu.u", t->net.layers[i].torch_index);
        const sr_array *u = sr_tensors_find(tensors, name);
        if (!u || u->dtype != SR_F32 || sr_array_count(u) != inputs)
            return sr_fail(SR_ERROR_FORMAT, "%s: tensor %s is missing or not F32 of %zu values",
                           path, name, inputs);
        const double length = sqrt(t->kernels->sum_squares(inputs, u->data));
        if (length != 0.0 && !(fabs(length - 1.0) < 1e-3)) // also true for NaN
            return sr_fail(SR_ERROR_FORMAT, "%s: tensor %s has length %g, expected 1", path, name,
                           length);
    }
    return SR_OK;
}

// Where a checkpoint is read to before it is believed.
typedef struct loaded {
    uint64_t iteration;
    sr_point point;
    sr_curvature_state curvature;
    float *average, *chains;
} loaded;

static void loaded_clear(loaded *l) {
    sr_point_clear(&l->point);
    sr_free(l->average);
    sr_free(l->chains);
}

static sr_status read_number(const char *path, const sr_tensors *tensors, const char *key,
                             double low, double high, double *out) {
    const char *text = sr_tensors_meta(tensors, key);
    char *end = NULL;
    *out = text ? strtod(text, &end) : NAN;
    if (text && end != text && *end == '\0' && *out >= low && *out <= high)
        return SR_OK;
    return sr_fail(SR_ERROR_FORMAT, "%s: metadata %s is '%.40s', expected a number from %g to %g",
                   path, key, text ? text : "", low, high);
}

static sr_status take_curvature(const char *path, const sr_tensors *tensors,
                                sr_curvature_state *state) {
    sr_status status = read_number(path, tensors, FOUND_KEY, 0, 1e300, &state->found);
    if (status == SR_OK)
        status = read_number(path, tensors, PEAK_KEY, 0, 1e300, &state->peak);
    if (status == SR_OK)
        status = read_number(path, tensors, SCALE_KEY, 1e-300, 1, &state->scale);
    return status;
}

static sr_status take_all(const sr_trainer *t, const char *path, const sr_tensors *tensors,
                          loaded *l) {
    const size_t parameters = t->net.parameters;
    size_t shape[4];
    chains_shape(t, shape);
    sr_status status = sr_point_create(parameters, t->options.optimiser, &l->point);
    if (status != SR_OK)
        return status;
    if (t->average && !(l->average = sr_alloc(parameters, sizeof(float))))
        return SR_ERROR_MEMORY;
    if (t->chains && !(l->chains = sr_alloc(t->options.batch * t->net.inputs, sizeof(float))))
        return SR_ERROR_MEMORY;
    if ((status = sr_net_take(&t->net, tensors, "raw.", l->point.theta)) != SR_OK)
        return sr_fail_context(status, "%s: ", path);
    status = check_finite(path, "raw.*", parameters, l->point.theta);
    if (!status)
        status = take(path, tensors, first_moment_name(t), 1, &parameters, l->point.m);
    if (!status && l->point.v)
        status = take(path, tensors, "adam.v", 1, &parameters, l->point.v);
    for (size_t i = 0; !status && l->point.v && i < parameters; i++) {
        if (l->point.v[i] < 0.0f)
            status =
                sr_fail(SR_ERROR_FORMAT, "%s: tensor adam.v is negative at position %zu", path, i);
    }
    if (!status && t->average)
        status = take(path, tensors, "average", 1, &parameters, l->average);
    if (!status && t->chains)
        status = take(path, tensors, "chains", 4, shape, l->chains);
    if (!status && t->curvature)
        status = take_curvature(path, tensors, &l->curvature);
    return status;
}

// The tile that was asked for, or where that is chosen the one on record: a mixed chain's sums
// depend on it. A record that is no such number is left to check_fields.
static size_t recorded_tile(const sr_trainer *t, const sr_tensors *tensors) {
    const char *text = sr_tensors_meta(tensors, "train.tile");
    if (t->options.tile || !text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 5)
        return t->options.tile;
    const size_t tile = strtoul(text, NULL, 10);
    return tile <= 65536 ? tile : 0;
}

// Where `auto` chose other engines than when the run began, it goes on with those of the beginning:
// they are part of what decides its bits.
static sr_status take_engines(sr_trainer *t, const char *path, const sr_tensors *tensors) {
    sr_engine engines[SR_MAX_LAYERS];
    const char *text = sr_tensors_meta(tensors, ENGINES_KEY);
    if (t->options.engine != SR_ENGINE_AUTO)
        return SR_OK;
    if (!text)
        return sr_fail(SR_ERROR_FORMAT, "%s: checkpoint lacks the metadata key %s", path,
                       ENGINES_KEY);
    const size_t count = t->net.layer_count;
    if (sr_engines_parse(text, count, engines) != SR_OK)
        return sr_fail_context(SR_ERROR_FORMAT, "%s: metadata %s: ", path, ENGINES_KEY);
    const size_t tile = recorded_tile(t, tensors);
    if (memcmp(engines, sr_plan_engines(sr_energy_plan(t->energy)), count * sizeof *engines) == 0 &&
        (t->options.tile || tile == sr_energy_gradient_tile(t->energy)))
        return SR_OK;
    const sr_status status = sr_trainer_make_energy(t, engines, tile);
    if (status == SR_OK)
        sr_trainer_install(t);
    return status;
}

static void adopt(sr_trainer *t, const loaded *l) {
    const size_t parameters = t->net.parameters;
    sr_point_copy(parameters, &l->point, &t->now);
    if (t->average)
        memcpy(t->average, l->average, parameters * sizeof(float));
    if (t->chains)
        memcpy(t->chains, l->chains, t->options.batch * t->net.inputs * sizeof(float));
    t->iteration = l->iteration;
    if (t->spectral) // no power iteration: the vectors are those from which the effective ones came
        sr_spectral_apply(t->spectral, 0, t->now.theta, t->now.effective);
    else
        memcpy(t->now.effective, t->now.theta, parameters * sizeof(float));
    if (t->curvature)
        sr_curvature_set(t->curvature, &l->curvature);
    sr_trainer_install(t);
}

sr_status sr_trainer_load(sr_trainer *t, const char *path) {
    sr_tensors *tensors = NULL;
    loaded l = {0};
    sr_status status = sr_tensors_load(path, &tensors);
    if (status != SR_OK)
        return status;
    status = take_engines(t, path, tensors);
    if (!status)
        status = check_fields(t, path, tensors);
    if (!status)
        status = check_iterations(t, path, tensors, &l.iteration);
    if (!status)
        status = take_all(t, path, tensors, &l);
    if (!status && t->spectral)
        status = check_spectral(t, path, tensors);
    if (!status && t->spectral && (status = sr_spectral_take(t->spectral, tensors)) != SR_OK)
        sr_fail_context(status, "%s: ", path);
    if (status == SR_OK) {
        adopt(t, &l);
        const char *isa = sr_tensors_meta(tensors, "train.isa");
        const char *own = sr_isa_name(sr_cpu_get()->active);
        snprintf(t->foreign_isa, sizeof t->foreign_isa, "%s",
                 isa && strcmp(isa, own) != 0 ? isa : "");
    }
    loaded_clear(&l);
    sr_tensors_destroy(tensors);
    return status;
}
