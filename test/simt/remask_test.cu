// Tests fill_masks and remask on the emulated device against those of the CPU, which follow the rule word by word.
//   g++ -std=c++20 -O2 -g1 -DMASK_PREDICT_SIMT -Wall -Wextra -Wconversion -Werror -Wno-unknown-pragmas -I native
//       -o build/simt/remask_test native/simt/*.cpp native/ops/remask/remask_cpu.cpp
//       -x c++ native/ops/remask/remask_cuda.cu test/simt/remask_test.cu -pthread
//   build/simt/remask_test [report]
// and the same with -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined.
#include <algorithm>
#include <cmath>

#include "ops/operations.h"
#include "ops/remask/remask.h"
#include "testing.h"

namespace mask_predict {
namespace {

constexpr int32_t mask_token_id = 99;

struct Batch {
  std::vector<int32_t> tokens, offsets{0}, counts, masked_offsets{0};
  std::vector<float> scores;
  std::vector<uint8_t> maskable;
  int64_t most_rows = 0;

  // `kinds` scores are drawn from, so that few of them make many ties.
  void add(int rows, int kinds, double share_maskable, double share_masked, std::mt19937& random) {
    int competitors = 0;
    for (int i = 0; i < rows; ++i) {
      tokens.push_back(static_cast<int32_t>(random() % 90));
      const float score = -static_cast<float>(random() % static_cast<unsigned>(kinds)) / static_cast<float>(kinds);
      scores.push_back(random() % 2 == 0 && score == 0.0f ? 0.0f : score);  // -0 and +0
      const bool competes = std::uniform_real_distribution<>(0, 1)(random) < share_maskable;
      maskable.push_back(competes);
      competitors += competes;
    }
    offsets.push_back(offsets.back() + rows);
    counts.push_back(static_cast<int32_t>(competitors * share_masked));
    masked_offsets.push_back(masked_offsets.back() + counts.back());
    most_rows = std::max<int64_t>(most_rows, rows);
  }
};

void check_remask(const Batch& batch, const std::string& what) {
  std::vector<int32_t> tokens = batch.tokens, masked_rows(static_cast<size_t>(batch.masked_offsets.back()));
  std::vector<float> scores = batch.scores;
  const int64_t sequences = static_cast<int64_t>(batch.counts.size());
  cpu::remask({}, {tokens.data(), scores.data(), batch.maskable.data(), batch.offsets.data(), batch.counts.data(),
                   batch.masked_offsets.data(), sequences, batch.most_rows, mask_token_id, masked_rows.data()});

  const DeviceArray<int32_t> device_tokens(batch.tokens), offsets(batch.offsets), counts(batch.counts),
      masked_offsets(batch.masked_offsets), device_masked_rows(masked_rows.size());
  const DeviceArray<float> device_scores(batch.scores);
  const DeviceArray<uint8_t> maskable(batch.maskable);
  cuda::Stream stream;
  Context context;
  context.stream = &stream;
  cuda::remask(context, {device_tokens.data, device_scores.data, maskable.data, offsets.data, counts.data,
                         masked_offsets.data, sequences, batch.most_rows, mask_token_id, device_masked_rows.data});
  expect(device_masked_rows.results("masked_rows") == masked_rows, what + ": masked rows");
  expect(device_tokens.get() == tokens, what + ": tokens");
  const auto got = device_scores.get();
  bool same = true;
  for (size_t i = 0; i < scores.size(); ++i) same = same && same_bits(got[i], scores[i]);
  expect(same, what + ": scores");
}

void test_remask() {
  std::mt19937 random(1);
  for (const simt::Schedule schedule : all_schedules) {
    simt::set_schedule(schedule);
    const std::string name = simt::describe(schedule);
    Batch ragged;
    for (const int rows : {3, 1, 64, 33, 0, 32, 17, 130, 2, 31})
      ragged.add(rows, rows % 2 ? 1000 : 3, 0.9, 0.5, random);
    check_remask(ragged, "ragged, " + name);
    Batch ends;
    ends.add(40, 1000, 0.8, 0, random);
    ends.add(41, 1000, 1, 1, random);
    ends.add(50, 1, 0.7, 0.4, random);  // nothing but ties
    ends.add(45, 1000, 0, 1, random);   // nothing may be masked
    check_remask(ends, "none and all, " + name);
    Batch one;
    one.add(34, 100, 0.95, 0.3, random);
    check_remask(one, "one sequence, " + name);
    Batch long_ones;
    long_ones.add(512, 40, 1, 0.6, random);
    long_ones.add(7, 1000, 1, 0.9, random);
    long_ones.add(514, 100000, 0.99, 0.25, random);
    check_remask(long_ones, "long sequences, " + name);
  }
  simt::set_schedule({simt::Order::RoundRobin, 0});
  Batch longest;
  longest.add(1100, 200, 0.9, 0.5, random);
  check_remask(longest, "more rows than threads");
  Batch none;
  none.add(20, 10, 1, 0, random);
  check_remask(none, "no masked rows at all");
}

// Scores of all magnitudes and both signs, from the smallest to infinity.
void test_order_of_scores() {
  const float tiny = 1e-45f, infinite = INFINITY;
  Batch batch;
  for (const float score : {0.0f, -0.0f, tiny, -tiny, -1.0f, 1.0f, -infinite, infinite, -1e30f, 3.0f, -0.0f, 0.0f}) {
    batch.scores.push_back(score);
    batch.tokens.push_back(5);
    batch.maskable.push_back(1);
  }
  batch.most_rows = static_cast<int64_t>(batch.scores.size());
  batch.offsets.push_back(static_cast<int32_t>(batch.most_rows));
  for (int32_t count = 0; count <= batch.most_rows; ++count) {
    batch.counts = {count};
    batch.masked_offsets = {0, count};
    check_remask(batch, "lowest " + std::to_string(count));
  }
}

void test_fill_masks() {
  for (const simt::Schedule schedule : all_schedules) {
    simt::set_schedule(schedule);
    for (const int32_t count : {0, 1, 129}) {
      std::vector<int32_t> rows, ids, tokens(300, 7);
      std::vector<float> log_probs, scores(300, -0.5f);
      for (int i = 0; i < count; ++i) {
        rows.push_back(i * 2 + 1);
        ids.push_back(i % 5 == 3 ? -1 : i + 10);
        log_probs.push_back(i % 5 == 3 ? NAN : -0.01f * static_cast<float>(i));
      }
      const DeviceArray<int32_t> device_rows(rows), device_ids(ids), device_tokens(tokens);
      const DeviceArray<int32_t> device_count(std::vector<int32_t>{count});
      const DeviceArray<float> device_log_probs(log_probs), device_scores(scores);
      cpu::fill_masks({}, {rows.data(), &count, 129, ids.data(), log_probs.data(), tokens.data(), scores.data()});
      cuda::Stream stream;
      Context context;
      context.stream = &stream;
      cuda::fill_masks(context, {device_rows.data, device_count.data, 129, device_ids.data, device_log_probs.data,
                                 device_tokens.data, device_scores.data});
      expect(device_tokens.get() == tokens, "filled tokens");
      const auto got = device_scores.get();
      bool same = true;
      for (size_t i = 0; i < scores.size(); ++i)
        same = same && (got[i] == scores[i] || (std::isnan(got[i]) && std::isnan(scores[i])));
      expect(same, "filled scores");
    }
  }
}

}  // namespace
}  // namespace mask_predict

int main(int argument_count, char** arguments) {
  using namespace mask_predict;
  return run_tests(argument_count, arguments, [] {
    test_remask();
    test_order_of_scores();
    test_fill_masks();
  });
}
