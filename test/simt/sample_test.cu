// Tests sample on the emulated device: it makes the choices of the CPU's operation, whose sums are in double and
// whose border of the nucleus is sorted.
//   g++ -std=c++20 -O2 -g1 -DMASK_PREDICT_SIMT -Wall -Wextra -Wconversion -Werror -Wno-unknown-pragmas -I native
//       -o build/simt/sample_test native/simt/*.cpp native/ops/sample/sample_cpu.cpp native/cpu/kernels_portable.cpp
//       native/cpu/thread_pool.cpp native/base/buffer.cpp
//       -x c++ native/ops/sample/sample_cuda.cu test/simt/sample_test.cu -pthread
//   build/simt/sample_test [report]
// and the same with -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined.
#include "ops/operations.h"
#include "ops/sample/sample.h"

#include <algorithm>
#include <cmath>

#include "cpu/kernels.h"
#include "cpu/thread_pool.h"
#include "testing.h"

namespace mask_predict {
namespace {

constexpr int vocabulary = 307;  // the row stride; an odd one
constexpr int mask_token_id = 300;
constexpr int real_ids = mask_token_id + 1;

struct Rows {
  std::vector<float> logits;
  std::vector<int32_t> sequences, positions;

  // `logit(id)` for the real ids; the others must not be looked at.
  template <class Logit>
  void add(int sequence, int position, const Logit& logit) {
    for (int id = 0; id < vocabulary; ++id) logits.push_back(id < real_ids ? logit(id) : NAN);
    sequences.push_back(sequence);
    positions.push_back(position);
  }
  int64_t count() const { return static_cast<int64_t>(sequences.size()); }
};

struct Answers {
  std::vector<int32_t> ids;
  std::vector<float> log_probs;
};

Answers sample_on_cpu(const Rows& rows, float temperature, float nucleus, uint64_t seed, int iteration) {
  cpu::ThreadPool pool(1);
  Context context;
  context.pool = &pool;
  context.kernels = &cpu::kernels_portable;
  const size_t count = rows.sequences.size();
  Answers answers{std::vector<int32_t>(count), std::vector<float>(count)};
  cpu::sample(context,
              {rows.logits.data(), rows.count(), vocabulary, xlm_roberta_ids(mask_token_id), temperature, nucleus, seed,
               rows.sequences.data(), rows.positions.data(), iteration, answers.ids.data(), answers.log_probs.data()});
  return answers;
}

Answers sample_on_device(const Rows& rows, float temperature, float nucleus, uint64_t seed, int iteration) {
  const size_t count = rows.sequences.size();
  const DeviceArray<float> logits(rows.logits), log_probs(count);
  const DeviceArray<int32_t> sequences(rows.sequences), positions(rows.positions);
  const DeviceArray<int32_t> ids(std::vector<int32_t>(count, -7));  // -1, an answer, would look like "not written"
  cuda::Stream stream;
  Context context;
  context.stream = &stream;
  cuda::sample(context, {logits.data, rows.count(), vocabulary, xlm_roberta_ids(mask_token_id), temperature, nucleus,
                         seed, sequences.data, positions.data, iteration, ids.data, log_probs.data});
  cuda::check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  return {ids.get(), log_probs.get()};
}

Answers check_sample(const Rows& rows, float temperature, float nucleus, uint64_t seed, int iteration,
                     const std::string& what) {
  const Answers wanted = sample_on_cpu(rows, temperature, nucleus, seed, iteration);
  const Answers got = sample_on_device(rows, temperature, nucleus, seed, iteration);
  for (size_t r = 0; r < rows.sequences.size(); ++r) {
    const std::string where = what + ", temperature " + std::to_string(temperature) + ", nucleus " +
                              std::to_string(nucleus) + ", row " + std::to_string(r);
    expect(got.ids[r] == wanted.ids[r],
           where + ": " + std::to_string(got.ids[r]) + ", not " + std::to_string(wanted.ids[r]));
    const float a = got.log_probs[r], b = wanted.log_probs[r];
    expect((std::isnan(a) && std::isnan(b)) || std::fabs(a - b) <= 2e-6f * std::max(1.0f, std::fabs(b)),
           where + ": log_prob " + std::to_string(a) + ", not " + std::to_string(b));
  }
  return got;
}

Rows random_rows(int count, float spread, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  Rows rows;
  for (int r = 0; r < count; ++r)
    rows.add(static_cast<int>(random() % 5), r + 1, [&](int id) { return normal(random) + (id < 3 ? 20.0f : 0.0f); });
  return rows;
}

void test_choices() {
  const Rows wide = random_rows(8, 3.0f, 1), narrow = random_rows(4, 0.3f, 2), sure = random_rows(2, 30.0f, 3);
  uint64_t seed = 0x123456789abcdef0;
  for (const float nucleus : {0.9f, 0.5f, 0.999f, 1.0f, 1e-6f}) {
    for (const float temperature : {2.0f, 0.2f}) {
      const int iteration = static_cast<int>(++seed % 10);
      check_sample(wide, temperature, nucleus, seed, iteration, "wide");
      check_sample(narrow, temperature, nucleus, seed, iteration, "narrow");
      check_sample(sure, temperature, nucleus, seed, iteration, "sure");
    }
  }
}

// Equal weights: whether the nucleus ends at just the right one of them, and every place of a draw.
void test_ties() {
  Rows equal, steps;
  for (int r = 0; r < 8; ++r) equal.add(r, 2 * r, [](int) { return 1.5f; });
  for (int r = 0; r < 4; ++r) steps.add(r, 2 * r, [](int id) { return static_cast<float>(id % 4); });
  bool below_half = true;
  for (uint64_t seed = 1; seed < 5; ++seed) {
    // 297 ids are allowed; half of them reach to id 3 + 148
    for (const int32_t id : check_sample(equal, 1.0f, 0.5f, seed, 1, "equal").ids) below_half &= id >= 3 && id <= 151;
    check_sample(steps, 1.0f, 0.4f, seed, 1, "steps");
    check_sample(steps, 1.0f, 0.7f, seed, 1, "steps");
    check_sample(steps, 0.5f, 0.9f, seed, 1, "steps");
  }
  expect(below_half, "the nucleus keeps the lower half of equal ids");
}

void test_special_values() {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0.0f, 2.0f);
  Rows rows;
  const auto usual = [&](int) { return normal(random); };
  rows.add(1, 1, usual);
  rows.add(1, 2, [&](int id) { return id == 200 ? NAN : normal(random); });
  rows.add(1, 3, [&](int) { return NAN; });
  rows.add(1, 4, [&](int id) { return id == 77 ? 1.0f : -INFINITY; });
  rows.add(1, 5, [&](int id) { return id == 1 ? NAN : normal(random); });  // of an id that is never the answer
  rows.add(1, 6, [&](int) { return -INFINITY; });
  rows.add(1, 7, [&](int id) { return id == 9 ? INFINITY : 0.0f; });
  rows.add(1, 8, [&](int id) { return id == 1 ? INFINITY : normal(random); });
  for (const simt::Schedule schedule : all_schedules) {
    simt::set_schedule(schedule);
    const Answers got = check_sample(rows, 0.7f, 0.95f, 99, 3, simt::describe(schedule));
    for (const size_t r : {1, 2, 4, 5, 6}) expect(got.ids[r] == -1 && std::isnan(got.log_probs[r]), "no number");
    expect(got.ids[3] == 77 && got.log_probs[3] == 0, "one possible id");
    expect(got.ids[7] >= 3 && std::isnan(got.log_probs[7]), "infinity that is never the answer");
  }
}

// A row's draw does not depend on the rows beside it, and repeats.
void test_batches() {
  const Rows all = random_rows(8, 2.0f, 6);
  simt::set_schedule({simt::Order::Random, 3});
  const Answers together = sample_on_device(all, 1.0f, 0.9f, 4, 2);
  simt::set_schedule({simt::Order::RoundRobin, 0});
  for (size_t r = 0; r < 8; ++r) {
    Rows one;
    one.add(all.sequences[r], all.positions[r],
            [&](int id) { return all.logits[r * vocabulary + static_cast<size_t>(id)]; });
    const Answers alone = sample_on_device(one, 1.0f, 0.9f, 4, 2);
    expect(alone.ids[0] == together.ids[r] && same_bits(alone.log_probs[0], together.log_probs[r]), "a row alone");
  }
}

}  // namespace
}  // namespace mask_predict

int main(int argument_count, char** arguments) {
  using namespace mask_predict;
  return run_tests(argument_count, arguments, [] {
    test_choices();
    test_ties();
    test_special_values();
    test_batches();
  });
}
