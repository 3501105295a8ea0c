// The results database: its schema, opening it, and writing one cell in one transaction. Reading
// records back is in records.c.
//
//   cells     one row a cell: hash, state, settings (a column for each key), machine, time
//   metrics   cell, name, value, n, error, low, high   (the last three NULL: no interval)
//   timings   cell, name, value
//   curves    cell, point, iteration, gap, gradient_norm        (training, thinned)
//   traces    cell, step, energy, gradient_norm, displacement   (sampling)
//   machines  id, description
//
// A number that is not finite is stored as NULL. PRAGMA application_id marks the file as ours,
// user_version is the schema's version.
#include "experiment/results.h"
#include "experiment/keys.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define APPLICATION_ID 0x53527631 // "SRv1"
#define SCHEMA_VERSION 4
#define BUSY_MILLISECONDS 20000 // another process may be writing: its transactions are short

static const char *const state_names[] = {"absent", "done", "diverged"};

sr_status sr_results_fail(sr_results *results, const char *what) {
    const int code = sqlite3_extended_errcode(results->db);
    const char *why = sqlite3_errmsg(results->db);
    switch (code & 0xff) {
    case SQLITE_FULL:
        why = "the disk is full";
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        why = "another process keeps it locked";
        break;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        why = "it cannot be opened for writing (permissions of the file and its folder)";
        break;
    case SQLITE_NOTADB:
        why = "it is not an SQLite database";
        break;
    case SQLITE_CORRUPT:
        why = "it is damaged";
        break;
    case SQLITE_NOMEM:
        return sr_fail(SR_ERROR_MEMORY, "%s: %s: out of memory", results->path, what);
    }
    return sr_fail(SR_ERROR_DATABASE, "%s: %s failed: %s (SQLite code %d)", results->path, what,
                   why, code);
}

sr_status sr_results_prepare(sr_results *results, const char *sql, sqlite3_stmt **out) {
    *out = NULL;
    return sqlite3_prepare_v2(results->db, sql, -1, out, NULL) == SQLITE_OK
               ? SR_OK
               : sr_results_fail(results, "preparing a statement");
}

sr_status sr_results_step(sr_results *results, sqlite3_stmt *statement, const char *what) {
    const int code = sqlite3_step(statement);
    const sr_status status =
        code == SQLITE_DONE || code == SQLITE_ROW ? SR_OK : sr_results_fail(results, what);
    sqlite3_reset(statement);
    return status;
}

