#include "addon/kernels.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "cpu/instruction_set.h"
#include "cpu/thread_pool.h"
#include "ops/operations.h"

namespace mask_predict {
namespace {

constexpr napi_type_tag weight_tag = {0x6d61736b2d707265, 0x646963742d777467};

// One call's arguments: named values, every length checked against what the others say.
class Call {
 public:
  explicit Call(const Napi::CallbackInfo& info) : env(info.Env()) {
    if (!info[0].IsObject()) invalid("the arguments must be an object");
    // Each property once and all of them first: a getter is JavaScript, which could detach what was read before.
    const Napi::Object arguments = info[0].As<Napi::Object>();
    const Napi::Array names = arguments.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); i++) {
      const Napi::Value name = names.Get(i);
      arguments_[name.ToString().Utf8Value()] = arguments.Get(name);
    }
    const Napi::Object options = info[1].IsObject() ? info[1].As<Napi::Object>() : Napi::Object::New(env);
    const Napi::Value device = options.Get("device"), set = options.Get("instructionSet"), threads = options.Get("threads");
    if (!device.IsUndefined() && read_string(device, "device") != "cpu") invalid("device must be 'cpu'");
    context.operations = &cpu_operations;
    context.kernels = &cpu::kernels_for(set.IsUndefined() ? "" : read_string(set, "instructionSet"));
    const int size = threads.IsUndefined() ? 1 : static_cast<int>(read_integer(threads, "threads", 1, 256));
    auto& pool = Environment::of(env).pools[size];
    if (!pool) pool = std::make_unique<cpu::ThreadPool>(size);
    context.pool = pool.get();
  }

  Napi::Value argument(const char* name) const {
    const auto found = arguments_.find(name);
    return found == arguments_.end() ? env.Undefined() : found->second;
  }
  bool has(const char* name) const { return !argument(name).IsUndefined(); }
  View<float> floats(const char* name) const { return read_floats(argument(name), name); }
  View<float> floats(const char* name, int64_t size) const { return sized(floats(name), name, size); }
  View<int32_t> integers(const char* name) const { return read_integers(argument(name), name); }
  View<int32_t> integers(const char* name, int64_t size) const { return sized(integers(name), name, size); }
  View<uint8_t> bytes(const char* name, int64_t size) const { return sized(read_bytes(argument(name), name), name, size); }
  int64_t integer(const char* name, int64_t least, int64_t most) const {
    return read_integer(argument(name), name, least, most);
  }
  double number(const char* name) const { return read_number(argument(name), name); }
  uint64_t seed(const char* name) const { return read_seed(argument(name), name); }
  std::string string(const char* name) const { return read_string(argument(name), name); }

  const PackedMatrix& weight(const char* name) const {
    const Napi::Value value = argument(name);
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&weight_tag))
      invalid(std::string(name) + " must come from packWeight()");
    void* matrix = nullptr;
    if (napi_unwrap(env, value, &matrix) != napi_ok) invalid(std::string(name) + " must come from packWeight()");
    return *static_cast<PackedMatrix*>(matrix);
  }

  // Rows of `width` values each.
  int64_t rows(const View<float>& view, const char* name, int64_t width) const {
    if (width < 1 || view.size % width != 0)
      invalid(std::string(name) + " has " + std::to_string(view.size) + " values, which are no rows of " + std::to_string(width));
    return view.size / width;
  }

  // The width that makes `rows` rows of the values.
  int64_t width(const View<float>& view, const char* name, int64_t rows) const {
    if (view.size == 0 || view.size % rows != 0)
      invalid(std::string(name) + " has " + std::to_string(view.size) + " values, which are no " + std::to_string(rows) + " rows");
    return view.size / rows;
  }

  // An offsets array: 0, then rising to `rows`. Returns the number of sequences.
  int64_t sequences(const View<int32_t>& offsets, const char* name, int64_t rows) const {
    if (offsets.size < 1 || offsets.data[0] != 0) invalid(std::string(name) + " must begin with 0");
    for (int64_t i = 1; i < offsets.size; i++)
      if (offsets.data[i] < offsets.data[i - 1]) invalid(std::string(name) + " must not fall");
    if (offsets.data[offsets.size - 1] != rows)
      invalid(std::string(name) + " must end with the number of rows, " + std::to_string(rows));
    return offsets.size - 1;
  }

  void check_range(const View<int32_t>& values, const char* name, int64_t least, int64_t most) const {
    for (int64_t i = 0; i < values.size; i++)
      if (values.data[i] < least || values.data[i] > most)
        invalid(std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(values.data[i]) + "; it must be " +
                std::to_string(least) + " to " + std::to_string(most));
  }

  // The values followed by zeros up to a multiple of 16, as biases are kept.
  static std::vector<float> padded(const View<float>& view) {
    std::vector<float> values(view.data, view.data + view.size);
    values.resize((values.size() + cpu::panel_columns - 1) / cpu::panel_columns * cpu::panel_columns);
    return values;
  }

  const Operations& operations() const { return *context.operations; }

  const Napi::Env env;
  Context context;

 private:
  template <class T>
  static View<T> sized(View<T> view, const char* name, int64_t size) {
    if (view.size != size)
      invalid(std::string(name) + " has " + std::to_string(view.size) + " values; it must have " + std::to_string(size));
    return view;
  }

  std::map<std::string, Napi::Value> arguments_;
};

