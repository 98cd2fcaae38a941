// Tests lm_head_argmax and logits_at on the emulated device against sums in double.
//   g++ -std=c++20 -O2 -g1 -DMASK_PREDICT_SIMT -Wall -Wextra -Wconversion -Werror -Wno-unknown-pragmas -I native
//       -o build/simt/lm_head_test native/simt/*.cpp native/base/buffer.cpp native/base/numbers.cpp
//       -x c++ native/ops/lm_head/lm_head_cuda.cu test/simt/lm_head_test.cu -pthread
//   build/simt/lm_head_test [report]
// and the same with -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined.
#include "ops/lm_head/lm_head.h"
#include "ops/operations.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "ops/weights/packed_layout.h"
#include "testing.h"

namespace mask_predict {
namespace {

const Memory device_memory = {[](uint64_t bytes, void*, int&) -> void* {
                                void* data = nullptr;
                                return cudaMalloc(&data, bytes) == cudaSuccess ? data : nullptr;
                              },
                              [](void* data, uint64_t, int) { cudaFree(data); }};

// Whose device arrays say "not written" in the rows and columns that no kernel may use.
struct Model {
  ValueType type;
  int vocabulary, width, mask_token_id;
  std::vector<float> weight, bias;  // as the device has them, widened
  PackedMatrix packed;
  DeviceArray<float> device_bias;

  Model(ValueType type, int vocabulary, int width, int mask_token_id, uint32_t seed)
      : type(type),
        vocabulary(vocabulary),
        width(width),
        mask_token_id(mask_token_id),
        device_bias(static_cast<size_t>(round_up(vocabulary, 16))) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (int i = 0; i < vocabulary * width; ++i)
      weight.push_back(rounded(normal(random) / std::sqrt(static_cast<float>(width)), type));
    for (int i = 0; i < round_up(vocabulary, 16); ++i) bias.push_back(i < vocabulary ? normal(random) : 0.0f);
    for (const int id : {0, 1, 2, mask_token_id}) bias[static_cast<size_t>(id)] += 100;  // largest, and banned
    for (int id = mask_token_id + 1; id < vocabulary; ++id) bias[static_cast<size_t>(id)] += 200;  // no real ids
    upload();
  }

  static float rounded(float x, ValueType type) { return type == ValueType::F32 ? x : bf16_to_float(float_to_bf16(x)); }

  float weight_at(int id, int k) const { return weight[static_cast<size_t>(id * width + k)]; }

  void upload() {
    packed.type = type == ValueType::F32 ? WeightType::F32 : WeightType::BF16;
    packed.outputs = vocabulary;
    packed.inputs = width;
    cuda::check(cudaMemcpy(device_bias.data, bias.data(), bias.size() * 4, cudaMemcpyHostToDevice), "cudaMemcpy");
    if (type == ValueType::F32) {
      packed.data = Buffer(weight.size() * 4, nullptr, "weight", device_memory, nullptr);
      copy_weight(weight.data());
      return;
    }
    std::vector<uint16_t> fragments(static_cast<size_t>(round_up(vocabulary, 16) * round_up(width, 16)));
    for (int id = 0; id < vocabulary; ++id)
      for (int k = 0; k < width; ++k)
        fragments[static_cast<size_t>(cuda::fragment_index(id, k, width))] = float_to_bf16(weight_at(id, k));
    packed.data = Buffer(fragments.size() * 2, nullptr, "weight", device_memory, nullptr);
    copy_weight(fragments.data());
  }

  void copy_weight(const void* from) {
    cuda::check(cudaMemcpy(packed.data.as<void>(), from, packed.data.bytes(), cudaMemcpyHostToDevice), "cudaMemcpy");
    cuda::check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
    simt::freeze(packed.data.as<void>());
  }

