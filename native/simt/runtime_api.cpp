// The device, its memory, and launches.
#include "simt/runtime_api.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "simt/block.h"
#include "simt/dependency.h"
#include "simt/faults.h"
#include "simt/left_over.h"
#include "simt/limits.h"
#include "simt/memory.h"
#include "simt/streams.h"

namespace mask_predict::simt {

namespace {

constexpr int l2_cache_bytes = 50 << 20;

thread_local const char* next_name = "?";
thread_local int device_of_thread = 0;

struct EmulatedDevice {
  ComputeCapability capability{9, 0};
  size_t bytes = 0;  // 0: device_memory_total()
  int multiprocessors = 132;
};

// MASK_PREDICT_SIMT_DEVICES: "7.5:16,9.0:80" are two, of these compute capabilities and GiB of memory, which may be left
// out; "9.0:80:1" has one multiprocessor, where the others have as many as an H100. "none" is a driver without a device, "" a machine without a driver. One of 9.0 where it is not set. They share
// their memory. A compute capability has its own limits (limits.h).
std::vector<EmulatedDevice> read_devices() {
  const char* text = std::getenv("MASK_PREDICT_SIMT_DEVICES");
  if (!text) return {EmulatedDevice{}};
  std::vector<EmulatedDevice> devices;
  for (std::string rest = std::string(text) == "none" ? "" : text; !rest.empty();) {
    EmulatedDevice device;
    int gibibytes = 0;
    std::sscanf(rest.c_str(), "%d.%d:%d:%d", &device.capability.major, &device.capability.minor, &gibibytes,
                &device.multiprocessors);
    device.bytes = static_cast<size_t>(gibibytes) << 30;
    devices.push_back(device);
    const size_t comma = rest.find(',');
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  return devices;
}

const std::vector<EmulatedDevice>& emulated_devices() {
  static const auto& devices = *new std::vector<EmulatedDevice>(read_devices());
  return devices;
}

bool has_driver() {
  const char* text = std::getenv("MASK_PREDICT_SIMT_DEVICES");
  return !text || *text != '\0';
}

size_t total_of(int device) {
  const std::vector<EmulatedDevice>& devices = emulated_devices();
  const size_t bytes = static_cast<size_t>(device) < devices.size() ? devices[static_cast<size_t>(device)].bytes : 0;
  return bytes ? bytes : device_memory_total();
}

int multiprocessors_of(int device) { return emulated_devices()[static_cast<size_t>(device)].multiprocessors; }
ComputeCapability capability_of(int device) { return emulated_devices()[static_cast<size_t>(device)].capability; }

bool is_a_device(int device) { return device >= 0 && static_cast<size_t>(device) < emulated_devices().size(); }

struct Known {
  std::map<std::pair<const void*, int>, size_t> shared_bytes;  // of kernels that asked for more, on a device
  std::map<const char*, size_t, std::less<>> pinned;           // host memory
};
Known& known() {
  static Known& instance = *new Known;
  return instance;
}

bool is_pinned(const void* pointer) {
  const std::lock_guard lock(runtime_mutex());
  auto after = known().pinned.upper_bound(static_cast<const char*>(pointer));
  if (after == known().pinned.begin()) return false;
  --after;
  return static_cast<const char*>(pointer) < after->first + after->second;
}

bool is_device(const void* pointer, size_t bytes) { return in_device_memory(pointer, bytes); }
bool touches_device(const void* pointer) { return in_device_memory(pointer, 0); }

// True if the addresses belong to the device, or to the host, as `device` says, as far as that can be known.
bool fits(const void* pointer, size_t bytes, bool device) {
  return device ? is_device(pointer, bytes) : !touches_device(pointer);
}

}  // namespace

int current_device() { return device_of_thread; }

void name_next_kernel(const char* name) { next_name = name; }

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> body) {
  const char* name = std::exchange(next_name, "?");
  if (const cudaError_t fault = begin_call("cudaLaunchKernelEx"); fault != cudaSuccess) return fault;
  const dim3 grid = config.gridDim;
  const dim3 block = config.blockDim;
  const uint64_t threads = static_cast<uint64_t>(block.x) * block.y * block.z;
  const bool blocks_are_right = threads >= 1 && threads <= most_block_threads && block.z <= 64;
  const bool grid_is_right =
      grid.x >= 1 && grid.x <= 0x7fffffff && grid.y >= 1 && grid.y <= 65535 && grid.z >= 1 && grid.z <= 65535;
  if (!blocks_are_right || !grid_is_right) return remember(cudaErrorInvalidConfiguration);
  if (threads % 32) {
    std::fprintf(stderr, "simt: kernel %s: the emulator needs blocks of whole warps\n", name);
    return remember(cudaErrorInvalidConfiguration);
  }
  const ComputeCapability capability = capability_of(device_of_thread);
  const LaunchBounds bounds = launch_bounds_of(kernel);
  if (const std::string reason = beyond_limits(name, bounds, static_cast<int>(threads), capability); !reason.empty())
    return remember_failure(reason, cudaErrorLaunchOutOfResources);
  if (const std::string reason = beyond_shared_memory(name, config.dynamicSmemBytes, capability); !reason.empty())
    return remember_failure(reason, cudaErrorInvalidValue);
  {
    const std::lock_guard lock(runtime_mutex());
    const auto found = known().shared_bytes.find({kernel, device_of_thread});
    const size_t allowed =
        found == known().shared_bytes.end() ? shared_memory_of(capability).without_asking : found->second;
    if (config.dynamicSmemBytes > allowed) return remember(cudaErrorInvalidValue);
  }
  bool dependent = false;
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    dependent |= config.attrs[i].id == cudaLaunchAttributeProgrammaticStreamSerialization &&
                 config.attrs[i].val.programmaticStreamSerializationAllowed != 0;
  }
  if (dependent && is_capturing(config.stream) && begin_call("cudaLaunchAttribute") != cudaSuccess) {
    forbidden_by_capture();  // makes the capture invalid
    return remember(cudaErrorNotSupported);
  }
  return enqueue(config.stream, [call = KernelLaunch{name, grid, block, config.dynamicSmemBytes, dependent,
                                                     config.stream, std::move(body)}] { run(call); });
}

}  // namespace mask_predict::simt

