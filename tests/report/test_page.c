// Whole reports in a temporary folder: pictures, page, and what happens when files or gnuplot are
// missing. `test_page FOLDER [SEEDS]` writes the report of the fabricated experiment there instead,
// to be looked at.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "fabricate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- helpers ------------------------------------------------------------------------------------

typedef struct fixture {
    char folder[64];
    made_set made;
    unsigned warnings;
    char warning[512]; // the last one
    sr_monitor monitor;
    sr_report_input input;
    char html[4096];
} fixture;

static void count_warnings(void *user, sr_level level, const char *line) {
    fixture *f = user;
    f->warnings += level == SR_LEVEL_WARNING;
    snprintf(f->warning, sizeof f->warning, "%s", line);
}

static void set_up(fixture *f, size_t seeds) {
    *f = (fixture){.folder = P_tmpdir "/shortrun-report-XXXXXX"};
    assert_non_null(mkdtemp(f->folder));
    if (seeds > 0)
        made_experiment(&f->made, seeds);
    f->monitor = (sr_monitor){.user = f, .log = count_warnings};
    f->input = (sr_report_input){.folder = f->folder,
                                 .name = "quick",
                                 .title = "Quick <&> \"check\"",
                                 .file = "",
                                 .records = f->made.records,
                                 .count = f->made.count,
                                 .expected = f->made.count,
                                 .monitor = &f->monitor};
}

static void tear_down(fixture *f) {
    const char *args[] = {"rm", "-rf", f->folder, NULL};
    sr_text errors = {0};
    int code;
    bool missing;
    assert_int_equal(sr_child_run("/", args, &errors, &code, &missing), SR_OK);
    assert_int_equal(code, 0);
    sr_text_clear(&errors);
    made_clear(&f->made);
}

static char *read_file(const fixture *f, const char *name) {
    char path[4352];
    void *bytes;
    size_t count;
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    if (sr_file_read(path, 0, &bytes, &count))
        fail_msg("%s", sr_error_message());
    assert_true(count > 0);
    return bytes;
}

static bool exists(const fixture *f, const char *name) {
    char path[4352];
    snprintf(path, sizeof path, "%s/report/%s", f->folder, name);
    return sr_file_exists(path);
}

static bool have_gnuplot(void) {
    const char *args[] = {"gnuplot", "--version", NULL};
    sr_text errors = {0};
    int code;
    bool missing;
    sr_status status = sr_child_run("/", args, &errors, &code, &missing);
    sr_text_clear(&errors);
    return status == SR_OK && !missing;
}

// Every element that is opened is closed, in order; no bare '&' or '<' in text. Not a validator,
// but it finds what a wrong escape or a forgotten end does to a page.
static void assert_balanced(const char *html) {
    static const char *const empty[] = {"meta", "img", "br", "!DOCTYPE"};
    char stack[64][16];
    size_t depth = 0;
    const char *style = strstr(html, "<style>"), *style_end = strstr(html, "</style>");
    for (const char *p = html; *p; p++) {
        if (style && p > style && p < style_end)
            continue;
        if (*p == '&')
            assert_true(strcspn(p, ";") <= 6);
        if (*p != '<')
            continue;
        bool closes = p[1] == '/', alone = false;
        char name[16] = "";
        sscanf(p + 1 + closes, "%15[A-Za-z0-9!]", name);
        assert_true(name[0] != 0);
        for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
            alone |= strcmp(name, empty[i]) == 0;
        if (closes) {
            assert_true(depth > 0);
            assert_string_equal(name, stack[--depth]);
        } else if (!alone) {
            assert_true(depth < 64);
            strcpy(stack[depth++], name);
        }
        while (*p != '>') {
            assert_true(*p != 0);
            p++;
        }
    }
    assert_int_equal(depth, 0);
}

static size_t occurrences(const char *text, const char *part) {
    size_t count = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        count++;
    return count;
}

// ---- tests --------------------------------------------------------------------------------------

