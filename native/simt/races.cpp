#include "simt/races.h"

#include <cstdint>
#include <string>
#include <vector>

#include "simt/memory.h"
#include "simt/simt.h"

namespace mask_predict::simt {

namespace {

// The last accesses to 2 bytes. Times are values of `now`, which only grows, so that nothing is reset between
// blocks.
struct Unit {
  uint32_t written = 0, read = 0;
  uint32_t copied_in_block = 0;  // the block in which a copy to here is under way
  uint16_t writer = 0, reader = 0;
  bool read_by_lanes = false;  // several of the reader's warp, since the warp was ordered last
  bool read_by_warps = false;  // several, since the block was ordered last
  Site write_site, read_site;
};

std::vector<Unit> units(largest_shared_bytes / 2);
bool checking = true;
uint32_t now = 0;
uint32_t block_ordered = 0;  // when
uint32_t warp_ordered[32];
uint32_t block_number = 0;

Unit* unit_at(const void* shared) {
  return &units[static_cast<size_t>(static_cast<const char*>(shared) - shared_memory_begin()) / 2];
}

// True if the access of thread `other` at `time` is ordered before the running thread.
bool is_ordered(uint32_t time, int other) {
  const int self = running_thread_number();
  if (other == self || time < block_ordered) return true;
  return other / 32 == self / 32 && time < warp_ordered[self / 32];
}

std::string describe_race(const char* operation, const char* access, const Unit* unit, const char* other_access,
                          int other, Site site) {
  return std::string(operation) + " " + access + " byte " + std::to_string((unit - units.data()) * 2) +
         " of shared memory, which thread " + std::to_string(other) + " " + other_access + " at " + describe(site) +
         " with no barrier in between";
}

std::string describe_early(const char* operation, const Unit* unit) {
  return std::string(operation) + " touches byte " + std::to_string((unit - units.data()) * 2) +
         " of shared memory before the cp.async of thread " + std::to_string(unit->writer) + " at " +
         describe(unit->write_site) + " was waited for";
}

void write(const char* operation, const void* shared, size_t bytes, Site site, bool ends_copy) {
  const int self = running_thread_number();
  for (Unit* unit = unit_at(shared); bytes > 0; ++unit, bytes -= 2) {
    if (!ends_copy && unit->copied_in_block == block_number) fault(describe_early(operation, unit), site);
    if (!is_ordered(unit->written, unit->writer)) {
      fault(describe_race(operation, "writes", unit, "wrote", unit->writer, unit->write_site), site);
    }
    const bool reader_is_ordered =
        unit->read < block_ordered ||
        (!unit->read_by_warps && unit->reader / 32 == self / 32 &&
         (unit->read < warp_ordered[self / 32] || (unit->reader == self && !unit->read_by_lanes)));
    if (!reader_is_ordered) {
      fault(describe_race(operation, "writes", unit, "read", unit->reader, unit->read_site), site);
    }
    unit->written = now;
    unit->writer = static_cast<uint16_t>(self);
    unit->write_site = site;
  }
}

}  // namespace

void check_races(bool wanted) { checking = wanted; }

void begin_block_of_accesses() {
  ++block_number;
  order_block();
}

void order_block() {
  block_ordered = ++now;
  for (uint32_t& ordered : warp_ordered) ordered = now;
}

void order_warp(int warp) { warp_ordered[warp] = ++now; }

void note_read(const char* operation, const void* shared, size_t bytes, Site site) {
  if (!checking || bytes < 2) return;
  const int self = running_thread_number();
  for (Unit* unit = unit_at(shared); bytes > 0; ++unit, bytes -= 2) {
    if (unit->copied_in_block == block_number) fault(describe_early(operation, unit), site);
    if (!is_ordered(unit->written, unit->writer)) {
      fault(describe_race(operation, "reads", unit, "wrote", unit->writer, unit->write_site), site);
    }
    const bool first_of_block = unit->read < block_ordered;
    const bool same_warp = unit->reader / 32 == self / 32;
    const bool first_of_warp = first_of_block || !same_warp || unit->read < warp_ordered[self / 32];
    unit->read_by_warps = !first_of_block && (unit->read_by_warps || !same_warp);
    unit->read_by_lanes = !first_of_warp && (unit->read_by_lanes || unit->reader != self);
    unit->read = now;
    unit->reader = static_cast<uint16_t>(self);
    unit->read_site = site;
  }
}

void note_write(const char* operation, const void* shared, size_t bytes, Site site) {
  if (checking && bytes >= 2) write(operation, shared, bytes, site, false);
}

void note_copy_start(const void* shared, Site site) {
  if (!checking) return;
  write("cp_async_16", shared, 16, site, false);
  for (int i = 0; i < 8; ++i) unit_at(shared)[i].copied_in_block = block_number;
}

void note_copy_end(const void* shared, Site site) {
  if (!checking) return;
  for (int i = 0; i < 8; ++i) unit_at(shared)[i].copied_in_block = 0;
  write("cp_async_16", shared, 16, site, true);
}

}  // namespace mask_predict::simt
