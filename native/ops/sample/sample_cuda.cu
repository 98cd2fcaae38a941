// Sampling on a CUDA device: one block for each row, which goes through the row's logits several times instead of
// storing anything of their length. Each time a search for the first place at which a running sum passes a limit:
//   - over the weights' leading bits, from the largest down, then over the next bits of those at the border, then
//     over the last ones: the smallest weight that the nucleus keeps;
//   - over the ids of that weight: the last one kept;
//   - over the ids kept: the one drawn.
//
// Sums are of integers, weights being taken in units of 2^-44 of the largest. That is exact for weights above 2^-20
// and leaves an error below 2^-26 in the sum over a vocabulary, less than that of the weights themselves; and since
// integers may be added in any order, the same logits always give the same id.
#include <limits>

#include "base/philox.h"
#include "base/special_ids.h"
#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/sample/sample.h"

namespace mask_predict::cuda {
namespace {

using Amount = unsigned long long;

constexpr int warps = 32;
constexpr int threads = warps * 32;
constexpr int batch = 8;  // logits that a thread has on their way at the same time
constexpr int bucket_bits = 12;
constexpr int buckets = 1 << bucket_bits;
constexpr float unit = 0x1p-44f;  // 2^20 weights of 1 fit into 64 bits
constexpr float largest_float = std::numeric_limits<float>::max();
constexpr float lowest = -std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

// Sums over equal weights of a row, in two halves because shared memory adds 32 bits at a time, and space for one value
// of each warp.
struct Shared {
  uint32_t low[buckets];
  uint32_t high[buckets];
  Amount warp_values[warps];
};

__device__ __forceinline__ Amount in_units(float weight) {
  return weight > 0.0f ? static_cast<Amount>(weight * (1.0f / unit)) : 0;
}

// One row's logits and what its weights are relative to.
struct Row {
  const float* logits;
  int real_ids;
  int mask_token_id;
  float most;  // the largest logit of the allowed ids
  float inverse_temperature;

  // 0 for ids that are never the answer. The product is spelled out so that it is rounded the same way in every place
  // that asks for the weight.
  __device__ __forceinline__ float weight(int id, float logit) const {
    return may_be_answered(id, mask_token_id) ? expf(__fmul_rn(__fadd_rn(logit, -most), inverse_temperature)) : 0.0f;
  }
  __device__ __forceinline__ float weight(int id) const { return weight(id, load_global(logits + id)); }