static void test_base64(void **state) {
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        sr_text out = {0};
        sr_base64(pairs[i][0], strlen(pairs[i][0]), &out);
        assert_string_equal(sr_text_string(&out), pairs[i][1]);
        sr_text_clear(&out);
    }
    uint8_t many[10000];
    for (size_t i = 0; i < sizeof many; i++)
        many[i] = (uint8_t)(i * 7);
    sr_text out = {0};
    sr_base64(many, sizeof many, &out);
    assert_int_equal(out.length, (sizeof many + 2) / 3 * 4);
    assert_int_equal(
        strspn(out.data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
        out.length - 2); // 10000 = 3 * 3333 + 1
    sr_text_clear(&out);
}

static void test_whole_report(void **state) {
    if (!have_gnuplot())
        skip();
    fixture f;
    set_up(&f, 2);
    made_files(&f.made, f.folder);
    if (sr_report_make(&f.input, f.html, sizeof f.html))
        fail_msg("%s", sr_error_message());
    if (f.warnings)
        fail_msg("%s", f.warning);
    static const char *const pictures[] = {
        "eight_gaussians_score_against_steps",     "eight_gaussians_score_against_noise",
        "eight_gaussians_time_against_steps",      "eight_gaussians_gap_against_iteration",
        "eight_gaussians_energy_along_trajectory", "eight_gaussians_overview",
        "eight_gaussians_panels_row1_K5",          "fashion_mnist_score_against_steps",
        "fashion_mnist_gap_against_iteration",     "fashion_mnist_overview"};
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        char path[4608];
        sr_image image = {0};
        snprintf(path, sizeof path, "%s/report/figures/%s.png", f.folder, pictures[i]);
        if (sr_png_load(path, &image))
            fail_msg("%s", sr_error_message());
        assert_true(image.width > 500 && image.height > 300);
        size_t dark = 0; // something is drawn
        for (size_t p = 0; p < image.width * image.height * image.channels; p++)
            dark += image.data[p] < 200;
        assert_true(dark > 500);
        sr_image_clear(&image);
        snprintf(path, sizeof path, "figures/%s.svg", pictures[i]);
        assert_true(exists(&f, path));
    }
    // where the data set is at hand, its features are drawn as well
    sr_dataset data = {0};
    char classifier[1024];
    if (sr_classifier_find("fashion_mnist", classifier, sizeof classifier) == SR_OK &&
        sr_dataset_load("fashion_mnist", NULL, SR_TRAIN, 10, 0, &data) == SR_OK) {
        assert_true(exists(&f, "figures/fashion_mnist_components.png"));
        assert_true(exists(&f, "figures/fashion_mnist_neighbours.svg"));
        assert_true(exists(&f, "figures/fashion_mnist_neighbours_strip3.png"));
    }
    sr_dataset_clear(&data);
    assert_false(exists(&f, "figures/eight_gaussians_components.gp")); // two features: no need
    assert_true(exists(&f, "tables/noise.csv"));
    char *page = read_file(&f, "report/report.html");
    assert_balanced(page);
    assert_non_null(strstr(page, "noise against none"));
    assert_non_null(strstr(page, "6 comparisons"));
    assert_null(strstr(page, "http")); // nothing from outside
    assert_null(strstr(page, "of tests>"));
    assert_non_null(strstr(page, "Quick &lt;&amp;&gt; &quot;check&quot;"));
    assert_non_null(strstr(page, "iteration 520: energy gap -6634.2"));
    assert_int_equal(occurrences(page, "<img "), occurrences(page, "src=\"data:image/png;base64,"));
    assert_int_equal(occurrences(page, "<img "), occurrences(page, " alt=\""));
    assert_true(occurrences(page, "<img ") >= 10 + 9 + 11);
    sr_free(page);
    tear_down(&f);
}

