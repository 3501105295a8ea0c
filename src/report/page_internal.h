// What page.c and findings.c share.
#ifndef SHORTRUN_REPORT_PAGE_INTERNAL_H
#define SHORTRUN_REPORT_PAGE_INTERNAL_H

#include "report/report_internal.h"

// Escaped text.
void sr_page_text(sr_text *out, const char *text);
// Measured statements about each section, as list items: the best entry, against noise and without
// it, against uniform noise, cells that diverged. Every number is one of the tables'.
void sr_page_findings(const sr_sections *sections, sr_text *out);

#endif
