/* The parts of a stacked transformer that are not matrix products, each as one pass over memory, in float32.

   Every tensor has the runs as its leading axis. Parameters of a run lie in one flat row, so they come with the stride
   from one run to the next; everything else is contiguous. Sums over rows are taken in blocks of a fixed size, in order:
   a run's result depends neither on the number of threads nor on the other runs. Written to be vectorised by the
   compiler: the inner loops are over a contiguous axis, without calls and without branches. */

#ifdef _OPENMP
#include <omp.h>
#endif
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 64 /* rows whose sums are taken by one thread */
#define MOST_KEYS 64
#define MANY(work) ((work) > 32768) /* numbers to work on, for which waking threads pays */
#define PRAGMA(text) _Pragma(#text)
#define SUM(s) PRAGMA(omp simd reduction(+ : s))
#define EACH PRAGMA(omp simd)
#define ALWAYS static inline __attribute__((always_inline))

typedef int64_t size;

static size least(size a, size b) { return a < b ? a : b; }
static size blocks(size rows) { return (rows + BLOCK - 1) / BLOCK; }

/* How many threads the kernels use that are called from this thread on. */
void use_threads(size count) {
#ifdef _OPENMP
    omp_set_num_threads((int)count);
#else
    (void)count;
#endif
}

/* exp(x) to 2 units in the last place (Cephes' polynomial), for x <= 0 as it is used here; not-a-number stays so. */
static inline float exponential(float x) {
    float smallest = -87.0f, given = x;
    x = x < smallest ? smallest : x;
    float n = rintf(x * 1.44269504f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { int32_t i; float f; } power = {.i = ((int32_t)n + 127) << 23};
    return given < smallest ? 0.0f : p * power.f;
}

/* out[run][column] = the sum over blocks of partial[run][block][column]. */
static void add_blocks(const float *partial, size runs, size count, size width, float *out) {
    for (size run = 0; run < runs; run++) {
        float *o = out + run * width;
        memset(o, 0, width * sizeof *o);
        for (size block = 0; block < count; block++) {
            const float *p = partial + (run * count + block) * width;
            EACH for (size c = 0; c < width; c++) o[c] += p[c];
        }
    }
}

/* The normal distribution's Φ(z), given e = exp(-z^2 / 2): Abramowitz and Stegun 7.1.26 (error < 1e-7). */
ALWAYS float normal_below(float z, float e) {
    float t = 1.0f / (1.0f + 0.231641888f * fabsf(z)), p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float tail = 0.5f * e * t * p;
    return z > 0 ? 1.0f - tail : tail;
}

/* y = GELU(x + bias), exact (Hendrycks and Gimpel 2016). slope, if asked for, is dy/dx; it may be x itself, and so may
   y. */
void gelu(const float *x, const float *bias, size stride, float *y, float *slope, size runs, size rows, size width) {
#pragma omp parallel for if (MANY(runs * rows * width))
    for (size row = 0; row < runs * rows; row++) {
        const float *b = bias + row / rows * stride;
        size first = row * width;
        if (slope) {
            EACH for (size c = 0; c < width; c++) {
                float z = x[first + c] + b[c], e = exponential(-0.5f * z * z), below = normal_below(z, e);
                y[first + c] = z * below;
                slope[first + c] = below + z * e * 0.398942280f;
            }
        } else {
            EACH for (size c = 0; c < width; c++) {
                float z = x[first + c] + b[c];
                y[first + c] = z * normal_below(z, exponential(-0.5f * z * z));
            }
        }
    }
}

/* dx = dy * slope; dbias [runs][width] = its sum over rows. */
void gelu_backward(const float *dy, const float *slope, float *dx, float *dbias, size runs, size rows, size width) {
    size count = blocks(rows);
    float *partial = malloc(runs * count * width * sizeof *partial);
#pragma omp parallel for if (MANY(runs * rows * width))
    for (size task = 0; task < runs * count; task++) {
        size run = task / count, from = task % count * BLOCK;
        float *sum = partial + task * width;
        memset(sum, 0, width * sizeof *sum);
        for (size row = from; row < least(from + BLOCK, rows); row++) {
            size first = (run * rows + row) * width;
            EACH for (size c = 0; c < width; c++) {
                float d = dy[first + c] * slope[first + c];
                dx[first + c] = d;
                sum[c] += d;
            }
        }
    }
    add_blocks(partial, runs, count, width, dbias);
    free(partial);
}

/* y = LayerNorm(x + r + bias) * gain + shift. normal, the normalised sum, may be r itself; scale [runs][rows] is the
   reciprocal of the standard deviation. r and bias may be null. */
void add_norm(const float *x, const float *r, const float *bias, const float *gain, const float *shift, size stride,
              float *y, float *normal, float *scale, size runs, size rows, size width) {
#pragma omp parallel for if (MANY(runs * rows * width))
    for (size row = 0; row < runs * rows; row++) {
        size offset = row / rows * stride, first = row * width;
        const float *g = gain + offset, *s = shift + offset;
        float *n = normal + first;
        float mean = 0, variance = 0;
        if (r) {
            const float *b = bias + offset;
            SUM(mean) for (size c = 0; c < width; c++) {
                float v = x[first + c] + r[first + c] + b[c];
                n[c] = v;
                mean += v;
            }
        } else {
            SUM(mean) for (size c = 0; c < width; c++) {
                n[c] = x[first + c];
                mean += n[c];
            }
        }
        mean /= width;
        SUM(variance) for (size c = 0; c < width; c++) variance += (n[c] - mean) * (n[c] - mean);
        float k = 1.0f / sqrtf(variance / width + 1e-5f);
        scale[row] = k;
        EACH for (size c = 0; c < width; c++) {
            n[c] = (n[c] - mean) * k;
            y[first + c] = n[c] * g[c] + s[c];
        }
    }
}

/* dx, the gradient of x and of r; sums [runs][3][width]: of gain, shift and bias. */
void add_norm_backward(const float *dy, const float *normal, const float *scale, const float *gain, size stride,
                       float *dx, float *sums, size runs, size rows, size width) {
    size count = blocks(rows);
    float *partial = malloc(runs * count * 3 * width * sizeof *partial);
#pragma omp parallel for if (MANY(runs * rows * width))
    for (size task = 0; task < runs * count; task++) {
        size run = task / count, from = task % count * BLOCK;
        const float *g = gain + run * stride;
        float *dgain = partial + task * 3 * width, *dshift = dgain + width, *dbias = dshift + width;
        memset(dgain, 0, 3 * width * sizeof *dgain);
        for (size row = from; row < least(from + BLOCK, rows); row++) {
            size first = (run * rows + row) * width;
            const float *d = dy + first, *n = normal + first;
            float *o = dx + first;
            float mean = 0, along = 0;
            _Pragma("omp simd reduction(+ : mean, along)") for (size c = 0; c < width; c++) {
                float v = d[c] * g[c];
                mean += v;
                along += v * n[c];
            }
            mean /= width;
            along /= width;
            float k = scale[run * rows + row];
            EACH for (size c = 0; c < width; c++) {
                float v = k * (d[c] * g[c] - mean - n[c] * along);
                o[c] = v;
                dgain[c] += d[c] * n[c];
                dshift[c] += d[c];
                dbias[c] += v;
            }
        }
    }
    add_blocks(partial, runs, count, 3 * width, sums);
    free(partial);
}

/* Where the rows lie that n readers read: reader e of a run reads row start + index[e], or start + e * step. */
typedef struct {
    const int64_t *index; /* [runs][readers], or null */
    size stride;          /* of index from one run to the next; 0 where they share it */
    size start;
    size step; /* 1: each reader has its own row; 0: one row for all */
} place;

static inline size row_of(const place *p, size run, size reader) {
    return p->start + (p->index ? p->index[run * p->stride + reader] : reader * p->step);
}

/* Calls f(..., dim) with the usual sizes of a head as constants, so that its loops are unrolled. */
#define BY_DIM(f, ...)                          \
    switch (dim) {                              \
        case 8: f(__VA_ARGS__, 8); break;       \
        case 16: f(__VA_ARGS__, 16); break;     \
        case 32: f(__VA_ARGS__, 32); break;     \
        case 64: f(__VA_ARGS__, 64); break;     \
        case 128: f(__VA_ARGS__, 128); break;   \
        default: f(__VA_ARGS__, dim);           \
    }

/* One head of one query: scores, their softmax w, and the mean o of the values. */
ALWAYS void attend_head(const float *q, const float **k, size keys, size value, float *w, float *o, size dim) {
    float root = 1.0f / sqrtf((float)dim), most = -INFINITY, total = 0;
    for (size j = 0; j < keys; j++) {
        float s = 0;
        SUM(s) for (size c = 0; c < dim; c++) s += q[c] * k[j][c];
        w[j] = s * root;
        most = w[j] > most ? w[j] : most;
    }
    for (size j = 0; j < keys; j++) total += w[j] = exponential(w[j] - most);
    for (size j = 0; j < keys; j++) w[j] /= total;
    EACH for (size c = 0; c < dim; c++) o[c] = w[0] * k[0][value + c];
    for (size j = 1; j < keys; j++) {
        const float *v = k[j] + value;
        EACH for (size c = 0; c < dim; c++) o[c] += w[j] * v[c];
    }
}

/* Attention of n queries, rows of q [runs][q_rows][heads * dim], each over its keys, rows of kv [runs][kv_rows][2]
   [heads * dim]. out [runs][out_rows][heads * dim] is written from row out_start on; weights [runs][n][heads][keys]
   are kept for the gradient if asked for. */
void attend(const float *q, size q_rows, const place *asker, const float *kv, size kv_rows, const place *places,
            size keys, float *out, size out_start, size out_rows, float *weights, size runs, size n, size heads,
            size dim) {
    size width = heads * dim;
#pragma omp parallel for if (MANY(runs * n * keys * width))
    for (size task = 0; task < runs * n; task++) {
        size run = task / n, e = task % n;
        const float *ask = q + (run * q_rows + row_of(asker, run, e)) * width, *k[MOST_KEYS];
        float *o = out + (run * out_rows + out_start + e) * width, scratch[MOST_KEYS];
        for (size j = 0; j < keys; j++) k[j] = kv + (run * kv_rows + row_of(places + j, run, e)) * 2 * width;
        for (size h = 0; h < heads; h++) {
            float *w = weights ? weights + (task * heads + h) * keys : scratch;
            BY_DIM(attend_head, ask + h * dim, k, keys, width, w, o + h * dim)
            for (size j = 0; j < keys; j++) k[j] += dim;
        }
    }
}

/* The gradient of `attend_head`: adds to dq, and to the keys' and values' dkv at the offsets `at`. */
ALWAYS void attend_head_backward(const float *d, const float *w, const float *q, float *dq, const float *kv, float *dkv,
                                 const size *at, size keys, size value, size dim) {
    float root = 1.0f / sqrtf((float)dim), dw[MOST_KEYS], mean = 0;
    for (size j = 0; j < keys; j++) {
        const float *v = kv + at[j] + value;
        float *dv = dkv + at[j] + value, s = 0;
        SUM(s) for (size c = 0; c < dim; c++) {
            s += d[c] * v[c];
            dv[c] += w[j] * d[c];
        }
        dw[j] = s;
        mean += s * w[j];
    }
    for (size j = 0; j < keys; j++) {
        float s = w[j] * (dw[j] - mean) * root;
        const float *k = kv + at[j];
        float *dk = dkv + at[j];
        EACH for (size c = 0; c < dim; c++) {
            dq[c] += s * k[c];
            dk[c] += s * q[c];
        }
    }
}

/* Adds to dq and dkv what the gradient dout of `attend`'s output gives. A thread has a run's head to itself: rows that
   several queries read are summed in the order of the queries. */
void attend_backward(const float *dout, size out_start, size out_rows, const float *weights, const float *q, float *dq,
                     size q_rows, const place *asker, const float *kv, float *dkv, size kv_rows, const place *places,
                     size keys, size runs, size n, size heads, size dim) {
    size width = heads * dim;
#pragma omp parallel for if (MANY(runs * n * keys * width))
    for (size task = 0; task < runs * heads; task++) {
        size run = task / heads, h = task % heads, at[MOST_KEYS];
        for (size e = 0; e < n; e++) {
            const float *d = dout + (run * out_rows + out_start + e) * width + h * dim;
            const float *w = weights + ((run * n + e) * heads + h) * keys;
            size ask = (run * q_rows + row_of(asker, run, e)) * width + h * dim;
            for (size j = 0; j < keys; j++) at[j] = (run * kv_rows + row_of(places + j, run, e)) * 2 * width + h * dim;
            BY_DIM(attend_head_backward, d, w, q + ask, dq + ask, kv, dkv, at, keys, width)
        }
    }
}

/* loss = -log softmax(logits)[target]; slope = softmax(logits) - onehot(target), if asked for, may be logits itself;
   hit: whether the target scores highest; saturated: whether the softmax is exactly 1 somewhere. */
void cross_entropy(const float *logits, const int64_t *targets, float *loss, float *slope, float *hit,
                   float *saturated, size rows, size classes) {
#pragma omp parallel for if (MANY(rows * classes))
    for (size row = 0; row < rows; row++) {
        const float *z = logits + row * classes;
        size target = targets[row];
        /* The largest adds 1 to its lane of the sum, which loses terms below 2^-24: `rest` is the sum without it. */
        float most = z[0], total = 0, rest = 0, aim = z[target];
        size best = 0;
        for (size c = 1; c < classes; c++)
            if (z[c] > most) {
                most = z[c];
                best = c;
            }
        if (slope) {
            float *s = slope + row * classes;
            _Pragma("omp simd reduction(+ : total, rest)") for (size c = 0; c < classes; c++) {
                float e = exponential(z[c] - most);
                rest += z[c] < most ? e : 0.0f;
                s[c] = e;
                total += e;
            }
            float share = 1.0f / total;
            EACH for (size c = 0; c < classes; c++) s[c] *= share;
            s[target] -= 1.0f;
        } else {
            _Pragma("omp simd reduction(+ : total, rest)") for (size c = 0; c < classes; c++) {
                float e = exponential(z[c] - most);
                rest += z[c] < most ? e : 0.0f;
                total += e;
            }
        }
        loss[row] = most - aim + logf(total);
        hit[row] = best == target;
        saturated[row] = total < 1.5f && 1.0f + rest == 1.0f; /* of two that are largest the total is 2 */
    }
}

/* AdamW (Loshchilov and Hutter 2019) on runs rows of flat parameters, which stride numbers lie apart. The gradients come
   in pieces [runs][counts[i]] that make up a row. constants [runs][7]: beta1, beta2, epsilon, 1 - beta1^t, 1 - beta2^t,
   rate, decay. */
void adamw(float *parameters, float *first, float *second, size stride, const float *const *gradients,
           const size *counts, size pieces, const float *constants, size runs) {
    size start = 0;
    for (size piece = 0; piece < pieces; start += counts[piece++]) {
        size count = counts[piece], parts = (count + 16383) / 16384;
#pragma omp parallel for if (MANY(runs * count))
        for (size task = 0; task < runs * parts; task++) {
            size run = task / parts, from = task % parts * 16384, to = least(from + 16384, count);
            const float *k = constants + run * 7, *g = gradients[piece] + run * count;
            float beta1 = k[0], beta2 = k[1], epsilon = k[2], root = 1.0f / sqrtf(k[4]), rate = k[5] / k[3];
            float keep = 1.0f - k[6];
            size offset = run * stride + start;
            float *p = parameters + offset, *m = first + offset, *v = second + offset;
            EACH for (size i = from; i < to; i++) {
                m[i] += (g[i] - m[i]) * (1.0f - beta1);
                v[i] = v[i] * beta2 + g[i] * g[i] * (1.0f - beta2);
                p[i] = p[i] * keep - rate * m[i] / (sqrtf(v[i]) * root + epsilon);
            }
        }
    }
}

/* out[run][out_start + e] = values[run][the row that reader e reads]. */
void spread(const float *values, size rows, const place *from, float *out, size out_start, size out_rows, size runs,
            size n, size width) {
#pragma omp parallel for if (MANY(runs * n * width))
    for (size task = 0; task < runs * n; task++) {
        size run = task / n, e = task % n;
        memcpy(out + (run * out_rows + out_start + e) * width,
               values + (run * rows + row_of(from, run, e)) * width, width * sizeof *out);
    }
}

/* dvalues[run][row] += the sum of dout over the readers of the row, in their order. */
void spread_backward(const float *dout, size out_start, size out_rows, float *dvalues, size rows, const place *from,
                     size runs, size n, size width) {
#pragma omp parallel for if (MANY(runs * n * width))
    for (size run = 0; run < runs; run++)
        for (size e = 0; e < n; e++) {
            const float *d = dout + (run * out_rows + out_start + e) * width;
            float *o = dvalues + (run * rows + row_of(from, run, e)) * width;
            EACH for (size c = 0; c < width; c++) o[c] += d[c];
        }
}

/* y = x rounded to the nearest bfloat16, ties to even. */
void round_bfloat16(const float *x, float *y, size count) {
#pragma omp parallel for simd if (MANY(count))
    for (size i = 0; i < count; i++) {
        union { float f; uint32_t i; } v = {.f = x[i]};
        uint32_t rounded = (v.i + 0x7fffu + ((v.i >> 16) & 1u)) & 0xffff0000u;
        /* Not-a-number stays as it is: rounding could carry it into infinity. */
        v.i = x[i] == x[i] ? rounded : v.i;
        y[i] = v.f;
    }
}
