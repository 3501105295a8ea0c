// The two-dimensional densities: exact samples, and their log density. Nothing here is learned or
// read from files.
//
// Parameterisations as usual in the field (eight and twenty-five Gaussians: Metz et al. 2017;
// rings, moons, pinwheel, checkerboard, swiss roll, spirals: Grathwohl et al. 2019, after
// scikit-learn and Johnson et al. 2016), scaled so that nearly all of each lies within [-3, 3]^2.
// Two changes keep every density computable: pinwheel rotates by an angle that depends on the
// radius (a rotation that keeps areas) and not on the radial coordinate; spirals carry Gaussian
// noise only.
//
// Sample i is made from one Philox block of its own, so any range of the sequence can be drawn
// alone.
#include <shortrun/data.h>
#include <shortrun/kernels.h>

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

// ---- names and facts ----------------------------------------------------------------------------

static const struct {
    const char *name;
    double window;
} toys[SR_TOY_COUNT] = {
    [SR_EIGHT_GAUSSIANS] = {"eight_gaussians", 3.0},
    [SR_TWENTY_FIVE_GAUSSIANS] = {"twenty_five_gaussians", 2.5},
    [SR_RINGS] = {"rings", 3.0},
    [SR_TWO_MOONS] = {"two_moons", 3.0},
    [SR_PINWHEEL] = {"pinwheel", 3.5},
    [SR_CHECKERBOARD] = {"checkerboard", 2.5},
    [SR_SWISS_ROLL] = {"swiss_roll", 3.5},
    [SR_TWO_SPIRALS] = {"two_spirals", 3.5},
};

#define DIAGONAL 1.41421356237309504880 // 2 cos 45 degrees
static const double eight_centres[8][2] = {
    {2, 0},  {DIAGONAL, DIAGONAL},   {0, 2},  {-DIAGONAL, DIAGONAL},
    {-2, 0}, {-DIAGONAL, -DIAGONAL}, {0, -2}, {DIAGONAL, -DIAGONAL}};
#define ROW(y)                                                                                     \
    {-2, y}, {-1, y}, {0, y}, {1, y}, {                                                            \
        2, y                                                                                       \
    }
static const double grid_centres[25][2] = {ROW(-2), ROW(-1), ROW(0), ROW(1), ROW(2)};
#undef ROW
#define EIGHT_DEVIATION 0.2
#define GRID_DEVIATION 0.1

// Rings: signed radius r + 0.08 eps at a uniform angle; the four radii are equally likely.
static const double ring_radii[4] = {0.6, 1.2, 1.8, 2.4};
#define RING_DEVIATION 0.08

// Pinwheel: five arms; in the arm's frame a Gaussian of these deviations around (1, 0), before
// scaling.
#define ARMS 5
#define ARM_RADIAL 0.3
#define ARM_TANGENTIAL 0.1
#define ARM_RATE 0.25
#define ARM_SCALE 1.5

// Moons, roll and spirals: a point on a curve plus isotropic Gaussian noise.
#define CURVE_DEVIATION 0.1

const char *sr_toy_name(sr_toy toy) {
    return (unsigned)toy < SR_TOY_COUNT ? toys[toy].name : "unknown";
}

sr_status sr_toy_parse(const char *name, sr_toy *out) {
    for (int i = 0; i < SR_TOY_COUNT; i++) {
        if (strcmp(name, toys[i].name) != 0)
            continue;
        *out = (sr_toy)i;
        return SR_OK;
    }
    return sr_fail(SR_ERROR_ARGUMENT,
                   "no 2-D density '%s'; there are eight_gaussians, twenty_five_gaussians, rings, "
                   "two_moons, pinwheel, checkerboard, swiss_roll, two_spirals",
                   name);
}

size_t sr_toy_modes(sr_toy toy, const double **centres, double *deviation) {
    switch (toy) {
    case SR_EIGHT_GAUSSIANS:
        *centres = &eight_centres[0][0];
        *deviation = EIGHT_DEVIATION;
        return 8;
    case SR_TWENTY_FIVE_GAUSSIANS:
        *centres = &grid_centres[0][0];
        *deviation = GRID_DEVIATION;
        return 25;
    default:
        *centres = NULL;
        *deviation = 0;
        return 0;
    }
}

