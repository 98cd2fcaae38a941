// remask: half of the inner positions of every target are masked again.
#include <vector>

#include "bench.h"
#include "ops/operations.h"
#include "ops/remask/remask.h"

namespace mask_predict::bench {
namespace {

void run_case(const Bench& bench, int64_t batch, int64_t length) {
  const int64_t rows = batch * length, count = (length - 2) / 2;
  std::vector<int32_t> offsets, counts, masked_offsets;
  std::vector<uint8_t> maskable;
  for (int64_t s = 0; s <= batch; ++s) {
    offsets.push_back(static_cast<int32_t>(s * length));
    masked_offsets.push_back(static_cast<int32_t>(s * count));
    counts.push_back(static_cast<int32_t>(count));
  }
  for (int64_t row = 0; row < rows; ++row) maskable.push_back(row % length != 0 && row % length != length - 1);
  Array<int32_t> tokens(std::vector<int32_t>(static_cast<size_t>(rows), 7));
  Array<float> scores(rows);
  const Array<uint8_t> may(maskable);
  const Array<int32_t> first(offsets), wanted(counts), list(masked_offsets);
  Array<int32_t> masked(batch * count);
  fill_floats(bench, scores, rows, 1, 1.0f / 16);

  RemaskArguments a{};
  a.tokens = tokens;
  a.scores = scores;
  a.maskable = may;
  a.offsets = first;
  a.counts = wanted;
  a.masked_offsets = list;
  a.sequences = batch;
  a.most_rows = length;
  a.mask_token_id = 250001;
  a.masked_rows = masked;

  // The first call's result: right by counting the rows that come before each masked one.
  cuda::remask(bench.context, a);
  const std::vector<int32_t> after = tokens.host(bench);
  int64_t wrong = 0;
  const auto key = [](int64_t row) { return value_of(1, static_cast<uint64_t>(row), 1.0f / 16); };
  for (int64_t row = 0; row < rows; row += rows / 64 + 1) {
    if (!maskable[static_cast<size_t>(row)]) continue;
    int64_t before = 0;
    for (int64_t other = row - row % length; other < row - row % length + length; ++other)
      before +=
          maskable[static_cast<size_t>(other)] && (key(other) < key(row) || (key(other) == key(row) && other < row));
    wrong += (after[static_cast<size_t>(row)] == a.mask_token_id) != (before < count);
  }
  require("remask, wrong rows", static_cast<double>(wrong), 0);
  const Times times = time_calls(bench, bench.tiny ? 2 : 100, [&](int) { cuda::remask(bench.context, a); });
  report(field("op", "remask") + "," + field("batch", batch) + "," + field("length", length) + "," +
             field("bytes", rows * 5 + batch * count * 12) + "," + field("wrong", wrong),
         times);
}

}  // namespace

void remask(const Bench& bench) {
  const std::vector<int64_t> batches = bench.tiny ? std::vector<int64_t>{2} : std::vector<int64_t>{1, 8, 64, 512};
  const std::vector<int64_t> lengths = bench.tiny ? std::vector<int64_t>{9} : std::vector<int64_t>{32, 128, 512};
  for (const int64_t batch : batches) {
    for (const int64_t length : lengths) run_case(bench, batch, length);
  }
}

}  // namespace mask_predict::bench