static sr_status execute(sr_results *results, const char *sql, const char *what) {
    return sqlite3_exec(results->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? SR_OK
               : sr_results_fail(results, what);
}

static sr_status read_integer(sr_results *results, const char *sql, int64_t *out) {
    sqlite3_stmt *statement;
    sr_status status = sr_results_prepare(results, sql, &statement);
    if (status != SR_OK)
        return status;
    const int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    else
        status = sr_results_fail(results, "reading");
    sqlite3_finalize(statement);
    return status;
}

// ---- schema -------------------------------------------------------------------------------------

static const char *sql_type(sr_key_type type) {
    switch (type) {
    case SR_KEY_TEXT:
    case SR_KEY_CHOICE:
        return "TEXT";
    case SR_KEY_NUMBER:
        return "REAL";
    case SR_KEY_COUNT:
    case SR_KEY_SWITCH:
        return "INTEGER";
    }
    return "";
}

static sr_status create_schema(sr_results *results) {
    sr_text sql = {0};
    sr_text_append(&sql, "BEGIN IMMEDIATE;"
                         "CREATE TABLE machines (id INTEGER PRIMARY KEY, description TEXT UNIQUE);"
                         "CREATE TABLE cells (hash TEXT PRIMARY KEY, state TEXT NOT NULL,"
                         " message TEXT, group_name TEXT");
    for (size_t i = 0; i < sr_key_count; i++)
        sr_text_append(&sql, ", %s %s NOT NULL", sr_keys[i].column, sql_type(sr_keys[i].type));
    sr_text_append(&sql, ", machine INTEGER REFERENCES machines, features TEXT, finished TEXT);");
    const char *const rows[][2] = {
        {"metrics", "name TEXT, value REAL, n INTEGER, error REAL, low REAL, high REAL,"
                    " PRIMARY KEY (cell, name)"},
        {"timings", "name TEXT, value REAL, PRIMARY KEY (cell, name)"},
        {"curves", "point INTEGER, iteration REAL, gap REAL, gradient_norm REAL,"
                   " PRIMARY KEY (cell, point)"},
        {"traces", "step INTEGER, energy REAL, gradient_norm REAL, displacement REAL,"
                   " PRIMARY KEY (cell, step)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        sr_text_append(&sql,
                       "CREATE TABLE %s (cell TEXT NOT NULL REFERENCES cells ON DELETE CASCADE, "
                       "%s) WITHOUT ROWID;",
                       rows[i][0], rows[i][1]);
    sr_text_append(&sql, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT;",
                   APPLICATION_ID, SCHEMA_VERSION);
    sr_status status = sr_text_status(&sql);
    if (status == SR_OK)
        status = execute(results, sr_text_string(&sql), "creating the tables");
    if (status != SR_OK)
        sqlite3_exec(results->db, "ROLLBACK", NULL, NULL, NULL); // the first message stands
    sr_text_clear(&sql);
    return status;
}

// A column for every key that this file is too old to know; its cells have the default.
static sr_status add_later_columns(sr_results *results) {
    sr_status status = SR_OK;
    sr_cell usual;
    sr_cell_default(&usual, true);
    for (size_t i = 0; i < sr_key_count && status == SR_OK; i++) {
        const sr_key *key = &sr_keys[i];
        sr_text sql = {0};
        sr_key_value value;
        int64_t there = 1;
        if (!key->later)
            continue;
        sr_text_append(&sql, "SELECT count(*) FROM pragma_table_info('cells') WHERE name = '%s'",
                       key->column);
        status = sr_text_status(&sql);
        if (status == SR_OK)
            status = read_integer(results, sr_text_string(&sql), &there);
        sr_text_clear(&sql);
        if (status == SR_OK && there == 0) {
            sr_key_get(key, &usual, &value);
            sr_text_append(&sql, "ALTER TABLE cells ADD COLUMN %s %s NOT NULL DEFAULT '",
                           key->column, sql_type(key->type));
            sr_key_format(key, &value, true, &sql);
            sr_text_append(&sql, "'");
            status = sr_text_status(&sql);
            if (status == SR_OK)
                status = execute(results, sr_text_string(&sql), "upgrading the tables");
        }
        sr_text_clear(&sql);
    }
    return status;
}

// Version 2 knows precisions (before, everything was fp32), version 3 the uncertainty of metrics,
// version 4 keys that came later.
static sr_status upgrade_schema(sr_results *results, int64_t version) {
    sr_text sql = {0};
    sr_text_append(&sql, "BEGIN IMMEDIATE;");
    if (version < 2)
        sr_text_append(&sql,
                       "ALTER TABLE cells ADD COLUMN precision TEXT NOT NULL DEFAULT 'fp32';");
    if (version < 3)
        sr_text_append(&sql, "ALTER TABLE metrics ADD COLUMN error REAL;"
                             "ALTER TABLE metrics ADD COLUMN low REAL;"
                             "ALTER TABLE metrics ADD COLUMN high REAL;");
    sr_text_append(&sql, "PRAGMA user_version = %d; COMMIT;", SCHEMA_VERSION);
    sr_status status = sr_text_status(&sql);
    if (status == SR_OK)
        status = execute(results, sr_text_string(&sql), "upgrading the tables");
    sr_text_clear(&sql);
    if (status != SR_OK)
        sqlite3_exec(results->db, "ROLLBACK", NULL, NULL, NULL); // the first message stands
    return status;
}

// An empty file gets the schema, one of the last version what is new; anything that is not ours is
// refused untouched.
static sr_status check_schema(sr_results *results) {
    int64_t application = 0, version = 0, tables = 0;
    sr_status status = read_integer(results, "PRAGMA application_id", &application);
    if (status == SR_OK)
        status = read_integer(results, "PRAGMA user_version", &version);
    if (status == SR_OK)
        status = read_integer(results, "SELECT count(*) FROM sqlite_master", &tables);
    if (status != SR_OK)
        return status;
    if (tables == 0 && application == 0 && version == 0)
        return create_schema(results);
    if (application != APPLICATION_ID)
        return sr_fail(SR_ERROR_FORMAT,
                       "%s: an SQLite database of another program; expected shortrun's results",
                       results->path);
    if (version < 1 || version > SCHEMA_VERSION)
        return sr_fail(SR_ERROR_FORMAT,
                       "%s: results of version %lld; this program reads version %d%s",
                       results->path, (long long)version, SCHEMA_VERSION,
                       version > SCHEMA_VERSION ? " (a newer program wrote them)" : "");
    if (version < SCHEMA_VERSION)
        status = upgrade_schema(results, version);
    return status == SR_OK ? add_later_columns(results) : status;
}

// ---- opening ------------------------------------------------------------------------------------

static sr_status prepare_folder(sr_results *results, bool create) {
    if (!create) {
        if (access(results->path, F_OK) != 0)
            return sr_fail(SR_ERROR_IO, "%s: no results here (%s); `shortrun run` makes them",
                           results->path, strerror(errno));
        return SR_OK;
    }
    const sr_status status = sr_folder_make(results->folder);
    if (status != SR_OK)
        return status;
    if (access(results->folder, W_OK | X_OK) != 0)
        return sr_fail(SR_ERROR_IO, "%s: results cannot be written into this folder: %s",
                       results->folder, strerror(errno));
    return SR_OK;
}

static sr_status open_database(sr_results *results, bool create) {
    const int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
    if (sqlite3_open_v2(results->path, &results->db, flags, NULL) != SQLITE_OK)
        return results->db ? sr_results_fail(results, "opening")
                           : sr_fail(SR_ERROR_MEMORY, "%s: out of memory", results->path);
    sqlite3_busy_timeout(results->db, BUSY_MILLISECONDS);
    sr_status status = check_schema(results);
    if (status == SR_OK)
        status = execute(results,
                         "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                         "PRAGMA foreign_keys = ON;",
                         "setting up");
    return status;
}

sr_status sr_results_open(const char *folder, bool create, sr_results **out) {
    *out = NULL;
    sr_results *results = sr_alloc(1, sizeof *results);
    if (!results)
        return SR_ERROR_MEMORY;
    sr_status status;
    if (strlen(folder) >= sizeof results->folder)
        status = sr_fail(SR_ERROR_ARGUMENT, "the results folder's path has more than %zu bytes",
                         sizeof results->folder - 1);
    else {
        snprintf(results->folder, sizeof results->folder, "%s", folder);
        snprintf(results->path, sizeof results->path, "%s/results.db", folder);
        status = prepare_folder(results, create);
    }
    if (status == SR_OK)
        status = open_database(results, create);
    if (status != SR_OK) {
        sr_results_close(results);
        return status;
    }
    *out = results;
    return SR_OK;
}

void sr_results_close(sr_results *results) {
    if (!results)
        return;
    sqlite3_close(results->db);
    sr_free(results);
}

const char *sr_results_folder(const sr_results *results) {
    return results->folder;
}

void sr_results_cell_path(const sr_results *results, const char *hash, const char *name, char *out,
                          size_t size) {
    snprintf(out, size, "%s/cells/%s%s%s", results->folder, hash, *name ? "/" : "", name);
}

// ---- state --------------------------------------------------------------------------------------

sr_status sr_results_look_up(sr_results *results, const char *hash, sr_cell_state *out) {
    sqlite3_stmt *statement;
    *out = SR_CELL_ABSENT;
    sr_status status =
        sr_results_prepare(results, "SELECT state FROM cells WHERE hash = ?", &statement);
    if (status != SR_OK)
        return status;
    sqlite3_bind_text(statement, 1, hash, -1, SQLITE_STATIC);
    const int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        const char *state = (const char *)sqlite3_column_text(statement, 0);
        *out = state && strcmp(state, state_names[SR_CELL_DIVERGED]) == 0 ? SR_CELL_DIVERGED
                                                                          : SR_CELL_DONE;
    } else if (code != SQLITE_DONE) {
        status = sr_results_fail(results, "looking up a cell");
    }
    sqlite3_finalize(statement);
    return status;
}

sr_cell_state sr_results_state(sr_results *results, const char *hash) {
    sr_cell_state state;
    return sr_results_look_up(results, hash, &state) == SR_OK ? state : SR_CELL_ABSENT;
}

// ---- writing ------------------------------------------------------------------------------------

static void bind_number(sqlite3_stmt *statement, int at, double value) {
    if (isfinite(value))
        sqlite3_bind_double(statement, at, value);
    else
        sqlite3_bind_null(statement, at);
}

static void bind_text(sqlite3_stmt *statement, int at, const char *text) {
    sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT);
}

