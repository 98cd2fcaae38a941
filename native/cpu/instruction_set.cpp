#include "cpu/instruction_set.h"

#include <cstdlib>

#include "base/error.h"
#include "cpu/x86_features.h"

namespace mask_predict::cpu {
namespace {

std::vector<const Kernels*> supported() {
  std::vector<const Kernels*> sets;
#if defined(__x86_64__)
  const X86Features features = x86_features();
  if (features.avx512bf16) sets.push_back(&kernels_avx512bf16);
  if (features.avx512vnni) sets.push_back(&kernels_avx512vnni);
  if (features.avx512) sets.push_back(&kernels_avx512);
  if (features.avxvnni) sets.push_back(&kernels_avxvnni);
  if (features.avx2) sets.push_back(&kernels_avx2);
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

const TrainingKernels& training_kernels_for(const Kernels& kernels, bool rounded) {
  if (rounded && kernels.round == nullptr)
    throw Error(ErrorCode::Device,
                std::string("precision 'bf16': products of bfloat16 need a processor with AVX512-BF16, "
                            "and the instruction set here is \"") +
                    kernels.name + "\"; use 'fp32' or 'auto'");
#if defined(__x86_64__)
  if (rounded) return training_avx512bf16;
  if (&kernels == &kernels_avx2 || &kernels == &kernels_avxvnni) return training_avx2;
  if (&kernels != &kernels_portable) return training_avx512;  // with VNNI and BF16 or without
#endif
  (void)kernels;
  return training_portable;
}

}  // namespace mask_predict::cpu
