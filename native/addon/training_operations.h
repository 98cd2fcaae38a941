// The operations of training one by one, for tests: forward and backward on typed arrays, on the CPU.
#pragma once

#include <napi.h>

namespace mask_predict {

Napi::Object define_training_operations(Napi::Env env);

}  // namespace mask_predict