double sr_toy_window(sr_toy toy) {
    return (unsigned)toy < SR_TOY_COUNT ? toys[toy].window : 0;
}

// ---- curves -------------------------------------------------------------------------------------

// A density on a curve: `arms` arms of equal weight, the parameter t in [from, to] with density
// p(t).
typedef struct curve {
    size_t arms;
    double from, to;
} curve;

static curve curve_of(sr_toy toy) {
    switch (toy) {
    case SR_TWO_MOONS:
        return (curve){2, 0, PI};
    case SR_SWISS_ROLL:
        return (curve){1, 1.5 * PI, 4.5 * PI};
    default: // SR_TWO_SPIRALS
        return (curve){2, 0, 3 * PI};
    }
}

static void curve_point(sr_toy toy, size_t arm, double t, double out[2]) {
    double c = cos(t), s = sin(t);
    switch (toy) {
    case SR_TWO_MOONS: // scikit-learn's, centred and scaled by 1.5
        out[0] = 1.5 * ((arm ? 1 - c : c) - 0.5);
        out[1] = 1.5 * ((arm ? 0.5 - s : s) - 0.25);
        break;
    case SR_SWISS_ROLL:
        out[0] = 0.2 * t * c;
        out[1] = 0.2 * t * s;
        break;
    default: // SR_TWO_SPIRALS: each the other's half turn
        out[0] = (arm ? 0.3 : -0.3) * t * c;
        out[1] = (arm ? -0.3 : 0.3) * t * s;
    }
}

// The parameter for a uniform u in (0, 1). Spirals: t = T sqrt(u), so that p(t) = 2 t / T^2.
static double curve_parameter(sr_toy toy, curve k, double u) {
    return k.from + (k.to - k.from) * (toy == SR_TWO_SPIRALS ? sqrt(u) : u);
}

static double curve_density(sr_toy toy, curve k, double t) {
    double length = k.to - k.from;
    return toy == SR_TWO_SPIRALS ? 2 * t / (length * length) : 1 / length;
}

// ---- samples ------------------------------------------------------------------------------------

static double unit(uint32_t word) { // in (0, 1)
    return ((double)word + 0.5) * 0x1p-32;
}

// Box-Muller: two independent standard normals from two words.
static void normals(uint32_t a, uint32_t b, double out[2]) {
    double radius = sqrt(-2 * log(unit(a))), angle = 2 * PI * unit(b);
    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}

static size_t pick(uint32_t word, size_t n) { // uniform on 0 .. n-1
    return (size_t)((uint64_t)word * n >> 32);
}

static void sample_pinwheel(const uint32_t w[4], const double e[2], double out[2]) {
    double f0 = 1 + ARM_RADIAL * e[0], f1 = ARM_TANGENTIAL * e[1];
    double angle = 2 * PI * (double)pick(w[2], ARMS) / ARMS + ARM_RATE * exp(hypot(f0, f1));
    double c = cos(angle), s = sin(angle);
    out[0] = ARM_SCALE * (c * f0 - s * f1);
    out[1] = ARM_SCALE * (s * f0 + c * f1);
}

// Uniform on the squares [i, i+1) x [j, j+1) of [-2, 2)^2 with i + j even. Coordinates lie at the
// centres of a grid of 2^-22, which float32 holds exactly: rounding moves no point into the next
// square.
static void sample_checkerboard(const uint32_t w[4], double out[2]) {
    size_t square = pick(w[2], 8), i = square / 2, j = square % 2 * 2 + i % 2;
    out[0] = (double)i - 2 + ((double)(w[0] >> 10) + 0.5) * 0x1p-22;
    out[1] = (double)j - 2 + ((double)(w[1] >> 10) + 0.5) * 0x1p-22;
}

