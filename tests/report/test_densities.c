// Tables and figures on densities, from records and files made by hand: what they say, what is left
// out, and that a report without densities has none of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "fabricate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct fixture {
    char folder[64];
    made_set made;
    unsigned warnings;
    char warning[512]; // the last one
    sr_monitor monitor;
} fixture;

static void count_warnings(void *user, sr_level level, const char *line) {
    fixture *f = user;
    f->warnings += level == SR_LEVEL_WARNING;
    snprintf(f->warning, sizeof f->warning, "%s", line);
}

static void save(const fixture *f, const sr_record *record, const char *name, size_t rank,
                 const size_t *shape, double (*value)(size_t i)) {
    char path[512];
    size_t count = 1;
    for (size_t k = 0; k < rank; k++)
        count *= shape[k];
    float *x = sr_alloc(count, sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)value(i);
    snprintf(path, sizeof path, "%s/cells/%s", f->folder, record->cell.hash);
    assert_int_equal(sr_folder_make(path), SR_OK);
    snprintf(path, sizeof path, "%s/cells/%s/%s", f->folder, record->cell.hash, name);
    assert_int_equal(sr_npy_save_f32(path, rank, shape, x), SR_OK);
    sr_free(x);
}

static double flat(size_t i) {
    return -3.5 + 1e-3 * (double)(i % 7);
}

static double wave(size_t i) {
    return sin(0.7 * (double)i);
}

static double rising(size_t i) {
    return (double)(i + 1);
}

// One cell with all numbers and files; gain: of the short run over exp(-E)/Z.
static void add_cell(fixture *f, size_t steps, double noise, uint64_t seed, double gain,
                     bool files) {
    sr_record *r = made_add(&f->made, "eight_gaussians", steps, 0.03, noise, seed);
    made_interval(r, "kl", 0.3 + noise, 0.01, 5000);
    made_interval(r, "kl_true", 0.25 + noise, 0.01, 5000);
    made_interval(r, "ll_run", -2, 0.02, 2000);
    made_interval(r, "ll_induced", -2.1, 0.02, 2000);
    made_interval(r, "ll_gibbs", -2 - gain, 0.02, 2000);
    made_interval(r, "run_gain", gain, 0.03, 2000);
    made_interval(r, "kl_density_run", 0.3, 0.02, 2000);
    made_interval(r, "kl_density_gibbs", 0.3 + gain, 0.02, 2000);
    made_interval(r, "not_inverted", 0.004, 0.001, 2000);
    made_metric(r, "tv_induced", 0.27, 0);
    made_metric(r, "mass_induced", 0.998, 0);
    made_metric(r, "s_lambda_largest", 0.61, 100);
    made_interval(r, "long_kl_true", 1.4, 0.02, 5000);
    made_metric(r, "long_r_hat", 1.0042, 300);
    made_metric(r, "long_steps", 12800, 300);
    if (!files)
        return;
    const size_t grid[2] = {40, 40}, energy[2] = {80, 80}, path[2] = {steps + 1, 3};
    const size_t eigenvalues[2] = {steps, 4}, beyond[2] = {5, 5}, points[2] = {300, 2};
    const size_t trajectories[3] = {6, steps + 1, 2};
    save(f, r, "induced.npy", 2, grid, flat);
    save(f, r, "gibbs.npy", 2, grid, flat);
    save(f, r, "energy.npy", 2, energy, wave);
    save(f, r, "density_path.npy", 2, path, wave);
    save(f, r, "eigenvalues.npy", 2, eigenvalues, wave);
    save(f, r, "beyond.npy", 2, beyond, rising);
    save(f, r, "long_run.npy", 2, points, wave);
    save(f, r, "samples.npy", 2, points, wave);
    save(f, r, "trajectories.npy", 3, trajectories, wave);
}

static void set_up(fixture *f) {
    *f = (fixture){.folder = P_tmpdir "/shortrun-densities-XXXXXX"};
    assert_non_null(mkdtemp(f->folder));
    f->monitor = (sr_monitor){.user = f, .log = count_warnings};
}

static void tear_down(fixture *f) {
    const char *args[] = {"rm", "-rf", f->folder, NULL};
    sr_text errors = {0};
    int code;
    bool missing;
    assert_int_equal(sr_child_run("/", args, &errors, &code, &missing), SR_OK);
    sr_text_clear(&errors);
    made_clear(&f->made);
}

static void report(fixture *f) {
    char html[4096];
    const sr_report_input input = {.folder = f->folder,
                                   .name = "t",
                                   .title = "T",
                                   .file = "",
                                   .records = f->made.records,
                                   .count = f->made.count,
                                   .expected = f->made.count,
                                   .monitor = &f->monitor};
    if (sr_report_make(&input, html, sizeof html) != SR_OK)
        fail_msg("%s", sr_error_message());
}

static char *read_file(const fixture *f, const char *name) {
    char path[4352];
    void *bytes;
    size_t count;
    snprintf(path, sizeof path, "%s/report/%s", f->folder, name);
    if (sr_file_read(path, 0, &bytes, &count))
        fail_msg("%s", sr_error_message());
    return bytes;
}

static bool exists(const fixture *f, const char *name) {
    char path[4352];
    snprintf(path, sizeof path, "%s/report/%s", f->folder, name);
    return sr_file_exists(path);
}

static void assert_says(const char *text, const char *part) {
    if (!strstr(text, part))
        fail_msg("'%s' is missing in: %.2000s", part, text ? text : "");
}

