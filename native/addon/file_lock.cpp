#include "addon/file_lock.h"

#include <cstdint>
#include <limits>

#include "addon/arguments.h"
#include "addon/environment.h"

namespace mask_predict {

Napi::Value lock_file(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int64_t descriptor = read_integer(info[0], "descriptor", 0, std::numeric_limits<int>::max());
    return Napi::String::New(info.Env(), try_lock(static_cast<int>(descriptor)));
  });
}

}  // namespace mask_predict
