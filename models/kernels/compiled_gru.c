/* Time loops of gated recurrent units with the reset gate ahead of the product, of few sequences, without a
 * gradient. The equations, names and shapes are those of `models.gru_loops` and `models.controlled_loop`;
 * arrays are float32 with rows side by side, and strides count values. Nothing here is called by itself:
 * see `models.compiled`.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef float wide __attribute__((vector_size(64)));
typedef float half __attribute__((vector_size(32)));
typedef float quarter __attribute__((vector_size(16)));
/* The same, wherever they lie in memory. */
typedef float any_wide __attribute__((vector_size(64), aligned(4), may_alias));
typedef float any_half __attribute__((vector_size(32), aligned(4), may_alias));
typedef float any_quarter __attribute__((vector_size(16), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE quarter fold(wide a, half b) {
    half h = __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7)
             + __builtin_shufflevector(a, a, 8, 9, 10, 11, 12, 13, 14, 15) + b;
    return __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
}

INLINE quarter pairs(quarter a, quarter b) {
    return __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
}

/* y[i] += w[i] . x for R rows of n values; R is a constant wherever this is used, and a multiple of 4. */
INLINE void some_rows(const int R, const float *w, int64_t w_row, int64_t n, const float *x, float *y) {
    wide a[8] = {{0}};
    half b[8] = {{0}};
    quarter c[8] = {{0}};
    int64_t k = 0;
    for (; k + 16 <= n; k += 16)
        for (int i = 0; i < R; i++)
            a[i] += *(const any_wide *)(w + i * w_row + k) * *(const any_wide *)(x + k);
    if (k + 8 <= n) {
        for (int i = 0; i < R; i++)
            b[i] = *(const any_half *)(w + i * w_row + k) * *(const any_half *)(x + k);
        k += 8;
    }
    if (k + 4 <= n) {
        for (int i = 0; i < R; i++)
            c[i] = *(const any_quarter *)(w + i * w_row + k) * *(const any_quarter *)(x + k);
        k += 4;
    }
    for (int i = 0; i < R; i++)
        c[i] += fold(a[i], b[i]);
    for (int i = 0; i < R; i += 4)
        *(any_quarter *)(y + i) += pairs(pairs(c[i], c[i + 1]), pairs(c[i + 2], c[i + 3]));
    for (; k < n; k++)
        for (int i = 0; i < R; i++)
            y[i] += w[i * w_row + k] * x[k];
}

/* y[m] += W x[m] for M sequences; W has `rows` rows of n values, which stay in the cache for all of them. */
static void add_product(const float *w, int64_t w_row, int64_t rows, int64_t n, const float *x, int64_t x_row,
                        float *y, int64_t y_row, int64_t M) {
    int64_t j = 0;
    for (; j + 8 <= rows; j += 8)
        for (int64_t m = 0; m < M; m++)
            some_rows(8, w + j * w_row, w_row, n, x + m * x_row, y + m * y_row + j);
    for (; j + 4 <= rows; j += 4)
        for (int64_t m = 0; m < M; m++)
            some_rows(4, w + j * w_row, w_row, n, x + m * x_row, y + m * y_row + j);
    for (; j < rows; j++)
        for (int64_t m = 0; m < M; m++) {
            float sum = 0;
            for (int64_t k = 0; k < n; k++)
                sum += w[j * w_row + k] * x[m * x_row + k];
            y[m * y_row + j] += sum;
        }
}

/* The polynomial of Cephes for expf, 2 units in the last place. NaN stays NaN. */
INLINE float exponential(float x) {
    union { float value; int32_t bits; } shifted, power;
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    shifted.value = x * 1.44269504088896341f + 12582912.0f;
    float n = shifted.value - 12582912.0f;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    power.bits = (int32_t)((uint32_t)(shifted.bits - 0x4B400000 + 127) << 23);
    return (p * r * r + r + 1.0f) * power.value;
}

INLINE float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

/* A unit that reads P values `beside` its state of H. Rows of the weights: reset, update, candidate. */
typedef struct {
    int64_t H, P;
    const float *given;      /* of bin t and sequence m, 3 H values at t * given_bin + m * given_row */
    int64_t given_bin, given_row;
    const float *w_beside;   /* (3 H, P), rows beside_row apart */
    int64_t beside_row;
    const float *w_hh;       /* (3 H, H) */
    float clip;
} Unit;

/* From the states h to those of bin t; room for M * 4 H values. */
static void step(const Unit *u, int64_t t, int64_t M, const float *beside, int64_t beside_row, const float *h,
                 int64_t h_row, float *made, int64_t made_row, float *room) {
    const int64_t H = u->H;
    float *all = room, *reset = room + M * 3 * H;
    for (int64_t m = 0; m < M; m++)
        memcpy(all + m * 3 * H, u->given + t * u->given_bin + m * u->given_row, 3 * H * sizeof(float));
    if (u->P)
        add_product(u->w_beside, u->beside_row, 3 * H, u->P, beside, beside_row, all, 3 * H, M);
    add_product(u->w_hh, H, 2 * H, H, h, h_row, all, 3 * H, M);
    for (int64_t m = 0; m < M; m++) {
        float *restrict gates = all + m * 3 * H, *restrict out = reset + m * H;
        const float *restrict state = h + m * h_row;
        for (int64_t j = 0; j < 2 * H; j++)
            gates[j] = sigmoid(gates[j]);
        for (int64_t j = 0; j < H; j++)
            out[j] = gates[j] * state[j];
    }
    add_product(u->w_hh + 2 * H * H, H, H, H, reset, H, all + 2 * H, 3 * H, M);
    for (int64_t m = 0; m < M; m++) {
        const float *restrict z = all + m * 3 * H + H, *restrict raw = all + m * 3 * H + 2 * H;
        const float *restrict state = h + m * h_row;
        float *restrict out = made + m * made_row;
        for (int64_t j = 0; j < H; j++) {
            float c = 2.0f * sigmoid(2.0f * raw[j]) - 1.0f;
            float next = c + z[j] * (state[j] - c);
            next = next > u->clip ? u->clip : next;
            out[j] = next < -u->clip ? -u->clip : next;
        }
    }
}

/* One direction of `gru_sequence`. States go to t * out_bin + m * out_row; `given` and `out` may start at the
 * last bin, with negative strides. Returns 0, or 1 without memory. */
int run_gru(int64_t T, int64_t M, int64_t H, const float *given, int64_t given_bin, int64_t given_row,
            const float *w_hh, const float *h0, int64_t h0_row, float clip, float *out, int64_t out_bin,
            int64_t out_row) {
    const Unit unit = {H, 0, given, given_bin, given_row, NULL, 0, w_hh, clip};
    float *room = malloc(M * 4 * H * sizeof(float));
    if (!room)
        return 1;
    for (int64_t t = 0; t < T; t++) {
        const float *h = t ? out + (t - 1) * out_bin : h0;
        step(&unit, t, M, NULL, 0, h, t ? out_row : h0_row, out + t * out_bin, out_row, room);
    }
    free(room);
    return 0;
}

/* `run_controlled`: T bins of M sequences; K, G, F, C are the widths of controller, generator, factors and
 * inputs, `moments` that of what inputs are drawn from. Without `rows` (F is 0) nothing is fed back, without
 * `noise` inputs are means. Outputs have bins first. Returns 0, or 1 without memory. */
int run_controlled(int64_t T, int64_t M, int64_t K, int64_t G, int64_t F, int64_t C, int64_t n_moments,
                   const float *k_given, int64_t k_bin, int64_t k_row, const float *k0, int64_t k0_row,
                   const float *k_beside, int64_t k_beside_row, const float *k_hh,
                   const float *g_given, int64_t g_bin, int64_t g_row, const float *g0, int64_t g0_row,
                   const float *g_beside, int64_t g_beside_row, const float *g_hh,
                   const float *weight, const float *bias, const float *noise, const float *rows, float clip,
                   float *states, float *moments, float *inputs, float *factors) {
    const Unit controller = {K, F, k_given, k_bin, k_row, k_beside, k_beside_row, k_hh, clip};
    const Unit generator = {G, C, g_given, g_bin, g_row, g_beside, g_beside_row, g_hh, clip};
    const int64_t largest = K > G ? K : G;
    float *room = malloc(M * (4 * largest + 2 * K + F) * sizeof(float));
    if (!room)
        return 1;
    float *seen = room + M * 4 * largest, *k = seen + M * F, *k_next = k + M * K;
    for (int64_t m = 0; m < M; m++)
        memcpy(k + m * K, k0 + m * k0_row, K * sizeof(float));
    for (int64_t t = 0; t <= T; t++) {
        const float *h = t ? states + (t - 1) * M * G : g0;
        const int64_t h_row = t ? G : g0_row;
        float *shown = t ? factors + (t - 1) * M * F : seen;
        if (F) {
            memset(shown, 0, M * F * sizeof(float));
            add_product(rows, G, F, G, h, h_row, shown, F, M);
        }
        if (t == T)
            break;
        step(&controller, t, M, shown, F, k, K, k_next, K, room);
        float *swap = k;
        k = k_next;
        k_next = swap;
        float *drawn = moments + t * M * n_moments, *u = inputs + t * M * C;
        for (int64_t m = 0; m < M; m++)
            memcpy(drawn + m * n_moments, bias, n_moments * sizeof(float));
        add_product(weight, K, n_moments, K, k, K, drawn, n_moments, M);
        for (int64_t m = 0; m < M; m++)
            for (int64_t c = 0; c < C; c++) {
                const float *mean = drawn + m * n_moments;
                u[m * C + c] = mean[c];
                if (noise)
                    u[m * C + c] += exponential(mean[C + c] / 2) * noise[(t * M + m) * C + c];
            }
        step(&generator, t, M, u, C, h, h_row, states + t * M * G, G, room);
    }
    free(room);
    return 0;
}
