// The last error of each operating-system thread, and the texts of errors.
#include <string>

#include "simt/streams.h"

namespace mask_predict::simt {

namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local cudaError_t described_error = cudaSuccess;  // the last one, also when it has been asked for
thread_local std::string last_failure;                   // the message of the last error, if it has one of its own

struct Text {
  cudaError_t error;
  const char* name;
  const char* text;
};
constexpr Text texts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
};

const Text& text_of(cudaError_t error) {
  static constexpr Text unknown = {cudaSuccess, "unrecognized error code", "unrecognized error code"};
  for (const Text& text : texts) {
    if (text.error == error) return text;
  }
  return unknown;
}

}  // namespace

cudaError_t remember(cudaError_t error) {
  if (error == cudaSuccess) return error;
  last_error = described_error = error;
  last_failure.clear();
  return error;
}

cudaError_t remember_failure(const std::string& message, cudaError_t error) {
  remember(error);
  last_failure = message;
  return error;
}

}  // namespace mask_predict::simt

using namespace mask_predict::simt;

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorName(cudaError_t error) { return text_of(error).name; }

const char* cudaGetErrorString(cudaError_t error) {
  if (error == described_error && !last_failure.empty()) return last_failure.c_str();
  return text_of(error).text;
}
