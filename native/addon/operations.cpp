#include "addon/operations.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "addon/environment.h"
#include "addon/operation_call.h"

namespace mask_predict {
namespace {

Napi::Value pack_weight(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const std::string type = read_string(info[1], "type");
    const int64_t rows = read_integer(info[2], "rows", 1, 1 << 28),
                  columns = read_integer(info[3], "columns", 1, 1 << 28);
    if (type != "fp32" && type != "fp16" && type != "bf16")
      invalid("type must be 'fp32', 'fp16' or 'bf16', not '" + type + "'");
    const WeightType kind = type == "fp32" ? WeightType::F32 : type == "fp16" ? WeightType::F16 : WeightType::BF16;
    const void* values = nullptr;
    int64_t size = 0;
    if (kind == WeightType::F32) {
      const View<float> view = read_floats(info[0], "values");
      values = view.data;
      size = view.size;
    } else {
      const View<uint16_t> view = read_halves(info[0], "values");
      values = view.data;
      size = view.size;
    }
    if (size != rows * columns)
      invalid("values has " + std::to_string(size) + " elements; rows x columns is " + std::to_string(rows * columns));
    std::string precision = "fp32";
    const Context context = context_of(env, info[4], &precision);
    const Operations& operations = *context.operations;
    const WeightType packed_type = precision == "int8" ? WeightType::I8 : precision == "fp8" ? WeightType::F8 : kind;
    if (operations.host_memory && (!operations.supports(packed_type) || (precision != "fp32" && precision != "int8")))
      invalid("precision must be 'fp32', which keeps the type of the values, or 'int8' on the CPU");
    const auto bytes = static_cast<uint64_t>(operations.packed_bytes(packed_type, rows, columns));
    auto packed = std::make_unique<std::pair<const Operations*, PackedMatrix>>(
        &operations, PackedMatrix{packed_type, rows, columns, device_buffer(context, bytes, nullptr, "packWeight")});
    operations.pack(context, {values, kind, nullptr, nullptr}, 0, rows, packed->second);
    freeze(context, packed->second);
    operations.wait(context);  // whoever reads it may have another stream

    Napi::Object object = Napi::Object::New(env);
    object.Set("rows", Napi::Number::New(env, static_cast<double>(rows)));
    object.Set("columns", Napi::Number::New(env, static_cast<double>(columns)));
    object.Set("type", bytes_of(packed_type) == 1 ? precision : type);
    object.Set("bytes", Napi::Number::New(env, static_cast<double>(bytes)));
    object.TypeTag(&weight_tag);
    const auto release = [](napi_env, void* data, void*) {
      delete static_cast<std::pair<const Operations*, PackedMatrix>*>(data);
    };
    if (napi_wrap(env, object, packed.get(), release, nullptr, nullptr) != napi_ok)
      throw Error(ErrorCode::OutOfMemory, "the packed weight could not be handed to JavaScript");
    packed.release();
    object.Freeze();
    return object;
  });
}

Napi::Value call_linear(OperationCall& call) {
  const PackedMatrix& weight = call.weight("weight");
  const View<float> input = call.floats("input");
  const int64_t rows = call.rows(input, "input", weight.inputs);
  const float* bias = call.has("bias") ? call.bias(call.floats("bias", weight.outputs)) : nullptr;
  const float* residual = call.has("residual") ? call.in(call.floats("residual", rows * weight.outputs)) : nullptr;
  const bool gate = call.has("activation") && call.string("activation") == "gate";
  if (call.has("activation") && !gate && call.string("activation") != "gelu")
    invalid("activation must be 'gelu' or 'gate'");
  if (gate) {
    call.require_rotary("activation 'gate'");
    if (weight.outputs % 2 != 0) invalid("a gated weight must have an even number of rows");
    if (bias != nullptr || residual != nullptr) invalid("a gate goes with neither bias nor residual");
  }
  const int64_t width = gate ? weight.outputs / 2 : weight.outputs;
  Napi::Float32Array output;
  if (call.has("output")) {
    const View<float> given = call.floats("output", rows * width);
    const std::less<const float*> before;
    if (before(given.data, input.data + input.size) && before(input.data, given.data + given.size))
      invalid("output must not share memory with input");
    output = call.argument("output").As<Napi::Float32Array>();
  } else {
    output = Napi::Float32Array::New(call.env, static_cast<size_t>(rows * width));
  }
  call.operations().linear(call.context,
                           {call.activations(input), rows, &weight, bias, call.has("activation") && !gate, residual,
                            call.out(output.Data(), rows * width), ValueType::F32, nullptr, gate});
  return output;
}

