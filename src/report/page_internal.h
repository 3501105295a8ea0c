// What page.c and findings.c share.
#ifndef SHORTRUN_REPORT_PAGE_INTERNAL_H
#define SHORTRUN_REPORT_PAGE_INTERNAL_H

#include "report/report_internal.h"

// Escaped text.
void sr_page_text(sr_text *out, const char *text);
// Measured statements about each section, as list items: the best entry, against noise and without
// it, noise against none at the same K, against uniform noise, cells that diverged.
sr_status sr_page_findings(const sr_sections *sections, const sr_noise_comparisons *comparisons,
                           sr_text *out);

#endif
