#include "ops/operations.h"

#include <cstring>

namespace mask_predict {
namespace {

// The host is the device.
void copy(const Context&, void* to, const void* from, uint64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

const float* scales(const PackedMatrix& matrix) { return matrix.scales(); }

}  // namespace

const Operations cpu_operations = {
    "cpu", &host_memory,
    copy, copy, copy,
    nullptr, nullptr, nullptr, nullptr,
    cpu::packed_bytes, cpu::pack, cpu::select_outputs, scales, nullptr,
    cpu::embed, cpu::layer_norm, cpu::linear, cpu::linear_norm, cpu::mixed_attention, cpu::gather_rows, cpu::mean_rows,
    cpu::lm_head_argmax, cpu::logits_at, cpu::fill_masks, cpu::remask, cpu::sample};

}  // namespace mask_predict