static void sample_one(sr_toy toy, const uint32_t w[4], double out[2]) {
    double e[2];
    normals(w[0], w[1], e);
    switch (toy) {
    case SR_EIGHT_GAUSSIANS:
    case SR_TWENTY_FIVE_GAUSSIANS: {
        bool eight = toy == SR_EIGHT_GAUSSIANS;
        const double *centre = eight ? eight_centres[pick(w[2], 8)] : grid_centres[pick(w[2], 25)];
        double deviation = eight ? EIGHT_DEVIATION : GRID_DEVIATION;
        out[0] = centre[0] + deviation * e[0];
        out[1] = centre[1] + deviation * e[1];
        break;
    }
    case SR_RINGS: {
        double radius = ring_radii[pick(w[2], 4)] + RING_DEVIATION * e[0];
        double angle = 2 * PI * unit(w[3]);
        out[0] = radius * cos(angle);
        out[1] = radius * sin(angle);
        break;
    }
    case SR_PINWHEEL:
        sample_pinwheel(w, e, out);
        break;
    case SR_CHECKERBOARD:
        sample_checkerboard(w, out);
        break;
    default: {
        curve k = curve_of(toy);
        curve_point(toy, pick(w[2], k.arms), curve_parameter(toy, k, unit(w[3])), out);
        out[0] += CURVE_DEVIATION * e[0];
        out[1] += CURVE_DEVIATION * e[1];
    }
    }
}

void sr_toy_sample(sr_toy toy, uint64_t seed, uint64_t first, size_t n, float *x) {
    sr_stream stream = sr_stream_make(seed, SR_PURPOSE_DATA, 0);
    for (size_t i = 0; i < n; i++) {
        uint64_t index = first + i;
        const uint32_t counter[4] = {0, 0, (uint32_t)index, (uint32_t)(index >> 32)};
        uint32_t words[4];
        double point[2];
        sr_philox4x32(counter, stream.key, words);
        sample_one(toy, words, point);
        x[2 * i] = (float)point[0];
        x[2 * i + 1] = (float)point[1];
    }
}

// ---- densities ----------------------------------------------------------------------------------

// log of the sum of weight[i] exp(exponent[i]); weight NULL: all 1.
static double log_sum_exp(size_t n, const double *exponent, const double *weight) {
    double largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, exponent[i]);
    for (size_t i = 0; i < n; i++) {
        double below = exponent[i] - largest;
        if (below > -60) // what is left out is less than 1e-26 of the sum
            sum += (weight ? weight[i] : 1) * exp(below);
    }
    return largest + log(sum);
}

static double mixture_log_density(const double (*centres)[2], size_t n, double deviation,
                                  const double x[2]) {
    double exponent[25], variance = deviation * deviation;
    for (size_t i = 0; i < n; i++) {
        double dx = x[0] - centres[i][0], dy = x[1] - centres[i][1];
        exponent[i] = -(dx * dx + dy * dy) / (2 * variance);
    }
    return log_sum_exp(n, exponent, NULL) - log(2 * PI * variance * (double)n);
}

// The signed radius s = r + sd eps has density phi((s - r)/sd)/sd, both signs of s give rho = |s|,
// and the angle is uniform: p(x) = sum_r [phi((rho - r)/sd) + phi((rho + r)/sd)] / (4 sd 2 pi rho).
// It has a pole at 0, of no weight (exp(-28)); below rho = 1e-6 the value at 1e-6 is given.
static double rings_log_density(const double x[2]) {
    double rho = fmax(hypot(x[0], x[1]), 1e-6), exponent[8];
    for (size_t i = 0; i < 4; i++) {
        double minus = (rho - ring_radii[i]) / RING_DEVIATION;
        double plus = (rho + ring_radii[i]) / RING_DEVIATION;
        exponent[2 * i] = -0.5 * minus * minus;
        exponent[2 * i + 1] = -0.5 * plus * plus;
    }
    return log_sum_exp(8, exponent, NULL) - log(4 * RING_DEVIATION * sqrt(2 * PI) * 2 * PI * rho);
}

