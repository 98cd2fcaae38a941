// Streams, events and graphs: queues of closures. A graph is a queue that was captured instead of run.
#include "simt/streams.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "simt/block.h"
#include "simt/dependency.h"
#include "simt/faults.h"
#include "simt/left_over.h"
#include "simt/library_work.h"
#include "simt/memory.h"

using Work = std::function<void()>;

using mask_predict::simt::LibraryWork;

namespace {

// In its turn, with the device's memory in reach.
bool enqueue_library_work(cudaStream_t stream, Work work) {
  return mask_predict::simt::enqueue(stream, [work = std::move(work)] {
           mask_predict::simt::forget_kernels();
           const mask_predict::simt::DeviceMemoryInReach in_reach;
           work();
         }) == cudaSuccess;
}

}  // namespace

struct CUgraph_st {
  std::vector<Work> nodes;
};

struct CUgraphExec_st {
  std::vector<Work> nodes;
};

struct CUstream_st {
  const LibraryWork library_work{enqueue_library_work};  // first: it is what libraries find
  bool blocking = true;
  std::deque<Work> queue;
  uint64_t enqueued = 0, done = 0;
  std::unique_ptr<CUgraph_st> capture;
  bool capture_is_spoilt = false;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id capturer;
};

struct CUevent_st {
  cudaStream_t stream = nullptr;
  uint64_t position = 0;  // of the stream, when it was recorded
};

