#include "cpu/thread_pool.h"

#include <string>
#include <system_error>

#include "base/error.h"

namespace mask_predict::cpu {
namespace {

// Between two loops of one pass lie microseconds, so a short spin saves the wake-up; afterwards the thread sleeps.
constexpr int spins = 4000;

constexpr uint64_t open = uint64_t{1} << 31;
constexpr uint64_t threads_mask = open - 1;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class T>
void wait_while_equal(const std::atomic<T>& value, T old) {
  for (int i = 0; i < spins; i++) {
    if (value.load(std::memory_order_acquire) != old) return;
    relax();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  scratch_.resize(static_cast<size_t>(threads));
  shares_ = std::make_unique<Share[]>(static_cast<size_t>(threads));
  workers_.reserve(static_cast<size_t>(threads) - 1);
  try {
    for (int i = 1; i < threads; i++) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error& error) {
    const std::string started = std::to_string(size());
    stop();
    throw Error(ErrorCode::Device, "the system refused thread " + started + " of " + std::to_string(threads) + " (" +
                                       error.what() + "); ask for fewer threads, or raise the process's limit");
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stop_.store(true);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (Thread& worker : workers_) worker.join();
}

void ThreadPool::reserve_scratch(uint64_t bytes) {
  for (Buffer& buffer : scratch_)
    if (buffer.bytes() < bytes) buffer = Buffer(bytes, nullptr, "a thread's working memory");
}

void ThreadPool::take_ranges(const Loop& loop, int thread) {
  for (int i = 0, victim = thread; i < size(); i++, victim = (victim + 1) % size()) {
    Share& share = shares_[static_cast<size_t>(victim)];
    for (;;) {
      const int64_t begin = share.next.fetch_add(loop.grain, std::memory_order_relaxed);
      if (begin >= share.end) break;
      const int64_t end = begin + loop.grain < share.end ? begin + loop.grain : share.end;
      loop.call(loop.body, begin, end, thread);
    }
  }
}

void ThreadPool::run(const Loop& loop) {
  loop_ = loop;
  for (int64_t i = 0; i < size(); i++) {
    shares_[static_cast<size_t>(i)].next.store(loop.count * i / size(), std::memory_order_relaxed);
    shares_[static_cast<size_t>(i)].end = loop.count * (i + 1) / size();
  }
  const uint32_t generation = generation_.load(std::memory_order_relaxed) + 1;
  joined_.store(static_cast<uint64_t>(generation) << 32 | open, std::memory_order_release);
  generation_.store(generation, std::memory_order_release);
  generation_.notify_all();
  take_ranges(loop, 0);
  // Nobody may join any more; who has, is waited for.
  uint64_t joined = joined_.fetch_and(~open, std::memory_order_acq_rel) & ~open;
  for (; (joined & threads_mask) != 0; joined = joined_.load(std::memory_order_acquire))
    wait_while_equal(joined_, joined);
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  for (;;) {
    wait_while_equal(generation_, seen);
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    uint64_t joined = joined_.load(std::memory_order_acquire);
    const auto may_join = [&] { return joined >> 32 == seen && (joined & open) != 0; };
    while (may_join() && !joined_.compare_exchange_weak(joined, joined + 1, std::memory_order_acq_rel)) {
    }
    if (!may_join()) continue;
    take_ranges(loop_, thread);
    if ((joined_.fetch_sub(1, std::memory_order_acq_rel) & open) == 0) joined_.notify_all();
  }
}

}  // namespace mask_predict::cpu
