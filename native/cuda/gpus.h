// The GPUs that the driver shows this process, and which of them this build can use. Nothing here takes memory of a GPU
// or makes a context on one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mask_predict::cuda {

// The reason why this process can use no GPU.
struct Obstacle {
  std::string reason;              // empty if nothing does
  bool is_missing_driver = false;  // the ordinary case of a machine that has no GPU
};
Obstacle obstacle();

struct Gpu {
  int index = 0;
  std::string name;
  int major = 0, minor = 0;  // compute capability
  std::string uuid;          // "GPU-" and 8-4-4-4-12 hexadecimal digits
  uint64_t bytes = 0;        // of memory

  // Why this build cannot use it; empty if it can.
  std::string unfit() const;
};

// In the driver's order. Throws Error(Device) where there is an obstacle.
std::vector<Gpu> gpus();

// Those this build can use, the one with the most free memory first, or with the most memory where the driver's library
// NVML is not there to ask. `unfit` says of each of the others why not.
std::vector<Gpu> usable_gpus(std::string& unfit);

// True if `name`, the part behind "cuda:", has the form of a number or of a UUID.
bool names_gpu(const std::string& name);

// The index of the GPU of this number, or of this UUID or the beginning of one, as CUDA_VISIBLE_DEVICES takes it. Throws
// Error(Device) that says which there are.
int find_gpu(const std::string& name);

}  // namespace mask_predict::cuda
