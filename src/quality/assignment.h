// The assignment problem through a library: LEMON's network simplex (Kiraly and Kovacs 2012). The C
// face of the one C++ file of the library; absent where LEMON was not found when it was built.
#ifndef SHORTRUN_QUALITY_ASSIGNMENT_H
#define SHORTRUN_QUALITY_ASSIGNMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The simplex adds and subtracts potentials of up to 2^62 + 2 m cost in 64 bits: 4096 rows and
// costs of 2^46 leave it a factor of 8.
#define SR_ASSIGNMENT_ROWS_MAX 4096
#define SR_ASSIGNMENT_COST_BITS 46

// Of row and column; between 0 and 2^SR_ASSIGNMENT_COST_BITS.
typedef int64_t (*sr_assignment_cost)(size_t row, size_t column, const void *user);

// match (m): the column of each row in an assignment of least total cost; each column occurs once.
// row_price, column_price (m): the solution of the dual problem, row_price[i] + column_price[j] <=
// cost(i, j), equal where i and j are matched. False: out of memory (about 37 bytes for each of the
// m^2 costs).
bool sr_assignment_solve(size_t m, sr_assignment_cost cost, const void *user, uint32_t *match,
                         int64_t *row_price, int64_t *column_price);
const char *sr_assignment_library(void); // "LEMON 1.3.1"

#ifdef __cplusplus
}
#endif
#endif
