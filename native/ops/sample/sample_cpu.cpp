// The nucleus without sorting the vocabulary: weights are added up by their leading bits, from the largest down,
// until the bucket where the share is reached; only that bucket is sorted.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/numbers.h"
#include "base/philox.h"
#include "base/special_ids.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"
#include "ops/sample/sample.h"

namespace mask_predict::cpu {
namespace {

constexpr int buckets = 1 << 13;  // of a positive float's exponent and first five bits

// The last id kept, in the order of falling weight and rising id.
struct Cut {
  float weight;
  int64_t id;
  bool keeps(float w, int64_t i) const { return w > weight || (w == weight && i <= id); }
};

// A thread's working memory, taken before the threads begin: what is refused memory there could not be reported.
struct Scratch {
  double* shares;                     // [buckets]
  std::pair<float, int64_t>* border;  // [real ids]
  float* weights;                     // [real ids]

  static uint64_t bytes(int64_t real_ids) {
    return buckets * sizeof(double) + static_cast<uint64_t>(real_ids) * (sizeof(*border) + sizeof(float));
  }
  Scratch(char* memory, int64_t real_ids)
      : shares(reinterpret_cast<double*>(memory)),
        border(reinterpret_cast<std::pair<float, int64_t>*>(shares + buckets)),
        weights(reinterpret_cast<float*>(border + real_ids)) {}
};

// Finds the nucleus of scratch.weights: the smallest set of the largest weights that reaches the share `nucleus`.
Cut nucleus_cut(const Scratch& scratch, const HeadIds& ids, double nucleus) {
  const float* weights = scratch.weights;
  double* shares = scratch.shares;
  std::fill_n(shares, buckets, 0.0);
  double total = 0;
  each_answerable(ids, [&](int64_t i) {
    shares[bits_of(weights[i]) >> 18] += static_cast<double>(weights[i]);
    total += static_cast<double>(weights[i]);
    return false;
  });
  const double wanted = nucleus * total;
  double kept = 0;
  int bucket = buckets - 1;
  while (bucket > 0 && kept + shares[bucket] < wanted) kept += shares[bucket--];
  std::pair<float, int64_t>* border_end = scratch.border;
  each_answerable(ids, [&](int64_t i) {
    if (static_cast<int>(bits_of(weights[i]) >> 18) == bucket) *border_end++ = {-weights[i], i};
    return false;
  });
  std::sort(scratch.border, border_end);
  Cut cut{0, ids.real};
  for (const auto* entry = scratch.border; entry != border_end; entry++) {
    cut = {-entry->first, entry->second};
    kept += static_cast<double>(-entry->first);
    if (kept >= wanted) break;
  }
  return cut;
}

// 53 uniform bits in [0, 1).
double uniform_draw(uint64_t seed, uint32_t sequence, uint32_t position, uint32_t iteration) {
  uint32_t c[4] = {sequence, position, iteration, 0};
  philox(seed, c);
  const uint64_t bits = (static_cast<uint64_t>(c[0]) << 32 | c[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

}  // namespace

void sample(const Context& context, const SampleArguments& a) {
  const int64_t real_ids = a.head_ids.real;
  context.pool->reserve_scratch(Scratch::bytes(real_ids));
  const auto body = [&](int64_t begin, int64_t end, int thread) {
    const Scratch scratch(context.pool->scratch<char>(thread), real_ids);
    float* weights = scratch.weights;
    for (int64_t r = begin; r < end && !context.is_cancelled(); r++) {
      const float* row = a.logits + r * a.vocabulary;
      float largest = row[0], most = -INFINITY;  // of all real ids, of the allowed ones
      for (int64_t i = 0; i < real_ids; i++) largest = row[i] > largest ? row[i] : largest;
      each_answerable(a.head_ids, [&](int64_t i) {
        if (row[i] > most) most = row[i];
        return false;
      });
      double sum = 0;
      bool numbers = true;
      for (int64_t i = 0; i < real_ids; i++) {
        sum += std::exp(static_cast<double>(row[i]) - static_cast<double>(largest));
        numbers = numbers && !std::isnan(row[i]);
      }
      a.ids[r] = -1;
      a.log_probs[r] = NAN;
      if (!numbers || !std::isfinite(most)) continue;
      const double log_sum = static_cast<double>(largest) + std::log(sum);

      std::memcpy(weights, row, static_cast<size_t>(real_ids) * sizeof(float));
      context.kernels->exponentials(weights, real_ids, most, 1.0f / a.temperature);
      const Cut cut = nucleus_cut(scratch, a.head_ids, static_cast<double>(a.nucleus));
      double kept = 0;
      each_answerable(a.head_ids, [&](int64_t i) {
        if (cut.keeps(weights[i], i)) kept += static_cast<double>(weights[i]);
        return false;
      });
      const double draw =
          kept * uniform_draw(a.seed, static_cast<uint32_t>(a.sequences[r]), static_cast<uint32_t>(a.positions[r]),
                              static_cast<uint32_t>(a.iteration));
      double passed = 0;
      each_answerable(a.head_ids, [&](int64_t i) {
        if (!cut.keeps(weights[i], i)) return false;
        passed += static_cast<double>(weights[i]);
        a.ids[r] = static_cast<int32_t>(i);
        return passed > draw;
      });
      a.log_probs[r] = static_cast<float>(static_cast<double>(row[a.ids[r]]) - log_sum);
    }
  };
  context.pool->parallel_for(a.rows, 1, body);
}

}  // namespace mask_predict::cpu
