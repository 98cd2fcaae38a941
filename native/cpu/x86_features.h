// The features of an x86-64 processor whose registers the system also saves when it switches threads. We ask the
// processor itself, because not every compiler's library has __builtin_cpu_supports, and Clang's had no name for F16C
// for a long time.
#pragma once

namespace mask_predict::cpu {

struct X86Features {
  bool avx2 = false;        // with FMA and F16C
  bool avxvnni = false;     // and avx2
  bool avx512 = false;      // F, BW, VL and DQ, and avx2
  bool avx512vnni = false;  // and avx512
  bool avx512bf16 = false;  // and avx512vnni
};

X86Features x86_features();

}  // namespace mask_predict::cpu
