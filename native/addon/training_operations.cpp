#include "addon/training_operations.h"

#include <algorithm>
#include <string>
#include <vector>

#include "addon/environment.h"
#include "addon/operation_call.h"
#include "cpu/instruction_set.h"
#include "ops/adamw/adamw.h"
#include "ops/dropout/dropout.h"
#include "ops/embed/embed_training.h"
#include "ops/gelu/gelu_training.h"
#include "ops/layer_norm/layer_norm_training.h"
#include "ops/length_loss/length_loss.h"
#include "ops/linear/linear_training.h"
#include "ops/lm_head/lm_head_training.h"
#include "ops/mixed_attention/mixed_attention_training.h"

namespace mask_predict {
namespace {

using namespace training;

TrainingContext context_of(const OperationCall& call) {
  if (call.context.kernels == nullptr) invalid("the operations of training run on the CPU");
  const cpu::Kernels& set = *call.context.kernels;
  return {&cpu::training_kernels_for(set, false), call.context.pool,
          &cpu::training_kernels_for(set, call.context.rounded_products)};
}

// Results by name.
class Results {
 public:
  explicit Results(Napi::Env env) : env_(env), object_(Napi::Object::New(env)) {}
  // `count` floats of 0.
  float* add(const char* name, int64_t count) {
    Napi::Float32Array array = Napi::Float32Array::New(env_, static_cast<size_t>(count));
    std::fill_n(array.Data(), count, 0.0f);
    object_.Set(name, array);
    return array.Data();
  }
  void set(const char* name, double value) { object_.Set(name, value); }
  Napi::Value value() const { return object_; }