  double logit(const std::vector<float>& states, int row, int id) const {
    double sum = static_cast<double>(bias[static_cast<size_t>(id)]);
    for (int k = 0; k < width; ++k)
      sum += static_cast<double>(states[static_cast<size_t>(row * width + k)]) * static_cast<double>(weight_at(id, k));
    return sum;
  }
};

std::vector<float> random_states(const Model& model, int rows, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> states;
  for (int i = 0; i < rows * model.width; ++i) states.push_back(Model::rounded(normal(random), model.type));
  return states;
}

// States as the device keeps them.
DeviceArray<uint8_t> upload_states(const Model& model, const std::vector<float>& states) {
  std::vector<uint8_t> bytes(states.size() * static_cast<size_t>(bytes_of(model.type)));
  for (size_t i = 0; i < states.size(); ++i) {
    const uint16_t narrow = float_to_bf16(states[i]);
    if (model.type == ValueType::F32)
      std::memcpy(&bytes[i * 4], &states[i], 4);
    else
      std::memcpy(&bytes[i * 2], &narrow, 2);
  }
  return DeviceArray<uint8_t>(bytes);
}

struct Answers {
  std::vector<int32_t> ids;
  std::vector<float> log_probs, log_sums;
};

Answers run_head(const Model& model, const std::vector<float>& states, int rows, int64_t shared_kibibytes = 227) {
  const auto device_states = upload_states(model, states);
  const size_t count = static_cast<size_t>(rows);
  const DeviceArray<LmHeadPartial> partials(count * static_cast<size_t>(lm_head_ranges));
  const DeviceArray<int32_t> ids(std::vector<int32_t>(count, -7));  // -1, an answer, would look like "not written"
  const DeviceArray<float> log_probs(count), log_sums(count);
  cuda::Stream stream;
  stream.shared_bytes = shared_kibibytes << 10;
  Context context;
  context.activations = model.type;
  context.stream = &stream;
  cuda::lm_head_argmax(
      context, {device_states.data, rows, &model.packed, model.device_bias.data, xlm_roberta_ids(model.mask_token_id),
                partials.data, ids.data, log_probs.data, log_sums.data});
  return {ids.get(), log_probs.results("log_probs"), log_sums.results("log_sums")};
}

// Rounding of a logit is at most width * 2^-24 of the products' magnitudes, here about 3 sqrt(width); the answer may
// be any id whose logit is not below the best by more than that.
void check_answers(const Model& model, const std::vector<float>& states, int rows, const Answers& got,
                   const std::string& what) {
  const double bound = 1e-4;
  for (int row = 0; row < rows; ++row) {
    std::vector<double> logits;
    for (int id = 0; id <= model.mask_token_id; ++id) logits.push_back(model.logit(states, row, id));
    const double largest = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const double logit : logits) sum += std::exp(logit - largest);
    const double log_sum = largest + std::log(sum);
    const double best = *std::max_element(logits.begin() + 3, logits.end() - 1);
    const size_t r = static_cast<size_t>(row);
    const int32_t id = got.ids[r];
    const std::string where = what + ", row " + std::to_string(row);
    if (!expect(id > 2 && id < model.mask_token_id, where + ": id " + std::to_string(id))) continue;
    const double logit = logits[static_cast<size_t>(id)];
    expect(logit >= best - bound, where + ": the best allowed id");
    expect(std::fabs(static_cast<double>(got.log_sums[r]) - log_sum) < bound, where + ": log_sum");
    expect(std::fabs(static_cast<double>(got.log_probs[r]) - (logit - log_sum)) < bound, where + ": log_prob");
  }
}

std::string name_of(const Model& model) {
  return std::string(model.type == ValueType::F32 ? "float32 " : "bfloat16 ") + std::to_string(model.vocabulary) +
         " x " + std::to_string(model.width);
}

bool same_answers(const Answers& a, size_t row, const Answers& b, size_t other) {
  return a.ids[row] == b.ids[other] && same_bits(a.log_probs[row], b.log_probs[other]) &&
         same_bits(a.log_sums[row], b.log_sums[other]);
}

