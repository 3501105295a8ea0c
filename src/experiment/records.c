// Reading records back from the results database.
#include "experiment/results.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double column_number(sqlite3_stmt *statement, int at) {
    return sqlite3_column_type(statement, at) == SQLITE_NULL ? NAN
                                                             : sqlite3_column_double(statement, at);
}

static void column_text(sqlite3_stmt *statement, int at, char *out, size_t size) {
    const char *text = (const char *)sqlite3_column_text(statement, at);
    snprintf(out, size, "%s", text ? text : "");
}

// Opens the rows of one cell in one table, and tells how many there are.
static sr_status open_rows(sr_results *results, const char *table, const char *columns,
                           const char *order, const char *hash, sqlite3_stmt **out, size_t *count) {
    char sql[256];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE cell = ?", table);
    sr_status status = sr_results_prepare(results, sql, out);
    if (status != SR_OK)
        return status;
    sqlite3_bind_text(*out, 1, hash, -1, SQLITE_TRANSIENT);
    if (sqlite3_step(*out) == SQLITE_ROW)
        *count = (size_t)sqlite3_column_int64(*out, 0);
    else
        status = sr_results_fail(results, "counting rows");
    sqlite3_finalize(*out);
    *out = NULL;
    if (status != SR_OK)
        return status;
    snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE cell = ? ORDER BY %s", columns, table,
             order);
    status = sr_results_prepare(results, sql, out);
    if (status == SR_OK)
        sqlite3_bind_text(*out, 1, hash, -1, SQLITE_TRANSIENT);
    return status;
}

static sr_status read_values(sr_results *results, const char *table, const char *columns,
                             const char *hash, sr_value **out, size_t *out_count) {
    sqlite3_stmt *statement;
    size_t room = 0, count = 0;
    sr_status status = open_rows(results, table, columns, "name", hash, &statement, &room);
    sr_value *values = status == SR_OK ? sr_alloc(room, sizeof *values) : NULL;
    if (status == SR_OK && !values)
        status = SR_ERROR_MEMORY;
    int code = SQLITE_DONE;
    while (status == SR_OK && count < room && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        column_text(statement, 0, values[count].name, sizeof values[count].name);
        values[count].value = column_number(statement, 1);
        values[count].n = (size_t)sqlite3_column_int64(statement, 2);
        values[count].error = column_number(statement, 3);
        values[count].low = column_number(statement, 4);
        values[count].high = column_number(statement, 5);
        count++;
    }
    if (status == SR_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        status = sr_results_fail(results, "reading values");
    sqlite3_finalize(statement);
    *out = values;
    *out_count = count;
    return status;
}

static sr_status read_series(sr_results *results, const char *table, const char *columns,
                             const char *order, const char *hash, double **out[3],
                             size_t *out_count) {
    sqlite3_stmt *statement;
    size_t room = 0, count = 0;
    sr_status status = open_rows(results, table, columns, order, hash, &statement, &room);
    for (int k = 0; k < 3 && status == SR_OK; k++) {
        *out[k] = sr_alloc(room, sizeof **out[k]);
        if (!*out[k])
            status = SR_ERROR_MEMORY;
    }
    int code = SQLITE_DONE;
    while (status == SR_OK && count < room && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        for (int k = 0; k < 3; k++)
            (*out[k])[count] = column_number(statement, k);
        count++;
    }
    if (status == SR_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        status = sr_results_fail(results, "reading a curve");
    sqlite3_finalize(statement);
    *out_count = count;
    return status;
}

static sr_status read_head(sr_results *results, sr_record *record) {
    sqlite3_stmt *statement;
    sr_status status =
        sr_results_prepare(results,
                           "SELECT state, message, description, features, finished FROM cells "
                           "LEFT JOIN machines ON machines.id = cells.machine WHERE hash = ?",
                           &statement);
    if (status != SR_OK)
        return status;
    sqlite3_bind_text(statement, 1, record->cell.hash, -1, SQLITE_TRANSIENT);
    const int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        char state[16];
        column_text(statement, 0, state, sizeof state);
        record->state = strcmp(state, "diverged") == 0 ? SR_CELL_DIVERGED : SR_CELL_DONE;
        column_text(statement, 1, record->message, sizeof record->message);
        column_text(statement, 2, record->machine, sizeof record->machine);
        column_text(statement, 3, record->features, sizeof record->features);
        column_text(statement, 4, record->finished, sizeof record->finished);
    } else if (code != SQLITE_DONE) {
        status = sr_results_fail(results, "reading a cell");
    }
    sqlite3_finalize(statement);
    return status;
}

static sr_status read_body(sr_results *results, sr_record *record) {
    const char *hash = record->cell.hash;
    double **curve[3] = {&record->curve_iteration, &record->curve_gap,
                         &record->curve_gradient_norm};
    double **trace[3] = {&record->trace_energy, &record->trace_gradient_norm,
                         &record->trace_displacement};
    // Older results hold high_quality under its first name.
    sr_status status = read_values(
        results, "metrics",
        "CASE name WHEN 'within_3sd' THEN 'high_quality' ELSE name END AS name, value, n, "
        "error, low, high",
        hash, &record->metrics, &record->metric_count);
    if (status == SR_OK)
        status = read_values(results, "timings", "name, value, 0, NULL, NULL, NULL", hash,
                             &record->timings, &record->timing_count);
    if (status == SR_OK)
        status = read_series(results, "curves", "iteration, gap, gradient_norm", "point", hash,
                             curve, &record->curve_count);
    if (status == SR_OK)
        status = read_series(results, "traces", "energy, gradient_norm, displacement", "step", hash,
                             trace, &record->trace_count);
    return status;
}

void sr_record_clear(sr_record *record) {
    sr_free(record->metrics);
    sr_free(record->timings);
    sr_free(record->curve_iteration);
    sr_free(record->curve_gap);
    sr_free(record->curve_gradient_norm);
    sr_free(record->trace_energy);
    sr_free(record->trace_gradient_norm);
    sr_free(record->trace_displacement);
    *record = (sr_record){0};
}

sr_status sr_results_read(sr_results *results, const sr_experiment *experiment, sr_record **out,
                          size_t *count) {
    *out = NULL;
    *count = 0;
    sr_record *records = sr_alloc(experiment->cell_count, sizeof *records);
    if (!records)
        return SR_ERROR_MEMORY;
    size_t n = 0;
    sr_status status = SR_OK;
    for (size_t i = 0; i < experiment->cell_count && status == SR_OK; i++) {
        records[n].cell = experiment->cells[i];
        status = read_head(results, &records[n]);
        if (status == SR_OK && records[n].state == SR_CELL_ABSENT) {
            records[n] = (sr_record){0};
            continue;
        }
        if (status == SR_OK)
            status = read_body(results, &records[n]);
        n++;
    }
    if (status != SR_OK) {
        sr_records_destroy(records, n);
        return status;
    }
    *out = records;
    *count = n;
    return SR_OK;
}

void sr_records_destroy(sr_record *records, size_t count) {
    if (!records)
        return;
    for (size_t i = 0; i < count; i++)
        sr_record_clear(&records[i]);
    sr_free(records);
}

static double find_value(const sr_value *values, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(values[i].name, name) == 0)
            return values[i].value;
    }
    return NAN;
}

double sr_record_metric(const sr_record *record, const char *name) {
    return find_value(record->metrics, record->metric_count, name);
}

double sr_record_timing(const sr_record *record, const char *name) {
    return find_value(record->timings, record->timing_count, name);
}