static void tables_say_what_was_measured(void **state) {
    fixture f;
    set_up(&f);
    add_cell(&f, 5, 0, 1, 1.2, true);
    add_cell(&f, 5, 0.1, 1, -0.5, true);
    add_cell(&f, 10, 0, 1, 0.01, true); // within its interval
    report(&f);
    char *text = read_file(&f, "tables/density.txt");
    assert_says(text, "1.200 [1.140, 1.260]");
    assert_says(text, "better");
    assert_says(text, "worse");
    assert_says(text, "not shown");
    assert_says(text, "does the energy itself generate?");
    assert_says(text, "12800");
    assert_true(strstr(text, "exp(-E/T)/Z") == NULL); // no cell has it
    assert_true(strstr(text, "exact ML") == NULL);
    sr_free(text);
    assert_true(exists(&f, "tables/density.md") && exists(&f, "tables/density.tex"));
    char *page = read_file(&f, "report.html");
    assert_says(page, "<section id=\"densities\">");
    assert_says(page, "Densities and flow");
    assert_says(
        page, "of 3 settings the density of the short run fits better than exp(-E)/Z in <b>1</b>");
    assert_says(page, "and worse in 1");
    assert_says(page, "log-likelihood of the short runs");
    sr_free(page);
    tear_down(&f);
}

// Images have bits per dimension and a bracket; a cell of exact maximum likelihood is found by its
// seed.
static void images_and_exact_cells(void **state) {
    fixture f;
    set_up(&f);
    sr_record *r = made_add(&f.made, "fashion_mnist", 20, 30, 0, 1);
    made_interval(r, "frechet", 20, 0.4, 2048);
    made_interval(r, "not_inverted", 0.001, 0.001, 1000);
    made_interval(r, "ll_induced", -80, 4, 1000);
    made_interval(r, "bpd_induced", 7.15, 0.008, 1000);
    made_interval(r, "ll_gibbs_low", -543, 0.1, 1000);
    made_interval(r, "ll_gibbs_high", -542, 0.1, 1000);
    made_interval(r, "ais_log_z_low", 538.4, 0.01, 32);
    made_interval(r, "ll_gain", 462, 4, 1000);
    add_cell(&f, 5, 0, 1, 1.2, true);
    add_cell(&f, 5, 0, 2, 1.2, true);
    add_cell(&f, 10, 0.2, 2, 0, true);
    f.made.records[3].cell.train.exact_grid = 64;
    report(&f);
    char *text = read_file(&f, "tables/density.txt");
    assert_says(text, "bits per dim");
    assert_says(text, "7.1500 [7.1340, 7.1660]");
    assert_says(text, "exp(-E)/Z at most");
    assert_says(text, "exact ML"); // of the cell with exact_grid, beside the others
    sr_free(text);
    const sr_report_input input = {.records = f.made.records, .count = f.made.count};
    assert_null(sr_exact_record(&input, &f.made.records[1])); // of another seed
    assert_ptr_equal(sr_exact_record(&input, &f.made.records[2]), &f.made.records[3]);
    tear_down(&f);
}

// Over seeds the verdict is Student's: two seeds that disagree show nothing.
static void seeds_are_judged_together(void **state) {
    fixture f;
    set_up(&f);
    add_cell(&f, 5, 0, 1, 1.2, false);
    add_cell(&f, 5, 0, 2, -0.9, false);
    add_cell(&f, 10, 0, 1, 1.1, false);
    add_cell(&f, 10, 0, 2, 1.2, false);
    add_cell(&f, 10, 0, 3, 1.3, false);
    report(&f);
    char *text = read_file(&f, "tables/density.txt");
    assert_says(text, "not shown");
    assert_says(text, "1.20 ± 0.10");
    assert_says(text, "better");
    assert_true(strstr(text, "worse") == NULL);
    sr_free(text);
    tear_down(&f);
}

static void figures_are_drawn_where_files_are(void **state) {
    static const char *const ends[] = {"densities_row1_K5", "flow_row1_K5", "density_against_steps",
                                       "eigenvalues_along_trajectory", "score_beyond_steps"};
    fixture f;
    char name[128];
    set_up(&f);
    add_cell(&f, 5, 0, 1, 1.2, true);
    add_cell(&f, 10, 0, 1, 1.2, false);
    report(&f);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(name, sizeof name, "figures/eight_gaussians_%s.gp", ends[i]);
        if (!exists(&f, name))
            fail_msg("%s is missing", name);
    }
    assert_false(exists(&f, "figures/eight_gaussians_densities_row1_K10.gp"));
    assert_int_equal(f.warnings, 0);
    // of the wrong shape: said, and left out
    const size_t odd[2] = {6, 5};
    save(&f, &f.made.records[0], "eigenvalues.npy", 2, odd, wave);
    report(&f);
    assert_true(f.warnings > 0);
    assert_says(f.warning, "eigenvalues.npy");
    tear_down(&f);
}

static void without_densities_nothing_is_said_of_them(void **state) {
    fixture f;
    set_up(&f);
    made_experiment(&f.made, 1);
    report(&f);
    assert_false(exists(&f, "tables/density.txt"));
    char *page = read_file(&f, "report.html");
    assert_true(strstr(page, "id=\"densities\"") == NULL);
    sr_free(page);
    tear_down(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_say_what_was_measured),
        cmocka_unit_test(images_and_exact_cells),
        cmocka_unit_test(seeds_are_judged_together),
        cmocka_unit_test(figures_are_drawn_where_files_are),
        cmocka_unit_test(without_densities_nothing_is_said_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