using namespace mask_predict::simt;

// ---- the device -------------------------------------------------------------------------------------------

cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(emulated_devices().size());
  return *count ? cudaSuccess : remember(cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = device_of_thread;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (!is_a_device(device)) return remember(cudaErrorInvalidDevice);
  device_of_thread = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!is_a_device(device)) return remember(cudaErrorInvalidDevice);
  const ComputeCapability capability = capability_of(device);
  const SharedMemory shared = shared_memory_of(capability);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "SIMT emulator");
  for (int i = 0; i < 16; ++i) properties->uuid.bytes[i] = static_cast<char>(0xd0 + (i < 15 ? 0 : device));
  properties->totalGlobalMem = total_of(device);
  properties->sharedMemPerBlock = shared.without_asking;
  properties->sharedMemPerBlockOptin = shared.of_block;
  properties->sharedMemPerMultiprocessor = shared.of_multiprocessor;
  properties->major = capability.major;
  properties->minor = capability.minor;
  properties->multiProcessorCount = multiprocessors_of(device);
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = most_block_threads;
  properties->l2CacheSize = l2_cache_bytes;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (!is_a_device(device)) return remember(cudaErrorInvalidDevice);
  const ComputeCapability capability = capability_of(device);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = most_block_threads; break;
    case cudaDevAttrMultiProcessorCount: *value = multiprocessors_of(device); break;
    case cudaDevAttrL2CacheSize: *value = l2_cache_bytes; break;
    case cudaDevAttrComputeCapabilityMajor: *value = capability.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = capability.minor; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(shared_memory_of(capability).of_block);
      break;
  }
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = has_driver() ? 13000 : 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  if (const cudaError_t fault = begin_call("cudaFuncGetAttributes"); fault != cudaSuccess) return fault;
  *attributes = {};
  const LaunchBounds bounds = launch_bounds_of(kernel);
  attributes->numRegs = most_registers(bounds);
  attributes->maxThreadsPerBlock = bounds.threads > 0 ? bounds.threads : most_block_threads;
  attributes->ptxVersion = attributes->binaryVersion = code_for(capability_of(device_of_thread));
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (const cudaError_t fault = begin_call("cudaFuncSetAttribute"); fault != cudaSuccess) return fault;
  if (value < 0) return remember(cudaErrorInvalidValue);
  const ComputeCapability capability = capability_of(device_of_thread);
  const std::string reason = beyond_shared_memory(next_name, static_cast<size_t>(value), capability);
  if (!reason.empty()) return remember_failure(reason, cudaErrorInvalidValue);
  const std::lock_guard lock(runtime_mutex());
  known().shared_bytes[{kernel, device_of_thread}] = static_cast<size_t>(value);
  return cudaSuccess;
}

