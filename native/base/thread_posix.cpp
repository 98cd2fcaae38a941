#include <pthread.h>

#include <memory>
#include <system_error>

#include "base/thread.h"

namespace mask_predict {
namespace {

void* run(void* given) {
  const std::unique_ptr<std::function<void()>> body(static_cast<std::function<void()>*>(given));
  (*body)();
  return nullptr;
}

}  // namespace

Thread::Thread(std::function<void()> body) {
  auto given = std::make_unique<std::function<void()>>(std::move(body));
  pthread_attr_t attributes;
  int reason = pthread_attr_init(&attributes);
  if (reason == 0) {
    pthread_attr_setstacksize(&attributes, stack_bytes);
    pthread_t thread;
    reason = pthread_create(&thread, &attributes, run, given.get());
    pthread_attr_destroy(&attributes);
    static_assert(sizeof thread <= sizeof native_);
    if (reason == 0) native_ = (uintptr_t)thread;  // a number on some systems, a pointer on others
  }
  if (reason != 0) throw std::system_error(reason, std::generic_category());
  static_cast<void>(given.release());  // the thread's now
}

void Thread::join() { pthread_join((pthread_t)std::exchange(native_, 0), nullptr); }

}  // namespace mask_predict