Napi::Value call_linear_pair(OperationCall& call) {
  const PackedMatrix &first = call.weight("firstWeight"), &second = call.weight("secondWeight");
  if (first.inputs != second.inputs || first.type != second.type)
    invalid("firstWeight and secondWeight must have the same columns and the same type");
  const View<float> input = call.floats("input");
  const int64_t rows = call.rows(input, "input", first.inputs);
  const auto bias = [&](const char* name, const PackedMatrix& weight) {
    return call.has(name) ? call.bias(call.floats(name, weight.outputs)) : nullptr;
  };
  const float *first_bias = bias("firstBias", first), *second_bias = bias("secondBias", second);
  const auto new_output = [&](const PackedMatrix& weight) {
    return Napi::Float32Array::New(call.env, static_cast<size_t>(rows * weight.outputs));
  };
  Napi::Float32Array first_output = new_output(first), second_output = new_output(second);
  call.operations().linear_pair(call.context,
                                {call.activations(input),
                                 rows,
                                 {{&first, first_bias, call.out(first_output.Data(), rows * first.outputs)},
                                  {&second, second_bias, call.out(second_output.Data(), rows * second.outputs)}}});
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("first", first_output);
  result.Set("second", second_output);
  return result;
}

Napi::Value call_linear_norm(OperationCall& call) {
  const PackedMatrix& weight = call.weight("weight");
  const int64_t width = weight.outputs;
  const View<float> input = call.floats("input");
  const int64_t rows = call.rows(input, "input", weight.inputs);
  if (!call.has("bias")) call.require_rotary("a product without bias");
  const float* bias = call.has("bias") ? call.bias(call.floats("bias", width)) : nullptr;
  const View<float> states = call.floats("states", rows * width), gain = call.floats("gain", width);
  if (!call.has("shift")) call.require_rotary("a norm without shift");
  const float* shift = call.has("shift") ? call.constant(call.floats("shift", width)) : nullptr;
  const double epsilon = call.number("epsilon");
  if (!(epsilon > 0)) invalid("epsilon must be above 0");
  const std::string placement = call.string("placement");
  if (placement != "pre" && placement != "post") invalid("placement must be 'pre' or 'post', not '" + placement + "'");
  Napi::Float32Array new_states = new_floats(call.env, states.data, static_cast<size_t>(states.size));
  Napi::Float32Array normed = Napi::Float32Array::New(call.env, static_cast<size_t>(states.size));
  call.operations().linear_norm(
      call.context,
      {call.activations(input), rows, &weight, bias, placement == "pre" ? NormPlacement::Pre : NormPlacement::Post,
       call.constant(gain), shift, static_cast<float>(epsilon), call.out(new_states.Data(), states.size, true),
       call.activations_out(normed.Data(), states.size)});
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("states", new_states);
  result.Set("normed", normed);
  return result;
}

