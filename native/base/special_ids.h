// XLM-R's special ids, and which ids of any head are real and may be answered.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace mask_predict {

inline constexpr int32_t begin_id = 0;    // <s>
inline constexpr int32_t pad_id = 1;      // <pad>
inline constexpr int32_t end_id = 2;      // </s>
inline constexpr int32_t unknown_id = 3;  // <unk>

// XLM-R's rule: real ids are 0 ... mask_token_id; <s>, <pad>, </s> and <mask> are never answered; id is a real one.
// Static, as in numbers.h.
MASK_PREDICT_HOST_DEVICE static constexpr bool may_be_answered(int64_t id, int64_t mask_token_id) {
  return id > end_id && id != mask_token_id;
}

// The same as data, for every architecture: real ids are 0 ... real - 1; `never` are those that stay in the sum but
// are never answered, rising, with `real` behind the last one. On a CUDA device only XLM-R's.
inline constexpr int most_never = 6;
struct HeadIds {
  int32_t real;
  int32_t never[most_never];
};

static constexpr HeadIds xlm_roberta_ids(int32_t mask_token_id) {
  const int32_t real = mask_token_id + 1;
  return {real, {begin_id, pad_id, end_id, mask_token_id, real, real}};
}

// True if one of first ... first + count - 1 is an id that is never answered.
static constexpr bool has_never(const HeadIds& ids, int64_t first, int64_t count) {
  for (const int32_t id : ids.never)
    if (id >= first && id < first + count && id < ids.real) return true;
  return false;
}

// Calls body(id) for every id that may be answered, rising, until it returns true.
template <class Body>
static void each_answerable(const HeadIds& ids, const Body& body) {
  int64_t id = 0;
  for (const int32_t never : ids.never) {
    for (; id < never; id++)
      if (body(id)) return;
    id = int64_t{never} + 1;
  }
  for (; id < ids.real; id++)
    if (body(id)) return;
}

}  // namespace mask_predict
