/* The layers of the small networks by hand, over one array A of floats; all sizes are literal where they are called. */
#include <math.h>
#define INLINE static inline __attribute__((always_inline)) void
#define EACH(i, n) for (L i = 0; i < (n); i++)
typedef long L;

/* o = x w + b, then relu; ld* is the length of a row */
INLINE fc(float *A, L x, L ldx, L w, L b, L o, L ldo, L M, L K, L N, L relu) {
  EACH(i, M) {
    float t[N];
    EACH(j, N) t[j] = A[b + j];
    EACH(k, K) { float v = A[x + i * ldx + k]; EACH(j, N) t[j] += v * A[w + k * N + j]; }
    EACH(j, N) A[o + i * ldo + j] = relu ? (t[j] > 0 ? t[j] : 0) : t[j];
  }
}
/* gradients of w and b from d, that of o */
INLINE fc_weight(float *A, L x, L ldx, L d, L ldd, L gw, L gb, L M, L K, L N) {
  float t[N];
  EACH(k, K) {
    EACH(j, N) t[j] = 0;
    EACH(i, M) { float v = A[x + i * ldx + k]; EACH(j, N) t[j] += v * A[d + i * ldd + j]; }
    EACH(j, N) A[gw + k * N + j] = t[j];
  }
  EACH(j, N) t[j] = 0;
  EACH(i, M) EACH(j, N) t[j] += A[d + i * ldd + j];
  EACH(j, N) A[gb + j] = t[j];
}
/* gradient of x, added to what is there or not */
INLINE fc_data(float *A, L d, L ldd, L w, L o, L ldo, L M, L K, L N, L add) {
  float wt[N * K];
  EACH(k, K) EACH(j, N) wt[j * K + k] = A[w + k * N + j];
  EACH(i, M) {
    float t[K];
    EACH(k, K) t[k] = add ? A[o + i * ldo + k] : 0;
    EACH(j, N) { float v = A[d + i * ldd + j]; EACH(k, K) t[k] += v * wt[j * K + k]; }
    EACH(k, K) A[o + i * ldo + k] = t[k];
  }
}
INLINE relu_back(float *A, L h, L ldh, L d, L ldd, L o, L ldo, L M, L N) {
  EACH(i, M) EACH(j, N) A[o + i * ldo + j] = A[h + i * ldh + j] > 0 ? A[d + i * ldd + j] : 0;
}
INLINE add(float *A, L a, L b, L o, L n) { EACH(i, n) A[o + i] = A[a + i] + A[b + i]; }
INLINE copy(float *A, L a, L lda, L o, L ldo, L M, L N) { EACH(i, M) EACH(j, N) A[o + i * ldo + j] = A[a + i * lda + j]; }

/* loss = -mean(log(softmax(z) + 1e-8) y) and its gradient for z */
INLINE head(float *A, L z, L y, L dz, L loss, L M, L N) {
  float scale = -1.f / (M * N), total = 0;
  EACH(i, M) {
    float *Z = A + z + i * N, m = Z[0], s = 0, t = 0, g[N];
    EACH(j, N) m = m > Z[j] ? m : Z[j];
    EACH(j, N) { Z[j] = expf(Z[j] - m); s += Z[j]; }
    EACH(j, N) {
      float p = Z[j] /= s, v = A[y + i * N + j], q = p + 1e-8f;
      total += logf(q) * v; g[j] = scale * v / q; t += g[j] * p;
    }
    EACH(j, N) A[dz + i * N + j] = (g[j] - t) * Z[j];
  }
  A[loss] = total * scale;
}
/* batch normalization and relu; x becomes normalized in place, inv keeps 1 / deviation */
INLINE norm(float *A, L x, L o, L gamma, L beta, L mean, L var, L inv, L M, L N) {
  float *X = A + x, m[N], v[N];
  EACH(j, N) m[j] = v[j] = 0;
  EACH(i, M) EACH(j, N) m[j] += X[i * N + j];
  EACH(j, N) m[j] /= M;
  EACH(i, M) EACH(j, N) { float q = X[i * N + j] -= m[j]; v[j] += q * q; }
  EACH(j, N) {
    v[j] /= M;
    A[mean + j] = A[mean + j] * .9f + m[j] * .1f; A[var + j] = A[var + j] * .9f + v[j] * .1f;
    v[j] = A[inv + j] = 1 / sqrtf(v[j] + 1e-5f);
  }
  EACH(i, M) EACH(j, N) {
    float q = X[i * N + j] *= v[j];
    q = q * A[gamma + j] + A[beta + j];
    A[o + i * N + j] = q > 0 ? q : 0;
  }
}
INLINE norm_back(float *A, L d, L x, L gamma, L inv, L ggamma, L gbeta, L M, L N) {
  float a[N], b[N], *D = A + d, *X = A + x;
  EACH(j, N) a[j] = b[j] = 0;
  EACH(i, M) EACH(j, N) { b[j] += D[i * N + j]; a[j] += D[i * N + j] * X[i * N + j]; }
  EACH(j, N) { A[ggamma + j] = a[j]; A[gbeta + j] = b[j]; }
  EACH(i, M) EACH(j, N) D[i * N + j] = A[gamma + j] * A[inv + j] * (D[i * N + j] - (b[j] + X[i * N + j] * a[j]) / M);
}
INLINE adam(float *A, L p, L g, L m, L v, L n, L count) {
  A[count] += 1;
  double t = A[count], c = sqrt(1 - pow(.999, t));
  float rate = 1e-3 * c / (1 - pow(.9, t)), eps = 1e-8 * c;
  EACH(i, n) {
    float q = A[g + i], a = .9f * A[m + i] + .1f * q, b = .999f * A[v + i] + .001f * q * q;
    A[m + i] = a; A[v + i] = b; A[p + i] -= rate * a / (sqrtf(b) + eps);
  }
}
INLINE sgd(float *A, L p, L g, L m, L n, L rate) {
  EACH(i, n) { float a = .9f * A[m + i] + A[g + i]; A[m + i] = a; A[p + i] -= A[rate] * a; }
}
double chain(const float *restrict x, float *restrict g, L n) {
  double y = 0;
  for (L b = 0; b < n; b += 4096) {
    float s = 0;
    L e = b + 4096 < n ? b + 4096 : n;
    for (L i = b; i < e; i++) {
      float v = x[i], x2 = v * v, th = tanhf(v), ex = expf(-x2), q = 1 + x2;
      s += th * ex + logf(q); g[i] = ex * (1 - th * th - 2 * v * th) + 2 * v / q;
    }
    y += s;
  }
  return y;
}
