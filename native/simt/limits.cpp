#include "simt/limits.h"

#include <algorithm>

namespace mask_predict::simt {

SharedMemory shared_memory_of(ComputeCapability capability) {
  constexpr size_t kibibyte = 1024;
  const int version = capability.major * 10 + capability.minor;
  const bool is_small = version == 86 || version == 89 || version >= 120;
  const size_t of_block = version < 80 ? 64 : is_small ? 99 : version < 90 ? 163 : 227;
  const size_t kept = version < 80 ? 0 : 1;
  return {48 * kibibyte, of_block * kibibyte, (of_block + kept) * kibibyte};
}

int code_for(ComputeCapability capability) {
  for (const int code : {120, 100, 90})
    if (capability.major * 10 + capability.minor >= code) return code;
  return 80;
}

// The bounds are told by how many instructions that do nothing a kernel begins with (language.h).
LaunchBounds launch_bounds_of(const void* kernel) {
#ifdef MASK_PREDICT_SIMT_MARKS_BOUNDS
  const auto* code = static_cast<const unsigned char*>(kernel);
  constexpr unsigned char landing[] = {0xf3, 0x0f, 0x1e, 0xfa};  // endbr64, where the compiler puts it
  if (std::equal(landing, landing + 4, code)) code += 4;
  int marks = 0;
  while (code[marks] == 0x90) ++marks;
  return {marks % marks_of_a_block * 32, marks / marks_of_a_block};
#else
  static_cast<void>(kernel);
  return {-1, -1};
#endif
}

int most_registers(LaunchBounds bounds) {
  if (bounds.threads <= 0) return most_thread_registers;
  const int share = registers_of_multiprocessor / (bounds.threads * std::max(bounds.blocks, 1));
  return std::min(share / 8 * 8, most_thread_registers);  // given out in eights
}

std::string beyond_limits(const char* kernel, LaunchBounds bounds, int threads, ComputeCapability capability) {
  if (bounds.threads < 0) return "";
  const std::string beginning = std::string("kernel ") + kernel + ": a block of " + std::to_string(threads) +
                                " threads on compute capability " + capability.name();
  if (bounds.threads > 0 && threads > bounds.threads)
    return beginning + ", more than the " + std::to_string(bounds.threads) + " of its __launch_bounds__";
  const int registers = most_registers(bounds), needed = threads * ((registers + 7) / 8 * 8);
  if (needed > registers_of_multiprocessor)
    return beginning + " may need " + std::to_string(needed) + " registers, more than the " +
           std::to_string(registers_of_multiprocessor) + " there are; __launch_bounds__ would limit the " +
           std::to_string(registers) + " of a thread";
  return "";
}

std::string beyond_shared_memory(const char* kernel, size_t bytes, ComputeCapability capability) {
  const size_t limit = shared_memory_of(capability).of_block;
  if (bytes <= limit) return "";
  return std::string("kernel ") + kernel + ": a block with " + std::to_string(bytes) +
         " bytes of shared memory on compute capability " + capability.name() + ", more than the " +
         std::to_string(limit) + " that it may have there";
}

}  // namespace mask_predict::simt
