// mixed_attention, in bfloat16: targets over their cached sources and themselves, and the sources of the encode pass
// over themselves. Each call reads another layer of the cache, and in small batches other sources.
#include <algorithm>
#include <cmath>
#include <vector>

#include "bench.h"
#include "ops/mixed_attention/mixed_attention.h"
#include "ops/operations.h"

namespace mask_predict::bench {
namespace {

struct Case {
  const char* model;
  int64_t heads, head_size, layers, batch, source, target;
  bool ragged;  // sources of source / 4 ... source * 7 / 4 rows
};

constexpr Case full_size[] = {{"xl", 32, 80, 36, 1, 64, 32, false},   {"xl", 32, 80, 36, 8, 64, 32, false},
                              {"xl", 32, 80, 36, 64, 64, 32, false},  {"xl", 32, 80, 36, 64, 64, 32, true},
                              {"xl", 32, 80, 36, 1, 0, 64, false},    {"xl", 32, 80, 36, 8, 0, 64, false},
                              {"xl", 32, 80, 36, 64, 0, 64, false},   {"xl", 32, 80, 36, 1, 512, 128, false},
                              {"xl", 32, 80, 36, 8, 512, 128, false}, {"base", 12, 64, 12, 1, 64, 32, false},
                              {"base", 12, 64, 12, 8, 64, 32, false}, {"base", 12, 64, 12, 64, 64, 32, false}};
constexpr Case tiny_size[] = {{"xl", 2, 80, 2, 2, 13, 7, true}, {"base", 2, 64, 2, 1, 0, 20, false}};

constexpr float scale = 1.0f / 64;  // values of about 1

// The same formula is in peers/kernels.py.
int64_t source_rows(const Case& c, int64_t sequence) {
  if (!c.ragged) return c.source;
  return c.source / 4 + sequence * 37 % (c.source * 3 / 2 + 1);
}

struct Operands {
  Array<__nv_bfloat16> query, own, output;
  std::vector<Array<__nv_bfloat16>> caches;         // [source, layers, rows, 2 * width] each
  std::vector<Array<AttentionSequence>> sequences;  // one list per cache
  int64_t keys = 0, most_keys = 0;                  // of all sequences, of any
};

Operands operands_of(const Bench& bench, const Case& c) {
  Operands o;
  const int64_t width = c.heads * c.head_size, rows = c.batch * c.target;
  o.query = Array<__nv_bfloat16>(rows * width);
  o.own = Array<__nv_bfloat16>(rows * width * 2);
  o.output = Array<__nv_bfloat16>(rows * width);
  fill_bf16(bench, o.query, o.query.count(), 1, scale);
  fill_bf16(bench, o.own, o.own.count(), 2, scale);
  int64_t cached = 0;
  for (int64_t s = 0; s < c.batch; ++s) {
    cached += source_rows(c, s);
    o.most_keys = std::max(o.most_keys, source_rows(c, s) + c.target);
  }
  o.keys = cached + rows;
  const int64_t cache_values = c.layers * cached * 2 * width;
  const int64_t sets = bench.tiny || cached == 0 ? 1 : std::clamp<int64_t>(cold_bytes / (cache_values * 2) + 1, 1, 16);
  for (int64_t set = 0; set < sets; ++set) {
    Array<__nv_bfloat16> cache(std::max<int64_t>(cache_values, 1));
    fill_bf16(bench, cache, cache_values, static_cast<uint64_t>(100 + set), scale);
    std::vector<AttentionSequence> list;
    int64_t first = 0;
    for (int64_t s = 0; s < c.batch; ++s) {
      const int64_t rows_of_source = source_rows(c, s);
      list.push_back({s * c.target, c.target, s * c.target, c.target,
                      rows_of_source > 0 ? cache.get() + first * c.layers * 2 * width : nullptr, rows_of_source});
      first += rows_of_source;
    }
    o.caches.push_back(cache);
    o.sequences.emplace_back(list);
  }
  return o;
}

void run(const Bench& bench, const Case& c, const Operands& o, int call) {
  const auto set = static_cast<size_t>(call / c.layers) % o.sequences.size();
  MixedAttentionArguments a{};
  a.query = o.query.get();
  a.own = o.own.get();
  a.sequences = o.sequences[set];
  a.sequence_count = c.batch;
  a.layer = call % c.layers;
  a.most_queries = c.target;
  a.most_keys = o.most_keys;
  a.heads = c.heads;
  a.head_size = c.head_size;
  a.output = o.output.get();
  cuda::mixed_attention(bench.context, a);
}

// Sampled results of layer 0 of the first cache against sums in double.
double deviation_of(const Bench& bench, const Case& c, const Operands& o) {
  run(bench, c, o, 0);
  const std::vector<__nv_bfloat16> output = o.output.host(bench);
  const int64_t width = c.heads * c.head_size;
  Deviation deviation(0.1);
  for (int64_t sample = 0; sample < 16; ++sample) {
    const int64_t sequence = sample * 31 % c.batch, row = sequence * c.target + sample * 7919 % c.target;
    const int64_t column = sample * 104729 % width, head = column / c.head_size * c.head_size;
    int64_t first = 0;
    for (int64_t s = 0; s < sequence; ++s) first += source_rows(c, s) * c.layers;
    const int64_t cached = source_rows(c, sequence);
    const auto key_or_value = [&](int64_t key, int64_t at) -> double {
      const bool in_source = key < cached;
      const int64_t place =
          in_source ? (first + key) * 2 * width + at : (sequence * c.target + key - cached) * 2 * width + at;
      return static_cast<double>(value_of(in_source ? 100 : 2, static_cast<uint64_t>(place), scale));
    };
    std::vector<double> scores;
    double largest = -1e300, sum = 0, result = 0;
    for (int64_t key = 0; key < cached + c.target; ++key) {
      double score = 0;
      for (int64_t k = head; k < head + c.head_size; ++k)
        score += static_cast<double>(value_of(1, static_cast<uint64_t>(row * width + k), scale)) * key_or_value(key, k);
      scores.push_back(score / std::sqrt(static_cast<double>(c.head_size)));
      largest = std::max(largest, scores.back());
    }
    for (size_t key = 0; key < scores.size(); ++key) {
      const double weight = std::exp(scores[key] - largest);
      sum += weight;
      result += weight * key_or_value(static_cast<int64_t>(key), width + column);
    }
    deviation.compare(static_cast<double>(__bfloat162float(output[static_cast<size_t>(row * width + column)])),
                      result / sum);
  }
  return deviation.worst();
}

void run_case(const Bench& bench, const Case& c) {
  const Operands o = operands_of(bench, c);
  const double deviation = deviation_of(bench, c, o);
  require(std::string("attention, ") + c.model + ", batch " + std::to_string(c.batch), deviation, 0.02);
  const int64_t width = c.heads * c.head_size, rows = c.batch * c.target;
  const int calls = static_cast<int>(c.layers * static_cast<int64_t>(o.sequences.size()));
  const Times times = time_calls(bench, calls, [&](int i) { run(bench, c, o, i); });
  report(field("op", "attention") + "," + field("model", c.model) + "," + field("heads", c.heads) + "," +
             field("head_size", c.head_size) + "," + field("batch", c.batch) + "," + field("source", c.source) + "," +
             field("target", c.target) + "," + field("ragged", int64_t{c.ragged}) + "," +
             field("bytes", o.keys * 2 * width * 2 + rows * width * 4) + "," +
             field("operations", 4 * o.keys * c.target * width) + "," + field("deviation", deviation),
         times);
}

}  // namespace

void attention(const Bench& bench) {
  if (bench.tiny) {
    for (const Case& c : tiny_size) run_case(bench, c);
  } else {
    for (const Case& c : full_size) run_case(bench, c);
  }
}

}  // namespace mask_predict::bench
