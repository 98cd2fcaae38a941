// The reader of config.json: the numbers of a model within their ranges, or Error(ModelFormat).
#include "model/config.h"

#include "target.h"

using namespace mask_predict;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::write_file("config.json", fuzz::text_of(data, size));
  fuzz::accepts([] {
    const ModelConfig config = read_config(fuzz::directory());
    fuzz::require(config.layers > 0 && config.hidden > 0 && config.heads > 0 && config.hidden % config.heads == 0);
    fuzz::require(config.vocabulary >= 5 && config.mask_token_id < config.vocabulary && config.max_ids() >= 3);
    fuzz::require(config.layer_norm_epsilon > 0 && config.layer_norm_epsilon <= 0.1);
    fuzz::require(config.parameters() > 0);
  });
  return 0;
}