static void bind_key(sqlite3_stmt *statement, int at, const sr_key *key, const sr_cell *cell) {
    sr_key_value value;
    sr_key_get(key, cell, &value);
    switch (key->type) {
    case SR_KEY_TEXT:
        bind_text(statement, at, value.text);
        break;
    case SR_KEY_COUNT:
        sqlite3_bind_int64(statement, at, (sqlite3_int64)value.count);
        break;
    case SR_KEY_NUMBER:
        bind_number(statement, at, value.number);
        break;
    case SR_KEY_SWITCH:
        sqlite3_bind_int(statement, at, value.on);
        break;
    case SR_KEY_CHOICE:
        bind_text(statement, at, key->choice(value.choice));
    }
}

static sr_status put_cell(sr_results *results, const sr_record *record) {
    sqlite3_stmt *statement;
    sr_text sql = {0};
    // columns by name: in an upgraded file they stand in another order
    sr_text_append(&sql, "INSERT INTO cells (hash, state, message, group_name");
    for (size_t i = 0; i < sr_key_count; i++)
        sr_text_append(&sql, ", %s", sr_keys[i].column);
    sr_text_append(&sql, ", machine, features, finished) VALUES (?, ?, ?, ?");
    for (size_t i = 0; i < sr_key_count; i++)
        sr_text_append(&sql, ", ?");
    sr_text_append(&sql, ", (SELECT id FROM machines WHERE description = ?), ?, ?)");
    sr_status status = sr_text_status(&sql);
    if (status == SR_OK)
        status = sr_results_prepare(results, sr_text_string(&sql), &statement);
    sr_text_clear(&sql);
    if (status != SR_OK)
        return status;
    int at = 1;
    bind_text(statement, at++, record->cell.hash);
    bind_text(statement, at++, state_names[record->state]);
    bind_text(statement, at++, record->message);
    bind_text(statement, at++, record->cell.group);
    for (size_t i = 0; i < sr_key_count; i++)
        bind_key(statement, at++, &sr_keys[i], &record->cell);
    bind_text(statement, at++, record->machine);
    bind_text(statement, at++, record->features);
    bind_text(statement, at++, record->finished);
    status = sr_results_step(results, statement, "writing a cell");
    sqlite3_finalize(statement);
    return status;
}

