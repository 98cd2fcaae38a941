#include "addon/file_lock.h"

#include <sys/file.h>

#include <cerrno>
#include <cstdint>
#include <limits>

#include "addon/arguments.h"
#include "addon/environment.h"

namespace mask_predict {
namespace {

const char* try_lock(int descriptor) {
  int result;
  do {
    result = flock(descriptor, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return "locked";
  if (errno == EWOULDBLOCK) return "busy";
  if (errno == EBADF) invalid("descriptor is not an open file");
  return "unsupported";
}

}  // namespace

Napi::Value lock_file(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int64_t descriptor = read_integer(info[0], "descriptor", 0, std::numeric_limits<int>::max());
    return Napi::String::New(info.Env(), try_lock(static_cast<int>(descriptor)));
  });
}

}  // namespace mask_predict
