#include "training/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/host_memory.h"
#include "base/mapped_file.h"
#include "base/philox.h"
#include "base/special_ids.h"
#include "cpu/grain.h"
#include "cpu/instruction_set.h"
#include "cpu/processors.h"
#include "model/safetensors.h"
#include "training/model_files.h"

namespace mask_predict::training {
namespace {

constexpr double initial_deviation = 0.02;  // of matrices and embeddings
const char* const updates_key = "mask_predict_updates";
const char* const note_key = "mask_predict_training";
const char* const first_prefix = "first_moment.";
const char* const second_prefix = "second_moment.";
const char* const average_prefix = "average.";

std::string gibibytes(uint64_t bytes) {
  const uint64_t hundredths = (bytes * 100 + (uint64_t{1} << 29)) >> 30;
  return std::to_string(hundredths / 100) + "." + std::to_string(hundredths / 10 % 10) +
         std::to_string(hundredths % 10) + " GiB";
}

// A number of its own for each name, so that what is drawn for a tensor does not depend on the others.
uint32_t stream_of(const std::string& name) {
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return hash;
}

StepTotals totals_of(const std::vector<Batch>& batches) {
  StepTotals totals;
  for (const Batch& batch : batches) {
    totals.masked += batch.masked();
    totals.targets += batch.targets;
  }
  return totals;
}

}  // namespace

Trainer::Trainer(const TrainerRequest& request, const TrainerOptions& options,
                 const std::function<void(double)>& progress, const std::atomic<bool>& cancelled)
    : options_(options) {
  pool_ = std::make_unique<cpu::ThreadPool>(options.threads > 0 ? options.threads : cpu::available_processors());
  const cpu::Kernels& set = cpu::kernels_for("");
  context_ = {&cpu::training_kernels_for(set, false), pool_.get(),
              &cpu::training_kernels_for(set, options.rounded_products)};
  limit_ = options.memory_limit > 0 ? options.memory_limit : available_memory();
  budget_ = std::make_shared<MemoryBudget>(limit_);
  if (request.architecture) {
    config_ = *request.architecture;
    const bool token_types = config_.token_types > 0;
    config_.token_types = std::max<int64_t>(1, config_.token_types);
    table_ = std::make_unique<ParameterTable>(
        config_, ParameterChoices{token_types, options.freeze_embeddings, options.decay_all});
    allocate("a new model");
    for (const ParameterTensor& tensor : table_->tensors()) {
      if (cancelled.load()) throw Cancelled();
      if (request.draw) draw(tensor);
    }
    progress(1);
  } else {
    read(request.directory, progress, cancelled);
  }
  if (options.attention) config_.attention = *options.attention;
  pieces_ = optimizer_pieces(table_->trained_ranges());
  if (averages()) std::memcpy(average_.as<float>(), weights_.as<float>(), weights_.bytes());
}

void Trainer::read(const std::string& directory, const std::function<void(double)>& progress,
                   const std::atomic<bool>& cancelled) {
  const ModelFiles files = open_model(directory, options_.mask_token_id, options_.new_head);
  config_ = files.config;
  if (config_.lengths == 0) {
    // Class n is a length of n ids: one for each that the positions allow.
    config_.lengths = options_.lengths > 0 ? options_.lengths : config_.max_ids() + 1;
    added_length_head_ = true;
  }
  table_ = std::make_unique<ParameterTable>(
      config_, ParameterChoices{files.token_types, options_.freeze_embeddings, options_.decay_all});
  allocate("the model in " + directory);
  read_weights(
      files, *table_, weights_.as<float>(), [this](const ParameterTensor& tensor) { draw(tensor); }, progress,
      cancelled);
}

void Trainer::allocate(const std::string& purpose) {
  const auto bytes = [](int64_t floats) { return static_cast<uint64_t>(floats) * sizeof(float); };
  const int64_t averaged = averages() ? table_->count() : 0;
  const uint64_t all = bytes(table_->count() + averaged + 3 * table_->trained_count());
  if (all > limit_)
    throw Error(ErrorCode::OutOfMemory,
                purpose + " needs " + gibibytes(all) + " for weights, gradients and moments, but the limit is " +
                    gibibytes(limit_) + "; raise memoryLimit, " +
                    (options_.freeze_embeddings ? "or train a smaller model"
                                                : "freeze the embeddings, or train a smaller model"));
  weights_ = Buffer(bytes(table_->count()), budget_, "weights");
  if (averages()) average_ = Buffer(bytes(averaged), budget_, "the average of the weights");
  gradients_ = Buffer(bytes(table_->trained_count()), budget_, "gradients");
  first_ = Buffer(bytes(table_->trained_count()), budget_, "the optimiser's first moments");
  second_ = Buffer(bytes(table_->trained_count()), budget_, "the optimiser's second moments");
}

// Matrices and embeddings are normal with a deviation of 0.02, gains 1, shifts and biases 0, the row of <pad> 0. By
// Box and Muller from two words each of Philox(seed; index / 2, tensor).
void Trainer::draw(const ParameterTensor& tensor) {
  float* const values = weights_.as<float>() + tensor.offset;
  if (tensor.kind != ParameterTensor::Kind::Matrix && tensor.kind != ParameterTensor::Kind::Embedding) {
    std::fill_n(values, tensor.count, tensor.kind == ParameterTensor::Kind::Gain ? 1.0f : 0.0f);
    return;
  }
  const uint32_t stream = stream_of(tensor.name);
  const int64_t fours = (tensor.count + 3) / 4;
  pool_->parallel_for(fours, cpu::grain_for(fours, 64, pool_->size()), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      uint32_t words[4] = {static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), stream, 0};
      philox(options_.seed, words);
      for (int pair = 0; pair < 2; pair++) {
        const double u = (static_cast<double>(words[2 * pair]) + 0.5) * 0x1p-32;
        const double angle = 2 * std::acos(-1.0) * static_cast<double>(words[2 * pair + 1]) * 0x1p-32;
        const double radius = initial_deviation * std::sqrt(-2 * std::log(u));
        const int64_t at = 4 * i + 2 * pair;
        if (at < tensor.count) values[at] = static_cast<float>(radius * std::cos(angle));
        if (at + 1 < tensor.count) values[at + 1] = static_cast<float>(radius * std::sin(angle));
      }
    }
  });
  if (tensor.offset == table_->words) std::fill_n(values + pad_id * config_.hidden, config_.hidden, 0.0f);
}