// Right for every number of rows and schedule, and a row's bits always the same.
void test_rows(const Model& model) {
  constexpr int most = 70;
  const std::vector<float> states = random_states(model, most, 2);
  Answers first;
  for (const simt::Schedule schedule : all_schedules) {
    simt::set_schedule(schedule);
    for (const int rows : {most, 33, 7, 1}) {
      const std::string what = name_of(model) + ", " + std::to_string(rows) + " rows, " + simt::describe(schedule);
      const Answers got = run_head(model, states, rows);
      if (first.ids.empty()) {
        check_answers(model, states, rows, got, what);
        first = got;
      }
      for (size_t r = 0; r < static_cast<size_t>(rows); ++r)
        expect(same_answers(got, r, first, r), what + ": bits of row " + std::to_string(r));
    }
  }
  // other rows beside it, and another place among them
  std::vector<float> moved = random_states(model, most, 3);
  std::copy(states.begin() + 5 * model.width, states.begin() + 6 * model.width, moved.begin() + 66 * model.width);
  const Answers got = run_head(model, moved, most);
  expect(same_answers(got, 66, first, 5), name_of(model) + ": bits of a row among others");
}

// Tiles of 128 rows, the last one with few, and rings of every depth: what compute capability 9.0, 8.0 and 12.0 have room
// for. Rows have the bits that they have in small tiles.
void test_large_tiles(const Model& model) {
  constexpr int most = 300;
  const std::vector<float> states = random_states(model, most, 8);
  simt::set_schedule({simt::Order::Random, 9});
  const Answers all = run_head(model, states, most);
  check_answers(model, states, most, all, name_of(model) + ", large tiles");
  for (const int first : {0, 60, 127, 128, 255, 256, 290}) {
    const int rows = std::min(10, most - first);
    const auto begin = states.begin() + first * model.width;
    const Answers alone = run_head(model, {begin, begin + rows * model.width}, rows);
    for (int r = 0; r < rows; ++r)
      expect(same_answers(alone, static_cast<size_t>(r), all, static_cast<size_t>(first + r)),
             name_of(model) + ": bits of row " + std::to_string(first + r) + " of many");
  }
  for (const simt::Schedule schedule : all_schedules) {
    simt::set_schedule(schedule);
    for (const int64_t kibibytes : {227, 163, 99}) {
      for (const int rows : {65, 130, 256, 270}) {
        if (schedule.order != simt::Order::Ahead && rows != 130) continue;
        const Answers got = run_head(model, states, rows, kibibytes);
        for (size_t r = 0; r < static_cast<size_t>(rows); ++r)
          expect(same_answers(got, r, all, r), name_of(model) + ", " + std::to_string(rows) + " rows, " +
                                                   std::to_string(kibibytes) + " KiB: bits of row " +
                                                   std::to_string(r));
      }
    }
  }
}

// The vocabulary is read once for each tile of rows, and the rows once for each pass over 16 strips of 16 ids.
void test_traffic() {
  constexpr int width = 256, vocabulary = 1024, strips = vocabulary / 16;
  const Model model(ValueType::BF16, vocabulary, width, vocabulary - 1, 5);
  simt::set_schedule({simt::Order::RoundRobin, 0});
  struct Case {
    int rows;
    int64_t kibibytes, row_tiles;
  };
  for (const Case& c : {Case{8, 227, 1}, Case{64, 227, 1}, Case{65, 227, 1}, Case{128, 227, 1}, Case{128, 99, 1},
                        Case{129, 227, 2}, Case{256, 163, 2}, Case{300, 227, 3}}) {
    const std::vector<float> states = random_states(model, c.rows, 4);
    simt::reset_counts();
    run_head(model, states, c.rows, c.kibibytes);
    const simt::KernelCounts kernel = simt::counts("lm_head_tensor_cores");
    int64_t row_bytes = 0;
    for (const simt::SiteCounts& site : kernel.sites)
      if (std::string(site.access) == "cp_async_16 (source)")
        row_bytes += static_cast<int64_t>(site.counts.sectors) * 32;
    const int64_t weight_bytes = static_cast<int64_t>(kernel.weight_sectors) * 32;
    const int64_t weights = c.row_tiles * vocabulary * width * 2;
    const int64_t rows = strips / 16 * c.rows * width * 2;
    expect(weight_bytes == weights && row_bytes == rows,
           std::to_string(weight_bytes) + " bytes of weights and " + std::to_string(row_bytes) +
               " of rows are read, not " + std::to_string(weights) + " and " + std::to_string(rows) + ", for " +
               std::to_string(c.rows) + " rows of " + name_of(model));
    // An odd number of values of 16 bytes begins or ends within a sector.
    expect(
        kernel.counts.bank_conflicts == 0 && (c.rows % 2 != 0 || kernel.counts.sectors == kernel.counts.needed_sectors),
        std::to_string(kernel.counts.bank_conflicts) + " bank conflicts, " +
            std::to_string(kernel.counts.sectors - kernel.counts.needed_sectors) + " needless sectors for " +
            std::to_string(c.rows) + " rows");
  }
}

