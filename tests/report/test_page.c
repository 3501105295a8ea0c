#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "fabricate.h"
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    made_set m = {0};
    const char *folder = argv[1];
    made_experiment(&m, argc > 2 ? atoi(argv[2]) : 3);
    made_files(&m, folder);
    sr_report_input in = {.folder = folder, .name = "quick", .title = "Quick: eight Gaussians & Fashion-MNIST", .file = "/work/main/meson.build", .records = m.records, .count = m.count, .expected = m.count};
    char html[4096];
    sr_status s = sr_report_make(&in, html, sizeof html);
    printf("%d %s %s\n", s, sr_error_message(), html);
    made_clear(&m);
}