TrainerMemory Trainer::memory() const {
  return {weights_.bytes(),   average_.bytes(),
          gradients_.bytes(), first_.bytes() + second_.bytes(),
          working_.bytes(),   limit_};
}

namespace {

// Every row may be masked, and a source and its target have at least five rows.
PlanSizes sizes_for(int64_t rows) { return {rows, rows, (rows + 4) / 5}; }

}  // namespace

uint64_t Trainer::bytes_for(int64_t rows) const {
  const Plan plan(config_, options_.recompute, sizes_for(rows));
  return weights_.bytes() + average_.bytes() + gradients_.bytes() + first_.bytes() + second_.bytes() + plan.bytes();
}

void Trainer::reserve(int64_t rows) { reserve_for(sizes_for(rows)); }

// The plan for what is asked and what there was; before the old memory goes, whether the new one fits.
void Trainer::reserve_for(const PlanSizes& asked) {
  if (plan_ && plan_->sizes().covers(asked)) return;
  PlanSizes sizes = asked;
  if (plan_)
    sizes = {std::max(sizes.rows, plan_->sizes().rows), std::max(sizes.masked, plan_->sizes().masked),
             std::max(sizes.sources, plan_->sizes().sources)};
  auto plan = std::make_unique<Plan>(config_, options_.recompute, sizes);
  const uint64_t others = budget_->used() - working_.bytes();
  if (others + plan->bytes() > limit_)
    throw Error(ErrorCode::OutOfMemory,
                "a step of " + std::to_string(sizes.rows) + " rows needs " + gibibytes(plan->bytes()) + " beside " +
                    gibibytes(others) + " of weights, gradients and moments, but the limit is " + gibibytes(limit_) +
                    "; " + (options_.recompute == Recompute::Layer ? "" : "recompute: 'layer' needs less, as do ") +
                    (options_.recompute == Recompute::Layer ? "fewer rows need less" : "fewer rows") +
                    " (in several parts, if the step is to stay as large); or raise memoryLimit");
  working_ = Buffer();
  plan_ = nullptr;
  working_ = Buffer(plan->bytes(), budget_, "the memory of a step");
  plan_ = std::move(plan);
  buffers_ = plan_->bind(working_.as<float>());
}

