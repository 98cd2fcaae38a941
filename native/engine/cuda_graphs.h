// A cache of CUDA graphs, each of one iteration of a batch: launching hundreds of small kernels one by one takes longer than
// some of them run. The key of a graph depends on the padded sizes of a batch (padding.h), not on the batch itself: kernels
// read whatever differs between batches of one key from the device's memory, from arrays that lie at the same addresses.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "ops/operations.h"

namespace mask_predict {

class CudaGraphs {
 public:
  // Everything the kernels' arguments depend on: numbers of rows, and addresses.
  using Key = std::vector<uint64_t>;

  explicit CudaGraphs(const Context& context) : context_(context) {}
  ~CudaGraphs() { clear(); }
  CudaGraphs(const CudaGraphs&) = delete;
  CudaGraphs& operator=(const CudaGraphs&) = delete;

  // The first call with a key runs `body`, which allocates what it needs and loads kernels. The second call captures
  // `body` in a graph and launches it; later calls only launch it. Where the device has no memory for a graph, the
  // kernels are launched one by one as in the first call.
  template <class Body>
  void run(const Key& key, const Body& body) {
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) {
      body();
      entries_.push_front({key, nullptr, false});
      by_key_[key] = entries_.begin();
      if (entries_.size() > most_entries) drop_last();
      return;
    }
    Entry& entry = *found->second;
    entries_.splice(entries_.begin(), entries_, found->second);
    if (entry.refused || !launch(entry, body)) body();
  }

  void clear() {
    while (!entries_.empty()) drop_last();
  }

 private:
  // Thirty jobs of different sizes with ten iterations each.
  static constexpr size_t most_entries = 320;

  struct Entry {
    Key key;
    void* graph;
    bool refused;  // memory
  };

  // False if the device has no memory for the graph: it takes some when the graph is made and when it first runs.
  template <class Body>
  bool launch(Entry& entry, const Body& body) {
    try {
      if (entry.graph == nullptr) entry.graph = capture_twice(body);
      context_.operations->launch_graph(context_, entry.graph);
      return true;
    } catch (const Error& error) {
      if (error.code != ErrorCode::OutOfMemory) throw;
    }
    if (entry.graph != nullptr) context_.operations->destroy_graph(context_, entry.graph);
    entry.graph = nullptr;
    entry.refused = true;
    return false;
  }

  // The second attempt does without what the driver refused to capture (cuda/launch.h); if that was not the reason, it
  // fails as the first did.
  template <class Body>
  void* capture_twice(const Body& body) {
    try {
      return capture(body);
    } catch (const Error& error) {
      if (error.code != ErrorCode::Device) throw;
    }
    return capture(body);
  }

  template <class Body>
  void* capture(const Body& body) {
    context_.operations->begin_capture(context_);
    try {
      body();
    } catch (...) {
      // End the capture, or the stream could not be used again. Report the first error.
      try {
        context_.operations->destroy_graph(context_, context_.operations->end_capture(context_));
      } catch (...) {
      }
      throw;
    }
    return context_.operations->end_capture(context_);
  }

  void drop_last() {
    if (entries_.back().graph != nullptr) context_.operations->destroy_graph(context_, entries_.back().graph);
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }

  const Context& context_;
  std::list<Entry> entries_;  // the latest first
  std::map<Key, std::list<Entry>::iterator> by_key_;
};

}  // namespace mask_predict
