// Tests mixed_attention on the emulator, for bfloat16 and float32 and head sizes on and off the tensor cores:
// against double precision, under every schedule, and bit for bit between batches that share a row. From the
// repository's root, the second time for AddressSanitizer and UndefinedBehaviorSanitizer:
//   for options in '-O2' '-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined'; do
//     g++ -std=c++20 -g1 -DMASK_PREDICT_SIMT $options -Wall -Wextra -Wconversion -Werror -Wno-unknown-pragmas
//       -I native -o build/simt/mixed_attention_test native/simt/*.cpp
//       -x c++ test/simt/mixed_attention_test.cu -pthread && build/simt/mixed_attention_test
//   done
// (the lines of g++ are one).
#include "ops/mixed_attention/mixed_attention_cuda.cu"
#include "ops/operations.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "simt/simt.h"

namespace mask_predict {
namespace {

using cuda::check;

const simt::Schedule schedules[] = {
    {simt::Order::RoundRobin, 0}, {simt::Order::Ahead, 0}, {simt::Order::Random, 1}, {simt::Order::Random, 2}};

int failures = 0;

void expect(bool condition, const std::string& what) {
  if (condition) return;
  std::printf("FAILED: %s\n", what.c_str());
  ++failures;
}

struct Model {
  ValueType type;
  int64_t heads, head_size;
  int64_t layers = 1, layer = 0;
  int64_t width() const { return heads * head_size; }
  std::string name() const {
    return std::string(type == ValueType::F32 ? "float32" : "bfloat16") + ", head size " + std::to_string(head_size);
  }
};

// Rows of random numbers, as the activations' type holds them. Scores come out between about -6 and 6.
struct Rows {
  int64_t count = 0;
  std::vector<float> values;
};

Rows random_rows(const Model& model, int64_t count, int64_t row_values, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, 1.3f);
  Rows rows{count, std::vector<float>(static_cast<size_t>(count * row_values))};
  for (float& value : rows.values) {
    value = normal(random);
    if (model.type == ValueType::BF16) value = __float2bfloat16_rn(value);
  }
  return rows;
}

struct Sequence {
  Rows query, own;
  int source = -1;  // index into Batch::sources
};

struct Batch {
  std::vector<Rows> sources;  // of the model's layer; the other layers are not numbers
  std::vector<Sequence> sequences;
};

// Device memory of activations, not numbers until set.
class Activations {
 public:
  Activations(ValueType type, int64_t count) : type_(type), bytes_(bytes_of(type)) {
    check(cudaMalloc(&data_, static_cast<size_t>(std::max<int64_t>(count, 1) * bytes_)), "cudaMalloc");
  }
  Activations(const Activations&) = delete;
  ~Activations() { cudaFree(data_); }

  char* at(int64_t index) const { return data_ + index * bytes_; }
  void set(int64_t first, const std::vector<float>& values) {
    if (values.empty()) return;
    if (type_ == ValueType::F32) return copy(at(first), values.data(), values.size() * 4, cudaMemcpyHostToDevice);
    std::vector<__nv_bfloat16> rounded(values.begin(), values.end());
    copy(at(first), rounded.data(), rounded.size() * 2, cudaMemcpyHostToDevice);
  }
  std::vector<float> get(int64_t first, int64_t count) const {
    std::vector<float> values(static_cast<size_t>(count));
    if (type_ == ValueType::F32) {
      copy(values.data(), at(first), values.size() * 4, cudaMemcpyDeviceToHost);
      return values;
    }
    std::vector<__nv_bfloat16> rounded(values.size());
    copy(rounded.data(), at(first), rounded.size() * 2, cudaMemcpyDeviceToHost);
    return std::vector<float>(rounded.begin(), rounded.end());
  }
  void require_written(int64_t first, int64_t count, const std::string& what) const {
    simt::require_written(at(first), static_cast<size_t>(count), static_cast<size_t>(bytes_), what);
  }

 private:
  static void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    check(cudaMemcpy(to, from, bytes, kind), "cudaMemcpy");
  }
  ValueType type_;
  int64_t bytes_;
  char* data_ = nullptr;
};