LossSums Trainer::run(const std::vector<Batch>& batches, const StepTotals& totals, const DropoutDraws& draws,
                      const float* weights, bool backward, const std::atomic<bool>& cancelled) {
  LossSums sums;
  int64_t first_row = 0;
  for (const Batch& batch : batches) {
    Pass pass({context_, config_, *table_, options_.objective, options_.recompute, weights, gradients_.as<float>()},
              buffers_, batch, draws, first_row, cancelled);
    const LossSums part = pass.forward();
    sums.tokens.negative_log_likelihood += part.tokens.negative_log_likelihood;
    sums.tokens.smoothed += part.tokens.smoothed;
    sums.lengths += part.lengths;
    if (backward) pass.backward(totals);
    first_row += batch.rows;
  }
  return sums;
}

StepResult Trainer::result_of(const LossSums& sums, const StepTotals& totals) const {
  const auto masked = static_cast<double>(totals.masked), targets = static_cast<double>(totals.targets);
  StepResult result;
  result.nll = sums.tokens.negative_log_likelihood / masked;
  result.length_loss = sums.lengths / targets;
  result.loss = sums.tokens.smoothed / masked + options_.objective.length_weight * result.length_loss;
  result.masked_tokens = totals.masked;
  result.examples = totals.targets;
  return result;
}

namespace {

std::vector<Batch> batches_of(const std::vector<StepPart>& parts, const ModelConfig& config) {
  std::vector<Batch> batches;
  for (const StepPart& part : parts)
    batches.push_back(make_batch(part, static_cast<int32_t>(config.mask_token_id), config.attention));
  if (totals_of(batches).masked == 0)
    throw Error(
        ErrorCode::InvalidArgument,
        "no position of any target is masked: there is nothing to predict (a position is predicted where target "
        "and gold differ, or the target is <mask>)");
  return batches;
}

PlanSizes largest(const std::vector<Batch>& batches) {
  PlanSizes sizes;
  for (const Batch& batch : batches) {
    sizes.rows = std::max(sizes.rows, batch.rows);
    sizes.masked = std::max(sizes.masked, batch.masked());
    sizes.sources = std::max(sizes.sources, static_cast<int64_t>(batch.groups.size()));
  }
  return sizes;
}

}  // namespace

StepResult Trainer::step(const std::vector<StepPart>& parts, const StepOptions& options,
                         const std::atomic<bool>& cancelled) {
  const std::vector<Batch> batches = batches_of(parts, config_);
  const StepTotals totals = totals_of(batches);
  reserve_for(largest(batches));
  std::memset(gradients_.as<float>(), 0, gradients_.bytes());
  const LossSums sums =
      run(batches, totals, {options_.dropout, options.seed, options.step}, weights_.as<float>(), true, cancelled);
  StepResult result = result_of(sums, totals);
  result.gradient_norm = gradient_norm(context_, pieces_, gradients_.as<float>());
  if (cancelled.load()) throw Cancelled();
  if (!options.update) return result;
  if (!std::isfinite(result.gradient_norm) || !std::isfinite(result.loss))
    throw Error(ErrorCode::InvalidArgument,
                "the loss or its gradient is not a finite number (loss " + std::to_string(result.loss) +
                    "): the weights are as they were before this step. Go back to a checkpoint, with a lower learning "
                    "rate or a longer warm-up");
  adam_update(context_, options_.adam, pieces_,
              {weights_.as<float>(), gradients_.as<float>(), first_.as<float>(), second_.as<float>(),
               result.gradient_norm, options.learning_rate, updates_ + 1, averages() ? average_.as<float>() : nullptr});
  updates_++;
  return result;
}