namespace mask_predict::simt {

namespace {

struct Streams {
  CUstream_st default_stream;
  std::set<cudaStream_t> created;
};
Streams& streams() {
  static Streams& instance = *new Streams;
  return instance;
}

CUstream_st* find(cudaStream_t stream) {
  if (!stream) return &streams().default_stream;
  return streams().created.count(stream) ? stream : nullptr;
}

// Runs the stream up to a position.
void run_until(CUstream_st& stream, uint64_t position) {
  while (stream.done < position && !stream.queue.empty()) {
    const Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    ++stream.done;
    try {
      work();
    } catch (...) {
      stream.done += stream.queue.size();
      stream.queue.clear();
      throw;
    }
  }
}

// A place in another stream, whose work up to there comes first.
struct Earlier {
  cudaStream_t stream;
  uint64_t position;
};

// The legacy stream and those that were not created non-blocking wait for each other, in the order of the calls; it is
// never captured.
Work in_order(CUstream_st& stream, Work work) {
  std::vector<Earlier> earlier;
  const auto wait_for = [&earlier](cudaStream_t handle, const CUstream_st& other) {
    if (!other.queue.empty()) earlier.push_back({handle, other.enqueued});
  };
  if (&stream == &streams().default_stream) {
    for (cudaStream_t other : streams().created)
      if (other->blocking) wait_for(other, *other);
  } else if (stream.blocking) {
    wait_for(nullptr, streams().default_stream);
  }
  if (earlier.empty()) return work;
  return [earlier = std::move(earlier), work = std::move(work)] {
    for (const Earlier& one : earlier)
      if (CUstream_st* other = find(one.stream)) run_until(*other, one.position);
    work();
  };
}

cudaError_t run_and_remember(CUstream_st& stream, uint64_t position) {
  try {
    run_until(stream, position);
    return cudaSuccess;
  } catch (const std::exception& error) {
    return remember_failure(error.what());
  }
}

}  // namespace

std::recursive_mutex& runtime_mutex() {
  static std::recursive_mutex& mutex = *new std::recursive_mutex;
  return mutex;
}

cudaError_t enqueue(cudaStream_t handle, Work work) {
  const std::lock_guard lock(runtime_mutex());
  CUstream_st* stream = find(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  if (stream->capture_is_spoilt) return remember(cudaErrorStreamCaptureInvalidated);
  if (stream->capture) {
    stream->capture->nodes.push_back(std::move(work));
  } else {
    stream->queue.push_back(in_order(*stream, std::move(work)));
    ++stream->enqueued;
  }
  return cudaSuccess;
}

cudaError_t drain(cudaStream_t handle) {
  const std::lock_guard lock(runtime_mutex());
  CUstream_st* stream = find(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  cudaError_t status = run_and_remember(*stream, stream->enqueued);
  // A stream that does not wait for the legacy one has overtaken it; now that goes on.
  CUstream_st& legacy = streams().default_stream;
  if (!stream->blocking && status == cudaSuccess) status = run_and_remember(legacy, legacy.enqueued);
  return status;
}

cudaError_t drain_blocking_streams() {
  const std::lock_guard lock(runtime_mutex());
  cudaError_t status = drain(nullptr);
  for (cudaStream_t stream : streams().created) {
    if (stream->blocking && status == cudaSuccess) status = drain(stream);
  }
  return status;
}

cudaError_t drain_all_streams() {
  const std::lock_guard lock(runtime_mutex());
  cudaError_t status = cudaSuccess;
  for (cudaStream_t stream : streams().created) {
    if (status == cudaSuccess) status = drain(stream);
  }
  return status == cudaSuccess ? drain(nullptr) : status;
}

namespace {
GraphCounts graphs;  // under the runtime's lock
}

GraphCounts graph_counts() {
  const std::lock_guard lock(runtime_mutex());
  return graphs;
}

bool is_capturing(cudaStream_t handle) {
  const std::lock_guard lock(runtime_mutex());
  const CUstream_st* stream = find(handle);
  return stream && stream->capture;
}

bool forbidden_by_capture() {
  const std::lock_guard lock(runtime_mutex());
  bool forbidden = false;
  for (cudaStream_t stream : streams().created) {
    if (!stream->capture || stream->mode == cudaStreamCaptureModeRelaxed) continue;
    if (stream->mode == cudaStreamCaptureModeThreadLocal && stream->capturer != std::this_thread::get_id()) continue;
    stream->capture_is_spoilt = true;
    forbidden = true;
  }
  return forbidden;
}

}  // namespace mask_predict::simt

using namespace mask_predict::simt;

// ---- streams ----------------------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const std::lock_guard lock(runtime_mutex());
  if (const cudaError_t fault = begin_call("cudaStreamCreateWithFlags"); fault != cudaSuccess) return fault;
  *stream = new CUstream_st;
  (*stream)->blocking = flags != cudaStreamNonBlocking;
  streams().created.insert(*stream);
  note_made(Made::Stream, *stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard lock(runtime_mutex());
  if (!stream || !streams().created.count(stream)) return remember(cudaErrorInvalidResourceHandle);
  note_given_back(Made::Stream, stream);
  const cudaError_t fault = begin_call("cudaStreamDestroy");
  const cudaError_t status = fault == cudaSuccess ? drain(stream) : fault;  // what is lost does not run any more
  streams().created.erase(stream);
  delete stream;
  return status;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t fault = begin_call("cudaStreamSynchronize"); fault != cudaSuccess) return fault;
  if (forbidden_by_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  return stream ? drain(stream) : drain_blocking_streams();
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  const std::lock_guard lock(runtime_mutex());
  const CUstream_st* stream = find(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  // One who asks again and again must see an end.
  return stream->queue.empty() ? cudaSuccess
                               : (drain(handle) == cudaSuccess ? cudaErrorNotReady : cudaPeekAtLastError());
}

cudaError_t cudaDeviceSynchronize() {
  if (forbidden_by_capture()) return remember(cudaErrorStreamCaptureUnsupported);
  return drain_all_streams();
}

// ---- events -----------------------------------------------------------------------------------------------

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  if (const cudaError_t fault = begin_call("cudaEventCreateWithFlags"); fault != cudaSuccess) return fault;
  *event = new CUevent_st;
  note_made(Made::Event, *event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  note_given_back(Made::Event, event);
  delete event;
  return begin_call("cudaEventDestroy");
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  if (const cudaError_t fault = begin_call("cudaEventRecord"); fault != cudaSuccess) return fault;
  const std::lock_guard lock(runtime_mutex());
  const CUstream_st* stream = find(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  if (stream->capture) return remember(cudaErrorNotSupported);
  event->stream = handle;
  event->position = stream->enqueued;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(runtime_mutex());
  if (const cudaError_t fault = begin_call("cudaEventSynchronize"); fault != cudaSuccess) return fault;
  CUstream_st* stream = find(event->stream);
  return stream ? run_and_remember(*stream, event->position) : cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (is_capturing(stream)) return remember(cudaErrorNotSupported);
  return enqueue(stream, [awaited = event->stream, position = event->position] {
    if (CUstream_st* other = find(awaited)) run_until(*other, position);
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 0;
  return cudaSuccess;
}

// ---- graphs -----------------------------------------------------------------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const std::lock_guard lock(runtime_mutex());
  if (const cudaError_t fault = begin_call("cudaStreamBeginCapture"); fault != cudaSuccess) return fault;
  if (!stream) return remember(cudaErrorStreamCaptureUnsupported);
  if (!find(stream)) return remember(cudaErrorInvalidResourceHandle);
  if (stream->capture) return remember(cudaErrorInvalidValue);
  stream->capture = std::make_unique<CUgraph_st>();
  stream->capture_is_spoilt = false;
  stream->mode = mode;
  stream->capturer = std::this_thread::get_id();
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard lock(runtime_mutex());
  *graph = nullptr;
  if (!stream || !find(stream) || !stream->capture) return remember(cudaErrorInvalidValue);
  std::unique_ptr<CUgraph_st> captured = std::move(stream->capture);
  const bool spoilt = std::exchange(stream->capture_is_spoilt, false);
  if (const cudaError_t fault = begin_call("cudaStreamEndCapture"); fault != cudaSuccess) return fault;
  if (spoilt) return remember(cudaErrorStreamCaptureInvalidated);
  *graph = captured.release();
  note_made(Made::Graph, *graph);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  if (const cudaError_t fault = begin_call("cudaStreamIsCapturing"); fault != cudaSuccess) return fault;
  const std::lock_guard lock(runtime_mutex());
  const CUstream_st* stream = find(handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  *status = !stream->capture            ? cudaStreamCaptureStatusNone
            : stream->capture_is_spoilt ? cudaStreamCaptureStatusInvalidated
                                        : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  const std::lock_guard lock(runtime_mutex());
  if (const cudaError_t fault = begin_call("cudaGraphInstantiate"); fault != cudaSuccess) return fault;
  ++graphs.made;
  *executable = new CUgraphExec_st{graph->nodes};
  note_made(Made::ExecutableGraph, *executable);
  return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const std::lock_guard lock(runtime_mutex());
  if (const cudaError_t fault = begin_call("cudaGraphLaunch"); fault != cudaSuccess) return fault;
  ++graphs.started;
  for (const Work& node : executable->nodes) {
    const cudaError_t status = enqueue(stream, node);
    if (status != cudaSuccess) return status;
  }
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  note_given_back(Made::ExecutableGraph, executable);
  delete executable;
  return begin_call("cudaGraphExecDestroy");
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  note_given_back(Made::Graph, graph);
  delete graph;
  return begin_call("cudaGraphDestroy");
}