// ---- memory -----------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  *pointer = nullptr;
  if (const cudaError_t fault = begin_call("cudaMalloc"); fault != cudaSuccess) return fault;
  if (forbidden_by_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  if (!bytes) return cudaSuccess;
  *pointer = allocate_device(bytes);
  if (*pointer) note_made(Made::Allocation, *pointer);
  return *pointer ? cudaSuccess : remember(cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void* pointer) {
  if (!pointer) return cudaSuccess;
  note_given_back(Made::Allocation, pointer);
  if (const cudaError_t fault = begin_call("cudaFree"); fault != cudaSuccess) {
    abandon_device(pointer);
    return fault;
  }
  if (forbidden_by_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  const std::lock_guard lock(runtime_mutex());
  const cudaError_t status = drain_all_streams();
  return free_device(pointer) ? status : remember(cudaErrorInvalidValue);
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  if (const cudaError_t fault = begin_call("cudaMallocHost"); fault != cudaSuccess) return fault;
  *pointer = std::malloc(bytes);
  if (!*pointer) return remember(cudaErrorMemoryAllocation);
  std::memset(*pointer, poison_byte, bytes);
  const std::lock_guard lock(runtime_mutex());
  note_made(Made::PinnedMemory, *pointer);
  known().pinned[static_cast<char*>(*pointer)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* pointer) {
  if (!pointer) return cudaSuccess;
  note_given_back(Made::PinnedMemory, pointer);
  if (const cudaError_t fault = begin_call("cudaFreeHost"); fault != cudaSuccess) return fault;
  const std::lock_guard lock(runtime_mutex());
  const cudaError_t status = drain_all_streams();
  if (!known().pinned.erase(static_cast<char*>(pointer))) return remember(cudaErrorInvalidValue);
  std::free(pointer);
  return status;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  if (const cudaError_t fault = begin_call("cudaMemGetInfo"); fault != cudaSuccess) return fault;
  *total = total_of(device_of_thread);
  *free = *total - std::min(*total, device_memory_used());
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (!bytes) return cudaSuccess;
  if (const cudaError_t fault = begin_call("cudaMemcpyAsync"); fault != cudaSuccess) return fault;
  const bool to_device = kind == cudaMemcpyDefault ? touches_device(to)
                                                   : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDefault
                               ? touches_device(from)
                               : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (!fits(to, bytes, to_device) || !fits(from, bytes, from_device)) return remember(cudaErrorInvalidValue);
  const auto copy = [=] {
    forget_kernels();
    require_changeable("cudaMemcpyAsync", to);
    const DeviceMemoryInReach in_reach;
    std::memcpy(to, from, bytes);
  };
  if (is_capturing(stream)) return enqueue(stream, copy);
  if (!from_device && to_device && !is_pinned(from)) {  // staged before the call returns
    const char* begin = static_cast<const char*>(from);
    return enqueue(stream, [to, staged = std::vector<char>(begin, begin + bytes)] {
      forget_kernels();
      require_changeable("cudaMemcpyAsync", to);
      const DeviceMemoryInReach in_reach;
      std::memcpy(to, staged.data(), staged.size());
    });
  }
  const cudaError_t status = enqueue(stream, copy);
  const bool returns_when_done = from_device && !to_device && !is_pinned(to);
  return status == cudaSuccess && returns_when_done ? drain(stream) : status;
}

// Waited for only where the host could see that it was not: a copy from pageable memory has left that when the call
// returns, and is on its way in the legacy stream; a copy within the device as well.
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (forbidden_by_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  const std::lock_guard lock(runtime_mutex());
  const cudaError_t status = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  const bool to_device = touches_device(to);
  const bool is_seen = !to_device || (!touches_device(from) && is_pinned(from));
  return status == cudaSuccess && is_seen ? drain(nullptr) : status;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (!bytes) return cudaSuccess;
  if (const cudaError_t fault = begin_call("cudaMemsetAsync"); fault != cudaSuccess) return fault;
  if (!is_device(to, bytes)) return remember(cudaErrorInvalidValue);
  return enqueue(stream, [=] {
    forget_kernels();
    require_changeable("cudaMemsetAsync", to);
    const DeviceMemoryInReach in_reach;
    std::memset(to, value, bytes);
  });
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  if (forbidden_by_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  return cudaMemsetAsync(to, value, bytes, nullptr);
}
