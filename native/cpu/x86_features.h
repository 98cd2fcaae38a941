// The features of an x86-64 processor whose registers the system also saves when it switches threads. We ask the
// processor itself, because not every compiler's library has __builtin_cpu_supports, and Clang's had no name for F16C
// for a long time.
#pragma once

namespace mask_predict::cpu {

struct X86Features {
  bool avx2 = false;        // with FMA and F16C
  bool avx512 = false;      // F, BW, VL and DQ, and all of the above
  bool avx512vnni = false;  // and all of the above
};

X86Features x86_features();

}  // namespace mask_predict::cpu
