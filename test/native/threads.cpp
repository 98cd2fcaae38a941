// Thread pools and engines under load, for ThreadSanitizer to watch and for whoever waits for a loop that never ends:
// pools that come and go, loops of every size, engines on several threads that share their weights, calls cancelled
// from outside, and what other threads may look at meanwhile.
//   threads MODEL-DIRECTORY ROUNDS
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "base/error.h"
#include "cpu/thread_pool.h"
#include "engine/model_loader.h"
#include "masked_target.h"

using namespace mask_predict;

namespace {

const std::atomic<bool> never{false};
std::atomic<int> failures{0};

void expect(bool condition, const char* what) {
  if (condition) return;
  failures++;
  std::printf("FAILED: %s\n", what);
}

// Each number of a loop exactly once, however many threads and whatever the grain.
void try_pools(unsigned seed, int rounds) {
  std::minstd_rand random(seed);
  for (int round = 0; round < rounds; round++) {
    cpu::ThreadPool pool(1 + static_cast<int>(random() % 5));
    pool.reserve_scratch(64);
    for (unsigned loops = random() % 50; loops > 0; loops--) {
      std::vector<int> visits(random() % 300);
      pool.parallel_for(static_cast<int64_t>(visits.size()), 1 + static_cast<int64_t>(random() % 9),
                        [&](int64_t begin, int64_t end, int thread) {
                          *pool.scratch<int64_t>(thread) = begin;
                          for (int64_t i = begin; i < end; i++) visits[static_cast<size_t>(i)]++;
                        });
      bool once = true;
      for (const int count : visits) once = once && count == 1;
      expect(once, "a loop left out a number or took it twice");
    }
  }
}

// Loads, decodes and closes; some of the calls are cancelled by a thread that looks at the target meanwhile.
void try_engine(const std::string& directory, unsigned seed, int rounds) {
  std::minstd_rand random(seed);
  for (int round = 0; round < rounds; round++) {
    LoadOptions options;
    options.device = "cpu";
    options.threads = 1 + static_cast<int>(random() % 3);
    const LoadedModel model = load_model(
        {directory, std::nullopt}, options, [](double) {}, never);
    Engine& engine = *model.engine;
    const auto source = engine.encode({{0, 7, 12, 9, 2}}, true, never)[0];
    std::vector<int32_t> expected;
    for (int call = 0; call < 6; call++) {
      const ActiveTarget target = masked_target(engine, source, 20);
      std::atomic<bool> cancelled{false}, ended{false};
      const auto delay = std::chrono::microseconds(random() % 5000);
      const bool interrupts = call % 2 == 1;
      std::thread other([&] {
        for (const auto begun = std::chrono::steady_clock::now(); !ended;) {
          {
            const std::lock_guard<std::mutex> lock(target->mutex);
            expect(target->tokens.size() == target->scores.size(), "a target half written");
          }
          expect(engine.budget().used() > 0, "a budget without the source's bytes");
          if (interrupts && std::chrono::steady_clock::now() - begun > delay) cancelled = true;
        }
      });
      bool finished = true;
      try {
        engine.decode({target}, 4, std::nullopt, {}, 0, cancelled);
      } catch (const Cancelled&) {
        finished = false;
      }
      ended = true;
      other.join();
      if (!finished) continue;
      if (expected.empty()) expected = target->tokens;
      expect(target->tokens == expected, "another answer");
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) return 2;
  const std::string directory = arguments[1];
  const int rounds = std::atoi(arguments[2]);
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 2; seed++) threads.emplace_back(try_pools, seed, rounds * 10);
  for (unsigned seed = 3; seed <= 5; seed++) threads.emplace_back(try_engine, directory, seed, rounds);
  for (std::thread& thread : threads) thread.join();
  std::printf(failures == 0 ? "passed\n" : "%d failures\n", failures.load());
  return failures == 0 ? 0 : 1;
}