// As many ranges as there may be, most of them of one pass, some of two.
void test_ranges() {
  const Model model(ValueType::BF16, 68000, 16, 67990, 3);
  const std::vector<float> states = random_states(model, 3, 6);
  simt::set_schedule({simt::Order::Random, 5});
  check_answers(model, states, 3, run_head(model, states, 3), "264 ranges");
}

// Equal logits, NaN and infinities. Each row is all zeros but for one, so that its logits are a column of the weight.
void test_special_values(ValueType type) {
  Model model(type, 528, 32, 520, 7);
  std::fill(model.bias.begin(), model.bias.end(), 0.0f);
  std::fill(model.weight.begin(), model.weight.end(), 0.0f);
  const auto weight = [&](int id, int column) -> float& {
    return model.weight[static_cast<size_t>(id * model.width + column)];
  };
  for (int id = 0; id < model.vocabulary; ++id) {
    // column 1: equal ones in different lanes, warps, passes and ranges, and larger ones that are banned or not real
    weight(id, 1) = id == 401 || id == 257 || id == 265 || id == 140 || id == 12 ? 4.0f : 0.0f;
    if (id <= 2 || id >= model.mask_token_id) weight(id, 1) = 8.0f;
    weight(id, 2) = id == 300 ? NAN : id == 200 ? 3.0f : 1.0f;  // one NaN
    weight(id, 3) = NAN;
    weight(id, 4) = id == 77 ? 1.0f : -INFINITY;                               // one id is possible
    weight(id, 5) = id > model.mask_token_id ? NAN : id == 519 ? 2.0f : 0.0f;  // NaN only where no piece is
    weight(id, 6) = id == 519 ? 5.0f : -20.0f;
  }
  model.upload();
  const auto one_hot = [&](int column) {
    std::vector<float> states(static_cast<size_t>(model.width), 0.0f);
    states[static_cast<size_t>(column)] = 1;
    return states;
  };
  // 0 . NaN is NaN: the rows that are to see only their own column get a model without the others
  const auto answer = [&](int column) {
    Model alone(type, model.vocabulary, model.width, model.mask_token_id, 7);
    std::fill(alone.bias.begin(), alone.bias.end(), 0.0f);
    std::fill(alone.weight.begin(), alone.weight.end(), 0.0f);
    for (int id = 0; id < model.vocabulary; ++id)
      alone.weight[static_cast<size_t>(id * model.width + column)] = weight(id, column);
    alone.upload();
    return run_head(alone, one_hot(column), 1);
  };
  const std::string name = type == ValueType::F32 ? "float32" : "bfloat16";
  const auto near = [](float got, double wanted) { return std::fabs(static_cast<double>(got) - wanted) < 1e-5; };
  Answers got = answer(0);
  expect(got.ids[0] == 3 && near(got.log_sums[0], std::log(521)), name + ": all logits equal");
  got = answer(1);
  expect(got.ids[0] == 12 && near(got.log_probs[0], 4 - std::log(4 * std::exp(8) + 5 * std::exp(4) + 512)),
         name + ": a tie goes to the lowest id");
  got = answer(2);
  expect(got.ids[0] == 200 && std::isnan(got.log_probs[0]) && std::isnan(got.log_sums[0]), name + ": one NaN");
  got = answer(3);
  expect(got.ids[0] == -1 && std::isnan(got.log_probs[0]) && std::isnan(got.log_sums[0]), name + ": no number");
  got = answer(4);
  expect(got.ids[0] == 77 && got.log_probs[0] == 0 && got.log_sums[0] == 1, name + ": one possible id");
  got = answer(5);
  expect(got.ids[0] == 519 && near(got.log_sums[0], std::log(std::exp(2) + 520)), name + ": NaN beyond the real ids");
  got = answer(6);
  expect(got.ids[0] == 519 && got.log_probs[0] < 0 && got.log_probs[0] > -1e-7, name + ": an almost sure answer");

  // a row of NaN changes nothing for its neighbours
  Model usual(type, 300, 32, 290, 9);
  std::vector<float> states = random_states(usual, 20, 4);
  const Answers before = run_head(usual, states, 20);
  std::fill(states.begin() + 9 * 32, states.begin() + 10 * 32, NAN);
  const Answers after = run_head(usual, states, 20);
  for (size_t r = 0; r < 20; ++r) {
    const bool same = after.ids[r] == before.ids[r] && same_bits(after.log_probs[r], before.log_probs[r]);
    expect(r == 9 ? after.ids[r] == -1 && std::isnan(after.log_probs[r]) : same, name + ": a row of NaN");
  }
}

