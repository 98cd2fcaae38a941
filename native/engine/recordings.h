// Recorded iterations by their shape: on a GPU, starting hundreds of small kernels one by one costs more than some of
// them take. Lengths never change while a text is refined, so all iterations are one recording. A shape is that of the
// room a batch gets (room.h), not of the batch: what differs between batches of one shape, kernels find in the device's
// memory, in arrays that lie in the same places.
#pragma once

#include <cstdint>
#include <list>
#include <utility>
#include <vector>

#include "ops/operations.h"

namespace mask_predict {

class Recordings {
 public:
  // Everything a recording's arguments depend on: counts of rows, and where memory lies.
  using Shape = std::vector<uint64_t>;

  explicit Recordings(const Context& context) : context_(context) {}
  ~Recordings() { clear(); }
  Recordings(const Recordings&) = delete;
  Recordings& operator=(const Recordings&) = delete;

  // Runs `body` at the first call of a shape, which allocates what it needs and loads kernels; records and replays
  // it at the second; only replays it from then on.
  template <class Body>
  void run(const Shape& shape, const Body& body) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->shape != shape) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      if (entry->recording == nullptr) entry->recording = record(body);
      context_.operations->replay(context_, entry->recording);
      return;
    }
    body();
    entries_.push_front({shape, nullptr});
    if (entries_.size() > most_entries) drop_last();
  }

  void clear() {
    while (!entries_.empty()) drop_last();
  }

 private:
  static constexpr size_t most_entries = 32;

  struct Entry {
    Shape shape;
    void* recording;
  };

  template <class Body>
  void* record(const Body& body) {
    context_.operations->begin_recording(context_);
    try {
      body();
    } catch (...) {
      // The stream must not stay in recording; the first error is the one to report.
      try {
        context_.operations->discard(context_.operations->end_recording(context_));
      } catch (...) {
      }
      throw;
    }
    return context_.operations->end_recording(context_);
  }

  void drop_last() {
    if (entries_.back().recording != nullptr) context_.operations->discard(entries_.back().recording);
    entries_.pop_back();
  }

  const Context& context_;
  std::list<Entry> entries_;  // the latest first
};

}  // namespace mask_predict