static sr_status put_values(sr_results *results, const char *hash, const char *sql, size_t count,
                            const sr_value *values, bool metrics) {
    sqlite3_stmt *statement;
    sr_status status = sr_results_prepare(results, sql, &statement);
    for (size_t i = 0; i < count && status == SR_OK; i++) {
        bind_text(statement, 1, hash);
        bind_text(statement, 2, values[i].name);
        bind_number(statement, 3, values[i].value);
        if (metrics) {
            sqlite3_bind_int64(statement, 4, (sqlite3_int64)values[i].n);
            bind_number(statement, 5, values[i].error);
            bind_number(statement, 6, values[i].low);
            bind_number(statement, 7, values[i].high);
        }
        status = sr_results_step(results, statement, "writing a value");
    }
    sqlite3_finalize(statement);
    return status;
}

// Rows (cell, i, a[i], b[i], c[i]). An array may be NULL.
static sr_status put_series(sr_results *results, const char *hash, const char *sql, size_t count,
                            const double *a, const double *b, const double *c) {
    const double *const columns[] = {a, b, c};
    sqlite3_stmt *statement;
    sr_status status = sr_results_prepare(results, sql, &statement);
    for (size_t i = 0; i < count && status == SR_OK; i++) {
        bind_text(statement, 1, hash);
        sqlite3_bind_int64(statement, 2, (sqlite3_int64)i);
        for (int k = 0; k < 3; k++)
            bind_number(statement, 3 + k, columns[k] ? columns[k][i] : NAN);
        status = sr_results_step(results, statement, "writing a curve");
    }
    sqlite3_finalize(statement);
    return status;
}

