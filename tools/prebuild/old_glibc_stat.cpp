// stat and its kin for glibc before 2.33, which has them in the part that is linked into every program. Zig 0.11's copy of
// that part sets an errno of its own, so that nobody learns why a call failed. These are the kernel's calls; struct stat is
// the kernel's on both machines.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT extern "C" __attribute__((visibility("hidden")))

EXPORT int fstatat(int directory, const char* path, struct stat* status, int flags) {
  return static_cast<int>(::syscall(SYS_newfstatat, directory, path, status, flags));
}
EXPORT int stat(const char* path, struct stat* status) { return fstatat(AT_FDCWD, path, status, 0); }
EXPORT int lstat(const char* path, struct stat* status) {
  return fstatat(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
EXPORT int fstat(int descriptor, struct stat* status) {
  return static_cast<int>(::syscall(SYS_fstat, descriptor, status));
}
