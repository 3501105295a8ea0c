// The public entry: reads the records from a results folder and makes the report of them.
#include "report/report_internal.h"

sr_status sr_report_write(const sr_experiment *experiment, sr_results *results,
                          const sr_monitor *monitor, char *html, size_t size) {
    sr_record *records = NULL;
    size_t count = 0;
    sr_status status = sr_results_read(results, experiment, &records, &count);
    if (status)
        return status;
    sr_report_input input = {.folder = sr_results_folder(results),
                             .name = experiment->name,
                             .title = experiment->title,
                             .file = experiment->file,
                             .records = records,
                             .count = count,
                             .expected = experiment->cell_count,
                             .monitor = monitor};
    status = sr_report_make(&input, html, size);
    sr_records_destroy(records, count);
    return status;
}