Napi::Value call_mixed_attention(OperationCall& call) {
  const int64_t heads = call.integer("heads", 1, 1024);
  const View<int32_t> query_offsets = call.integers("queryOffsets");
  const int64_t sequences = query_offsets.size - 1;
  const View<int32_t> own_offsets = call.integers("ownOffsets", sequences + 1);
  const View<float> query = call.floats("query"), key = call.floats("key"), value = call.floats("value", key.size);
  const int64_t query_rows = sequences < 0 ? 0 : query_offsets.data[sequences];
  const int64_t own_rows = sequences < 0 ? 0 : own_offsets.data[sequences];
  if (query_rows < 1) invalid("queryOffsets must end with at least one row");
  const int64_t width = call.width(query, "query", query_rows);
  if (width % heads != 0) invalid("the width of query, " + std::to_string(width) + ", must be a multiple of heads");
  call.sequences(query_offsets, "queryOffsets", query_rows);
  call.sequences(own_offsets, "ownOffsets", own_rows);
  if (key.size != own_rows * width) invalid("key must have " + std::to_string(own_rows * width) + " values");

  // Keys and values side by side, as the projection leaves them.
  const auto interleave = [&](const View<float>& keys, const View<float>& values) {
    std::vector<float> rows(static_cast<size_t>(keys.size) * 2);
    for (int64_t r = 0; r < keys.size / width; r++) {
      std::copy_n(keys.data + r * width, width, rows.data() + r * 2 * width);
      std::copy_n(values.data + r * width, width, rows.data() + r * 2 * width + width);
    }
    return rows;
  };
  const std::vector<float> own = interleave(key, value);
  // On the device, of the type of the context's keys and values.
  std::vector<std::vector<uint16_t>> rounded;
  const auto given = [&](const std::vector<float>& rows) -> const void* {
    const auto count = static_cast<int64_t>(rows.size());
    if (!call.context.rounded_attention) return call.activations(rows.data(), count);
    rounded.emplace_back(rows.size());
    call.operations().round_rows(call.context, {rows.data(), count / (2 * width), 2 * width, rounded.back().data()});
    return rounded.back().data();
  };
  const char* source = nullptr;  // on the device
  const int64_t row_bytes = 2 * width * bytes_of(call.context.keys_values_type());
  std::vector<float> source_rows;
  View<int32_t> source_offsets, source_index;
  if (call.has("sourceIndex")) {
    source_index = call.integers("sourceIndex", sequences);
    source_offsets = call.integers("sourceOffsets");
    const View<float> source_key = call.floats("sourceKey"), source_value = call.floats("sourceValue", source_key.size);
    const int64_t sources = call.sequences(source_offsets, "sourceOffsets", call.rows(source_key, "sourceKey", width));
    call.check_range(source_index, "sourceIndex", -1, sources - 1);
    source_rows = interleave(source_key, source_value);
    source = static_cast<const char*>(given(source_rows));
  }

  std::vector<AttentionSequence> list;
  int64_t most_queries = 0, most_keys = 0;
  for (int64_t i = 0; i < sequences; i++) {
    AttentionSequence s{query_offsets.data[i],
                        query_offsets.data[i + 1] - query_offsets.data[i],
                        own_offsets.data[i],
                        own_offsets.data[i + 1] - own_offsets.data[i],
                        nullptr,
                        0};
    if (source_index.data != nullptr && source_index.data[i] >= 0) {
      const int64_t first = source_offsets.data[source_index.data[i]];
      s.source = source + first * row_bytes;
      s.source_rows = source_offsets.data[source_index.data[i] + 1] - first;
    }
    if (s.queries > 0 && s.own_rows + s.source_rows == 0)
      invalid("sequence " + std::to_string(i) + " has nothing to attend to");
    most_queries = std::max(most_queries, s.queries);
    most_keys = std::max(most_keys, s.own_rows + s.source_rows);
    list.push_back(s);
  }
  int64_t window = -1;
  View<int32_t> query_keys{};
  if (call.has("window")) {
    call.require_rotary("a window");
    window = call.integer("window", 0, 1 << 28);
    query_keys = call.integers("queryKeys", query_rows);
    for (const AttentionSequence& s : list)
      for (int64_t q = 0; q < s.queries; q++) {
        const int32_t* const key = query_keys.data + s.first_query + q;
        if (*key < 0 || *key >= s.source_rows + s.own_rows || (q > 0 && *key <= key[-1]))
          invalid("queryKeys must rise within each sequence and be keys of it");
      }
  }
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(query.size));
  call.operations().mixed_attention(
      call.context, {call.activations(query), given(own), call.in(list), sequences, 0, most_queries, most_keys, heads,
                     width / heads, call.activations_out(output.Data(), query.size), window, query_keys.data});
  return output;
}

Napi::Value call_embed(OperationCall& call) {
  const PackedMatrix& words = call.weight("words");
  const View<int32_t> ids = call.integers("ids"), positions = call.integers("positions", ids.size);
  const View<float> table = call.floats("positionTable");
  call.check_range(ids, "ids", 0, words.outputs - 1);
  call.check_range(positions, "positions", 0, call.rows(table, "positionTable", words.inputs) - 1);
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(ids.size * words.inputs));
  call.operations().embed(call.context, {call.in(ids), call.in(positions), ids.size, &words, call.constant(table),
                                         call.out(output.Data(), ids.size * words.inputs)});
  return output;
}

