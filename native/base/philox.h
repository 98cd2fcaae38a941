// Philox4x32-10 (Salmon et al., SC 2011): a counter-based generator. The same key and counter give the same four numbers
// on any machine and in any order, so that a draw belongs to what it is for and not to when it is made.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace mask_predict {

inline constexpr uint32_t philox_multiplier_0 = 0xD2511F53, philox_multiplier_1 = 0xCD9E8D57;
inline constexpr uint32_t philox_key_step_0 = 0x9E3779B9, philox_key_step_1 = 0xBB67AE85;
inline constexpr int philox_rounds = 10;

// The counter becomes the four numbers. Static, as in numbers.h.
MASK_PREDICT_HOST_DEVICE static inline void philox(uint64_t key, uint32_t (&counter)[4]) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < philox_rounds; round++) {
    const uint64_t a = uint64_t{philox_multiplier_0} * counter[0], b = uint64_t{philox_multiplier_1} * counter[2];
    const uint32_t c1 = counter[1], c3 = counter[3];
    counter[0] = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    counter[1] = static_cast<uint32_t>(b);
    counter[2] = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    counter[3] = static_cast<uint32_t>(a);
    k0 += philox_key_step_0;
    k1 += philox_key_step_1;
  }
}

}  // namespace mask_predict