Napi::Value pack_weight(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const std::string type = read_string(info[1], "type");
    const int64_t rows = read_integer(info[2], "rows", 1, 1 << 28), columns = read_integer(info[3], "columns", 1, 1 << 28);
    if (type != "fp32" && type != "fp16" && type != "bf16") invalid("type must be 'fp32', 'fp16' or 'bf16', not '" + type + "'");
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
    cpu::ThreadPool pool(1);
    const Operations& operations = cpu_operations;
    const Context context{&operations, ValueType::F32, &cpu::kernels_for(""), &pool, nullptr};
    const auto bytes = static_cast<uint64_t>(operations.packed_bytes(kind, rows, columns));
    auto matrix = std::make_unique<PackedMatrix>(
        PackedMatrix{kind, rows, columns, Buffer(bytes, nullptr, "packWeight", *operations.memory)});
    operations.pack(context, {values, kind, nullptr, nullptr}, 0, rows, *matrix);

    Napi::Object object = Napi::Object::New(env);
    object.Set("rows", Napi::Number::New(env, static_cast<double>(rows)));
    object.Set("columns", Napi::Number::New(env, static_cast<double>(columns)));
    object.Set("type", type);
    object.Set("bytes", Napi::Number::New(env, static_cast<double>(matrix->data.bytes())));
    object.TypeTag(&weight_tag);
    const auto release = [](napi_env, void* data, void*) { delete static_cast<PackedMatrix*>(data); };
    if (napi_wrap(env, object, matrix.get(), release, nullptr, nullptr) != napi_ok)
      throw Error(ErrorCode::OutOfMemory, "the packed weight could not be handed to JavaScript");
    matrix.release();
    object.Freeze();
    return object;
  });
}

Napi::Value call_linear(const Call& call) {
  const PackedMatrix& weight = call.weight("weight");
  const View<float> input = call.floats("input");
  const int64_t rows = call.rows(input, "input", weight.inputs);
  std::vector<float> bias;
  if (call.has("bias")) bias = Call::padded(call.floats("bias", weight.outputs));
  const float* residual = call.has("residual") ? call.floats("residual", rows * weight.outputs).data : nullptr;
  if (call.has("activation") && call.string("activation") != "gelu") invalid("activation must be 'gelu'");
  Napi::Float32Array output;
  if (call.has("output")) {
    const View<float> given = call.floats("output", rows * weight.outputs);
    const std::less<const float*> before;
    if (before(given.data, input.data + input.size) && before(input.data, given.data + given.size))
      invalid("output must not share memory with input");
    output = call.argument("output").As<Napi::Float32Array>();
  } else {
    output = Napi::Float32Array::New(call.env, static_cast<size_t>(rows * weight.outputs));
  }
  call.operations().linear(call.context, {input.data, rows, &weight, bias.empty() ? nullptr : bias.data(),
                                          call.has("activation"), residual, output.Data(), ValueType::F32});
  return output;
}