// The output rows of each sequence. Between the sequences' rows lie `gap` rows that are not numbers.
std::vector<std::vector<float>> attend(const Model& model, const Batch& batch, int64_t gap = 1) {
  const int64_t width = model.width();
  std::vector<std::unique_ptr<Activations>> sources;
  for (const Rows& source : batch.sources) {
    const int64_t layer_values = source.count * 2 * width;
    sources.push_back(std::make_unique<Activations>(model.type, model.layers * layer_values));
    sources.back()->set(model.layer * layer_values, source.values);
  }
  int64_t query_rows = gap, own_rows = gap, most_queries = 0, most_keys = 0;
  std::vector<AttentionSequence> list;
  for (const Sequence& sequence : batch.sequences) {
    AttentionSequence next{query_rows, sequence.query.count, own_rows, sequence.own.count, nullptr, 0};
    if (sequence.source >= 0) {
      next.source = sources[static_cast<size_t>(sequence.source)]->at(0);
      next.source_rows = batch.sources[static_cast<size_t>(sequence.source)].count;
    }
    query_rows += next.queries + gap;
    own_rows += next.own_rows + gap;
    most_queries = std::max(most_queries, next.queries);
    most_keys = std::max(most_keys, next.source_rows + next.own_rows);
    list.push_back(next);
  }
  Activations query(model.type, query_rows * width), own(model.type, own_rows * 2 * width);
  const Activations output(model.type, query_rows * width);
  for (size_t i = 0; i < list.size(); ++i) {
    query.set(list[i].first_query * width, batch.sequences[i].query.values);
    own.set(list[i].first_own * 2 * width, batch.sequences[i].own.values);
  }
  AttentionSequence* device_list = nullptr;
  check(cudaMalloc(&device_list, list.size() * sizeof list[0]), "cudaMalloc");
  check(cudaMemcpy(device_list, list.data(), list.size() * sizeof list[0], cudaMemcpyHostToDevice), "cudaMemcpy");

  cuda::Stream stream;
  Context context;
  context.activations = model.type;
  context.stream = &stream;
  cuda::mixed_attention(context, {query.at(0), own.at(0), device_list, static_cast<int64_t>(list.size()), model.layer,
                                  most_queries, most_keys, model.heads, model.head_size, output.at(0)});
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  check(cudaFree(device_list), "cudaFree");

  std::vector<std::vector<float>> outputs;
  for (const AttentionSequence& sequence : list) {
    output.require_written(sequence.first_query * width, sequence.queries * width, "output, " + model.name());
    outputs.push_back(output.get(sequence.first_query * width, sequence.queries * width));
    const auto behind = output.get((sequence.first_query + sequence.queries) * width, gap * width);
    expect(std::all_of(behind.begin(), behind.end(), [](float x) { return std::isnan(x); }),
           "rows of no sequence are left alone, " + model.name());
  }
  return outputs;
}

