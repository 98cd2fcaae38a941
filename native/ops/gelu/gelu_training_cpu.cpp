#include "ops/gelu/gelu_training.h"

#include <algorithm>

#include "cpu/grain.h"

namespace mask_predict::training {
namespace {

constexpr int64_t piece = 1024;  // a multiple of all vectors

template <class Body>
void for_pieces(const TrainingContext& context, int64_t count, const Body& body) {
  const int64_t pieces = (count + piece - 1) / piece;
  context.pool->parallel_for(
      pieces, cpu::grain_for(pieces, piece * 16, context.pool->size()),
      [&](int64_t begin, int64_t end, int) { body(begin * piece, std::min(end * piece, count) - begin * piece); });
}

}  // namespace

void gelu_forward(const TrainingContext& context, const float* input, int64_t count, float* output) {
  for_pieces(context, count,
             [&](int64_t first, int64_t size) { context.kernels->gelu(input + first, size, output + first); });
}

void gelu_backward(const TrainingContext& context, const float* input, int64_t count, float* gradient) {
  for_pieces(context, count, [&](int64_t first, int64_t size) {
    context.kernels->gelu_gradient(input + first, size, gradient + first);
  });
}

}  // namespace mask_predict::training
