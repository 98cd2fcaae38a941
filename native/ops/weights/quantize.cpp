#include "ops/weights/quantize.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>

namespace mask_predict {
namespace {

constexpr float largest_fp8 = 448.0f;

}  // namespace

uint8_t float_to_fp8(float value) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return 0x7f;
  if (magnitude >= largest_fp8) return static_cast<uint8_t>(sign | 0x7e);
  if (magnitude < 0x1p-6f)  // steps of 2^-9; the eighth of them is the first normal number
    return static_cast<uint8_t>(sign | static_cast<int>(std::nearbyint(magnitude * 0x1p9f)));
  // Nearest with ties to even at three bits of fraction; a carry into the exponent is right as it is.
  uint32_t bits;
  std::memcpy(&bits, &magnitude, sizeof bits);
  bits += 0x7ffff + (bits >> 20 & 1);
  return static_cast<uint8_t>(sign | std::min<uint32_t>((bits >> 20) - ((127 - 7) << 3), 0x7e));
}

float fp8_to_float(uint8_t byte) {
  const int exponent = byte >> 3 & 15, fraction = byte & 7;
  if (exponent == 15 && fraction == 7) return std::numeric_limits<float>::quiet_NaN();
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                                        : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  return byte & 0x80 ? -magnitude : magnitude;
}

float quantize_row(WeightType type, const float* values, int64_t count, uint8_t* bytes) {
  const float most = type == WeightType::I8 ? 127.0f : largest_fp8;
  float largest = 0, nothing = 0;
  for (int64_t i = 0; i < count; i++) {
    largest = std::max(largest, std::fabs(values[i]));
    nothing += 0.0f * values[i];  // NaN if it is no finite number
  }
  // Values this small have no finite inverse, and any factor will do for them.
  const float factor = std::min(most / largest, FLT_MAX);
  for (int64_t i = 0; i < count; i++) {
    const float scaled = std::isnan(nothing) ? 0.0f : values[i] * factor;
    bytes[i] = type == WeightType::I8
                   ? static_cast<uint8_t>(static_cast<int8_t>(std::clamp(std::nearbyint(scaled), -127.0f, 127.0f)))
                   : float_to_fp8(scaled);
  }
  return largest / most + nothing;
}

}  // namespace mask_predict