// The largest error of a sequence's output relative to its bound; more than 1 is wrong. With u the rounding unit of
// float32 (2^-24) and h that of bfloat16 (2^-8), and all sums over columns or keys relative to the sums of their
// magnitudes, tensor cores taken to truncate (2u per addition):
//   a score is off by (head size + 2) * 2u * sum |q k| / sqrt(head size), which moves a probability relatively by
//   twice that (its own and the largest one's), and the denominator by as much again; exponentials are off by 4u and
//   by the rounding of their argument, score * 2u; rescaling adds 2u and those per tile; sums over keys 2u each;
//   on the tensor cores a probability is rounded (h); and bfloat16 output is rounded (h).
double worst_error(const Model& model, const Batch& batch, const Sequence& sequence, const std::vector<float>& output) {
  const int64_t width = model.width();
  const double u = std::ldexp(1.0, -24), h = std::ldexp(1.0, -8);
  const bool rounded = model.type == ValueType::BF16;
  const Rows none;
  const Rows& source = sequence.source < 0 ? none : batch.sources[static_cast<size_t>(sequence.source)];
  const int64_t keys = source.count + sequence.own.count;
  const auto row = [&](int64_t key) {
    return key < source.count ? source.values.data() + key * 2 * width
                              : sequence.own.values.data() + (key - source.count) * 2 * width;
  };
  const double scale = 1.0 / std::sqrt(static_cast<double>(model.head_size));
  double worst = 0;
  std::vector<double> probabilities(static_cast<size_t>(keys));
  for (int64_t q = 0; q < sequence.query.count; ++q) {
    for (int64_t head = 0; head < model.heads; ++head) {
      const int64_t first = head * model.head_size;
      const float* query = sequence.query.values.data() + q * width + first;
      double top = -1e300, largest_magnitude = 0, total = 0;
      for (int64_t key = 0; key < keys; ++key) {
        double score = 0, magnitude = 0;
        for (int64_t i = 0; i < model.head_size; ++i) {
          const double product = static_cast<double>(query[i]) * static_cast<double>(row(key)[first + i]);
          score += product;
          magnitude += std::fabs(product);
        }
        probabilities[static_cast<size_t>(key)] = score * scale;
        top = std::max(top, score * scale);
        largest_magnitude = std::max(largest_magnitude, magnitude * scale);
      }
      for (double& p : probabilities) total += p = std::exp(p - top);
      const double score_error = static_cast<double>(model.head_size + 2) * 2 * u * largest_magnitude;
      const double tiles = static_cast<double>(keys) / 32 + 2;
      const double probability_error = 4 * score_error + tiles * (6 + 2 * largest_magnitude) * u;
      for (int64_t i = 0; i < model.head_size; ++i) {
        double exact = 0, magnitude = 0;
        for (int64_t key = 0; key < keys; ++key) {
          const double value = static_cast<double>(row(key)[width + first + i]);
          exact += probabilities[static_cast<size_t>(key)] / total * value;
          magnitude += probabilities[static_cast<size_t>(key)] / total * std::fabs(value);
        }
        double bound = (probability_error + static_cast<double>(keys + 4) * 4 * u + (rounded ? h : 0)) * magnitude;
        if (rounded) bound += h * (std::fabs(exact) + bound);
        const double got = static_cast<double>(output[static_cast<size_t>(q * width + first + i)]);
        if (std::isnan(got)) return got;
        worst = std::max(worst, std::fabs(got - exact) / bound);
      }
    }
  }
  return worst;
}

Sequence random_sequence(const Model& model, int64_t queries, int64_t own_rows, int source, std::mt19937& random) {
  return {random_rows(model, queries, model.width(), random), random_rows(model, own_rows, 2 * model.width(), random),
          source};
}

// Every kind of neighbour: sources shared, absent and of one row; one query, none, as many as own rows, and fewer;
// lengths on both sides of the tiles' ends.
Batch ragged_batch(const Model& model, std::mt19937& random) {
  const auto length = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  Batch batch;
  for (const int64_t rows : {length(2, 60), int64_t{1}, length(61, 130)}) {
    batch.sources.push_back(random_rows(model, rows, 2 * model.width(), random));
  }
  const auto add = [&](int64_t queries, int64_t own_rows, int source) {
    batch.sequences.push_back(random_sequence(model, queries, own_rows, source, random));
  };
  const int64_t equal = length(1, 40), more = length(10, 150);
  add(equal, equal, 0);
  add(1, 1, -1);
  add(length(1, 9), more, 0);
  add(0, 5, 2);
  add(length(65, 80), length(1, 20), -1);  // more tiles of queries than the others
  add(1, length(1, 40), 1);
  add(2, 0, 2);  // nothing but the source
  const int64_t to_the_edge = 64 - batch.sources[0].count % 64;
  add(3, to_the_edge, 0);
  return batch;
}

void test_against_double(const Model& model) {
  double worst = 0;
  uint32_t seed = 1;
  for (const simt::Schedule schedule : schedules) {
    simt::set_schedule(schedule);
    std::mt19937 random(seed++);
    const Batch batch = ragged_batch(model, random);
    const auto outputs = attend(model, batch);
    for (size_t i = 0; i < outputs.size(); ++i) {
      const double error = worst_error(model, batch, batch.sequences[i], outputs[i]);
      expect(error <= 1, model.name() + ", " + simt::describe(schedule) + ", sequence " + std::to_string(i) +
                             ": error is " + std::to_string(error) + " of its bound");
      worst = std::max(worst, error);
    }
  }
  std::printf("%-24s largest error %.3f of its bound\n", model.name().c_str(), worst);
}

bool same_bits(const float* a, const float* b, int64_t count) {
  return std::memcmp(a, b, static_cast<size_t>(count) * sizeof(float)) == 0;
}

