// Feature rows as the metrics want them: checked, in double, row-major and in panels.
#include "metrics.h"

#include <math.h>
#include <string.h>

sr_status sr_points_create(const char *name, size_t n, const float *x, size_t dim, sr_points *out) {
    *out = (sr_points){.n = n, .dim = dim, .rows = (n + SR_PANEL - 1) / SR_PANEL * SR_PANEL};
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < dim; d++)
            if (!isfinite(x[i * dim + d]))
                return sr_fail(SR_ERROR_ARGUMENT,
                               "%s features: row %zu, column %zu is %g, expected a "
                               "finite number",
                               name, i, d, (double)x[i * dim + d]);
    size_t count;
    if (!sr_size_mul(out->rows, dim, &count))
        return sr_fail(SR_ERROR_MEMORY, "%s features: %zu rows of %zu values do not fit in memory",
                       name, n, dim);
    out->row = sr_alloc(count, sizeof(double));
    out->panel = sr_alloc(count, sizeof(double));
    if (!out->row || !out->panel) {
        sr_points_clear(out);
        return sr_fail_context(SR_ERROR_MEMORY, "%s features: ", name);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < dim; d++) {
            double value = x[i * dim + d];
            out->row[i * dim + d] = value;
            out->panel[(i / SR_PANEL * dim + d) * SR_PANEL + i % SR_PANEL] = value;
        }
    return SR_OK;
}

void sr_points_clear(sr_points *points) {
    sr_free(points->row);
    sr_free(points->panel);
    *points = (sr_points){0};
}
