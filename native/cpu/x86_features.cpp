#include "cpu/x86_features.h"

#if defined(__x86_64__)

#include <cpuid.h>

#include <cstdint>

namespace mask_predict::cpu {
namespace {

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

// All zeros for a leaf that the processor does not have.
Registers leaf(unsigned number, unsigned part = 0) {
  Registers r;
  __get_cpuid_count(number, part, &r.a, &r.b, &r.c, &r.d);
  return r;
}

bool bit(unsigned word, int number) { return (word >> number & 1) != 0; }

// The registers that the system saves. Only where CPUID says OSXSAVE.
uint64_t saved_registers() {
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

}  // namespace

// Bits as Intel's manual numbers them, volume 2A, CPUID; those of XCR0 in volume 1, section 13.3.
X86Features x86_features() {
  X86Features found;
  const Registers one = leaf(1), seven = leaf(7), seven_one = seven.a >= 1 ? leaf(7, 1) : Registers();
  const bool fma = bit(one.c, 12), osxsave = bit(one.c, 27), avx = bit(one.c, 28), f16c = bit(one.c, 29);
  if (!osxsave || !avx) return found;
  constexpr uint64_t of_avx = 0x06, of_avx512 = 0xe6;
  const uint64_t saved = saved_registers();
  found.avx2 = (saved & of_avx) == of_avx && fma && f16c && bit(seven.b, 5);
  found.avx512 = found.avx2 && (saved & of_avx512) == of_avx512 && bit(seven.b, 16) && bit(seven.b, 17) &&
                 bit(seven.b, 30) && bit(seven.b, 31);
  found.avxvnni = found.avx2 && bit(seven_one.a, 4);
  found.avx512vnni = found.avx512 && bit(seven.c, 11);
  found.avx512bf16 = found.avx512vnni && bit(seven_one.a, 5);
  return found;
}

}  // namespace mask_predict::cpu

#endif
