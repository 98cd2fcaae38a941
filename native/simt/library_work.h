// How a library that is loaded at run time, such as the stand-in for cuBLASLt, puts work into a stream of the emulator,
// whose functions it cannot call: what it needs lies where the stream begins.
#pragma once

#include <functional>

#include "simt/runtime_api.h"

namespace mask_predict::simt {

struct LibraryWork {
  // The work finds the device's memory in reach when its turn comes, each time if it is in a graph. False if the stream
  // does not take it.
  bool (*enqueue)(cudaStream_t stream, std::function<void()> work);
};

inline const LibraryWork& library_work(cudaStream_t stream) { return *reinterpret_cast<const LibraryWork*>(stream); }

}  // namespace mask_predict::simt
