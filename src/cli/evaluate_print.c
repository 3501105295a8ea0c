// What `shortrun evaluate` prints: a table, JSON, or CSV.
#include "cli/evaluate.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CLASSES_SHOWN 20 // a longer histogram goes to JSON only

// ---- JSON ---------------------------------------------------------------------------------------

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *side_json(const evaluate_side *s) {
    return json_pack("{s:s, s:s, s:I, s:[I, I, I], s:s}", "name", s->text, "label", s->label,
                     "rows", (json_int_t)s->n, "shape", (json_int_t)s->channels,
                     (json_int_t)s->height, (json_int_t)s->width, "hash", s->hash);
}

static json_t *features_json(const evaluate_values *v, const evaluate_features *f) {
    json_t *out = json_pack("{s:s, s:I}", "name", f->name, "dimension", (json_int_t)f->dim);
    if (f->hash[0])
        json_object_set_new(out, "hash", json_string(f->hash));
    if (f->inception) {
        json_object_set_new(out, "resize", json_string(sr_resize_name(v->resize)));
        json_object_set_new(out, "precision", json_string(sr_precision_name(v->precision)));
    }
    return out;
}

static json_t *score_json(const evaluate_score *s) {
    const sr_estimate *e = &s->estimate;
    json_t *out = json_pack("{s:o, s:o, s:o, s:o}", "value", number(e->value), "error",
                            number(e->error), "low", number(e->low), "high", number(e->high));
    for (size_t i = 0; i < 2 && s->more[i].name; i++)
        json_object_set_new(out, s->more[i].name, number(s->more[i].value));
    return out;
}

// One string a line.
static json_t *lines_json(const char *text) {
    json_t *out = json_array();
    while (*text) {
        const size_t length = strcspn(text, "\n");
        json_array_append_new(out, json_stringn(text, length));
        text += length + (text[length] == '\n');
    }
    return out;
}

static json_t *classes_json(const evaluate_scores *r) {
    json_t *count = json_array(), *share = json_array();
    for (size_t c = 0; c < r->classes; c++) {
        json_array_append_new(count, json_integer((json_int_t)r->class_count[c]));
        json_array_append_new(share, number(r->class_share[c]));
    }
    return json_pack("{s:o, s:o}", "count", count, "share", share);
}

static int print_json(const evaluate_values *v, const evaluate_side *real,
                      const evaluate_side *fake, const evaluate_features *features,
                      const evaluate_scores *r) {
    json_t *metrics = json_object();
    for (size_t i = 0; i < r->count; i++)
        json_object_set_new(metrics, r->list[i].name, score_json(&r->list[i]));
    json_t *root = json_pack(
        "{s:I, s:I, s:o, s:o, s:o, s:o, s:s, s:o}", "n_real", (json_int_t)r->n_real, "n_fake",
        (json_int_t)r->n_fake, "metrics", metrics, "real", side_json(real), "fake", side_json(fake),
        "features", features_json(v, features), "convention", sr_convention_name(v->convention),
        "settings", lines_json(sr_text_string(&r->settings)));
    if (root && r->classes)
        json_object_set_new(root, "classes", classes_json(r));
    if (root && v->timings)
        json_object_set_new(root, "seconds",
                            json_pack("{s:f, s:f, s:f}", "reading", r->seconds.reading, "features",
                                      r->seconds.features, "scores", r->seconds.scores));
    if (!root) // memory, or a name that is not UTF-8
        return cli_error("the result cannot be written as JSON: a name is not valid UTF-8");
    json_dumpf(root, stdout, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17));
    putchar('\n');
    json_decref(root);
    return 0;
}

// ---- CSV and table ------------------------------------------------------------------------------

static void print_number(double value) {
    if (isnan(value)) // whatever its sign
        printf(",nan");
    else
        printf(",%.17g", value);
}

static int print_csv(const evaluate_scores *r) {
    printf("metric,value,error,low,high,n_real,n_fake\n");
    for (size_t i = 0; i < r->count; i++) {
        const sr_estimate *e = &r->list[i].estimate;
        printf("%s", r->list[i].name);
        print_number(e->value);
        print_number(e->error);
        print_number(e->low);
        print_number(e->high);
        printf(",%zu,%zu\n", r->n_real, r->n_fake);
    }
    return 0;
}

static void print_score(const evaluate_score *s) {
    char value[32], interval[64] = "";
    const sr_estimate *e = &s->estimate;
    snprintf(value, sizeof value, "%.6g", e->value);
    if (!isnan(e->low) && !isnan(e->high))
        snprintf(interval, sizeof interval, "%.5g .. %.5g", e->low, e->high);
    printf("%-20s%-14s", s->name, isnan(e->value) ? "-" : value);
    if (s->note[0])
        printf("%-28s%s\n", interval, s->note);
    else
        printf("%s\n", interval);
}

static int print_table(const evaluate_values *v, const evaluate_side *real,
                       const evaluate_side *fake, const evaluate_features *features,
                       const evaluate_scores *r) {
    printf("%-20s%s\n%-20s%s\n", "real", real->label, "fake", fake->label);
    printf("%-20s%s\n", "features", features->name);
    printf("%-20s%s\n\n", "convention", sr_convention_name(v->convention));
    printf("%-20s%-14s%s\n", "score", "value", v->o.no_errors ? "" : "95% interval");
    for (size_t i = 0; i < r->count; i++)
        print_score(&r->list[i]);
    if (r->classes && r->classes <= CLASSES_SHOWN) {
        printf("\nclasses of the fakes:");
        for (size_t c = 0; c < r->classes; c++)
            printf(" %llu", (unsigned long long)r->class_count[c]);
        printf("\n");
    }
    printf("\nsettings\n");
    for (const char *at = sr_text_string(&r->settings); *at;) {
        const size_t length = strcspn(at, "\n");
        printf("  %.*s\n", (int)length, at);
        at += length + (at[length] == '\n');
    }
    if (v->timings)
        printf("\nseconds\n  reading %.3g, features %.3g, scores %.3g\n", r->seconds.reading,
               r->seconds.features, r->seconds.scores);
    return 0;
}

int evaluate_print(const evaluate_values *v, const evaluate_side *real, const evaluate_side *fake,
                   const evaluate_features *features, const evaluate_scores *scores) {
    if (v->format == EVALUATE_JSON)
        return print_json(v, real, fake, features, scores);
    if (v->format == EVALUATE_CSV)
        return print_csv(scores);
    return print_table(v, real, fake, features, scores);
}
