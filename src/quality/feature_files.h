// Where the weights of feature networks are looked for.
#ifndef SHORTRUN_QUALITY_FEATURE_FILES_H
#define SHORTRUN_QUALITY_FEATURE_FILES_H

#include <shortrun/quality.h>

// True, and its path kept, when `name`.safetensors is found: the file or the folder that
// $SHORTRUN_FEATURES names goes first, then the project's folder and where it is installed. Else
// the path is empty and the places searched are appended, with commas between.
bool sr_feature_file_find(const char *name, char *path, size_t size, sr_text *searched);

#endif