static sr_status put_machine(sr_results *results, const char *description) {
    sqlite3_stmt *statement;
    sr_status status = sr_results_prepare(
        results, "INSERT OR IGNORE INTO machines (description) VALUES (?)", &statement);
    if (status != SR_OK)
        return status;
    bind_text(statement, 1, description);
    status = sr_results_step(results, statement, "writing the machine");
    sqlite3_finalize(statement);
    return status;
}

sr_status sr_results_delete(sr_results *results, const char *hash) {
    sqlite3_stmt *statement;
    sr_status status = sr_results_prepare(results, "DELETE FROM cells WHERE hash = ?", &statement);
    if (status != SR_OK)
        return status;
    bind_text(statement, 1, hash);
    status = sr_results_step(results, statement, "removing a cell");
    sqlite3_finalize(statement);
    return status;
}

sr_status sr_results_put(sr_results *results, const sr_record *record) {
    const char *hash = record->cell.hash;
    if (record->state == SR_CELL_ABSENT || strlen(hash) != 32)
        return sr_fail(SR_ERROR_ARGUMENT, "a record needs a state and a cell with its hash");
    sr_status status = execute(results, "BEGIN IMMEDIATE", "beginning a transaction");
    if (status != SR_OK)
        return status;
    status = sr_results_delete(results, hash);
    if (status == SR_OK)
        status = put_machine(results, record->machine);
    if (status == SR_OK)
        status = put_cell(results, record);
    if (status == SR_OK)
        status = put_values(results, hash,
                            "INSERT INTO metrics (cell, name, value, n, error, low, high) "
                            "VALUES (?, ?, ?, ?, ?, ?, ?)",
                            record->metric_count, record->metrics, true);
    if (status == SR_OK)
        status = put_values(results, hash, "INSERT INTO timings VALUES (?, ?, ?)",
                            record->timing_count, record->timings, false);
    if (status == SR_OK)
        status = put_series(results, hash, "INSERT INTO curves VALUES (?, ?, ?, ?, ?)",
                            record->curve_count, record->curve_iteration, record->curve_gap,
                            record->curve_gradient_norm);
    if (status == SR_OK)
        status = put_series(results, hash, "INSERT INTO traces VALUES (?, ?, ?, ?, ?)",
                            record->trace_count, record->trace_energy, record->trace_gradient_norm,
                            record->trace_displacement);
    if (status == SR_OK)
        status = execute(results, "COMMIT", "committing a cell");
    if (status != SR_OK)
        sqlite3_exec(results->db, "ROLLBACK", NULL, NULL, NULL); // the first message stands
    return status;
}
