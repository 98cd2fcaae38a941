#include "cpu/instruction_set.h"

#include <cstdlib>

#include "base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mask_predict::cpu {
namespace {

#if defined(__x86_64__)
// Conversion between float16 and float32. Asked of the processor itself: Clang's builtin knew no such name for long.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

std::vector<const Kernels*> supported() {
  std::vector<const Kernels*> sets;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
      if (__builtin_cpu_supports("avx512vnni")) sets.push_back(&kernels_avx512vnni);
      sets.push_back(&kernels_avx512);
    }
    sets.push_back(&kernels_avx2);
  }
#endif
  sets.push_back(&kernels_portable);
  return sets;
}

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Kernels* set : supported()) names.push_back(set->name);
  const char* forced = std::getenv("MASK_PREDICT_ISA");
  if (forced == nullptr || *forced == '\0') return names;
  for (size_t i = 0; i < names.size(); i++)
    if (names[i] == forced) return {names.begin() + static_cast<std::ptrdiff_t>(i), names.end()};
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  throw Error(ErrorCode::Device, std::string("MASK_PREDICT_ISA is \"") + forced + "\"; this machine has " + list);
}

const Kernels& kernels_for(const std::string& name) {
  const std::vector<std::string> names = instruction_sets();
  for (const Kernels* set : supported())
    for (const std::string& allowed : names)
      if (allowed == set->name && (name.empty() || name == set->name)) return *set;
  throw Error(ErrorCode::Device, "instruction set \"" + name + "\" is not available here (best: " + names[0] + ")");
}

const TrainingKernels& training_kernels_for(const Kernels& kernels) {
#if defined(__x86_64__)
  if (&kernels == &kernels_avx2) return training_avx2;
  if (&kernels != &kernels_portable) return training_avx512;  // with VNNI or without
#endif
  (void)kernels;
  return training_portable;
}

}  // namespace mask_predict::cpu
