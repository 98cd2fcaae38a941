// The threads that share one engine's loops. The calling thread works too: a pool of one has no other. It never
// waits for a thread that has not begun: on a busy machine a loop ends when its ranges are done, whoever did them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "base/buffer.h"
#include "base/thread.h"

namespace mask_predict::cpu {

class ThreadPool {
 public:
  // Throws Error(Device) if the system refuses a thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end, thread) on disjoint ranges of at most `grain` that cover 0 ... count; `thread` is
  // 0 ... size() - 1. Which thread gets which range is open: a body's results must not depend on it. The body
  // must not throw. One caller at a time.
  template <class Body>
  void parallel_for(int64_t count, int64_t grain, const Body& body) {
    if (count <= 0) return;
    if (count <= grain || workers_.empty()) {
      for (int64_t begin = 0; begin < count; begin += grain)
        body(begin, begin + grain < count ? begin + grain : count, 0);
      return;
    }
    run({[](const void* b, int64_t begin, int64_t end, int thread) {
           (*static_cast<const Body*>(b))(begin, end, thread);
         },
         &body, count, grain});
  }

  // `bytes` of memory of this thread's own, kept until it asks for more. Call before parallel_for, not in it.
  void reserve_scratch(uint64_t bytes);
  template <class T>
  T* scratch(int thread) const {
    return scratch_[static_cast<size_t>(thread)].as<T>();
  }
  // `bytes` of memory for all threads, kept until the next call asks for more.
  template <class T>
  T* shared_scratch(uint64_t bytes) {
    if (shared_scratch_.bytes() < bytes) shared_scratch_ = Buffer(bytes, nullptr, "the threads' working memory");
    return shared_scratch_.as<T>();
  }

 private:
  struct Loop {
    void (*call)(const void*, int64_t, int64_t, int) = nullptr;
    const void* body = nullptr;
    int64_t count = 0;
    int64_t grain = 1;
  };
  // The part of a loop that lies nearest to one thread: it goes through it front to back, so that what it fetches
  // ahead it also uses, and then helps the others with theirs.
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  void run(const Loop& loop);
  void take_ranges(const Loop& loop, int thread);
  void work(int thread);
  void stop();

  std::vector<Thread> workers_;
  std::vector<Buffer> scratch_;
  Buffer shared_scratch_;
  std::unique_ptr<Share[]> shares_;
  Loop loop_;
  // Apart, so that threads waiting for a loop do not disturb those taking ranges.
  alignas(64) std::atomic<uint32_t> generation_{0};  // of the loop; what idle threads wait on
  alignas(64) std::atomic<uint64_t> joined_{0};      // generation << 32 | open | threads at work in the loop
  std::atomic<bool> stop_{false};
};

}  // namespace mask_predict::cpu