Napi::Value call_layer_norm(OperationCall& call) {
  const View<float> input = call.floats("input"), gain = call.floats("gain");
  const float* const shift = call.has("shift") ? call.constant(call.floats("shift", gain.size)) : nullptr;
  if (shift == nullptr) call.require_rotary("a norm without shift");
  const int64_t rows = call.rows(input, "input", gain.size);
  const double epsilon = call.number("epsilon");
  if (!(epsilon > 0)) invalid("epsilon must be above 0");
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(input.size));
  call.operations().layer_norm(
      call.context, {call.in(input), rows, gain.size, call.constant(gain), shift, static_cast<float>(epsilon), nullptr,
                     call.activations_out(output.Data(), input.size)});
  return output;
}

// A table of angles for `theta`, and rows turned by it.
Napi::Value call_rotate(OperationCall& call) {
  call.require_rotary("rotate()");
  const int64_t heads = call.integer("heads", 1, 1024), size = call.integer("headSize", 2, 1 << 16);
  if (size % 2 != 0) invalid("headSize must be even");
  const double theta = call.number("theta");
  if (!(theta > 0)) invalid("theta must be above 0");
  const View<float> input = call.floats("input");
  const int64_t rows = call.rows(input, "input", heads * size);
  const View<int32_t> positions = call.integers("positions", rows);
  call.check_range(positions, "positions", 0, (1 << 20) - 1);
  const int64_t most = rows == 0 ? 0 : *std::max_element(positions.data, positions.data + rows) + 1;
  std::vector<float> table(static_cast<size_t>(most * size));
  fill_rotary_table(table.data(), most, size, theta);
  Napi::Float32Array output = new_floats(call.env, input.data, static_cast<size_t>(input.size));
  call.operations().rotate(call.context,
                           {output.Data(), rows, heads * size, heads, size, positions.data, table.data()});
  return output;
}

Napi::Value call_mean_rows(OperationCall& call) {
  const int64_t width = call.integer("width", 1, 1 << 28);
  const View<float> input = call.floats("input");
  const View<int32_t> offsets = call.integers("offsets");
  const int64_t sequences = call.sequences(offsets, "offsets", call.rows(input, "input", width));
  for (int64_t i = 0; i < sequences; i++)
    if (offsets.data[i] == offsets.data[i + 1]) invalid("sequence " + std::to_string(i) + " has no rows");
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(sequences * width));
  call.operations().mean_rows(call.context, {call.in(input), call.in(offsets), sequences, width,
                                             call.activations_out(output.Data(), sequences * width)});
  return output;
}

Napi::Value call_gather_rows(OperationCall& call) {
  const int64_t width = call.integer("width", 1, 1 << 28);
  const View<float> input = call.floats("input");
  const View<int32_t> index = call.integers("index");
  call.check_range(index, "index", 0, call.rows(input, "input", width) - 1);
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(index.size * width));
  call.operations().gather_rows(call.context,
                                {call.activations(input), call.context.activations, call.in(index), index.size, width,
                                 call.activations_out(output.Data(), index.size * width)});
  return output;
}

Napi::Value call_lm_head_argmax(OperationCall& call) {
  const PackedMatrix& weight = call.weight("weight");
  const View<float> states = call.floats("states");
  const int64_t rows = call.rows(states, "states", weight.inputs);
  const float* bias = call.bias(call.floats("bias", weight.outputs));
  const auto mask = static_cast<int32_t>(call.integer("maskTokenId", 4, weight.outputs - 1));
  auto* partials =
      static_cast<LmHeadPartial*>(call.work(lm_head_ranges * rows * static_cast<int64_t>(sizeof(LmHeadPartial))));
  Napi::Int32Array ids = Napi::Int32Array::New(call.env, static_cast<size_t>(rows));
  Napi::Float32Array log_probs = Napi::Float32Array::New(call.env, static_cast<size_t>(rows));
  Napi::Float32Array log_sums = Napi::Float32Array::New(call.env, static_cast<size_t>(rows));
  call.operations().lm_head_argmax(
      call.context, {call.activations(states), rows, &weight, bias, xlm_roberta_ids(mask), partials,
                     call.out(ids.Data(), rows), call.out(log_probs.Data(), rows), call.out(log_sums.Data(), rows)});
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("ids", ids);
  result.Set("logProbs", log_probs);
  result.Set("logSumExp", log_sums);
  return result;
}

