#include "simt/left_over.h"

#include <iterator>
#include <set>
#include <utility>

#include "simt/streams.h"

namespace mask_predict::simt {

namespace {

constexpr const char* names[] = {"allocation", "pinned allocation", "stream", "event", "graph", "executable graph"};

// Under the runtime's lock.
std::set<const void*>& made(Made kind) {
  static auto* const all = new std::set<const void*>[std::size(names)];
  return all[static_cast<size_t>(kind)];
}

}  // namespace

void note_made(Made kind, const void* object) {
  const std::lock_guard lock(runtime_mutex());
  made(kind).insert(object);
}

void note_given_back(Made kind, const void* object) {
  const std::lock_guard lock(runtime_mutex());
  made(kind).erase(object);
}

std::string left_over() {
  const std::lock_guard lock(runtime_mutex());
  std::string text;
  for (size_t i = 0; i < std::size(names); ++i) {
    const size_t count = made(static_cast<Made>(i)).size();
    if (count == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + names[i] + (count > 1 ? "s" : "");
  }
  return text.empty() ? "nothing" : text;
}

}  // namespace mask_predict::simt
