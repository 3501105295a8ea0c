// Who multiplies which layer, and how many samples at a time: measured once per machine and kept in
// a small file of the user's cache folder.
#ifndef SR_NET_TUNING_H
#define SR_NET_TUNING_H

#include <shortrun/net.h>

// The faster engine of each layer for `rows` samples at a time: engines (layer_count).
sr_status sr_tuning_engines(const sr_net *net, size_t rows, sr_precision precision,
                            sr_engine *engines);
// The tile with which the native engine samples fastest.
sr_status sr_tuning_tile(const sr_net *net, sr_precision precision, size_t *tile);

#endif