Napi::Value call_mixed_attention(const Call& call) {
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
  std::vector<float> source;
  View<int32_t> source_offsets, source_index;
  if (call.has("sourceIndex")) {
    source_index = call.integers("sourceIndex", sequences);
    source_offsets = call.integers("sourceOffsets");
    const View<float> source_key = call.floats("sourceKey"), source_value = call.floats("sourceValue", source_key.size);
    const int64_t sources = call.sequences(source_offsets, "sourceOffsets", call.rows(source_key, "sourceKey", width));
    call.check_range(source_index, "sourceIndex", -1, sources - 1);
    source = interleave(source_key, source_value);
  }

  std::vector<AttentionSequence> list;
  int64_t most_queries = 0, most_keys = 0;
  for (int64_t i = 0; i < sequences; i++) {
    AttentionSequence s{query_offsets.data[i], query_offsets.data[i + 1] - query_offsets.data[i], own_offsets.data[i],
                        own_offsets.data[i + 1] - own_offsets.data[i], nullptr, 0};
    if (source_index.data != nullptr && source_index.data[i] >= 0) {
      const int64_t first = source_offsets.data[source_index.data[i]];
      s.source = source.data() + first * 2 * width;
      s.source_rows = source_offsets.data[source_index.data[i] + 1] - first;
    }
    if (s.queries > 0 && s.own_rows + s.source_rows == 0) invalid("sequence " + std::to_string(i) + " has nothing to attend to");
    most_queries = std::max(most_queries, s.queries);
    most_keys = std::max(most_keys, s.own_rows + s.source_rows);
    list.push_back(s);
  }
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(query.size));
  call.operations().mixed_attention(call.context, {query.data, own.data(), list.data(), sequences, 0, most_queries,
                                                   most_keys, heads, width / heads, output.Data()});
  return output;
}

Napi::Value call_embed(const Call& call) {
  const PackedMatrix& words = call.weight("words");
  const View<int32_t> ids = call.integers("ids"), positions = call.integers("positions", ids.size);
  const View<float> table = call.floats("positionTable");
  call.check_range(ids, "ids", 0, words.outputs - 1);
  call.check_range(positions, "positions", 0, call.rows(table, "positionTable", words.inputs) - 1);
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(ids.size * words.inputs));
  call.operations().embed(call.context, {ids.data, positions.data, ids.size, &words, table.data, output.Data()});
  return output;
}

Napi::Value call_layer_norm(const Call& call) {
  const View<float> input = call.floats("input"), gain = call.floats("scale"), shift = call.floats("shift", gain.size);
  const int64_t rows = call.rows(input, "input", gain.size);
  const double epsilon = call.number("epsilon");
  if (!(epsilon > 0)) invalid("epsilon must be above 0");
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(input.size));
  call.operations().layer_norm(call.context, {input.data, rows, gain.size, gain.data, shift.data,
                                              static_cast<float>(epsilon), output.Data(), nullptr});
  return output;
}

Napi::Value call_mean_rows(const Call& call) {
  const int64_t width = call.integer("width", 1, 1 << 28);
  const View<float> input = call.floats("input");
  const View<int32_t> offsets = call.integers("offsets");
  const int64_t sequences = call.sequences(offsets, "offsets", call.rows(input, "input", width));
  for (int64_t i = 0; i < sequences; i++)
    if (offsets.data[i] == offsets.data[i + 1]) invalid("sequence " + std::to_string(i) + " has no rows");
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(sequences * width));
  call.operations().mean_rows(call.context, {input.data, offsets.data, sequences, width, output.Data()});
  return output;
}

Napi::Value call_gather_rows(const Call& call) {
  const int64_t width = call.integer("width", 1, 1 << 28);
  const View<float> input = call.floats("input");
  const View<int32_t> index = call.integers("index");
  call.check_range(index, "index", 0, call.rows(input, "input", width) - 1);
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(index.size * width));
  call.operations().gather_rows(call.context, {input.data, ValueType::F32, index.data, index.size, width, output.Data()});
  return output;
}

