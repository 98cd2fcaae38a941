// XLM-R's special ids, and which ids may be answered. Real ids are 0 ... mask_token_id.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace mask_predict {

inline constexpr int32_t begin_id = 0;    // <s>
inline constexpr int32_t pad_id = 1;      // <pad>
inline constexpr int32_t end_id = 2;      // </s>
inline constexpr int32_t unknown_id = 3;  // <unk>

// <s>, <pad>, </s> and <mask> are never answered; id is a real one. Static, as in numbers.h.
MASK_PREDICT_HOST_DEVICE static constexpr bool may_be_answered(int64_t id, int64_t mask_token_id) {
  return id > end_id && id != mask_token_id;
}

}  // namespace mask_predict
