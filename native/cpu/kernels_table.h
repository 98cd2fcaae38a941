// The table of one instruction set's kernels, over its products of bytes and, if it has any, of bfloat16 pairs.
#pragma once

#include "cpu/kernels.h"
#include "cpu/kernels_lm_head.h"
#include "cpu/kernels_multiply.h"
#include "cpu/kernels_rows.h"

namespace {

template <class Bytes, class Pairs = WeightBF16>
constexpr mask_predict::cpu::Kernels kernels(const char* name) {
  mask_predict::cpu::Kernels table = {name,
                                      Bytes::flip,
                                      Bytes::input_bytes,
                                      multiply<Bytes, Pairs>,
                                      head_update,
                                      quantize<Bytes>,
                                      nullptr,
                                      softmax,
                                      nullptr,
                                      nullptr,
                                      layer_norm,
                                      transpose,
                                      copy_rows,
                                      add,
                                      exponentials,
                                      dot,
                                      rotate};
  if constexpr (Pairs::steps) {
    table.round = Pairs::round;
    table.softmax_pairs = softmax_pairs<Pairs>;
    table.interleave = Pairs::interleave;
  }
  return table;
}

}  // namespace