Napi::Value call_logits_at(OperationCall& call) {
  const PackedMatrix& weight = call.weight("weight");
  const View<float> states = call.floats("states");
  const float* bias = call.bias(call.floats("bias", weight.outputs));
  const View<int32_t> rows = call.integers("rows"), ids = call.integers("ids", rows.size);
  call.check_range(rows, "rows", 0, call.rows(states, "states", weight.inputs) - 1);
  call.check_range(ids, "ids", 0, weight.outputs - 1);
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(rows.size));
  call.operations().logits_at(call.context, {call.activations(states), &weight, bias, call.in(rows), call.in(ids),
                                             rows.size, call.out(output.Data(), rows.size)});
  return output;
}

Napi::Value call_fill_masks(OperationCall& call) {
  const View<int32_t> tokens = call.integers("tokens"), rows = call.integers("maskedRows"),
                      ids = call.integers("ids", rows.size);
  const View<float> scores = call.floats("scores", tokens.size), log_probs = call.floats("logProbs", rows.size);
  call.check_range(rows, "maskedRows", 0, tokens.size - 1);
  call.check_range(ids, "ids", -1, INT32_MAX);
  const auto count = static_cast<int32_t>(rows.size);
  std::vector<bool> named(static_cast<size_t>(tokens.size));
  for (int64_t i = 0; i < rows.size; i++) {
    const auto row = static_cast<size_t>(rows.data[i]);
    if (named[row]) invalid("maskedRows names row " + std::to_string(row) + " twice");
    named[row] = true;
  }
  Napi::Int32Array new_tokens = new_integers(call.env, tokens.data, static_cast<size_t>(tokens.size));
  Napi::Float32Array new_scores = new_floats(call.env, scores.data, static_cast<size_t>(scores.size));
  call.operations().fill_masks(
      call.context, {call.in(rows), call.in(&count, 1), count, call.in(ids), call.in(log_probs),
                     call.out(new_tokens.Data(), tokens.size, true), call.out(new_scores.Data(), scores.size, true)});
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("tokens", new_tokens);
  result.Set("scores", new_scores);
  return result;
}

Napi::Value call_remask(OperationCall& call) {
  const View<int32_t> tokens = call.integers("tokens"), offsets = call.integers("offsets");
  const View<float> scores = call.floats("scores", tokens.size);
  const View<uint8_t> maskable = call.bytes("maskable", tokens.size);
  const int64_t sequences = call.sequences(offsets, "offsets", tokens.size);
  const View<int32_t> counts = call.integers("counts", sequences);
  const auto mask = static_cast<int32_t>(call.integer("maskTokenId", 0, INT32_MAX));
  const size_t size = static_cast<size_t>(tokens.size);
  Napi::Int32Array new_tokens = new_integers(call.env, tokens.data, size);
  Napi::Float32Array new_scores = new_floats(call.env, scores.data, size);
  Napi::Uint8Array masked = Napi::Uint8Array::New(call.env, size);
  std::vector<int32_t> masked_offsets = {0};
  int64_t most_rows = 0;
  for (int64_t i = 0; i < sequences; i++) {
    const int64_t competing = std::count_if(maskable.data + offsets.data[i], maskable.data + offsets.data[i + 1],
                                            [](uint8_t may) { return may != 0; });
    if (counts.data[i] < 0 || counts.data[i] > competing)
      invalid("counts[" + std::to_string(i) + "] is " + std::to_string(counts.data[i]) + "; the sequence has " +
              std::to_string(competing) + " maskable positions");
    masked_offsets.push_back(masked_offsets.back() + counts.data[i]);
    most_rows = std::max<int64_t>(most_rows, offsets.data[i + 1] - offsets.data[i]);
  }
  std::vector<int32_t> masked_rows(static_cast<size_t>(masked_offsets.back()));
  const int64_t masked_count = masked_offsets.back();
  call.operations().remask(
      call.context, {call.out(new_tokens.Data(), tokens.size, true), call.out(new_scores.Data(), tokens.size, true),
                     call.in(maskable), call.in(offsets), call.in(counts), call.in(masked_offsets), sequences,
                     most_rows, mask, call.out(masked_rows.data(), masked_count)});
  call.finish();
  for (const int32_t row : masked_rows) masked.Data()[row] = 1;
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("tokens", new_tokens);
  result.Set("scores", new_scores);
  result.Set("masked", masked);
  return result;
}