static void test_same_bytes_again(void **state) {
    if (!have_gnuplot())
        skip();
    fixture f;
    set_up(&f, 1);
    made_files(&f.made, f.folder);
    static const char *const names[] = {"report/report.html", "report/tables/quality.txt",
                                        "report/figures/eight_gaussians_overview.svg",
                                        "report/figures/eight_gaussians_score_against_steps.svg"};
    char *before[4];
    assert_int_equal(sr_report_make(&f.input, NULL, 0), SR_OK);
    for (size_t i = 0; i < 4; i++)
        before[i] = read_file(&f, names[i]);
    assert_int_equal(sr_report_make(&f.input, NULL, 0), SR_OK);
    for (size_t i = 0; i < 4; i++) {
        char *after = read_file(&f, names[i]);
        assert_string_equal(before[i], after);
        sr_free(before[i]);
        sr_free(after);
    }
    tear_down(&f);
}

static void test_without_files(void **state) {
    fixture f;
    set_up(&f, 1);
    if (sr_report_make(&f.input, f.html, sizeof f.html))
        fail_msg("%s", sr_error_message());
    char *page = read_file(&f, "report/report.html");
    assert_balanced(page);
    assert_false(exists(&f, "figures/eight_gaussians_overview.gp"));
    sr_free(page);
    tear_down(&f);
}

static void write_cell_file(const fixture *f, size_t record, const char *name, const char *text) {
    char path[4352];
    snprintf(path, sizeof path, "%s/cells/%s/%s", f->folder, f->made.records[record].cell.hash,
             name);
    assert_int_equal(sr_file_write(path, text, strlen(text)), SR_OK);
}

static void test_broken_files(void **state) {
    fixture f;
    set_up(&f, 1);
    made_files(&f.made, f.folder);
    const char *none = getenv("PATH");
    char path[4096];
    snprintf(path, sizeof path, "%s", none ? none : "");
    setenv("PATH", "/nonexistent", 1); // the scripts are enough here
    write_cell_file(&f, 0, "samples.npy", "not an array");
    write_cell_file(&f, 1, "samples.npy", "\x93NUMPY");
    assert_int_equal(sr_report_make(&f.input, NULL, 0), SR_OK);
    setenv("PATH", path, 1);
    assert_true(f.warnings >= 3); // two files and gnuplot
    assert_false(exists(&f, "figures/eight_gaussians_panels_row1_K5.gp"));
    assert_true(exists(&f, "figures/eight_gaussians_panels_row2_K5.gp"));
    assert_false(exists(&f, "figures/fashion_mnist_samples_row1_K5.png"));
    tear_down(&f);
}

static void test_without_gnuplot(void **state) {
    fixture f;
    set_up(&f, 1);
    made_files(&f.made, f.folder);
    char path[4096];
    snprintf(path, sizeof path, "%s", getenv("PATH") ? getenv("PATH") : "");
    setenv("PATH", "", 1);
    sr_status status = sr_report_make(&f.input, f.html, sizeof f.html);
    setenv("PATH", path, 1);
    assert_int_equal(status, SR_OK);
    assert_int_equal(f.warnings, 1);
    assert_non_null(strstr(f.warning, "gnuplot"));
    assert_true(exists(&f, "figures/eight_gaussians_score_against_steps.gp"));
    assert_true(exists(&f, "figures/eight_gaussians_score_against_steps.dat"));
    assert_false(exists(&f, "figures/eight_gaussians_score_against_steps.png"));
    assert_true(exists(&f, "tables/quality.tex"));
    char *page = read_file(&f, "report/report.html");
    assert_balanced(page);
    assert_non_null(strstr(page, "figures/eight_gaussians_score_against_steps.gp"));
    sr_free(page);
    tear_down(&f);
}