void test_logits_at(const Model& model) {
  constexpr int rows = 9;
  const std::vector<float> states = random_states(model, rows, 5);
  const auto device_states = upload_states(model, states);
  std::vector<int32_t> which, ids;
  for (int i = 0; i < 39; ++i) {
    which.push_back(i * 5 % rows);
    ids.push_back(i * 13 % model.vocabulary);
  }
  const DeviceArray<int32_t> device_which(which), device_ids(ids);
  for (const simt::Schedule schedule : all_schedules) {
    simt::set_schedule(schedule);
    const DeviceArray<float> logits(ids.size());
    cuda::Stream stream;
    Context context;
    context.activations = model.type;
    context.stream = &stream;
    cuda::logits_at(context, {device_states.data, &model.packed, model.device_bias.data, device_which.data,
                              device_ids.data, static_cast<int64_t>(ids.size()), logits.data});
    const auto got = logits.results("logits");
    for (size_t i = 0; i < ids.size(); ++i)
      expect(std::fabs(static_cast<double>(got[i]) - model.logit(states, which[i], ids[i])) < 5e-5,
             name_of(model) + ": logit of id " + std::to_string(ids[i]));
  }
}

}  // namespace
}  // namespace mask_predict

int main(int argument_count, char** arguments) {
  using namespace mask_predict;
  return run_tests(argument_count, arguments, [] {
    struct Size {
      ValueType type;
      int vocabulary, width, mask_token_id;
    };
    for (const Size& size :
         {Size{ValueType::BF16, 509, 160, 508}, Size{ValueType::BF16, 528, 128, 520},
          Size{ValueType::BF16, 300, 48, 290}, Size{ValueType::BF16, 45, 8, 40}, Size{ValueType::F32, 509, 37, 508},
          Size{ValueType::F32, 528, 64, 520}, Size{ValueType::F32, 300, 37, 290}}) {
      const Model model(size.type, size.vocabulary, size.width, size.mask_token_id, 1);
      test_rows(model);
      test_logits_at(model);
    }
    // Passes of whole and of few strips, and loads that end within a stage.
    for (const auto& [vocabulary, width] : {std::pair{1200, 48}, {300, 144}})
      test_large_tiles(Model(ValueType::BF16, vocabulary, width, vocabulary - 10, 2));
    test_ranges();
    test_traffic();
    test_special_values(ValueType::BF16);
    test_special_values(ValueType::F32);
  });
}
