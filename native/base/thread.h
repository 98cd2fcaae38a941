// A thread whose stack is as large on every system as the code needs it. The usual sizes are 8 MiB with glibc, 512 KiB on
// macOS, and 128 KiB with musl, which is less than the readers of model files may take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

namespace mask_predict {

class Thread {
 public:
  Thread() = default;
  // Throws std::system_error if the system refuses a thread. `body` must not throw.
  explicit Thread(std::function<void()> body);
  Thread(Thread&& other) noexcept : native_(std::exchange(other.native_, 0)) {}
  Thread& operator=(Thread&& other) noexcept {
    std::swap(native_, other.native_);
    return *this;
  }

  // Waits for its end, which must be done before the object goes.
  void join();

  static constexpr size_t stack_bytes = size_t{2} << 20;

 private:
  uintptr_t native_ = 0;  // pthread_t, or a HANDLE
};

}  // namespace mask_predict
