// A target as the native tests begin: all positions masked but <s> and </s>.
#pragma once

#include <memory>

#include "engine/engine.h"

inline mask_predict::ActiveTarget masked_target(const mask_predict::Engine& engine,
                                                const std::shared_ptr<mask_predict::Source>& source, size_t length) {
  auto target = std::make_shared<mask_predict::Target>();
  target->tokens.assign(length, engine.mask_token_id());
  target->maskable.assign(length, 1);
  target->tokens.front() = target->maskable.front() = target->maskable.back() = 0;
  target->tokens.back() = 2;
  target->masked = target->maskable;
  target->scores.assign(length, 0);
  target->maskable_count = target->masked_count = static_cast<int64_t>(length) - 2;
  return {target, source};
}