Napi::Value call_lm_head_argmax(const Call& call) {
  const PackedMatrix& weight = call.weight("weight");
  const View<float> states = call.floats("states");
  const int64_t rows = call.rows(states, "states", weight.inputs);
  const std::vector<float> bias = Call::padded(call.floats("bias", weight.outputs));
  const auto mask = static_cast<int32_t>(call.integer("maskTokenId", 4, weight.outputs - 1));
  std::vector<LmHeadPartial> partials(static_cast<size_t>(lm_head_ranges * rows));
  Napi::Int32Array ids = Napi::Int32Array::New(call.env, static_cast<size_t>(rows));
  Napi::Float32Array log_probs = Napi::Float32Array::New(call.env, static_cast<size_t>(rows));
  Napi::Float32Array log_sums = Napi::Float32Array::New(call.env, static_cast<size_t>(rows));
  call.operations().lm_head_argmax(call.context, {states.data, rows, &weight, bias.data(), mask, partials.data(),
                                                  ids.Data(), log_probs.Data(), log_sums.Data()});
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("ids", ids);
  result.Set("logProbs", log_probs);
  result.Set("logSumExp", log_sums);
  return result;
}

Napi::Value call_logits_at(const Call& call) {
  const PackedMatrix& weight = call.weight("weight");
  const View<float> states = call.floats("states");
  const std::vector<float> bias = Call::padded(call.floats("bias", weight.outputs));
  const View<int32_t> rows = call.integers("rows"), ids = call.integers("ids", rows.size);
  call.check_range(rows, "rows", 0, call.rows(states, "states", weight.inputs) - 1);
  call.check_range(ids, "ids", 0, weight.outputs - 1);
  Napi::Float32Array output = Napi::Float32Array::New(call.env, static_cast<size_t>(rows.size));
  call.operations().logits_at(call.context, {states.data, &weight, bias.data(), rows.data, ids.data, rows.size, output.Data()});
  return output;
}

Napi::Value call_remask(const Call& call) {
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
  call.operations().remask(call.context, {new_tokens.Data(), new_scores.Data(), maskable.data, offsets.data, counts.data,
                                          masked_offsets.data(), sequences, most_rows, mask, masked_rows.data()});
  for (const int32_t row : masked_rows) masked.Data()[row] = 1;
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("tokens", new_tokens);
  result.Set("scores", new_scores);
  result.Set("masked", masked);
  return result;
}

Napi::Value call_sample(const Call& call) {
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
  call.operations().sample(
      call.context, {logits.data, rows, vocabulary, mask, static_cast<float>(temperature), static_cast<float>(nucleus),
                     call.seed("seed"), sequences.data, positions.data,
                     static_cast<int32_t>(call.integer("iteration", 0, INT32_MAX)), ids.Data(), log_probs.Data()});
  Napi::Object result = Napi::Object::New(call.env);
  result.Set("ids", ids);
  result.Set("logProbs", log_probs);
  return result;
}

template <Napi::Value (*body)(const Call&)>
Napi::Value checked(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return body(Call(info)); });
}

}  // namespace

Napi::Object define_kernels(Napi::Env env) {
  Napi::Object kernels = Napi::Object::New(env);
  kernels.Set("packWeight", Napi::Function::New<pack_weight>(env, "packWeight"));
  kernels.Set("linear", Napi::Function::New<checked<call_linear>>(env, "linear"));
  kernels.Set("mixedAttention", Napi::Function::New<checked<call_mixed_attention>>(env, "mixedAttention"));
  kernels.Set("embed", Napi::Function::New<checked<call_embed>>(env, "embed"));
  kernels.Set("layerNorm", Napi::Function::New<checked<call_layer_norm>>(env, "layerNorm"));
  kernels.Set("meanRows", Napi::Function::New<checked<call_mean_rows>>(env, "meanRows"));
  kernels.Set("gatherRows", Napi::Function::New<checked<call_gather_rows>>(env, "gatherRows"));
  kernels.Set("lmHeadArgmax", Napi::Function::New<checked<call_lm_head_argmax>>(env, "lmHeadArgmax"));
  kernels.Set("logitsAt", Napi::Function::New<checked<call_logits_at>>(env, "logitsAt"));
  kernels.Set("remask", Napi::Function::New<checked<call_remask>>(env, "remask"));
  kernels.Set("sample", Napi::Function::New<checked<call_sample>>(env, "sample"));
  return kernels;
}

}  // namespace mask_predict
