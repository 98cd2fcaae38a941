// lm_head_argmax, in bfloat16 and with weights of int8 and fp8, at the vocabularies and widths of XLM-R. The weight alone is larger than the L2 cache.
#include <cmath>
#include <vector>

#include "bench.h"
#include "ops/lm_head/lm_head.h"
#include "ops/operations.h"

namespace mask_predict::bench {
namespace {

struct Model {
  const char* name;
  int64_t width, vocabulary;
  int32_t mask_token_id;
};

constexpr Model full_size[] = {
    {"xl", 2560, 250880, 250001}, {"large", 1024, 250002, 250001}, {"base", 768, 250002, 250001}};
constexpr Model tiny_size[] = {{"base", 64, 1024, 1000}};

constexpr float weight_scale = 1.0f / 4096, state_scale = 1.0f / 64;

double logit(const PackedMatrix& weight, int64_t row, int64_t id) {
  double sum = static_cast<double>(value_of(3, static_cast<uint64_t>(id), 1.0f / 256));
  for (int64_t k = 0; k < weight.inputs; ++k)
    sum += static_cast<double>(value_of(1, static_cast<uint64_t>(row * weight.inputs + k), state_scale)) *
           static_cast<double>(matrix_value(weight, id, k, 100, weight_scale));
  return sum;
}

void run_model(const Bench& bench, const Model& model, WeightType type) {
  const std::vector<int64_t> row_counts =
      bench.tiny ? std::vector<int64_t>{1, 20} : std::vector<int64_t>{1, 8, 15, 30, 60, 120, 160, 240, 480, 1920};
  const int64_t most = row_counts.back();
  const PackedMatrix weight = random_matrix(bench, model.vocabulary, model.width, 100, weight_scale, type);
  Array<__nv_bfloat16> states(most * model.width);
  Array<float> bias((model.vocabulary + 15) / 16 * 16), log_probs(most), log_sums(most);
  Array<LmHeadPartial> partials(lm_head_ranges * most);
  Array<int32_t> ids(most);
  fill_bf16(bench, states, states.count(), 1, state_scale);
  fill_floats(bench, bias, bias.count(), 3, 1.0f / 256);

  for (const int64_t rows : row_counts) {
    LmHeadArguments a{};
    a.states = states.get();
    a.rows = rows;
    a.weight = &weight;
    a.bias = bias;
    a.head_ids = xlm_roberta_ids(model.mask_token_id);
    a.partials = partials;
    a.ids = ids;
    a.log_probs = log_probs;
    a.log_sums = log_sums;
    const Times times = time_calls(bench, bench.tiny ? 1 : 4, [&](int) { cuda::lm_head_argmax(bench.context, a); });

    // Its logit against the sum in double, and no id of a sample that is better.
    const std::vector<int32_t> best = ids.host(bench);
    const std::vector<float> scores = log_probs.host(bench), sums = log_sums.host(bench);
    Deviation deviation(1.0);
    int64_t better = 0;
    for (int64_t row = 0; row < rows; row += rows / 4 + 1) {
      const auto r = static_cast<size_t>(row);
      const double found = best[r] >= 3 && best[r] < model.mask_token_id ? logit(weight, row, best[r]) : NAN;
      deviation.compare(static_cast<double>(scores[r]) + static_cast<double>(sums[r]), found);
      for (int64_t i = 0; i < 200; ++i)
        better += logit(weight, row, 3 + i * 104729 % (model.mask_token_id - 3)) > found + 1e-3;
    }
    require(std::string("head, ") + model.name + ", " + std::to_string(rows) + " rows", deviation.worst(), 1e-3);
    require(std::string("head, ") + model.name + ", better ids", static_cast<double>(better), 0);
    report(field("op", "head") + "," + field("model", model.name) + "," + field("rows", rows) + "," +
               field("width", model.width) + "," + field("vocabulary", model.vocabulary) + "," +
               field("bytes", (model.mask_token_id + 1) * model.width * bytes_of(type) + rows * model.width * 2) + "," +
               field("operations", 2 * rows * model.width * (model.mask_token_id + 1)) + "," +
               field("deviation", deviation.worst()) + "," + field("better_ids", better),
           times, who_with(type));
  }
}

}  // namespace

void head(const Bench& bench) {
  for (const WeightType type : {WeightType::BF16, WeightType::I8, WeightType::F8}) {
    if (bench.tiny) {
      for (const Model& model : tiny_size) run_model(bench, model, type);
    } else {
      for (const Model& model : full_size) run_model(bench, model, type);
    }
  }
}

}  // namespace mask_predict::bench