  // use(id, logit) for this thread's part of the ids.
  template <class Use>
  __device__ __forceinline__ void for_each(const Use& use) const {
    for (int begin = static_cast<int>(threadIdx.x); begin < real_ids; begin += batch * threads) {
      float values[batch];
#pragma unroll
      for (int i = 0; i < batch; ++i)
        if (begin + i * threads < real_ids) values[i] = load_global(logits + begin + i * threads);
#pragma unroll
      for (int i = 0; i < batch; ++i)
        if (begin + i * threads < real_ids) use(begin + i * threads, values[i]);
    }
  }
};

// ---- over all warps --------------------------------------------------------------------------------------------

__device__ __forceinline__ float larger_of_all(float value, Shared* shared) {
  value = warp_max(value);
  __syncthreads();
  if (lane_index() == 0) store_shared(shared->warp_values + warp_index(), static_cast<Amount>(__float_as_uint(value)));
  __syncthreads();
  for (int i = 0; i < warps; ++i)
    value = fmaxf(value, __uint_as_float(static_cast<uint32_t>(load_shared(shared->warp_values + i))));
  return value;
}

__device__ __forceinline__ Amount sum_of_all(Amount value, Shared* shared) {
  value = warp_sum(value);
  __syncthreads();
  if (lane_index() == 0) store_shared(shared->warp_values + warp_index(), value);
  __syncthreads();
  Amount sum = 0;
  for (int i = 0; i < warps; ++i) sum += load_shared(shared->warp_values + i);
  return sum;
}

struct Place {
  int index;
  Amount before;  // the sum of the amounts before it
};

// The first place in [0, end) where the sum of the amounts up to and including it is larger than `limit`; the last
// one if there is none. Each round cuts the range into one part for each warp and goes on in the part that holds the
// place. All threads call it and get the same.
template <class AmountAt>
__device__ __forceinline__ Place first_above(Amount limit, int end, Shared* shared, const AmountAt& amount_at) {
  int begin = 0;
  Amount before = 0;
  while (end - begin > 1) {
    const int each = (end - begin + warps - 1) / warps;
    const int own_begin = begin + warp_index() * each, own_end = min(end, own_begin + each);
    Amount own = 0;
#pragma unroll 4
    for (int i = own_begin + lane_index(); i < own_end; i += 32) own += amount_at(i);
    own = warp_sum(own);
    __syncthreads();
    if (lane_index() == 0) store_shared(shared->warp_values + warp_index(), own);
    __syncthreads();
    const int parts = (end - begin + each - 1) / each;
    int part = 0;
    for (; part < parts - 1; ++part) {
      const Amount next = before + load_shared(shared->warp_values + part);
      if (next > limit) break;
      before = next;
    }
    begin += part * each;
    end = min(end, begin + each);
  }
  return {begin, before};
}

// ---- the nucleus -----------------------------------------------------------------------------------------------

// The last id kept, in the order of falling weight and rising id, and the sum of all that are kept.
struct Nucleus {
  float weight;
  int id;
  Amount kept;
};

__device__ __forceinline__ void clear_buckets(Shared* shared) {
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < buckets; i += threads) {
    store_shared(shared->low + i, 0u);
    store_shared(shared->high + i, 0u);
  }
  __syncthreads();
}

// The carry goes to the upper half with the addition that causes it, so the order of additions does not matter.
__device__ __forceinline__ void add_to_bucket(Shared* shared, uint32_t bucket, Amount amount) {
  if (amount == 0) return;
  const uint32_t low = static_cast<uint32_t>(amount);
  const uint32_t carry = atomicAdd(shared->low + bucket, low) > 0xffffffffu - low;
  const uint32_t high = static_cast<uint32_t>(amount >> 32) + carry;
  if (high != 0) atomicAdd(shared->high + bucket, high);
}

// Finds the bucket, counted from the last one down, in which the sum goes above `limit`.
__device__ __forceinline__ Place border_bucket(Amount limit, Shared* shared) {
  __syncthreads();
  Place place = first_above(limit, buckets, shared, [shared](int i) {
    const int bucket = buckets - 1 - i;
    return static_cast<Amount>(load_shared(shared->high + bucket)) << 32 | load_shared(shared->low + bucket);
  });
  place.index = buckets - 1 - place.index;
  return place;
}

// With the buckets full of the weights' first 12 bits (a weight's two highest bits are zero). `total` is not 0.
__device__ __forceinline__ Nucleus nucleus_of(const Row& row, Amount total, double share, Shared* shared) {
  const double wanted = ceil(share * static_cast<double>(total));
  const Amount needed = wanted >= static_cast<double>(total) ? total : static_cast<Amount>(wanted);
  Amount limit = needed == 0 ? 0 : needed - 1;
  Place border = border_bucket(limit, shared);
  Amount above = border.before;
  uint32_t leading = static_cast<uint32_t>(border.index);
  for (int bits = 12, shift = 6; shift >= 0; bits = 6, shift -= 6) {  // the 12 bits after those, then the last 6
    clear_buckets(shared);
    row.for_each([&](int id, float logit) {
      const float weight = row.weight(id, logit);
      const uint32_t prefix = __float_as_uint(weight) >> shift;
      if (prefix >> bits == leading) add_to_bucket(shared, prefix & ((1u << bits) - 1), in_units(weight));
    });
    border = border_bucket(limit - above, shared);
    above += border.before;
    leading = leading << bits | static_cast<uint32_t>(border.index);
  }
  const float weight = __uint_as_float(leading);
  const Amount one = in_units(weight);
  const Amount ties = one == 0 ? 0 : (limit - above) / one;  // that are kept before the last one
  const Place last =
      first_above(ties, row.real_ids, shared, [&](int id) { return static_cast<Amount>(row.weight(id) == weight); });
  return {weight, last.index, above + (ties + 1) * one};
}

// ---- the draw --------------------------------------------------------------------------------------------------

// 53 uniform bits in [0, 1).
__device__ __forceinline__ double uniform_draw(uint64_t seed, uint32_t sequence, uint32_t position,
                                               uint32_t iteration) {
  uint32_t c[4] = {sequence, position, iteration, 0};
  philox(seed, c);
  const uint64_t bits = (static_cast<uint64_t>(c[0]) << 32 | c[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

__global__ void __launch_bounds__(threads) sample_kernel(SampleArguments a) {
  wait_for_earlier_kernels();
  allow_next_kernel();
  Shared* const shared = shared_memory<Shared>();
  const int number = static_cast<int>(blockIdx.x), real_ids = a.head_ids.real;
  Row row{a.logits + number * a.vocabulary, real_ids, real_ids - 1, lowest, 1.0f / a.temperature};

  float largest = lowest;
  Amount not_numbers = 0;
  row.for_each([&](int id, float logit) {
    largest = fmaxf(largest, logit);
    if (may_be_answered(id, row.mask_token_id)) row.most = fmaxf(row.most, logit);
    not_numbers += logit != logit;
  });
  largest = larger_of_all(largest, shared);
  row.most = larger_of_all(row.most, shared);
  not_numbers = sum_of_all(not_numbers, shared);
  if (not_numbers != 0 || !(fabsf(row.most) <= largest_float)) {
    if (threadIdx.x == 0) {
      store_global(a.ids + number, -1);
      const float none = not_a_number;
      store_global(a.log_probs + number, none);
    }
    return;
  }

  clear_buckets(shared);
  Amount own_sum = 0, own_total = 0;
  row.for_each([&](int id, float logit) {
    const float weight = row.weight(id, logit);
    own_sum += in_units(expf(logit - largest));  // nothing is relative to infinity: NaN counts as 0
    own_total += in_units(weight);
    add_to_bucket(shared, __float_as_uint(weight) >> (30 - bucket_bits), in_units(weight));
  });
  const Amount sum = sum_of_all(own_sum, shared), total = sum_of_all(own_total, shared);
  const Nucleus nucleus = nucleus_of(row, total, static_cast<double>(a.nucleus), shared);

  const double draw =
      static_cast<double>(nucleus.kept) * uniform_draw(a.seed, static_cast<uint32_t>(load_global(a.sequences + number)),
                                                       static_cast<uint32_t>(load_global(a.positions + number)),
                                                       static_cast<uint32_t>(a.iteration));
  // The product may be rounded up to the sum itself, or beyond where that is rounded to 53 bits.
  const Amount last = nucleus.kept - 1, limit = static_cast<Amount>(draw) < last ? static_cast<Amount>(draw) : last;
  const Place drawn = first_above(limit, real_ids, shared, [&](int id) {
    const float weight = row.weight(id);
    const bool is_kept = weight > nucleus.weight || (weight == nucleus.weight && id <= nucleus.id);
    return is_kept ? in_units(weight) : 0;
  });
  if (threadIdx.x == 0) {
    const double log_sum = log(static_cast<double>(sum) * static_cast<double>(unit));
    const double logit = static_cast<double>(load_global(row.logits + drawn.index));
    store_global(a.ids + number, static_cast<int32_t>(drawn.index));
    store_global(a.log_probs + number, static_cast<float>(logit - static_cast<double>(largest) - log_sum));
  }
}

}  // namespace

void sample(const Context& context, const SampleArguments& a) {
  if (a.rows == 0) return;
  launch(sample_kernel,
         {dim3(static_cast<unsigned>(a.rows)), dim3(threads), sizeof(Shared), context.stream->handle, "sample", true},
         a);
}

}  // namespace mask_predict::cuda
