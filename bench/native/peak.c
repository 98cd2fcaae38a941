// Peak rates of this machine: float32 FMA and u8 x s8 products (AVX-512 and VNNI, or AVX2), products of bfloat16 where it
// has AVX512-BF16, stream read (plain and huge pages), read from the second- and third-level cache.
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
#ifdef __AVX512F__
// 16 sums of 16 lanes; an int8 instruction is 64 products.
enum { SUMS = 16, LANES = 16, BYTE_OPERATIONS = 128 };
#define CLEAR R16(Z) Z(30) Z(31)
#define Z(i) "vpxord %%zmm" #i ",%%zmm" #i ",%%zmm" #i "\n"
#define FM(i) "vfmadd231ps %%zmm30,%%zmm31,%%zmm" #i "\n"
#define VN(i) "vpdpbusd %%zmm30,%%zmm31,%%zmm" #i "\n"
#define FMAS R16(FM)
#define BYTES R16(VN)
#define CLOB "zmm0","zmm1","zmm2","zmm3","zmm4","zmm5","zmm6","zmm7","zmm8","zmm9","zmm10","zmm11","zmm12","zmm13","zmm14","zmm15","zmm30","zmm31","cc"
typedef __m512i reg;
#define LOAD _mm512_load_si512
#define XOR _mm512_xor_si512
#else
// AVX2: 12 sums of 8 lanes; 32 int8 products take three instructions.
enum { SUMS = 12, LANES = 8, BYTE_OPERATIONS = 64 };
#define R12(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11)
#define CLEAR R16(Z)
#define Z(i) "vpxor %%ymm" #i ",%%ymm" #i ",%%ymm" #i "\n"
#define FM(i) "vfmadd231ps %%ymm14,%%ymm15,%%ymm" #i "\n"
#define VN(i) "vpmaddubsw %%ymm14,%%ymm15,%%ymm12\n vpmaddwd %%ymm12,%%ymm15,%%ymm13\n vpaddd %%ymm13,%%ymm" #i ",%%ymm" #i "\n"
#define FMAS R12(FM)
#define BYTES R12(VN)
#define CLOB "xmm0","xmm1","xmm2","xmm3","xmm4","xmm5","xmm6","xmm7","xmm8","xmm9","xmm10","xmm11","xmm12","xmm13","xmm14","xmm15","cc"
typedef __m256i reg;
#define LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define XOR _mm256_xor_si256
#endif
static void fma_loop(long n) { __asm__ volatile(CLEAR "1:\n" FMAS "dec %0\njnz 1b\n" : "+r"(n)::CLOB); }
static void byte_loop(long n) { __asm__ volatile(CLEAR "1:\n" BYTES "dec %0\njnz 1b\n" : "+r"(n)::CLOB); }
#ifdef __AVX512BF16__
#define BF(i) "vdpbf16ps %%zmm30,%%zmm31,%%zmm" #i "\n"
static void pair_loop(long n) { __asm__ volatile(CLEAR "1:\n" R16(BF) "dec %0\njnz 1b\n" : "+r"(n)::CLOB); }
#else
static void pair_loop(long n) { (void)n; }
#endif
static void read_loop(const char *p, size_t n) {
  reg a = {0}, b = a, c = a, d = a;
  const size_t w = sizeof(reg);
  for (size_t i = 0; i < n; i += 4 * w) {
    a = XOR(a, LOAD(p + i)); b = XOR(b, LOAD(p + i + w));
    c = XOR(c, LOAD(p + i + 2 * w)); d = XOR(d, LOAD(p + i + 3 * w));
  }
  const reg e = XOR(XOR(a, b), XOR(c, d));
  sinki = ((const volatile int *)&e)[0];
}
static void *work(void *v) {
  long id = (long)v; double b = 1e9;
  for (int r = 0; r < 15; r++) {
    pthread_barrier_wait(&bar); double t0 = now();
    if (mode == 0) fma_loop(2000000); else if (mode == 1) byte_loop(2000000);
    else if (mode == 5) pair_loop(2000000);
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
  printf("{\"bench\":\"peak\",\"threads\":%d,\"fma_gflops\":%.1f,\"int8_gops\":%.1f", T, 2000000.0 * SUMS * LANES * 2 * T / f / 1e9, 2000000.0 * SUMS * BYTE_OPERATIONS * T / q / 1e9);
#ifdef __AVX512BF16__
  printf(",\"bf16_gflops\":%.1f", 2000000.0 * SUMS * LANES * 4 * T / run(5) / 1e9);
#endif
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
