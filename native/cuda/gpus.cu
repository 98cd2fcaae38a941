#include "cuda/gpus.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "cuda/device.h"
#include "cuda/platform.h"

#ifndef MASK_PREDICT_SIMT
#include <dlfcn.h>
#endif

namespace mask_predict::cuda {
namespace {

constexpr int least_major = 8;  // mma.sync of bfloat16, cp.async

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(static_cast<unsigned char>(uuid.bytes[i])));
    if (i == 4 || i == 6 || i == 8 || i == 10) text += "-";
    text += digits;
  }
  return text;
}

#ifdef MASK_PREDICT_SIMT

// Bytes that nobody uses.
class FreeMemory {
 public:
  uint64_t of(const Gpu& gpu) const {
    int current = 0;
    size_t free = 0, all = 0;
    const bool known = cudaGetDevice(&current) == cudaSuccess && cudaSetDevice(gpu.index) == cudaSuccess &&
                       cudaMemGetInfo(&free, &all) == cudaSuccess && cudaSetDevice(current) == cudaSuccess;
    return known ? free : gpu.bytes;
  }
};

#else

// Bytes that nobody uses, as the driver's management library tells them: the CUDA runtime does so only of a GPU it has
// made a context on, which takes some hundred megabytes of it. The functions and types of nvml.h that are needed are
// declared here.
class FreeMemory {
 public:
  FreeMemory() : library_(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
    if (library_ == nullptr) return;
    const bool complete = find(init_, "nvmlInit_v2") && find(shutdown_, "nvmlShutdown") &&
                          find(device_, "nvmlDeviceGetHandleByPciBusId_v2") && find(memory_, "nvmlDeviceGetMemoryInfo");
    works_ = complete && init_() == 0;
  }
  ~FreeMemory() {
    if (works_) shutdown_();
    if (library_ != nullptr) dlclose(library_);
  }
  FreeMemory(const FreeMemory&) = delete;
  FreeMemory& operator=(const FreeMemory&) = delete;

  uint64_t of(const Gpu& gpu) const {
    char bus_id[64] = "";
    if (!works_ || cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, gpu.index) != cudaSuccess) {
      cudaGetLastError();
      return gpu.bytes;
    }
    struct {
      unsigned long long total, free, used;
    } memory{};  // nvmlMemory_t
    void* device = nullptr;
    const bool known = device_(bus_id, &device) == 0 && memory_(device, &memory) == 0;
    return known ? std::min<uint64_t>(memory.free, gpu.bytes) : gpu.bytes;  // a part of a GPU has no more than its own
  }

 private:
  template <class Function>
  bool find(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(library_, name));
    return function != nullptr;
  }

  void* library_;
  bool works_ = false;
  int (*init_)() = nullptr;
  int (*shutdown_)() = nullptr;
  int (*device_)(const char* bus_id, void** device) = nullptr;
  int (*memory_)(void* device, void* memory) = nullptr;
};

#endif

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// "GPU-" and "MIG-" differ in what they stand for, not in how a UUID is written.
bool has_prefix_of_uuid(const std::string& name) {
  const std::string begin = lower(name.substr(0, 4));
  return begin == "gpu-" || begin == "mig-";
}

[[noreturn]] void not_there(const std::string& name, const std::vector<Gpu>& all) {
  std::string list;
  for (const Gpu& gpu : all) list += (list.empty() ? "" : ", ") + std::to_string(gpu.index) + " (" + gpu.uuid + ")";
  std::string message = "there is no device '" + std::string(device_kind) + ":" + name + "'; there are " + list;
  if (lower(name.substr(0, 4)) == "mig-")
    message += ". A part of a GPU is shown to a process by CUDA_VISIBLE_DEVICES=" + name + "; it is number 0 there";
  throw Error(ErrorCode::Device, message);
}

}  // namespace

std::string Gpu::unfit() const {
  if (major >= least_major) return "";
  return name + " has compute capability " + std::to_string(major) + "." + std::to_string(minor) + "; " +
         std::to_string(least_major) + ".0 is needed";
}

Obstacle obstacle() {
  int driver = 0, runtime = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    cudaGetLastError();
    return {"there is no NVIDIA driver", true};
  }
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return {};
  cudaGetLastError();
  if (status == cudaSuccess || status == cudaErrorNoDevice)
    return {"there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it", false};
  if (status != cudaErrorInsufficientDriver)
    return {std::string("the NVIDIA driver does not work: ") + cudaGetErrorString(status), false};
  cudaRuntimeGetVersion(&runtime);
  return {"the NVIDIA driver supports CUDA " + version_text(driver) + ", this build needs " + version_text(runtime),
          false};
}

std::vector<Gpu> gpus() {
  const std::string reason = obstacle().reason;
  if (!reason.empty())
    throw Error(ErrorCode::Device, "device '" + std::string(device_kind) + "' is not available: " + reason);
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  std::vector<Gpu> all;
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
    Gpu gpu;
    gpu.index = index;
    gpu.name = properties.name;
    gpu.major = properties.major;
    gpu.minor = properties.minor;
    gpu.uuid = uuid_text(properties.uuid);
    gpu.bytes = properties.totalGlobalMem;
    all.push_back(gpu);
  }
  return all;
}

std::vector<Gpu> usable_gpus(std::string& unfit) {
  std::vector<Gpu> usable;
  for (const Gpu& gpu : gpus()) {
    const std::string reason = gpu.unfit();
    if (reason.empty()) {
      usable.push_back(gpu);
    } else {
      unfit += (unfit.empty() ? "" : ", ") + reason;
    }
  }
  if (usable.size() < 2) return usable;
  const FreeMemory free_memory;
  std::vector<uint64_t> free;
  for (const Gpu& gpu : usable) free.push_back(free_memory.of(gpu));
  std::vector<size_t> order(usable.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return free[a] > free[b]; });
  std::vector<Gpu> sorted;
  for (const size_t i : order) sorted.push_back(usable[i]);
  return sorted;
}

bool names_gpu(const std::string& name) {
  if (has_prefix_of_uuid(name))
    return name.size() > 4 && name.find_first_not_of("0123456789abcdefABCDEF-", 4) == std::string::npos;
  return !name.empty() && name.size() < 4 && name.find_first_not_of("0123456789") == std::string::npos;
}

int find_gpu(const std::string& name) {
  const std::vector<Gpu> all = gpus();
  if (!has_prefix_of_uuid(name)) {
    const int index = std::atoi(name.c_str());
    if (index >= static_cast<int>(all.size())) not_there(name, all);
    return index;
  }
  const std::string digits = lower(name.substr(4));
  std::vector<int> found;
  for (const Gpu& gpu : all)
    if (gpu.uuid.compare(4, digits.size(), digits) == 0) found.push_back(gpu.index);
  if (found.empty()) not_there(name, all);
  if (found.size() > 1)
    throw Error(ErrorCode::Device, "'" + name + "' is the beginning of the UUIDs of " + std::to_string(found.size()) +
                                       " GPUs; give more of it");
  return found.front();
}

}  // namespace mask_predict::cuda
