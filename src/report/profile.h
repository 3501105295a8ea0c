// What the files about profiles share.
#ifndef SHORTRUN_REPORT_PROFILE_H
#define SHORTRUN_REPORT_PROFILE_H

#include "report/report_internal.h"

// "onednn fp32, 2 threads, batch 64, K = 20".
void sr_profile_label(const sr_profile *profile, char *out, size_t size);
// "onednn_fp32_t2_b64_k20", for file names.
void sr_profile_slug(const sr_profile *profile, char *out, size_t size);
// A direction that was timed: backward-weights only with training.
bool sr_profile_has(const sr_profile *profile, sr_direction direction);

sr_status sr_profile_json(const sr_profile *profiles, size_t count, sr_text *out);

// Writes scripts and data into figures->folder and adds them to the list.
sr_status sr_profile_roofline(const sr_profile *profile, sr_figures *figures);
sr_status sr_profile_bars(const sr_profile *profiles, size_t count, sr_figures *figures);

#endif