StepResult Trainer::evaluate(const std::vector<StepPart>& parts, const std::atomic<bool>& cancelled) {
  const std::vector<Batch> batches = batches_of(parts, config_);
  const StepTotals totals = totals_of(batches);
  reserve_for(largest(batches));
  return result_of(run(batches, totals, {}, result(), false, cancelled), totals);
}

std::vector<std::pair<std::string, std::vector<float>>> Trainer::gradients() const {
  std::vector<std::pair<std::string, std::vector<float>>> all;
  for (const ParameterTensor& tensor : table_->tensors()) {
    if (!tensor.trained) continue;
    const float* const values = gradients_.as<float>() + tensor.offset;
    all.emplace_back(tensor.name, std::vector<float>(values, values + tensor.count));
  }
  return all;
}

std::vector<TensorToWrite> Trainer::tensors(const std::string& prefix, const float* values, bool only_trained) const {
  std::vector<TensorToWrite> all;
  for (const ParameterTensor& tensor : table_->tensors())
    if (tensor.trained || !only_trained) all.push_back({prefix + tensor.name, tensor.shape, values + tensor.offset});
  return all;
}

void Trainer::save(const std::string& path, WeightType type, const std::atomic<bool>& cancelled) const {
  write_safetensors(path, tensors("", result(), false), type, {{"format", "pt"}}, cancelled);
}

void Trainer::save_state(const std::string& path, const std::string& note, const std::atomic<bool>& cancelled) const {
  std::vector<TensorToWrite> all = tensors("", weights_.as<float>(), false);
  if (averages())
    for (const TensorToWrite& tensor : tensors(average_prefix, average_.as<float>(), true)) all.push_back(tensor);
  for (const TensorToWrite& tensor : tensors(first_prefix, first_.as<float>(), true)) all.push_back(tensor);
  for (const TensorToWrite& tensor : tensors(second_prefix, second_.as<float>(), true)) all.push_back(tensor);
  write_safetensors(path, all, WeightType::F32, {{note_key, note}, {updates_key, std::to_string(updates_)}}, cancelled);
}

void Trainer::load_state(const std::string& path, const std::atomic<bool>& cancelled) {
  const MappedFile file(path);
  const SafetensorsContents contents = read_safetensors(file.data(), file.size(), path);
  const auto updates = contents.metadata.find(updates_key);
  if (updates == contents.metadata.end() || updates->second.empty() || updates->second.size() > 15 ||
      updates->second.find_first_not_of("0123456789") != std::string::npos)
    throw Error(ErrorCode::ModelFormat, path + ": is no checkpoint of a training (it has no \"" + updates_key + "\")");
  std::map<std::string, const Tensor*> by_name;
  for (const Tensor& tensor : contents.tensors) by_name[tensor.name] = &tensor;

  std::vector<std::pair<const Tensor*, float*>> copies;
  const auto add = [&](const std::string& prefix, float* values, bool only_trained) {
    for (const TensorToWrite& wanted : tensors(prefix, values, only_trained)) {
      const auto found = by_name.find(wanted.name);
      if (found == by_name.end() || found->second->type != TensorType::F32 || found->second->shape != wanted.shape)
        throw Error(ErrorCode::ModelFormat,
                    path + ": tensor \"" + wanted.name + "\" is missing or of another type or shape than the model's");
      copies.emplace_back(found->second, const_cast<float*>(wanted.values));
    }
  };
  add("", weights_.as<float>(), false);
  if (averages()) add(average_prefix, average_.as<float>(), true);
  add(first_prefix, first_.as<float>(), true);
  add(second_prefix, second_.as<float>(), true);
  for (const auto& [tensor, values] : copies) {
    if (cancelled.load()) throw Cancelled();
    std::memcpy(values, tensor->data, tensor->bytes);
    file.release(static_cast<uint64_t>(tensor->data - file.data()), tensor->bytes);
  }
  if (averages()) {
    // Frozen weights are their own average.
    const int64_t first = table_->trained_count();
    std::copy_n(weights_.as<float>() + first, table_->count() - first, average_.as<float>() + first);
  }
  updates_ = std::stoll(updates->second);
}

}  // namespace mask_predict::training
