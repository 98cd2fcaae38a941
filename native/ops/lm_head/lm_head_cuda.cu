// The language-model head on a CUDA device. A block owns one range of the vocabulary and one tile of rows, adds up
// the whole inner dimension of 256 logits per row at a time, and keeps of them the four values of an LmHeadPartial.
// A second kernel puts a row's ranges together.
//
// Which logits form a range, and in which order they are taken in, follows from the vocabulary alone; a row's bits
// therefore never depend on other rows or on how many there are.
#include "base/error.h"
#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/lm_head/lm_head.h"
#include "ops/lm_head/lm_head_float32.cuh"
#include "ops/lm_head/lm_head_partial.cuh"
#include "ops/lm_head/lm_head_tensor_cores.cuh"
#include "ops/weights/packed_layout.h"

namespace mask_predict::cuda {
namespace {

using lm_head::Head;

// At least one full pass each, except for a vocabulary smaller than that.
int ranges_of(int strips) {
  const int full = strips / lm_head::pass_strips;
  return full < 1 ? 1 : full < lm_head_ranges ? full : static_cast<int>(lm_head_ranges);
}

constexpr int row_warps = 4;
constexpr int row_threads = row_warps * 32;
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

// One warp for each row; lane l takes the ranges l, l + 32, ...
__global__ void __launch_bounds__(row_threads) lm_head_finish(const LmHeadPartial* partials, int ranges, int rows,
                                                              int32_t* ids, float* log_probs, float* log_sums) {
  using namespace lm_head;
  constexpr int most = (static_cast<int>(lm_head_ranges) + 31) / 32;
  wait_for_earlier_kernels();
  allow_next_kernel();
  const int lane = lane_index();
  const int row = static_cast<int>(blockIdx.x) * row_warps + warp_index();
  if (row >= rows) return;

  float largest[most], sums[most];
  float all_largest = lowest;
  Best best{lowest, -1};
#pragma unroll
  for (int i = 0; i < most; ++i) {
    const int range = i * 32 + lane;
    const int64_t index = static_cast<int64_t>(range) * rows + row;
    LmHeadPartial partial = nothing;
    if (range < ranges) partial = as_partial(load_global(reinterpret_cast<const float4*>(partials) + index));
    largest[i] = partial.largest;
    sums[i] = partial.sum;
    all_largest = fmaxf(all_largest, partial.largest);
    best = better(best, {partial.best_logit, partial.best_id});
  }
  all_largest = warp_max(all_largest);
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2)
    best = better(best, {shuffle_xor(best.logit, mask), shuffle_xor(best.id, mask)});
  // In double: beside the one term of a sure answer the others would be lost, and with them the order of scores.
  const double relative = static_cast<double>(reference(all_largest));
  double sum = 0;
#pragma unroll
  for (int i = 0; i < most; ++i) sum += static_cast<double>(sums[i]) * exp(static_cast<double>(largest[i]) - relative);
  sum = warp_sum(sum);
  if (lane == 0) {
    const double log_of_sum = log(sum);
    float log_prob = static_cast<float>(static_cast<double>(best.logit) - relative - log_of_sum);
    if (best.id < 0) log_prob = not_a_number;
    store_global(ids + row, static_cast<int32_t>(best.id));
    store_global(log_probs + row, log_prob);
    store_global(log_sums + row, static_cast<float>(relative + log_of_sum));
  }
}

// One warp for each logit.
__global__ void __launch_bounds__(row_threads)
    logits_at_float32(const float* states, const float* weight, const float* bias, const int32_t* rows,
                      const int32_t* ids, int count, int width, float* logits) {
  wait_for_earlier_kernels();
  allow_next_kernel();
  const int i = static_cast<int>(blockIdx.x) * row_warps + warp_index();
  if (i >= count) return;
  const int id = load_global(ids + i);
  const float* const state = states + static_cast<int64_t>(load_global(rows + i)) * width;
  const float* const row = weight + static_cast<int64_t>(id) * width;
  float sum = 0;
  for (int k = lane_index(); k < width; k += 32) sum = fmaf(load_global(row + k), load_global(state + k), sum);
  sum = warp_sum(sum);
  if (lane_index() == 0) store_global(logits + i, sum + load_global(bias + id));
}

// Four lanes hold a row's part of a tile in fragment order, each two pairs of neighbouring columns in two of its four
// registers (ops/weights/packed_layout.h); a warp goes through 8 loads at a time.
template <class Weights>
__global__ void __launch_bounds__(row_threads)
    logits_at_fragments(const __nv_bfloat16* states, const uint4* weight, const float* scales, const float* bias,
                        const int32_t* rows, const int32_t* ids, int count, int width, float* logits) {
  constexpr int load_inner = Weights::load_tiles * 16;
  wait_for_earlier_kernels();
  allow_next_kernel();
  const int i = static_cast<int>(blockIdx.x) * row_warps + warp_index();
  if (i >= count) return;
  const int lane = lane_index(), loads = (width + load_inner - 1) / load_inner;
  const int id = load_global(ids + i), row = id % 16;
  const __nv_bfloat16* const state = states + static_cast<int64_t>(load_global(rows + i)) * width;
  const uint4* const fragments = weight + static_cast<int64_t>(id / 16) * loads * 32 + row % 8 * 4 + lane % 4;
  float sum = 0;
  for (int load = lane / 4; load < loads; load += 8) {
    const uint4 loaded = load_global(fragments + load * 32);
#pragma unroll
    for (int i = 0; i < Weights::load_tiles * 2; ++i) {
      uint32_t tile[4];
      Weights::unpack(tile, loaded, i / 2);
      const int k = load * load_inner + i * 8 + lane % 4 * 2;
      if (k >= width) continue;
      const float2 w = unpack_bfloat16(row < 8 ? tile[i % 2 * 2] : tile[i % 2 * 2 + 1]);
      const float2 x = unpack_bfloat16(load_global(reinterpret_cast<const uint32_t*>(state + k)));
      sum = fmaf(w.x, x.x, sum);
      sum = fmaf(w.y, x.y, sum);
    }
  }
  sum = warp_sum(sum);
  const float scale = scales != nullptr ? load_global(scales + id) : 1.0f;
  if (lane == 0) store_global(logits + i, __fmaf_rn(sum, scale, load_global(bias + id)));
}

// True if the float32 kernels compute the head, false if those of the tensor cores do.
bool is_float32(const Context& context, const PackedMatrix& weight) {
  const bool float32 = context.activations == ValueType::F32;
  const bool fits = float32 ? weight.type == WeightType::F32 : weight.type != WeightType::F32 && weight.inputs % 8 == 0;
  if (!fits)
    throw Error(
        ErrorCode::InvalidArgument,
        "on a CUDA device the language-model head's weight is float32 for float32 activations, and for bfloat16 "
        "a narrower type with a width that is a multiple of 8");
  return float32;
}

unsigned blocks_of(int64_t count, int each) { return static_cast<unsigned>((count + each - 1) / each); }

template <class Weights, int row_tile>
void start_tile(const Stream& stream, Head head, int ranges) {
  using Tile = lm_head::HeadTile<Weights, row_tile>;
  const dim3 grid(blocks_of(head.rows, row_tile), static_cast<unsigned>(ranges));
  constexpr size_t least_bytes = shallowest_ring * Tile::bytes;
  const bool alone = int64_t{grid.x} * grid.y <= stream.processors ||
                     room_of_block(stream.shared_bytes, Tile::blocks) < static_cast<int64_t>(least_bytes);
  head.stages = stages_of(room_of_block(stream.shared_bytes, alone ? 1 : Tile::blocks), Tile::bytes);
  launch(lm_head::lm_head_tensor_cores<Weights, row_tile>,
         {grid, dim3(lm_head::threads), static_cast<size_t>(head.stages) * Tile::bytes, stream.handle,
          "lm_head_tensor_cores", true},
         head);
}

// The smallest tile that holds all rows, or the largest there is: with it the vocabulary is read least often.
template <class Weights>
void start_tensor_cores(const Stream& stream, const Head& head, int ranges) {
  if (head.rows <= 16) {
    start_tile<Weights, 16>(stream, head, ranges);
  } else if (head.rows <= 32) {
    start_tile<Weights, 32>(stream, head, ranges);
  } else if (head.rows <= 64) {
    start_tile<Weights, 64>(stream, head, ranges);
  } else {
    start_tile<Weights, 128>(stream, head, ranges);
  }
}

}  // namespace

