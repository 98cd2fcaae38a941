// The state that the files of the runtime share: the queues, and the errors they leave.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "simt/runtime_api.h"

namespace mask_predict::simt {

// One lock for the whole runtime: it is held while a kernel runs.
std::recursive_mutex& runtime_mutex();

// Keeps the error for cudaGetLastError and returns it.
cudaError_t remember(cudaError_t error);

// Remembers the error with this message of its own.
cudaError_t remember_failure(const std::string& message, cudaError_t error = cudaErrorLaunchFailure);

// Puts work into a stream, or into the graph the stream is being captured in. The work may throw Fault.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);

// Runs what is in the stream. A failure drops the rest of it.
cudaError_t drain(cudaStream_t stream);

// Runs what a call on the default stream waits for: that stream and all others that were not created
// non-blocking.
cudaError_t drain_blocking_streams();
cudaError_t drain_all_streams();

// Graphs that were made executable, and how often any was started.
struct GraphCounts {
  uint64_t made = 0, started = 0;
};
GraphCounts graph_counts();

bool is_capturing(cudaStream_t stream);

// True if this thread may not wait or allocate, because it captures a stream; then the capture becomes invalid.
bool forbidden_by_capture();

}  // namespace mask_predict::simt
