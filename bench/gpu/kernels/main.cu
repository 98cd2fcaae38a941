// kernels device|measure|linear|attention|head|remask|bits|thresholds... [--tiny]
//
// Prints one JSON object a line: { who: 'ours', op, its sizes, bytes, operations, us, low, high, replays, deviation }:
// microseconds of one call, the bytes it has to move through memory and the operations it has to do, and how far
// sampled results are from sums in double. --tiny: sizes for the emulated device. The exit code is 1 if a result was
// wrong.
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

#include "bench.h"
#include "cuda/device.h"
#include "ops/operations.h"

int main(int count, char** arguments) {
  using namespace mask_predict;
  const struct {
    const char* name;
    void (*run)(const bench::Bench&);
  } parts[] = {
      {"measure", bench::measure}, {"linear", bench::linear}, {"attention", bench::attention},  {"head", bench::head},
      {"remask", bench::remask},   {"bits", bench::bits},     {"thresholds", bench::thresholds}};
  try {
    bench::Bench bench;
    std::string note;
    bench.stream = cuda::open_stream(0, false, note);
    std::fprintf(stderr, "%s\n", note.c_str());
    bench.context.operations = &cuda_operations;
    bench.context.activations = ValueType::BF16;
    bench.context.stream = bench.stream.get();
    for (int i = 1; i < count; ++i) bench.tiny = bench.tiny || std::strcmp(arguments[i], "--tiny") == 0;
    if (count > 1 && std::strcmp(arguments[1], "device") == 0) return 0;  // whether it can be opened
    int done = 0;
    for (int i = 1; i < count; ++i) {
      for (const auto& part : parts) {
        if (std::strcmp(arguments[i], part.name) != 0) continue;
        part.run(bench);
        ++done;
      }
    }
    if (done > 0) return bench::failures == 0 ? 0 : 1;
    std::fprintf(stderr, "kernels measure|linear|attention|head|remask|bits|thresholds... [--tiny]\n");
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
