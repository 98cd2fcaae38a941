#include "simt/access_counts.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "simt/faults.h"
#include "simt/left_over.h"
#include "simt/simt.h"
#include "simt/streams.h"

namespace mask_predict::simt {

namespace {

// One instruction of one warp, as far as its lanes have come to it.
struct Instruction {
  uint32_t lanes = 0;
  uintptr_t addresses[32];
};

struct WarpAtPlace {
  uint64_t times[32] = {};  // each lane has been here
  uint64_t evaluated = 0;   // instructions that are no longer in `open`
  std::deque<Instruction> open;
};

struct Place {
  Space space;
  const char* access;
  Site site;
  size_t bytes;
  AccessCounts counts;
  WarpAtPlace warps[32];
};

struct PlaceKey {
  const char* file;
  const char* access;
  uint32_t line;
  uint32_t bytes;
  bool operator==(const PlaceKey&) const = default;
};

struct HashOfPlace {
  size_t operator()(const PlaceKey& key) const {
    return (reinterpret_cast<size_t>(key.file) ^ reinterpret_cast<size_t>(key.access) << 7) * 31 + key.line * 17u +
           key.bytes;
  }
};

struct Kernel {
  std::string name;
  uint64_t launches = 0;
  uint64_t blocks = 0;
  uint64_t most_threads = 0;
  uint64_t most_shared_bytes = 0;
  std::unordered_map<PlaceKey, std::unique_ptr<Place>, HashOfPlace> places;
};

struct All {
  std::vector<std::unique_ptr<Kernel>> kernels;
  Kernel* running = nullptr;
  std::recursive_mutex mutex;
};
All& all() {
  static All& instance = *new All;
  return instance;
}

void add(AccessCounts& to, const AccessCounts& more) {
  to.shared_accesses += more.shared_accesses;
  to.bank_conflicts += more.bank_conflicts;
  to.global_accesses += more.global_accesses;
  to.sectors += more.sectors;
  to.needed_sectors += more.needed_sectors;
}

// 32 banks of 4 bytes serve one word each per pass; the same word serves any number of lanes. Wider accesses
// are done in phases of as many lanes as 128 bytes hold.
uint64_t conflicts_of_phase(const uintptr_t* addresses, int count, size_t bytes) {
  uintptr_t words[32];
  int word_count = 0;
  int of_bank[32] = {};
  int passes = 1;
  for (int i = 0; i < count; ++i) {
    for (uintptr_t word = addresses[i] / 4; word <= (addresses[i] + bytes - 1) / 4; ++word) {
      if (std::find(words, words + word_count, word) != words + word_count) continue;
      words[word_count++] = word;
      passes = std::max(passes, ++of_bank[word % 32]);
    }
  }
  return static_cast<uint64_t>(passes - 1);
}

void evaluate(Place& place, const Instruction& instruction) {
  AccessCounts& counts = place.counts;
  uintptr_t addresses[32];
  const auto gather = [&](int first, int count) {
    int gathered = 0;
    for (int lane = first; lane < first + count; ++lane) {
      if (instruction.lanes >> lane & 1) addresses[gathered++] = instruction.addresses[lane];
    }
    return gathered;
  };
  if (place.space == Space::Shared) {
    ++counts.shared_accesses;
    const int phase = place.bytes <= 4 ? 32 : static_cast<int>(128 / place.bytes);
    for (int first = 0; first < 32; first += phase) {
      const int count = gather(first, phase);
      if (count) counts.bank_conflicts += conflicts_of_phase(addresses, count, place.bytes);
    }
    return;
  }
  ++counts.global_accesses;
  const int count = gather(0, 32);
  std::sort(addresses, addresses + count);
  const auto different = static_cast<size_t>(std::unique(addresses, addresses + count) - addresses);
  uintptr_t last = ~uintptr_t{0};
  for (size_t i = 0; i < different; ++i) {  // an aligned access lies in one sector
    if (addresses[i] / 32 == last) continue;
    last = addresses[i] / 32;
    ++counts.sectors;
  }
  counts.needed_sectors += (different * place.bytes + 31) / 32;
}

Place& place_of(Space space, const char* access, size_t bytes, Site site) {
  const PlaceKey key{site.file_name(), access, site.line(), static_cast<uint32_t>(bytes)};
  auto& place = all().running->places[key];
  if (!place) {
    place = std::make_unique<Place>();
    place->space = space;
    place->access = access;
    place->site = site;
    place->bytes = bytes;
  }
  return *place;
}

KernelCounts counts_of(const Kernel& kernel) {
  KernelCounts result;
  result.kernel = kernel.name;
  result.launches = kernel.launches;
  result.blocks = kernel.blocks;
  result.most_threads = kernel.most_threads;
  result.most_shared_bytes = kernel.most_shared_bytes;
  for (const auto& [key, place] : kernel.places) {
    add(result.counts, place->counts);
    const std::string_view access = place->access;  // files may have copies of its text
    if (access == copy_of_weights || access == load_of_weights) result.weight_sectors += place->counts.sectors;
    result.sites.push_back({std::string(key.file) + ":" + std::to_string(key.line), place->access, place->counts});
  }
  std::sort(result.sites.begin(), result.sites.end(),
            [](const SiteCounts& a, const SiteCounts& b) { return a.site < b.site; });
  return result;
}

}  // namespace

void report_at_exit() {
  static const bool reporting = [] {
    if (!std::getenv("MASK_PREDICT_SIMT_REPORT")) return false;
    return std::atexit([] { std::fputs(report().c_str(), stderr); }) == 0;
  }();
  static_cast<void>(reporting);
}

void begin_counting(const KernelLaunch& launch, uint64_t blocks) {
  report_at_exit();
  const std::lock_guard lock(all().mutex);
  auto& kernels = all().kernels;
  auto found =
      std::find_if(kernels.begin(), kernels.end(), [&](const auto& kernel) { return kernel->name == launch.name; });
  if (found == kernels.end()) {
    found = kernels.insert(kernels.end(), std::make_unique<Kernel>());
    (*found)->name = launch.name;
  }
  all().running = found->get();
  ++all().running->launches;
  all().running->blocks += blocks;
  const uint64_t threads = uint64_t{launch.block.x} * launch.block.y * launch.block.z;
  all().running->most_threads = std::max(all().running->most_threads, threads);
  all().running->most_shared_bytes = std::max<uint64_t>(all().running->most_shared_bytes, launch.shared_bytes);
  for (auto& [key, place] : all().running->places) {  // of a launch that was broken off
    for (WarpAtPlace& warp : place->warps) warp = WarpAtPlace{};
  }
}

void finish_counting_block() {
  for (auto& [key, place] : all().running->places) {
    for (WarpAtPlace& warp : place->warps) {
      for (const Instruction& instruction : warp.open) {
        if (instruction.lanes) evaluate(*place, instruction);
      }
      warp = WarpAtPlace{};
    }
  }
}

void count_access(Space space, const char* access, const void* pointer, size_t bytes, Site site) {
  Place& place = place_of(space, access, bytes, site);
  const int thread = running_thread_number();
  WarpAtPlace& warp = place.warps[thread / 32];
  const size_t position = static_cast<size_t>(warp.times[thread % 32]++ - warp.evaluated);
  if (position == warp.open.size()) warp.open.emplace_back();
  Instruction& instruction = warp.open[position];
  instruction.lanes |= 1u << thread % 32;
  instruction.addresses[thread % 32] = reinterpret_cast<uintptr_t>(pointer);
  while (!warp.open.empty() && warp.open.front().lanes == 0xffffffff) {
    evaluate(place, warp.open.front());
    warp.open.pop_front();
    ++warp.evaluated;
  }
}

void count_rows(const char* access, const void* const* rows, int count, Site site) {
  Place& place = place_of(Space::Shared, access, 16, site);
  ++place.counts.shared_accesses;
  for (int first = 0; first < count; first += 8) {
    uintptr_t addresses[8];
    for (int i = 0; i < 8; ++i) addresses[i] = reinterpret_cast<uintptr_t>(rows[first + i]);
    place.counts.bank_conflicts += conflicts_of_phase(addresses, 8, 16);
  }
}

std::vector<KernelCounts> counts() {
  const std::lock_guard lock(all().mutex);
  std::vector<KernelCounts> result;
  for (const auto& kernel : all().kernels) result.push_back(counts_of(*kernel));
  return result;
}

KernelCounts counts(const std::string& name) {
  for (KernelCounts& kernel : counts()) {
    if (kernel.kernel == name) return kernel;
  }
  return {};
}

void reset_counts() {
  const std::lock_guard lock(all().mutex);
  all().kernels.clear();
}

std::string report() {
  std::string text;
  char line[512];
  std::snprintf(line, sizeof line, "%-32s %8s %9s %12s %12s %12s %12s %12s %12s %8s %8s\n", "kernel", "launches",
                "blocks", "shared", "conflicts", "global", "sectors", "needed", "weights", "threads", "bytes");
  text += line;
  for (const KernelCounts& kernel : counts()) {
    const auto row = [&](const char* name, const char* launches, const char* blocks, const AccessCounts& c,
                         const std::string& sizes) {
      std::snprintf(line, sizeof line, "%-32s %8s %9s %12llu %12llu %12llu %12llu %12llu%s\n", name, launches, blocks,
                    static_cast<unsigned long long>(c.shared_accesses),
                    static_cast<unsigned long long>(c.bank_conflicts),
                    static_cast<unsigned long long>(c.global_accesses), static_cast<unsigned long long>(c.sectors),
                    static_cast<unsigned long long>(c.needed_sectors), sizes.c_str());
      text += line;
    };
    char sizes[64];
    std::snprintf(sizes, sizeof sizes, " %12llu %8llu %8llu", static_cast<unsigned long long>(kernel.weight_sectors),
                  static_cast<unsigned long long>(kernel.most_threads),
                  static_cast<unsigned long long>(kernel.most_shared_bytes));
    row(kernel.kernel.c_str(), std::to_string(kernel.launches).c_str(), std::to_string(kernel.blocks).c_str(),
        kernel.counts, sizes);
    for (const SiteCounts& site : kernel.sites) {
      if (!site.counts.bank_conflicts && site.counts.sectors <= site.counts.needed_sectors) continue;
      const size_t slash = site.site.rfind('/');
      const std::string file = slash == std::string::npos ? site.site : site.site.substr(slash + 1);
      row(("  " + file + " " + site.access).c_str(), "", "", site.counts, "");
    }
  }
  const GraphCounts graphs = graph_counts();
  if (graphs.made > 0)
    text += std::to_string(graphs.made) + " graphs made, started " + std::to_string(graphs.started) + " times\n";
  text += "contexts on devices " + contexts() + "\n";
  text += std::to_string(calls_begun()) + " calls of the runtime\n";
  text += "not given back: " + left_over() + "\n";
  return text;
}

}  // namespace mask_predict::simt
