// Peak rates of this machine: AVX-512 fp32 FMA, AVX-512 VNNI u8xs8 dot, stream read (plain and huge pages), L2/L3-resident read.
// Usage: peak THREADS -> one JSON line. Compiled and run by bench/machine.mjs.
#define _GNU_SOURCE
#include <immintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
static int T; static pthread_barrier_t bar; static volatile int sinki;
static char *buf; static size_t each; static int mode; static double best;
#define R16(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define Z(i) "vpxord %%zmm" #i ",%%zmm" #i ",%%zmm" #i "\n"
#define FM(i) "vfmadd231ps %%zmm30,%%zmm31,%%zmm" #i "\n"
#define VN(i) "vpdpbusd %%zmm30,%%zmm31,%%zmm" #i "\n"
#define CLOB "zmm0","zmm1","zmm2","zmm3","zmm4","zmm5","zmm6","zmm7","zmm8","zmm9","zmm10","zmm11","zmm12","zmm13","zmm14","zmm15","zmm30","zmm31","cc"
static void fma_loop(long n) { __asm__ volatile(R16(Z) Z(30) Z(31) "1:\n" R16(FM) "dec %0\njnz 1b\n" : "+r"(n)::CLOB); }
static void vnni_loop(long n) { __asm__ volatile(R16(Z) Z(30) Z(31) "1:\n" R16(VN) "dec %0\njnz 1b\n" : "+r"(n)::CLOB); }
static void read_loop(const char *p, size_t n) {
  __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
  for (size_t i = 0; i < n; i += 256) {
    a = _mm512_xor_si512(a, _mm512_load_si512(p + i)); b = _mm512_xor_si512(b, _mm512_load_si512(p + i + 64));
    c = _mm512_xor_si512(c, _mm512_load_si512(p + i + 128)); d = _mm512_xor_si512(d, _mm512_load_si512(p + i + 192));
  }
  sinki = _mm512_reduce_add_epi32(_mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d)));
}
static void *work(void *v) {
  long id = (long)v; double b = 1e9;
  for (int r = 0; r < 15; r++) {
    pthread_barrier_wait(&bar); double t0 = now();
    if (mode == 0) fma_loop(2000000); else if (mode == 1) vnni_loop(2000000);
    else if (mode == 2) read_loop(buf + id * each, each);
    else { for (int k = 0; k < 2000; k++) read_loop(buf + id * (mode == 3 ? 512 << 10 : 8 << 20), mode == 3 ? 512 << 10 : 8 << 20); }
    pthread_barrier_wait(&bar); double t = now() - t0; if (t < b) b = t;
    if (mode == 4 && r == 4) { for (; r < 14; r++) { pthread_barrier_wait(&bar); pthread_barrier_wait(&bar); } }
  }
  if (!id) best = b; return 0;
}
static double run(int m) {
  mode = m; pthread_t h[8]; pthread_barrier_init(&bar, 0, T);
  for (long i = 0; i < T; i++) pthread_create(h + i, 0, work, (void *)i);
  for (int i = 0; i < T; i++) pthread_join(h[i], 0);
  return best;
}
int main(int c, char **v) {
  T = c > 1 ? atoi(v[1]) : 1; size_t total = (size_t)1 << 30; each = total / T;
  double f = run(0), q = run(1);
  printf("{\"bench\":\"peak\",\"threads\":%d,\"fma_gflops\":%.1f,\"vnni_gops\":%.1f", T, 2000000.0 * 16 * 32 * T / f / 1e9, 2000000.0 * 16 * 128 * T / q / 1e9);
  for (int huge = 0; huge < 2; huge++) {
    buf = mmap(0, total + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); char *raw = buf;
    buf = (char *)(((uintptr_t)buf + (2 << 20) - 1) & ~(uintptr_t)((2 << 20) - 1));
    madvise(buf, total, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE); memset(buf, 1, total);
    printf(",\"%s\":%.1f", huge ? "read_gbs_huge" : "read_gbs", total / run(2) / 1e9);
    if (huge) { printf(",\"l2_gbs\":%.1f", 2000.0 * (512 << 10) * T / run(3) / 1e9); printf(",\"l3_gbs\":%.1f", 2000.0 * (8 << 20) * T / run(4) / 1e9); }
    munmap(raw, total + (2 << 20));
  }
  printf("}\n");
}