// A sequence alone, and with only some of its query rows, gives the bits it gives among others.
void test_same_bits(const Model& model) {
  simt::set_schedule({simt::Order::RoundRobin, 0});
  std::mt19937 random(77);
  const int64_t width = model.width();
  const Batch batch = ragged_batch(model, random);
  const auto outputs = attend(model, batch);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Sequence& sequence = batch.sequences[i];
    if (sequence.query.count == 0) continue;
    Batch alone{batch.sources, {sequence}};
    expect(same_bits(attend(model, alone, 3)[0].data(), outputs[i].data(), sequence.query.count * width),
           model.name() + ": sequence " + std::to_string(i) + " alone");

    Batch fewer{batch.sources, {sequence}};
    Rows& query = fewer.sequences[0].query;
    std::vector<int64_t> kept;
    for (int64_t row = 0; row < sequence.query.count; ++row) {
      if (random() % 3 == 0 || row + 1 == sequence.query.count) kept.push_back(row);
    }
    std::shuffle(kept.begin(), kept.end(), random);
    query = {static_cast<int64_t>(kept.size()), {}};
    for (const int64_t row : kept) {
      const auto from = sequence.query.values.begin() + row * width;
      query.values.insert(query.values.end(), from, from + width);
    }
    const auto output = attend(model, fewer)[0];
    for (size_t row = 0; row < kept.size(); ++row) {
      expect(same_bits(output.data() + static_cast<int64_t>(row) * width, outputs[i].data() + kept[row] * width, width),
             model.name() + ": sequence " + std::to_string(i) + ", fewer queries, row " + std::to_string(kept[row]));
    }
  }
}

// Scores far apart: one key has all the weight, before and after it the exponentials are zero.
void test_far_scores(const Model& model) {
  simt::set_schedule({simt::Order::RoundRobin, 0});
  std::mt19937 random(5);
  Batch batch{{}, {random_sequence(model, 3, 100, -1, random)}};
  for (float& value : batch.sequences[0].query.values) value *= 64;
  const double error = worst_error(model, batch, batch.sequences[0], attend(model, batch)[0]);
  expect(error <= 1, model.name() + ", scores far apart: error is " + std::to_string(error) + " of its bound");
}

void test_counts(const Model& model) {
  simt::set_schedule({simt::Order::RoundRobin, 0});
  simt::reset_counts();
  std::mt19937 random(9);
  Batch batch{{random_rows(model, 40, 2 * model.width(), random)}, {}};
  batch.sequences.push_back(random_sequence(model, 30, 30, 0, random));
  attend(model, batch);
  std::printf("%s\n%s", model.name().c_str(), simt::report().c_str());
  for (const simt::KernelCounts& kernel : simt::counts()) {
    for (const simt::SiteCounts& site : kernel.sites) {
      const bool is_matrix = std::string(site.access).rfind("ldmatrix", 0) == 0;
      if (is_matrix) expect(site.counts.bank_conflicts == 0, "no bank conflicts at " + site.site);
    }
  }
}

void test_refusals() {
  Model model{ValueType::F32, 1, 257};
  std::mt19937 random(1);
  try {
    attend(model, {{}, {random_sequence(model, 1, 1, -1, random)}});
    expect(false, "a head size of 257 is refused");
  } catch (const Error& error) {
    expect(error.code == ErrorCode::Device && std::string(error.what()).find("256") != std::string::npos,
           std::string("the limit is named in: ") + error.what());
  }
  model.head_size = 8;
  attend(model, {{}, {random_sequence(model, 0, 3, -1, random)}});  // no query rows at all
}

int run() {
  const Model models[] = {
      {ValueType::BF16, 2, 64},       {ValueType::BF16, 2, 80, 3, 1}, {ValueType::BF16, 1, 128, 2, 1},
      {ValueType::BF16, 3, 24, 2, 1}, {ValueType::BF16, 1, 37},       {ValueType::F32, 2, 64, 2, 1},
      {ValueType::F32, 1, 80},        {ValueType::F32, 1, 37, 2, 1},  {ValueType::F32, 1, 256},
  };
  for (const Model& model : models) {
    test_against_double(model);
    test_same_bits(model);
    test_far_scores(model);
  }
  for (const Model& model : models) test_counts(model);
  test_refusals();
  std::printf("%d failures\n", failures);
  return failures != 0;
}

}  // namespace
}  // namespace mask_predict

int main() { return mask_predict::run(); }
