// Opening a CUDA device. The runtime is linked statically and the driver is looked up when a device is asked for, so
// that a program with this code in it runs on machines that have neither.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace mask_predict::cuda {

struct Stream;

#ifdef MASK_PREDICT_SIMT
inline constexpr const char* device_kind = "simt";  // the emulated device
#else
inline constexpr const char* device_kind = "cuda";
#endif

// A stream on device `index` of those that gpus() has (gpus.h), with its working memory. Error(Device) that says why this
// build cannot use it, Error(OutOfMemory).
// The calling thread works on that device from then on. Where results need not be deterministic it has cuBLASLt, if
// that can be found; `note` says whether.
std::shared_ptr<Stream> open_stream(int index, bool deterministic, std::string& note);

bool has_cublaslt(const Stream& stream);

// Bytes that are free on the stream's device, less what the driver will want for code and graphs.
uint64_t available_memory(const Stream& stream);

}  // namespace mask_predict::cuda