void lm_head_argmax(const Context& context, const LmHeadArguments& a) {
  const bool float32 = is_float32(context, *a.weight);
  if (a.rows == 0) return;
  const int real_ids = a.head_ids.real;
  const int strips = (real_ids + lm_head::strip_outputs - 1) / lm_head::strip_outputs, ranges = ranges_of(strips);
  const Head head{a.states,
                  a.weight->data.as<void>(),
                  scales_of(*a.weight),
                  a.bias,
                  static_cast<int>(a.rows),
                  static_cast<int>(a.weight->inputs),
                  real_ids,
                  real_ids - 1,
                  strips,
                  a.partials,
                  0};
  const cudaStream_t stream = context.stream->handle;
  if (float32) {
    launch(lm_head::lm_head_float32,
           {dim3(blocks_of(a.rows, lm_head::float32_rows), static_cast<unsigned>(ranges)), dim3(lm_head::threads),
            lm_head::float32_bytes, stream, "lm_head_float32", true},
           head);
  } else {
    with_weights(a.weight->type,
                 [&](auto weights) { start_tensor_cores<decltype(weights)>(*context.stream, head, ranges); });
  }
  launch(lm_head_finish, {dim3(blocks_of(a.rows, row_warps)), dim3(row_threads), 0, stream, "lm_head_finish", true},
         a.partials, ranges, head.rows, a.ids, a.log_probs, a.log_sums);
}

void logits_at(const Context& context, const LogitsAtArguments& a) {
  const bool float32 = is_float32(context, *a.weight);
  if (a.count == 0) return;
  const int count = static_cast<int>(a.count), width = static_cast<int>(a.weight->inputs);
  const LaunchShape shape{
      dim3(blocks_of(a.count, row_warps)), dim3(row_threads), 0, context.stream->handle, "logits_at", true};
  if (float32) {
    launch(logits_at_float32, shape, static_cast<const float*>(a.states), a.weight->data.as<float>(), a.bias, a.rows,
           a.ids, count, width, a.logits);
  } else {
    with_weights(a.weight->type, [&](auto weights) {
      launch(logits_at_fragments<decltype(weights)>, shape, static_cast<const __nv_bfloat16*>(a.states),
             a.weight->data.as<const uint4>(), scales_of(*a.weight), a.bias, a.rows, a.ids, count, width, a.logits);
    });
  }
}

}  // namespace mask_predict::cuda
