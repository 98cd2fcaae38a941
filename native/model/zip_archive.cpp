#include "model/zip_archive.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace mask_predict {

namespace {

constexpr std::string_view end_signature("PK\5\6", 4), end64_signature("PK\6\6", 4), locator64_signature("PK\6\7", 4),
    entry_signature("PK\1\2", 4), local_signature("PK\3\4", 4);
constexpr uint64_t end_bytes = 22, end64_bytes = 56, locator64_bytes = 20, entry_bytes = 46, local_bytes = 30;
constexpr uint64_t longest_comment = 0xFFFF;
// Instead of a number that needs zip64's field.
constexpr uint64_t elsewhere = 0xFFFFFFFF, elsewhere_count = 0xFFFF;

uint64_t number(std::string_view bytes, uint64_t at, int count) {
  uint64_t value = 0;
  for (int i = 0; i < count; i++)
    value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[at + static_cast<uint64_t>(i)])) << (8 * i);
  return value;
}

// Where the entries are.
struct Directory {
  uint64_t offset;
  uint64_t bytes;
  uint64_t entries;
};

class ZipReader {
 public:
  ZipReader(std::string_view file, const std::string& path) : file_(file), path_(path) {}

  std::map<std::string, std::string_view> read() {
    const Directory directory = find_directory();
    if (directory.offset > file_.size() || directory.bytes > file_.size() - directory.offset)
      fail("its directory lies outside the file");
    std::string_view rest = file_.substr(directory.offset, directory.bytes);
    std::map<std::string, std::string_view> entries;
    for (uint64_t i = 0; i < directory.entries; i++) {
      auto [name, content] = read_entry(rest);
      if (!entries.emplace(name, content).second) fail("two entries are named " + quote(name));
    }
    if (!rest.empty()) fail("its directory has more bytes than entries");
    return entries;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::ModelFormat, path_ + ": a zip archive that cannot be read: " + message);
  }

  bool is_at(std::string_view signature, uint64_t at) const { return file_.substr(at, signature.size()) == signature; }

  uint64_t find_end() const {
    if (file_.size() >= end_bytes) {
      const uint64_t last = file_.size() - end_bytes;
      for (uint64_t back = 0; back <= std::min(last, longest_comment); back++)
        if (is_at(end_signature, last - back) && number(file_, last - back + 20, 2) == back) return last - back;
    }
    fail("its end is missing; the file is truncated");
  }

  Directory find_directory() const {
    const uint64_t end = find_end();
    const bool large = end >= locator64_bytes && is_at(locator64_signature, end - locator64_bytes);
    Directory directory = {number(file_, end + 16, 4), number(file_, end + 12, 4), number(file_, end + 10, 2)};
    uint64_t disks = number(file_, end + 4, 2) + number(file_, end + 6, 2), here = number(file_, end + 8, 2);
    if (large) {
      const uint64_t at = number(file_, end - locator64_bytes + 8, 8);
      if (at > file_.size() || file_.size() - at < end64_bytes || !is_at(end64_signature, at))
        fail("its zip64 end is missing");
      directory = {number(file_, at + 48, 8), number(file_, at + 40, 8), number(file_, at + 32, 8)};
      disks = number(file_, at + 16, 4) + number(file_, at + 20, 4);
      here = number(file_, at + 24, 8);
    } else if (directory.offset == elsewhere || directory.bytes == elsewhere || directory.entries == elsewhere_count) {
      fail("its zip64 end is missing");
    }
    if (disks != 0 || here != directory.entries) fail("it is one of several disks");
    return directory;
  }

  // Sizes and offsets of 64 bits, each there only where the entry says so, in this order.
  void read_zip64(std::string_view extra, uint64_t& uncompressed, uint64_t& stored, uint64_t& offset) const {
    while (extra.size() >= 4) {
      const uint64_t kind = number(extra, 0, 2), bytes = number(extra, 2, 2);
      if (bytes > extra.size() - 4) break;
      std::string_view field = extra.substr(4, bytes);
      extra.remove_prefix(4 + bytes);
      if (kind != 1) continue;
      for (uint64_t* const value : {&uncompressed, &stored, &offset}) {
        if (*value != elsewhere) continue;
        if (field.size() < 8) fail("an entry has no zip64 sizes");
        *value = number(field, 0, 8);
        field.remove_prefix(8);
      }
      return;
    }
  }

  std::pair<std::string, std::string_view> read_entry(std::string_view& rest) const {
    if (rest.size() < entry_bytes || rest.substr(0, entry_signature.size()) != entry_signature)
      fail("its directory is truncated");
    const uint64_t name_bytes = number(rest, 28, 2), extra_bytes = number(rest, 30, 2);
    const uint64_t bytes = entry_bytes + name_bytes + extra_bytes + number(rest, 32, 2);
    if (bytes > rest.size()) fail("its directory is truncated");
    std::string name(rest.substr(entry_bytes, name_bytes));
    const uint64_t flags = number(rest, 8, 2), method = number(rest, 10, 2);
    uint64_t stored = number(rest, 20, 4), uncompressed = number(rest, 24, 4), offset = number(rest, 42, 4);
    read_zip64(rest.substr(entry_bytes + name_bytes, extra_bytes), uncompressed, stored, offset);
    rest.remove_prefix(bytes);
    if ((flags & 1) != 0) fail("entry " + quote(name) + " is encrypted");
    if (method != 0 || stored != uncompressed)
      fail("entry " + quote(name) + " is compressed; write the archive anew without compression, as torch.save does");
    return {name, content_of(name, offset, uncompressed)};
  }

  std::string_view content_of(const std::string& name, uint64_t offset, uint64_t bytes) const {
    if (offset > file_.size() || file_.size() - offset < local_bytes || !is_at(local_signature, offset))
      fail("entry " + quote(name) + " is not where its directory says");
    const uint64_t name_bytes = number(file_, offset + 26, 2);
    const uint64_t skipped = local_bytes + name_bytes + number(file_, offset + 28, 2);
    if (file_.substr(offset + local_bytes, name_bytes) != name)
      fail("entry " + quote(name) + " has another name where it lies");
    if (skipped > file_.size() - offset || bytes > file_.size() - offset - skipped)
      fail("entry " + quote(name) + " reaches beyond the file");
    return file_.substr(offset + skipped, bytes);
  }

  const std::string_view file_;
  const std::string& path_;
};

}  // namespace

ZipArchive::ZipArchive(std::string_view file, const std::string& path) : entries_(ZipReader(file, path).read()) {}

const std::string_view* ZipArchive::find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

}  // namespace mask_predict
