// The rate that a bare register-blocked kernel reaches: y[M,N] = x[M,K] w[K,N] in fp32 (AVX-512 FMA) and u8 x s8 -> s32
// (AVX-512 VNNI), weights packed, cold in cache and prefetched; no epilogue, and every tile of the result goes to one
// reused buffer. A yardstick, not an engine. Compiled and run by bench/linear.mjs; M a multiple of 8.
#define _GNU_SOURCE
#include <immintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}
static int cmp(const void* a, const void* b) {
  double x = *(double*)a, y = *(double*)b;
  return x < y ? -1 : x > y;
}
static void* mem(size_t n) {
  n = (n + (2 << 20)) & ~(size_t)((2 << 20) - 1);
  char* p = mmap(0, n, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(p, n, MADV_HUGEPAGE);
  memset(p, 1, n);
  return p;
}
enum { MR = 8, NV = 3, NR = 48 };
static inline void kern_f(const float* a, int lda, const float* b, long k, float* c, long ldc, const char* pf) {
  __m512 s[MR][NV];
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 3
    for (int j = 0; j < NV; j++) s[i][j] = _mm512_setzero_ps();
  for (long p = 0; p < k; p++, b += NR) {
    if (pf) {
      _mm_prefetch(pf, _MM_HINT_T1);
      pf += 64;
    }
    __m512 b0 = _mm512_load_ps(b), b1 = _mm512_load_ps(b + 16), b2 = _mm512_load_ps(b + 32);
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) {
      __m512 x = _mm512_set1_ps(a[i * lda + p]);
      s[i][0] = _mm512_fmadd_ps(x, b0, s[i][0]);
      s[i][1] = _mm512_fmadd_ps(x, b1, s[i][1]);
      s[i][2] = _mm512_fmadd_ps(x, b2, s[i][2]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 3
    for (int j = 0; j < NV; j++) _mm512_storeu_ps(c + i * ldc + j * 16, s[i][j]);
}
static inline void kern_i(const uint8_t* a, int lda, const int8_t* b, long k, int* c, long ldc, const char* pf) {
  __m512i s[MR][NV];
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 3
    for (int j = 0; j < NV; j++) s[i][j] = _mm512_setzero_si512();
  for (long p = 0; p < k; p += 4, b += NR * 4) {
    if (pf) {
      _mm_prefetch(pf, _MM_HINT_T1);
      pf += 64;
    }
    __m512i b0 = _mm512_load_si512(b), b1 = _mm512_load_si512(b + 64), b2 = _mm512_load_si512(b + 128);
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) {
      __m512i x = _mm512_set1_epi32(*(const int*)(a + i * lda + p));
      s[i][0] = _mm512_dpbusd_epi32(s[i][0], x, b0);
      s[i][1] = _mm512_dpbusd_epi32(s[i][1], x, b1);
      s[i][2] = _mm512_dpbusd_epi32(s[i][2], x, b2);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 3
    for (int j = 0; j < NV; j++) _mm512_storeu_si512(c + i * ldc + j * 16, s[i][j]);
}
static int T, M;
static long K, NP, NW;
static int int8;
static void *A, *W, *C;
static size_t each;
static pthread_barrier_t bar;
static long reps;
static double* ts;
static void* work(void* v) {
  long id = (long)v, lo = NP * id / T, hi = NP * (id + 1) / T;
  size_t eb = int8 ? 1 : 4, pan = (size_t)K * NR * eb;
  for (long r = 0; r < reps; r++) {
    const char* w = (char*)W + (r % NW) * each;
    pthread_barrier_wait(&bar);
    double t = now();
    for (long p = lo; p < hi; p++) {
      const char* b = w + p * pan;
      size_t lines = pan / 64, per = lines / (M / MR) + 1;
      for (int m = 0; m < M; m += MR) {
        const char* pf = b + pan + (size_t)(m / MR) * per * 64;
        long steps = int8 ? K / 4 : K;
        if ((long)per > steps) per = steps;
        (void)per;
        // the logits tile is reused (as a fused argmax would): written to a small buffer
        if (int8)
          kern_i((uint8_t*)A + (size_t)m * K, K, (int8_t*)b, K, (int*)C + id * M * NR + m * NR, NR, pf);
        else
          kern_f((float*)A + (size_t)m * K, K, (float*)b, K, (float*)C + id * M * NR + m * NR, NR, pf);
      }
    }
    pthread_barrier_wait(&bar);
    if (!id) ts[r] = now() - t;
  }
  return 0;
}
int main(int c, char** v) {
  if (c != 7) {
    fprintf(stderr, "usage: roof fp32|u8s8 THREADS ROWS INNER OUTER REPETITIONS\n");
    return 2;
  }
  int8 = !strcmp(v[1], "u8s8");
  T = atoi(v[2]);
  M = atoi(v[3]);
  K = atol(v[4]);
  long outer = atol(v[5]);
  reps = atol(v[6]);
  pthread_barrier_init(&bar, 0, T);
  NP = (outer + NR - 1) / NR;
  long n = NP * NR;
  size_t eb = int8 ? 1 : 4;
  each = (size_t)K * n * eb;
  NW = 1 + (size_t)200000000 / each;  // several weight matrices in turn: cold
  A = mem((size_t)M * K * eb);
  W = mem(each * NW + (1 << 20));
  C = mem((size_t)T * M * NR * 4);
  pthread_t h[64];
  if (reps < NW) reps = NW;
  ts = malloc(reps * sizeof *ts);
  for (long i = 0; i < T; i++) pthread_create(h + i, 0, work, (void*)i);
  for (int i = 0; i < T; i++) pthread_join(h[i], 0);
  qsort(ts, reps, sizeof *ts, cmp);
  printf("{\"ms\":%.4f,\"ms_best\":%.4f}\n", ts[reps / 2] * 1e3, ts[0] * 1e3);
}
