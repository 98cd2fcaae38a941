// Mutates the header and the bytes of a safetensors file apart and then, most of the time, corrects the header's
// length: without that nearly every mutation would end in the same error.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

namespace mask_predict::fuzz {

inline size_t mutate_safetensors(uint8_t* data, size_t size, size_t most, unsigned seed) {
  constexpr size_t length_bytes = 8;
  std::minstd_rand random(seed);
  if (size <= length_bytes || most <= size || random() % 16 == 0) return LLVMFuzzerMutate(data, size, most);
  uint64_t length = 0;
  std::memcpy(&length, data, length_bytes);
  length = std::min<uint64_t>(length, size - length_bytes);
  std::vector<uint8_t> header(data + length_bytes, data + length_bytes + length);
  std::vector<uint8_t> values(data + length_bytes + length, data + size);
  std::vector<uint8_t>& part = random() % 4 == 0 ? values : header;
  const size_t old = part.size();
  part.resize(old + most - size);
  part.resize(LLVMFuzzerMutate(part.data(), old, part.size()));
  if (random() % 16 != 0) length = header.size();
  std::memcpy(data, &length, length_bytes);
  std::copy(header.begin(), header.end(), data + length_bytes);
  std::copy(values.begin(), values.end(), data + length_bytes + header.size());
  return length_bytes + header.size() + values.size();
}

}  // namespace mask_predict::fuzz
