// The operations one by one, synchronous, on typed arrays: the native side of lib/token/operations.ts.
#pragma once

#include <napi.h>

namespace mask_predict {

Napi::Object define_operations(Napi::Env env);

}  // namespace mask_predict
