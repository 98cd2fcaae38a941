#include "simt/warp.h"

#include <bit>
#include <cstring>

#include "simt/access_counts.h"
#include "simt/dependency.h"
#include "simt/memory.h"
#include "simt/races.h"

namespace mask_predict::simt {

void start_copy(void* shared, const void* global, bool valid, Site site, const char* source) {
  check_shared("cp_async_16", shared, 16, site);
  if (valid) check_global("cp_async_16", global, 16, site);
  if (reinterpret_cast<uintptr_t>(global) % 16) fault("cp_async_16: the source is not aligned to 16", site);
  note_copy_start(shared, site);
  count_access(Space::Shared, "cp_async_16", shared, 16, site);
  if (valid) note_global_read("cp_async_16", global, 16, site);
  if (valid) count_access(Space::Global, source, global, 16, site);
  std::memset(shared, poison_byte, 16);
  Thread& thread = running_thread();
  thread.copies.push_back({shared, valid ? global : nullptr});
  ++thread.uncommitted;
  may_pause();
}

void commit_copies() {
  Thread& thread = running_thread();
  thread.groups.push_back(thread.uncommitted);
  thread.uncommitted = 0;
}

void wait_for_copies(int pending, Site site) {
  Thread& thread = running_thread();
  while (thread.groups.size() > static_cast<size_t>(pending)) {
    const size_t count = thread.groups.front();
    for (size_t i = 0; i < count; ++i) {
      const AsyncCopy& copy = thread.copies[i];
      note_copy_end(copy.shared, site);
      if (copy.global) {
        std::memcpy(copy.shared, copy.global, 16);
      } else {
        std::memset(copy.shared, 0, 16);
      }
    }
    thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<std::ptrdiff_t>(count));
    thread.groups.erase(thread.groups.begin());
  }
  may_pause();
}

namespace {

struct MatrixLoad {
  const char* operation;
  const void* row;
  uint32_t* fragment;
  int count;
  bool transposed;
  Site site;
};

void load_all(void* const* arguments) {
  const MatrixLoad& any = *static_cast<MatrixLoad*>(arguments[0]);
  const void* rows[32];
  uint16_t values[32][8];
  for (int i = 0; i < any.count * 8; ++i) {
    rows[i] = static_cast<MatrixLoad*>(arguments[i])->row;
    std::memcpy(values[i], rows[i], 16);
  }
  count_rows(any.operation, rows, any.count * 8, any.site);
  for (int lane = 0; lane < 32; ++lane) {
    const MatrixLoad& load = *static_cast<MatrixLoad*>(arguments[lane]);
    const int major = lane / 4;
    const int minor = lane % 4 * 2;
    for (int matrix = 0; matrix < any.count; ++matrix) {
      const uint16_t(*value)[8] = values + matrix * 8;
      const uint16_t low = any.transposed ? value[minor][major] : value[major][minor];
      const uint16_t high = any.transposed ? value[minor + 1][major] : value[major][minor + 1];
      load.fragment[matrix] = static_cast<uint32_t>(high) << 16 | low;
    }
  }
}

struct MultiplyAdd {
  float* accumulator;
  const uint32_t* a;
  uint32_t b[2];
};

// The bfloat16 in the lower (0) or upper (1) half.
float half_of(uint32_t packed, int half) { return std::bit_cast<float>(half ? packed & 0xffff0000 : packed << 16); }

void multiply_all(void* const* arguments) {
  float a[16][16];
  float b[16][8];  // [inner][column]
  for (int lane = 0; lane < 32; ++lane) {
    const MultiplyAdd& part = *static_cast<MultiplyAdd*>(arguments[lane]);
    const int group = lane / 4;
    const int pair = lane % 4 * 2;
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i) a[group + i % 2 * 8][pair + half + i / 2 * 8] = half_of(part.a[i], half);
      for (int i = 0; i < 2; ++i) b[pair + half + i * 8][group] = half_of(part.b[i], half);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const MultiplyAdd& part = *static_cast<MultiplyAdd*>(arguments[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8;
      const int column = lane % 4 * 2 + i % 2;
      float sum = part.accumulator[i];
      for (int inner = 0; inner < 16; ++inner) sum += a[row][inner] * b[inner][column];
      part.accumulator[i] = sum;
    }
  }
}

struct Vote {
  bool predicate;
  uint32_t result;
};

}  // namespace

void load_matrices(const char* operation, int count, bool transposed, uint32_t* fragment, const void* row, Site site) {
  // lanes beyond the rows give an address that is not looked at
  if (running_thread_number() % 32 < count * 8) {
    check_shared(operation, row, 16, site);
    note_read(operation, row, 16, site);
  }
  MatrixLoad load{operation, row, fragment, count, transposed, site};
  collective(operation, &load, load_all, site);
}

void multiply_add(float* accumulator, const uint32_t* a, uint32_t b0, uint32_t b1, Site site) {
  MultiplyAdd part{accumulator, a, {b0, b1}};
  collective("mma_m16n8k16", &part, multiply_all, site);
}

uint32_t vote(bool predicate, Site site) {
  Vote own{predicate, 0};
  collective(
      "ballot", &own,
      [](void* const* arguments) {
        uint32_t result = 0;
        for (int i = 0; i < 32; ++i) {
          result |= static_cast<uint32_t>(static_cast<Vote*>(arguments[i])->predicate) << i;
        }
        for (int i = 0; i < 32; ++i) static_cast<Vote*>(arguments[i])->result = result;
      },
      site);
  return own.result;
}

void synchronize_warp(Site site) {
  collective(
      "sync_warp", nullptr, [](void* const*) { order_warp(running_thread_number() / 32); }, site);
}

}  // namespace mask_predict::simt
