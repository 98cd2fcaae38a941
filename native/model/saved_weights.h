// int8 weights in a file: model.safetensors whose matrices are in the form the CPU's kernels read, so that loading maps
// them and computes on the mapping.
//
// __metadata__ names the layout. A packed matrix is a tensor U8 [bytes] at a multiple of 64 bytes, laid out as
// ops/weights/packed_matrix.h says, under the name of its weight (keys and values, which are one matrix, under
// "key_value.weight"); everything else is F32 under its own name, token type row 0 being part of the positions.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "model/weights.h"

namespace mask_predict {

inline constexpr const char* saved_layout_key = "mask_predict_layout";
inline constexpr const char* saved_layout = "int8-1";
inline constexpr uint64_t saved_alignment = 64;

// Writes the file, under another name until it is whole, and the directories it is in. Throws Error(InvalidArgument) that names the path and the
// reason, also for weights that are not int8 on the CPU; Cancelled.
void save_weights(const Weights& weights, const std::string& path, const std::atomic<bool>& cancelled);

}  // namespace mask_predict
