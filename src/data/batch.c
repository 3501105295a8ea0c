// Batches: a keyed permutation of the rows for each pass over the data, computed row by row,
// without any state.
#include <shortrun/data.h>
#include <shortrun/kernels.h>

#include <string.h>

// Rounds of the Feistel network. Luby and Rackoff need four for a strong permutation of large
// domains; small ones need more to reach all orders.
#define ROUNDS 8

// Position `index` of the permutation of 0 .. count-1 that `stream` names: a balanced Feistel
// network on the next even number of bits with Philox as its round function, walked along its cycle
// until the value is below count (Black and Rogaway 2002). The domain is at most 4 count (16 for
// the smallest), so 4 walks are the mean at worst.
static uint64_t permute(sr_stream stream, uint64_t count, uint64_t index) {
    unsigned half = 2;
    while (half < 32 && (uint64_t)1 << 2 * half < count)
        half++;
    const uint32_t mask = (uint32_t)(((uint64_t)1 << half) - 1);
    do {
        uint32_t left = (uint32_t)(index >> half), right = (uint32_t)index & mask;
        for (uint32_t round = 0; round < ROUNDS; round++) {
            const uint32_t counter[4] = {right, round, 0, 0};
            uint32_t words[4];
            sr_philox4x32(counter, stream.key, words);
            uint32_t mixed = left ^ (words[0] & mask);
            left = right;
            right = mixed;
        }
        index = (uint64_t)left << half | right;
    } while (index >= count);
    return index;
}

void sr_dataset_batch(const sr_dataset *set, uint64_t seed, uint64_t iteration, size_t n,
                      float noise_scale, float *out, uint8_t *labels) {
    const sr_kernels *kernels = sr_kernels_get();
    const uint64_t count = set->count, first = iteration * (uint64_t)n;
    const sr_stream noise = sr_stream_make(seed, SR_PURPOSE_DATA_NOISE, iteration);
    uint64_t pass = first / count;
    sr_stream order = sr_stream_make(seed, SR_PURPOSE_BATCH, pass);
    for (size_t i = 0; i < n; i++) {
        uint64_t position = first + i;
        if (position / count != pass) {
            pass = position / count;
            order = sr_stream_make(seed, SR_PURPOSE_BATCH, pass);
        }
        uint64_t row = permute(order, count, position % count);
        const float *from = set->x + (size_t)row * set->dim;
        float *to = out + i * set->dim;
        if (labels)
            labels[i] = set->labels ? set->labels[row] : 0;
        if (noise_scale == 0) {
            memcpy(to, from, set->dim * sizeof *to);
            continue;
        }
        kernels->normal(noise, i, 0, set->dim, to);
        for (size_t j = 0; j < set->dim; j++)
            to[j] = from[j] + noise_scale * to[j];
    }
}
