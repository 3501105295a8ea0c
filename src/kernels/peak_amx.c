// The peak of AMX in bfloat16: tdpbf16ps on tiles that are loaded once. Six tiles of sums hide the
// latency of 52 cycles behind a throughput of one instruction in 16 (Intel's optimisation manual,
// chapter on AMX); the two others hold the operands.
#include "kernels_table.h"

#include <immintrin.h>
#include <string.h>

// gcc and older clangs spell the macros differently
#if !defined(__AMX_BF16__) && !defined(__AMXBF16__)
#error "compile with -mamx-tile -mamx-bf16"
#endif

#define TILES 8
#define ROWS 16
#define ROW_BYTES 64
#define SUMS 6
#define ONE 0x3f80                                 // bfloat16
#define FLOP_AN_INSTRUCTION (ROWS * 16.0 * 32 * 2) // rows x columns x products, multiply and add

// Palette 1 of LDTILECFG: eight tiles of 1 KB.
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

static void tiles_begin(void) {
    tile_config config = {.palette = 1};
    for (size_t t = 0; t < TILES; t++) {
        config.row_bytes[t] = ROW_BYTES;
        config.rows[t] = ROWS;
    }
    // gcc 12 does not know that the instruction reads all of `config` and may drop the stores
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

double sr_peak_multiply_amx(sr_peak_task *task) {
    uint16_t operand[ROWS * ROW_BYTES / 2];
    float sum[ROWS * ROW_BYTES / 4];
    for (size_t i = 0; i < sizeof operand / sizeof *operand; i++)
        operand[i] = ONE;
    tiles_begin();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_loadd(6, operand, ROW_BYTES);
    _tile_loadd(7, operand, ROW_BYTES);
    for (size_t r = 0; r < task->rounds; r++) {
        _tile_dpbf16ps(0, 6, 7);
        _tile_dpbf16ps(1, 6, 7);
        _tile_dpbf16ps(2, 6, 7);
        _tile_dpbf16ps(3, 6, 7);
        _tile_dpbf16ps(4, 6, 7);
        _tile_dpbf16ps(5, 6, 7);
    }
    _tile_stored(0, sum, ROW_BYTES);
    _tile_release();
    task->sink = sum[0];
    return FLOP_AN_INSTRUCTION * SUMS * (double)task->rounds;
}