Napi::Value call_sample(OperationCall& call) {
  const int64_t vocabulary = call.integer("vocabulary", 5, 1 << 28);
  const View<float> logits = call.floats("logits");
  const int64_t rows = call.rows(logits, "logits", vocabulary);
  const auto mask = static_cast<int32_t>(call.integer("maskTokenId", 4, vocabulary - 1));
  const double temperature = call.number("temperature"), nucleus = call.number("nucleus");
  if (!(temperature > 0)) invalid("temperature must be above 0");
  if (!(nucleus > 0 && nucleus <= 1)) invalid("nucleus must be above 0 and at most 1");
  const View<int32_t> sequences = call.integers("sequences", rows), positions = call.integers("positions", rows);
  Napi::Int32Array ids = Napi::Int32Array::New(call.env, static_cast<size_t>(rows));
  Napi::Float32Array log_probs = Napi::Float32Array::New(call.env, static_cast<size_t>(rows));
  call.operations().sample(call.context,
                           {call.in(logits), rows, vocabulary, xlm_roberta_ids(mask), static_cast<float>(temperature),
                            static_cast<float>(nucleus), call.seed("seed"), call.in(sequences), call.in(positions),
                            static_cast<int32_t>(call.integer("iteration", 0, INT32_MAX)), call.out(ids.Data(), rows),
                            call.out(log_probs.Data(), rows)});
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("ids", ids);
  result.Set("logProbs", log_probs);
  return result;
}

template <Napi::Value (*body)(OperationCall&)>
Napi::Value checked(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    OperationCall call(info);
    const Napi::Value result = body(call);
    call.finish();
    return result;
  });
}

}  // namespace

Napi::Object define_operations(Napi::Env env) {
  Napi::Object operations = Napi::Object::New(env);
  operations.Set("packWeight", Napi::Function::New<pack_weight>(env, "packWeight"));
  operations.Set("linear", Napi::Function::New<checked<call_linear>>(env, "linear"));
  operations.Set("linearPair", Napi::Function::New<checked<call_linear_pair>>(env, "linearPair"));
  operations.Set("linearNorm", Napi::Function::New<checked<call_linear_norm>>(env, "linearNorm"));
  operations.Set("mixedAttention", Napi::Function::New<checked<call_mixed_attention>>(env, "mixedAttention"));
  operations.Set("embed", Napi::Function::New<checked<call_embed>>(env, "embed"));
  operations.Set("layerNorm", Napi::Function::New<checked<call_layer_norm>>(env, "layerNorm"));
  operations.Set("rotate", Napi::Function::New<checked<call_rotate>>(env, "rotate"));
  operations.Set("meanRows", Napi::Function::New<checked<call_mean_rows>>(env, "meanRows"));
  operations.Set("gatherRows", Napi::Function::New<checked<call_gather_rows>>(env, "gatherRows"));
  operations.Set("lmHeadArgmax", Napi::Function::New<checked<call_lm_head_argmax>>(env, "lmHeadArgmax"));
  operations.Set("logitsAt", Napi::Function::New<checked<call_logits_at>>(env, "logitsAt"));
  operations.Set("fillMasks", Napi::Function::New<checked<call_fill_masks>>(env, "fillMasks"));
  operations.Set("remask", Napi::Function::New<checked<call_remask>>(env, "remask"));
  operations.Set("sample", Napi::Function::New<checked<call_sample>>(env, "sample"));
  return operations;
}

}  // namespace mask_predict