// Rotation by an angle that depends on the radius alone keeps areas, so the density is that of the
// rotated-back point; the factor 1 / scale^2 is the scaling's.
static double pinwheel_log_density(const double x[2]) {
    double a = x[0] / ARM_SCALE, b = x[1] / ARM_SCALE, exponent[ARMS];
    // beyond radius 30 nothing is left of the density; the bound keeps exp finite
    double turn = ARM_RATE * exp(fmin(hypot(a, b), 30));
    for (int k = 0; k < ARMS; k++) {
        double angle = 2 * PI * k / ARMS + turn, c = cos(angle), s = sin(angle);
        double f0 = (c * a + s * b - 1) / ARM_RADIAL, f1 = (c * b - s * a) / ARM_TANGENTIAL;
        exponent[k] = -0.5 * (f0 * f0 + f1 * f1);
    }
    return log_sum_exp(ARMS, exponent, NULL) -
           log(ARMS * 2 * PI * ARM_RADIAL * ARM_TANGENTIAL * ARM_SCALE * ARM_SCALE);
}

static double checkerboard_log_density(const double x[2]) {
    double i = floor(x[0]), j = floor(x[1]);
    bool inside = i >= -2 && i < 2 && j >= -2 && j < 2 && ((int)i + (int)j) % 2 == 0;
    return inside ? -log(8) : -INFINITY;
}

// p(x) = mean over arms of the integral of p(t) N(x; c(t), sd^2 I) dt, by Gauss-Legendre quadrature
// with 8 nodes on each of 128 panels. A panel is at most two noise deviations long, where 8 nodes
// leave a relative error below 1e-9 within 5 deviations of the curve.
#define PANELS 128
#define NODES 8

typedef struct curve_rule {
    size_t n;
    double at[2 * PANELS * NODES][2], weight[2 * PANELS * NODES];
} curve_rule;

static void curve_rule_make(sr_toy toy, curve_rule *rule) {
    static const double node[NODES / 2] = {0.1834346424956498, 0.5255324099163290,
                                           0.7966664774136267, 0.9602898564975363};
    static const double weight[NODES / 2] = {0.3626837833783620, 0.3137066458778873,
                                             0.2223810344533745, 0.1012285362903763};
    curve k = curve_of(toy);
    double half = (k.to - k.from) / (2 * PANELS);
    rule->n = 0;
    for (size_t arm = 0; arm < k.arms; arm++) {
        for (size_t panel = 0; panel < PANELS; panel++) {
            for (size_t j = 0; j < NODES; j++) {
                double offset = j % 2 ? -node[j / 2] : node[j / 2];
                double t = k.from + half * ((double)(2 * panel + 1) + offset);
                curve_point(toy, arm, t, rule->at[rule->n]);
                rule->weight[rule->n++] =
                    weight[j / 2] * half * curve_density(toy, k, t) / (double)k.arms;
            }
        }
    }
}

static double curve_log_density(const curve_rule *rule, const double x[2]) {
    double exponent[2 * PANELS * NODES];
    const double variance = CURVE_DEVIATION * CURVE_DEVIATION;
    for (size_t i = 0; i < rule->n; i++) {
        double dx = x[0] - rule->at[i][0], dy = x[1] - rule->at[i][1];
        exponent[i] = -(dx * dx + dy * dy) / (2 * variance);
    }
    return log_sum_exp(rule->n, exponent, rule->weight) - log(2 * PI * variance);
}

bool sr_toy_log_density(sr_toy toy, size_t n, const float *x, double *log_density) {
    curve_rule rule; // 48 KiB
    if ((unsigned)toy >= SR_TOY_COUNT)
        return false;
    if (toy == SR_TWO_MOONS || toy == SR_SWISS_ROLL || toy == SR_TWO_SPIRALS)
        curve_rule_make(toy, &rule);
    for (size_t i = 0; i < n; i++) {
        const double point[2] = {x[2 * i], x[2 * i + 1]};
        switch (toy) {
        case SR_EIGHT_GAUSSIANS:
            log_density[i] = mixture_log_density(eight_centres, 8, EIGHT_DEVIATION, point);
            break;
        case SR_TWENTY_FIVE_GAUSSIANS:
            log_density[i] = mixture_log_density(grid_centres, 25, GRID_DEVIATION, point);
            break;
        case SR_RINGS:
            log_density[i] = rings_log_density(point);
            break;
        case SR_PINWHEEL:
            log_density[i] = pinwheel_log_density(point);
            break;
        case SR_CHECKERBOARD:
            log_density[i] = checkerboard_log_density(point);
            break;
        default:
            log_density[i] = curve_log_density(&rule, point);
        }
    }
    return true;
}
