// Mutates what is in a file of torch.save: the entries of a zip archive, which is then put together again, so that most
// mutations get past the archive; anything else as it is.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/zip_archive.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

namespace mask_predict::fuzz {

struct ZipContent {
  std::string name;
  std::string bytes;
};

inline void put_number(std::string& to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) to += static_cast<char>(value >> (8 * i) & 255);
}

inline std::string zip_of(const std::vector<ZipContent>& contents) {
  std::string file, directory;
  for (const auto& [name, bytes] : contents) {
    std::string fields;
    for (const int bytes_of_field : {2, 2, 2, 2, 2, 4}) put_number(fields, 0, bytes_of_field);
    put_number(fields, bytes.size(), 4);
    put_number(fields, bytes.size(), 4);
    put_number(fields, name.size(), 2);
    put_number(fields, 0, 2);
    directory += std::string("PK\1\2", 4);
    put_number(directory, 0, 2);
    directory += fields;
    for (const int bytes_of_field : {2, 2, 2, 4}) put_number(directory, 0, bytes_of_field);
    put_number(directory, file.size(), 4);
    directory += name;
    file += std::string("PK\3\4", 4) + fields + name + bytes;
  }
  const size_t start = file.size();
  file += directory + std::string("PK\5\6", 4);
  put_number(file, 0, 4);
  put_number(file, contents.size(), 2);
  put_number(file, contents.size(), 2);
  put_number(file, directory.size(), 4);
  put_number(file, start, 4);
  put_number(file, 0, 2);
  return file;
}

inline size_t mutate_torch_file(uint8_t* data, size_t size, size_t most, unsigned seed) {
  std::minstd_rand random(seed);
  std::vector<ZipContent> contents;
  try {
    const ZipArchive archive({reinterpret_cast<const char*>(data), size}, "");
    for (const auto& [name, bytes] : archive.entries()) contents.push_back({name, std::string(bytes)});
  } catch (const Error&) {
  }
  if (contents.empty() || most <= size || random() % 16 == 0) return LLVMFuzzerMutate(data, size, most);
  ZipContent& one = contents[random() % contents.size()];
  std::string& part = random() % 8 == 0 ? one.name : one.bytes;
  const size_t old = part.size();
  part.resize(old + std::min<size_t>(64, most - size));
  part.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(part.data()), old, part.size()));
  const std::string file = zip_of(contents);
  if (file.size() > most) return LLVMFuzzerMutate(data, size, most);
  std::memcpy(data, file.data(), file.size());
  return file.size();
}

}  // namespace mask_predict::fuzz
