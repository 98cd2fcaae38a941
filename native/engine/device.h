// From the name of a device to a context in which operations run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ops/operations.h"

namespace mask_predict {

struct OpenDevice {
  Context context;
  std::shared_ptr<void> resources;  // what the context points to
  std::string name;                 // "cpu", "cuda:0", "simt:0"
  std::string instruction_set;      // of the CPU; empty elsewhere
  int threads = 1;                  // of the CPU; on a GPU those that pack weights
  uint64_t available_memory = 0;
  // Why 'auto' and 'cuda' took another device than the best: the CPU although there is a driver for a GPU, or the next GPU
  // because the best one does not work. Empty otherwise.
  std::string fallback;
  // What `deterministic: false` led to (for example which cuBLASLt was found); empty if it was not set.
  std::string note;
};

// `device`: "auto", "cpu", "cuda" (the GPU with the most free memory of those this build can use), "cuda:N",
// "cuda:UUID" (or "simt", in a test build); the environment variable MASK_PREDICT_DEVICE says what "auto" means,
// otherwise it is "cuda", or "cpu" where there is no such GPU. `precision`: "auto", "fp32", "bf16", "fp16", "int8",
// "fp8". `deterministic`: if true, a row's bits do not depend on the rows beside it. Throws Error(Device) that says
// what is missing, Error(InvalidArgument) for a name that means nothing.
OpenDevice open_device(const std::string& device, const std::string& precision, int threads, bool deterministic);

// The device that MASK_PREDICT_DEVICE sets for "auto", or "auto".
std::string default_device();

// The checks of open_device that need no device: both names are known, and this build has the device.
void check_device(const std::string& device, const std::string& precision);

}  // namespace mask_predict
