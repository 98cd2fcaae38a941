#include <sys/file.h>

#include <cerrno>

#include "addon/arguments.h"
#include "addon/file_lock.h"

namespace mask_predict {
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

}  // namespace mask_predict
