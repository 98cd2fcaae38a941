// Writes a safetensors file piece by piece: under another name until it is whole and on the disk, then renamed, so that
// whoever opens the path finds either what was there before or all of this.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace mask_predict {

struct TensorOutline {
  std::string name;
  std::string type;  // as the format names it: "F32", "BF16", "U8"
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
};

class SafetensorsOutput {
 public:
  // Writes the header, behind which the tensors' bytes begin at a multiple of 64; makes the directories the file is in.
  // Throws, as the others do, Error(InvalidArgument) that names the path and the system's reason, and Cancelled; a file
  // that is not finished is removed again.
  SafetensorsOutput(const std::string& path, const std::vector<TensorOutline>& tensors,
                    const std::map<std::string, std::string>& metadata, const std::atomic<bool>& cancelled);
  ~SafetensorsOutput();
  SafetensorsOutput(const SafetensorsOutput&) = delete;
  SafetensorsOutput& operator=(const SafetensorsOutput&) = delete;

  // The next bytes, of the tensors in their order.
  void put(const void* bytes, uint64_t count);
  // After the last byte.
  void finish();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  const std::string path_;
  const std::string partial_;
  const std::atomic<bool>& cancelled_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace mask_predict