static void test_failing_gnuplot(void **state) {
    fixture f;
    set_up(&f, 1);
    char path[4096], tool[128], script[] = "#!/bin/sh\necho 'no such\nterminal' >&2\nexit 3\n";
    snprintf(path, sizeof path, "%s", getenv("PATH") ? getenv("PATH") : "");
    snprintf(tool, sizeof tool, "%s/gnuplot", f.folder);
    assert_int_equal(sr_file_write(tool, script, strlen(script)), SR_OK);
    assert_int_equal(chmod(tool, 0755), 0);
    setenv("PATH", f.folder, 1);
    sr_status status = sr_report_make(&f.input, NULL, 0);
    setenv("PATH", path, 1);
    assert_int_equal(status, SR_ERROR_LIBRARY);
    assert_non_null(strstr(sr_error_message(), "status 3"));
    assert_non_null(strstr(sr_error_message(), "no such terminal"));
    assert_true(exists(&f, "report.html")); // what could be made is there
    tear_down(&f);
}

static void test_child_with_much_to_say(void **state) {
    const char *args[] = {"sh", "-c",
                          "i=0; while [ $i -lt 20000 ]; do echo 'line of error' >&2; "
                          "i=$((i+1)); done; exit 7",
                          NULL};
    sr_text errors = {0};
    int code;
    bool missing;
    assert_int_equal(sr_child_run("/", args, &errors, &code, &missing), SR_OK);
    assert_int_equal(code, 7);
    assert_int_equal(errors.length, 4096);
    sr_text_clear(&errors);
}

static void test_no_records(void **state) {
    fixture f;
    set_up(&f, 0);
    f.input.expected = 18;
    if (sr_report_make(&f.input, f.html, sizeof f.html))
        fail_msg("%s", sr_error_message());
    assert_int_equal(f.warnings, 0);
    char *page = read_file(&f, "report/report.html");
    assert_balanced(page);
    assert_non_null(strstr(page, "0 of 18"));
    sr_free(page);
    tear_down(&f);
}

static void test_folder_in_the_way(void **state) {
    fixture f;
    set_up(&f, 1);
    char path[128];
    snprintf(path, sizeof path, "%s/report", f.folder);
    assert_int_equal(sr_file_write(path, "a file", 6), SR_OK);
    assert_int_equal(sr_report_make(&f.input, NULL, 0), SR_ERROR_IO);
    tear_down(&f);
}

static void test_public_entry(void **state) {
    fixture f;
    set_up(&f, 0);
    sr_results *results;
    sr_experiment experiment = {.name = "none", .title = "Nothing yet"};
    if (sr_results_open(f.folder, true, &results))
        fail_msg("%s", sr_error_message());
    assert_int_equal(sr_report_write(&experiment, results, NULL, f.html, sizeof f.html), SR_OK);
    assert_true(sr_file_exists(f.html));
    sr_results_close(results);
    tear_down(&f);
}

static int write_example(const char *folder, const char *seeds) {
    made_set made = {0};
    char html[4096];
    made_experiment(&made, seeds ? (size_t)strtoul(seeds, NULL, 10) : 3);
    made_files(&made, folder);
    sr_report_input input = {.folder = folder,
                             .name = "fabricated",
                             .title = "A fabricated experiment",
                             .file = "",
                             .records = made.records,
                             .count = made.count,
                             .expected = made.count};
    sr_status status = sr_report_make(&input, html, sizeof html);
    printf("%s\n", status ? sr_error_message() : html);
    made_clear(&made);
    return status != SR_OK;
}

int main(int argc, char **argv) {
    if (argc > 1)
        return write_example(argv[1], argc > 2 ? argv[2] : NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64),           cmocka_unit_test(test_whole_report),
        cmocka_unit_test(test_same_bytes_again), cmocka_unit_test(test_without_files),
        cmocka_unit_test(test_broken_files),     cmocka_unit_test(test_without_gnuplot),
        cmocka_unit_test(test_failing_gnuplot),  cmocka_unit_test(test_child_with_much_to_say),
        cmocka_unit_test(test_no_records),       cmocka_unit_test(test_folder_in_the_way),
        cmocka_unit_test(test_public_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