 private:
  Napi::Env env_;
  Napi::Object object_;
};

std::vector<float> floats(int64_t count) { return std::vector<float>(static_cast<size_t>(count)); }

// input [rows, inputs], weight [outputs, inputs], bias [outputs]: output, and gelu of it.
Napi::Value call_linear_forward(OperationCall& call) {
  const View<float> bias = call.floats("bias"), weight = call.floats("weight");
  const int64_t inputs = call.width(weight, "weight", bias.size);
  const View<float> input = call.floats("input");
  const int64_t rows = call.rows(input, "input", inputs);
  Results results(call.env);
  float* const output = results.add("output", rows * bias.size);
  linear_forward(context_of(call), {input.data, rows, inputs, bias.size, weight.data, bias.data, output,
                                    results.add("gelu", rows * bias.size)});
  return results.value();
}

// input, weight, outputGradient [rows, outputs].
Napi::Value call_linear_backward(OperationCall& call) {
  const int64_t outputs = call.integer("outputs", 1, 1 << 24);
  const View<float> weight = call.floats("weight");
  const int64_t inputs = call.width(weight, "weight", outputs);
  const View<float> input = call.floats("input");
  const int64_t rows = call.rows(input, "input", inputs);
  const View<float> gradient = call.floats("outputGradient", rows * outputs);
  std::vector<float> partial = floats(sum_blocks(rows) * outputs);
  Results results(call.env);
  linear_backward(context_of(call), {.input = input.data,
                                     .output_gradient = gradient.data,
                                     .rows = rows,
                                     .inputs = inputs,
                                     .outputs = outputs,
                                     .weight = weight.data,
                                     .input_gradient = results.add("inputGradient", rows * inputs),
                                     .weight_gradient = results.add("weightGradient", outputs * inputs),
                                     .bias_gradient = results.add("biasGradient", outputs),
                                     .partial_sums = partial.data()});
  return results.value();
}

// input, outputGradient [rows, width], gain, shift [width], epsilon: both directions.
Napi::Value call_norm(OperationCall& call) {
  const View<float> input = call.floats("input"), gain = call.floats("gain"), shift = call.floats("shift", gain.size);
  const int64_t width = gain.size, rows = call.rows(input, "input", width);
  const View<float> gradient = call.floats("outputGradient", input.size);
  std::vector<float> means = floats(rows), inverses = floats(rows), partial = floats(sum_blocks(rows) * 2 * width);
  const TrainingContext context = context_of(call);
  Results results(call.env);
  norm_forward(context, {input.data, rows, width, gain.data, shift.data, static_cast<float>(call.number("epsilon")),
                         results.add("output", input.size), means.data(), inverses.data()});
  norm_backward(context, {.input = input.data,
                          .means = means.data(),
                          .inverses = inverses.data(),
                          .gain = gain.data,
                          .output_gradient = gradient.data,
                          .rows = rows,
                          .width = width,
                          .input_gradient = results.add("inputGradient", input.size),
                          .gain_gradient = results.add("gainGradient", width),
                          .shift_gradient = results.add("shiftGradient", width),
                          .partial_sums = partial.data()});
  return results.value();
}

Napi::Value call_gelu_backward(OperationCall& call) {
  const View<float> input = call.floats("input"), gradient = call.floats("outputGradient", input.size);
  Results results(call.env);
  float* const result = results.add("inputGradient", input.size);
  std::copy_n(gradient.data, gradient.size, result);
  gelu_backward(context_of(call), input.data, input.size, result);
  return results.value();
}

// sourceLengths [sources], targetLengths [targets], sourceOf [targets], not falling: the rows of each source, followed
// by those of its targets.
std::vector<AttentionGroup> read_groups(const OperationCall& call, int64_t& rows) {
  const View<int32_t> sources = call.integers("sourceLengths"), targets = call.integers("targetLengths"),
                      source_of = call.integers("sourceOf", targets.size);
  call.check_range(sources, "sourceLengths", 1, 1 << 20);
  call.check_range(targets, "targetLengths", 1, 1 << 20);
  call.check_range(source_of, "sourceOf", 0, sources.size - 1);
  std::vector<AttentionGroup> groups;
  rows = 0;
  for (int64_t s = 0; s < sources.size; s++) {
    AttentionGroup group{{rows, sources.data[s]}, {}};
    rows += sources.data[s];
    for (int64_t t = 0; t < targets.size; t++) {
      if (source_of.data[t] != s) continue;
      group.targets.push_back({rows, targets.data[t]});
      rows += targets.data[t];
    }
    groups.push_back(group);
  }
  return groups;
}

// queryKeyValue [rows, 3 * width], outputGradient [rows, width], heads: both directions.
Napi::Value call_attention(OperationCall& call) {
  int64_t rows = 0;
  const std::vector<AttentionGroup> groups = read_groups(call, rows);
  const View<float> states = call.floats("queryKeyValue"), gradient = call.floats("outputGradient", states.size / 3);
  const int64_t width = call.width(gradient, "outputGradient", rows), heads = call.integer("heads", 1, 1024);
  if (states.size != rows * 3 * width || width % heads != 0) invalid("queryKeyValue must be rows of 3 * width values");
  std::vector<float> log_sums = floats(heads * rows);
  const TrainingContext context = context_of(call);
  Results results(call.env);
  float* const output = results.add("output", gradient.size);
  attention_forward(context, {states.data, &groups, rows, heads, width / heads, output, log_sums.data()});
  attention_backward(context, {states.data, &groups, rows, heads, width / heads, output, log_sums.data(), gradient.data,
                               results.add("gradient", states.size)});
  return results.value();
}

// index [rows], gradient [rows, width], tableRows.
Napi::Value call_scatter_rows(OperationCall& call) {
  const View<int32_t> index = call.integers("index");
  const int64_t table = call.integer("tableRows", 1, 1 << 24);
  call.check_range(index, "index", 0, table - 1);
  const View<float> gradient = call.floats("gradient");
  const int64_t width = call.width(gradient, "gradient", std::max<int64_t>(1, index.size));
  std::vector<int32_t> order(static_cast<size_t>(index.size));
  Results results(call.env);
  scatter_rows(context_of(call), index.data, index.size, width, gradient.data,
               results.add("tableGradient", table * width), order.data());
  return results.value();
}

// states [rows, width], decoder [ids, width], bias [ids], gold [rows], realIds, smoothing, chunk, factor.
Napi::Value call_head_loss(OperationCall& call) {
  const View<int32_t> gold = call.integers("gold");
  const View<float> bias = call.floats("bias"), decoder = call.floats("decoder"), states = call.floats("states");
  const int64_t width = call.width(decoder, "decoder", bias.size), rows = call.rows(states, "states", width);
  if (gold.size != rows) invalid("gold must have an id for each row of states");
  const int64_t real_ids = call.integer("realIds", 1, bias.size), chunk = call.integer("chunk", 1, real_ids);
  call.check_range(gold, "gold", 0, real_ids - 1);
  std::vector<float> logits = floats(rows * chunk), log_sums = floats(rows), partial = floats(sum_blocks(rows) * chunk);
  const HeadLoss loss{states.data, rows,          width,          decoder.data,
                      bias.data,   real_ids,      gold.data,      call.number("smoothing"),
                      chunk,       logits.data(), log_sums.data()};
  const TrainingContext context = context_of(call);
  Results results(call.env);
  const HeadLossSums sums = head_loss_forward(context, loss);
  results.set("nll", sums.negative_log_likelihood);
  results.set("smoothed", sums.smoothed);
  head_loss_backward(context, loss,
                     {.factor = call.number("factor"),
                      .state_gradient = results.add("stateGradient", states.size),
                      .decoder_gradient = results.add("decoderGradient", decoder.size),
                      .bias_gradient = results.add("biasGradient", bias.size),
                      .partial_sums = partial.data()});
  return results.value();
}

// The groups of call_attention, states [rows, width], weight [lengths, width], lengths, factor.
Napi::Value call_length_loss(OperationCall& call) {
  int64_t rows = 0;
  const std::vector<AttentionGroup> groups = read_groups(call, rows);
  const View<float> states = call.floats("states"), weight = call.floats("weight");
  const int64_t width = call.width(states, "states", rows), lengths = call.rows(weight, "weight", width);
  call.check_range(call.integers("targetLengths"), "targetLengths", 1, lengths - 1);
  const auto sources = static_cast<int64_t>(groups.size());
  std::vector<float> means = floats(sources * width), logits = floats(sources * lengths), working = means;
  const LengthLoss loss{states.data, width, &groups, weight.data, lengths, means.data(), logits.data()};
  const TrainingContext context = context_of(call);
  Results results(call.env);
  results.set("loss", length_loss_forward(context, loss));
  length_loss_backward(context, loss,
                       {call.number("factor"), working.data(), results.add("stateGradient", states.size),
                        results.add("weightGradient", weight.size)});
  return results.value();
}

// input [rows, width], residual or none, probability, seed, step, site, firstRow.
Napi::Value call_dropout(OperationCall& call) {
  const int64_t width = call.integer("width", 1, 1 << 24);
  const View<float> input = call.floats("input");
  const float* residual = call.has("residual") ? call.floats("residual", input.size).data : nullptr;
  const double probability = call.number("probability");
  if (!(probability >= 0 && probability <= 0.9)) invalid("probability must be from 0 to 0.9");
  Results results(call.env);
  dropout(context_of(call),
          {probability, call.seed("seed"), static_cast<uint32_t>(call.integer("step", 0, UINT32_MAX))},
          {input.data, residual, results.add("output", input.size), call.rows(input, "input", width), width,
           static_cast<uint32_t>(call.integer("site", 0, UINT32_MAX)),
           static_cast<uint32_t>(call.integer("firstRow", 0, UINT32_MAX))});
  return results.value();
}

// weights, gradients, first, second, average [count]; decayed: how many of them, from the first, decay; rate, number,
// and the optimiser's options. The results are new arrays.
Napi::Value call_adamw(OperationCall& call) {
  const View<float> weights = call.floats("weights"), gradients = call.floats("gradients", weights.size),
                    first = call.floats("first", weights.size), second = call.floats("second", weights.size),
                    average = call.floats("average", weights.size);
  const int64_t count = weights.size, decayed = call.integer("decayed", 0, count);
  const std::vector<WeightRange> pieces = optimizer_pieces({{0, decayed, true}, {decayed, count - decayed, false}});
  const AdamOptions options{call.number("beta1"),       call.number("beta2"),    call.number("epsilon"),
                            call.number("weightDecay"), call.number("clipNorm"), call.number("averageDecay")};
  const TrainingContext context = context_of(call);
  Results results(call.env);
  const auto copied = [&](const char* name, const View<float>& view) {
    float* const to = results.add(name, count);
    std::copy_n(view.data, count, to);
    return to;
  };
  const double norm = gradient_norm(context, pieces, gradients.data);
  results.set("norm", norm);
  float* const new_weights = copied("weights", weights);
  float* const new_first = copied("first", first);
  adam_update(context, options, pieces,
              {new_weights, gradients.data, new_first, copied("second", second), norm, call.number("rate"),
               call.integer("number", 1, 1 << 30), copied("average", average)});
  return results.value();
}

template <Napi::Value (*body)(OperationCall&)>
Napi::Value checked(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    OperationCall call(info);
    return body(call);
  });
}

}  // namespace

Napi::Object define_training_operations(Napi::Env env) {
  Napi::Object operations = Napi::Object::New(env);
  const auto set = [&](const char* name, auto function) { operations.Set(name, function); };
  set("linearForward", Napi::Function::New<checked<call_linear_forward>>(env, "linearForward"));
  set("linearBackward", Napi::Function::New<checked<call_linear_backward>>(env, "linearBackward"));
  set("layerNorm", Napi::Function::New<checked<call_norm>>(env, "layerNorm"));
  set("geluBackward", Napi::Function::New<checked<call_gelu_backward>>(env, "geluBackward"));
  set("mixedAttention", Napi::Function::New<checked<call_attention>>(env, "mixedAttention"));
  set("scatterRows", Napi::Function::New<checked<call_scatter_rows>>(env, "scatterRows"));
  set("headLoss", Napi::Function::New<checked<call_head_loss>>(env, "headLoss"));
  set("lengthLoss", Napi::Function::New<checked<call_length_loss>>(env, "lengthLoss"));
  set("dropout", Napi::Function::New<checked<call_dropout>>(env, "dropout"));
  set("adamw", Napi::Function::New<checked<call_adamw>>(env, "adamw"));
  return operations;
}

}  // namespace mask_predict
