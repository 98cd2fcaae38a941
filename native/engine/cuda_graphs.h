// A cache of CUDA graphs, each of the iterations of a batch: launching hundreds of small kernels one by one takes longer
// than some of them run. Lengths never change while a text is refined, so one graph holds all iterations. The key of a
// graph depends on the padded sizes of a batch (padding.h), not on the batch itself: kernels read whatever differs
// between batches of one key from the device's memory, from arrays that lie at the same addresses.
#pragma once

#include <cstdint>
#include <list>
#include <utility>
#include <vector>

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
  // `body` in a graph and launches it; later calls only launch it.
  template <class Body>
  void run(const Key& key, const Body& body) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->key != key) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      if (entry->graph == nullptr) entry->graph = capture(body);
      context_.operations->launch_graph(context_, entry->graph);
      return;
    }
    body();
    entries_.push_front({key, nullptr});
    if (entries_.size() > most_entries) drop_last();
  }

  void clear() {
    while (!entries_.empty()) drop_last();
  }

 private:
  static constexpr size_t most_entries = 32;

  struct Entry {
    Key key;
    void* graph;
  };

  template <class Body>
  void* capture(const Body& body) {
    context_.operations->begin_capture(context_);
    try {
      body();
    } catch (...) {
      // End the capture, or the stream could not be used again. Report the first error.
      try {
        context_.operations->destroy_graph(context_.operations->end_capture(context_));
      } catch (...) {
      }
      throw;
    }
    return context_.operations->end_capture(context_);
  }

  void drop_last() {
    if (entries_.back().graph != nullptr) context_.operations->destroy_graph(entries_.back().graph);
    entries_.pop_back();
  }

  const Context& context_;
  std::list<Entry> entries_;  // the latest first
};

}  // namespace mask_predict
