// Activations by name, and their definition in double from libm: what the vector kernels are
// checked against.
#include <shortrun/kernels.h>

#include <math.h>
#include <string.h>

static const char *const activation_names[] = {"silu", "leaky_relu", "relu", "softplus",
                                               "elu",  "gelu",       "tanh", "identity"};
#define ACTIVATION_NAMES (sizeof activation_names / sizeof *activation_names)
_Static_assert(ACTIVATION_NAMES == SR_ACTIVATION_COUNT + 1, "one name for each activation");

const char *sr_activation_name(sr_activation activation) {
    size_t i = (size_t)activation;
    return i < ACTIVATION_NAMES ? activation_names[i] : "unknown";
}

sr_status sr_activation_parse(const char *name, sr_activation *out) {
    for (size_t i = 0; name && i < ACTIVATION_NAMES; i++) {
        if (strcmp(name, activation_names[i]) == 0) {
            *out = (sr_activation)i;
            return SR_OK;
        }
    }
    return sr_fail(
        SR_ERROR_ARGUMENT,
        "activation '%s' is not one of silu, leaky_relu, relu, softplus, elu, gelu, tanh, "
        "identity",
        name ? name : "");
}

bool sr_activation_has_curvature(sr_activation activation) {
    return activation != SR_LEAKY_RELU && activation != SR_RELU && activation != SR_IDENTITY;
}

// sigmoid(z) without overflow.
static double sigmoid(double z) {
    double e = exp(-fabs(z));
    return (z < 0 ? e : 1) / (1 + e);
}

// Value and first two derivatives at one point.
static double activate(sr_activation activation, double z, double *derivative, double *second) {
    const double root_half = 0.70710678118654752440, density_at_zero = 0.39894228040143267794;
    double s, t;
    *second = 0;
    switch (activation) {
    case SR_SILU:
        s = sigmoid(z);
        t = isinf(z) ? (z > 0 ? z : 0) : z * s;
        *derivative = isinf(z) ? s : s * (1 + z * sigmoid(-z));
        *second = isinf(z) ? 0 : s * sigmoid(-z) * (2 + z * (sigmoid(-z) - s));
        return t;
    case SR_LEAKY_RELU:
        // 0.2 itself: SR_LEAKY_SLOPE is 0.2 rounded to single, 1.5e-8 away
        *derivative = z > 0 ? 1 : 0.2;
        return z > 0 ? z : 0.2 * z;
    case SR_RELU:
        *derivative = z > 0 ? 1 : 0;
        return z > 0 || isnan(z) ? z : 0;
    case SR_SOFTPLUS:
        *derivative = sigmoid(z);
        *second = sigmoid(z) * sigmoid(-z);
        return (z > 0 ? z : 0) + log1p(exp(-fabs(z)));
    case SR_ELU:
        *derivative = z > 0 ? 1 : exp(z);
        *second = z > 0 ? 0 : exp(z);
        return z > 0 ? z : expm1(z);
    case SR_GELU:
        s = 0.5 * erfc(-z * root_half);
        t = exp(-0.5 * z * z) * density_at_zero;
        *derivative = isinf(z) ? s : s + z * t;
        *second = isinf(z) ? 0 : t * (2 - z * z);
        return isinf(z) ? (z > 0 ? z : 0) : z * s;
    case SR_TANH:
        t = 1 / cosh(z);
        *derivative = t * t;
        *second = -2 * tanh(z) * t * t;
        return tanh(z);
    case SR_IDENTITY:
        break;
    }
    *derivative = 1;
    return z;
}

void sr_activation_scalar_f64(sr_activation activation, size_t n, const double *z, double *y,
                              double *derivative, double *second) {
    for (size_t i = 0; i < n; i++) {
        double slope, bend;
        y[i] = activate(activation, z[i], &slope, &bend);
        if (derivative)
            derivative[i] = slope;
        if (second)
            second[i] = bend;
    }
}
