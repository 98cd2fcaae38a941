// autoregressive MODEL: generates with one of the two autoregressive models, for bench/table5.mjs and its test.
//
// MODEL is a JSON object: "architecture" ("decoder-only" or "encoder-decoder"), "precision" ("fp32", "bf16", "fp16" or
// "int8"), "threads", "seed", and the encoder-only model to be as large as, in the words of Engine.config: "layers",
// "hidden", "heads", "feedForward", "vocabulary", "maxPositions", "maskTokenId", "norm". When the weights are there a
// line says what was made; then every line read, {"prompts": [[ids]...], "length": N} and optionally "logits": true, is
// answered by one line: {"ids", "logProbs", "logits", "firstMs", "totalMs"}, or {"error": message}. Ends with its input.
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <map>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "engine/device.h"
#include "generator.h"

namespace {

using namespace autoregressive;
using mask_predict::Error;
using mask_predict::ErrorCode;
using mask_predict::JsonValue;
using mask_predict::WeightType;

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorCode::InvalidArgument, what); }

const JsonValue& field(const JsonValue& object, const std::string& name) {
  const JsonValue* value = object.find(name);
  if (value == nullptr) refuse("there is no \"" + name + "\"");
  return *value;
}

int64_t integer(const JsonValue& object, const std::string& name, int64_t low, int64_t high) {
  const JsonValue& value = field(object, name);
  if (value.integer() == nullptr || *value.integer() < low || *value.integer() > high)
    refuse("\"" + name + "\" must be " + std::to_string(low) + " to " + std::to_string(high) + ", not " +
           value.describe());
  return *value.integer();
}

std::string one_of(const JsonValue& object, const std::string& name, const std::vector<std::string>& choices) {
  const JsonValue& value = field(object, name);
  if (value.string() != nullptr)
    for (const std::string& choice : choices)
      if (choice == *value.string()) return choice;
  std::string list;
  for (const std::string& choice : choices) list += (list.empty() ? "" : " or ") + choice;
  refuse("\"" + name + "\" must be " + list + ", not " + value.describe());
}

ModelConfig read_model(const JsonValue& object) {
  ModelConfig config;
  config.model_type = "autoregressive";
  config.layers = integer(object, "layers", 1, 1000);
  config.hidden = integer(object, "hidden", 1, 65536);
  config.heads = integer(object, "heads", 1, 1024);
  if (config.hidden % config.heads != 0) refuse("\"heads\" must divide \"hidden\"");
  config.feed_forward = integer(object, "feedForward", 1, 1 << 20);
  config.vocabulary = integer(object, "vocabulary", 6, 1 << 24);
  config.max_positions = integer(object, "maxPositions", 5, 1 << 20);
  config.mask_token_id = integer(object, "maskTokenId", 5, config.vocabulary - 1);
  config.norm = one_of(object, "norm", {"pre", "post"}) == "pre" ? mask_predict::NormPlacement::Pre
                                                                 : mask_predict::NormPlacement::Post;
  return config;
}

const std::map<std::string, WeightType> weight_types = {
    {"fp32", WeightType::F32}, {"bf16", WeightType::BF16}, {"fp16", WeightType::F16}, {"int8", WeightType::I8}};

std::vector<std::vector<int32_t>> read_prompts(const JsonValue& value) {
  std::vector<std::vector<int32_t>> prompts;
  if (value.array() == nullptr) refuse("\"prompts\" must be arrays of ids");
  for (const JsonValue& prompt : *value.array()) {
    if (prompt.array() == nullptr) refuse("\"prompts\" must be arrays of ids");
    std::vector<int32_t>& ids = prompts.emplace_back();
    for (const JsonValue& id : *prompt.array()) {
      if (id.integer() == nullptr || *id.integer() < 0 || *id.integer() > INT32_MAX)
        refuse("an id is not a number of the vocabulary: " + id.describe());
      ids.push_back(static_cast<int32_t>(*id.integer()));
    }
  }
  return prompts;
}

void print(int32_t value) { std::printf("%" PRId32, value); }
void print(float value) { std::printf(std::isfinite(value) ? "%.9g" : "null", static_cast<double>(value)); }
template <class T>
void print(const std::vector<T>& values) {
  std::putchar('[');
  for (size_t i = 0; i < values.size(); i++) {
    if (i > 0) std::putchar(',');
    print(values[i]);
  }
  std::putchar(']');
}

void answer(Generator& generator, const std::string& line) {
  const JsonValue request = mask_predict::parse_json(line);
  const JsonValue* logits = request.find("logits");
  const bool with_logits = logits != nullptr && logits->boolean() != nullptr && *logits->boolean();
  const Generation generation =
      generator.generate(read_prompts(field(request, "prompts")), integer(request, "length", 1, 1 << 20), with_logits);
  std::printf("{\"ids\":");
  print(generation.ids);
  std::printf(",\"logProbs\":");
  print(generation.log_probs);
  if (with_logits) {
    std::printf(",\"logits\":");
    print(generation.logits);
  }
  std::printf(",\"firstMs\":%.6f,\"totalMs\":%.6f}\n", generation.first_ms, generation.total_ms);
}

void print_error(const std::string& message) {
  std::string text;
  for (const char c : message) {
    if (c == '"' || c == '\\') text += '\\';
    text += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  std::printf("{\"error\":\"%s\"}\n", text.c_str());
}

void serve(const std::string& description) {
  const JsonValue object = mask_predict::parse_json(description);
  const Architecture architecture =
      one_of(object, "architecture", {"decoder-only", "encoder-decoder"}) == "decoder-only"
          ? Architecture::DecoderOnly
          : Architecture::EncoderDecoder;
  const std::string precision = one_of(object, "precision", {"fp32", "bf16", "fp16", "int8"});
  const ModelConfig config = read_model(object);
  const mask_predict::OpenDevice device =
      mask_predict::open_device("cpu", precision, static_cast<int>(integer(object, "threads", 1, 256)), true);
  const mask_predict::LoadContext loading{
      device.context, std::make_shared<mask_predict::MemoryBudget>(device.available_memory), nullptr, nullptr};
  const Model model = random_model(architecture, config, weight_types.at(precision),
                                   static_cast<uint64_t>(integer(object, "seed", 0, INT64_MAX)), loading);
  Generator generator(model, device.context);
  std::printf("{\"parameters\":%" PRId64 ",\"encoderBody\":%" PRId64 ",\"decoderBody\":%" PRId64
              ",\"decoderLayers\":%zu,\"weightBytes\":%" PRIu64 ",\"instructionSet\":\"%s\",\"threads\":%d}\n",
              model.parameters(), model.encoder_body(), model.decoder_body(), model.decoder().size(),
              loading.budget->used(), device.instruction_set.c_str(), device.threads);
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    try {
      answer(generator, line);
    } catch (const std::exception& error) {
      print_error(error.what());
    }
    std::fflush(stdout);
  }
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count != 2) refuse("usage: autoregressive MODEL (a JSON object, see main.cpp)");
    serve(arguments[1]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "autoregressive: %s\n", error.what());
    return 1;
  }
}
