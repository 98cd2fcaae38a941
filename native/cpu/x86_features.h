// What an x86-64 processor can do and its system keeps in a switch of threads, asked of the processor itself: not every
// compiler's library has __builtin_cpu_supports, and Clang's knew no name for F16C for long.
#pragma once

namespace mask_predict::cpu {

struct X86Features {
  bool avx2 = false;        // with FMA and F16C
  bool avx512 = false;      // F, BW, VL and DQ, and all of the above
  bool avx512vnni = false;  // and all of the above
};

X86Features x86_features();

}  // namespace mask_predict::cpu
