#include <process.h>

#include <cerrno>
#include <memory>
#include <system_error>

#include "base/thread.h"
#include "base/windows_system.h"

namespace mask_predict {
namespace {

unsigned __stdcall run(void* given) {
  const std::unique_ptr<std::function<void()>> body(static_cast<std::function<void()>*>(given));
  (*body)();
  return 0;
}

}  // namespace

Thread::Thread(std::function<void()> body) {
  auto given = std::make_unique<std::function<void()>>(std::move(body));
  native_ = ::_beginthreadex(nullptr, static_cast<unsigned>(stack_bytes), run, given.get(),
                             STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr);
  if (native_ == 0) throw std::system_error(errno, std::generic_category());
  static_cast<void>(given.release());  // the thread's now
}

void Thread::join() {
  const auto handle = reinterpret_cast<HANDLE>(std::exchange(native_, 0));
  ::WaitForSingleObject(handle, INFINITE);
  ::CloseHandle(handle);
}

}  // namespace mask_predict
