// The Mask-Predict loop, section 3.3. Engine::advance runs a part of it for any set of targets; encode, read, predict,
// decode and log_probs call it.
//
// A target begins as <s> <mask> ... <mask> </s>, or with some positions given. N positions are masked at the start, and
// there are T passes. For t = 1 ... T:
//
//   1. Predict. The target goes through the layer stack, eq. (7); the last layer and the head compute only the masked
//      positions. Each of them gets the allowed id with the highest probability (or a drawn one), and as its score the
//      log-probability of that id. The others keep id and score.
//   2. Mask again the n = floor(N (T - t) / T) of the N positions that have the lowest scores; a tie goes to the lower
//      position. Their scores are forgotten. A bound keeps positions whose score is above it (bounded_count).
//
// The target is done when no position was masked again, or earlier if its stopping rule holds.
//
// The host knows every n in advance, because it depends on N, T and t alone. So it plans several iterations and runs
// them without reading a result, each in a CUDA graph where the device has them; only a bound, a stopping rule or somebody
// who watches makes it look at each pass.
#include "engine/mask_predict.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/engine.h"
#include "engine/padding.h"

namespace mask_predict {
namespace {

// Number of iterations that are planned together, so that their arrays go to the device at once: if nobody may interrupt
// the call, and if somebody may. A cancelled call waits for two of them at most, the one that runs and the one behind it.
constexpr int64_t planned_iterations = 32;
constexpr int64_t interruptible_iterations = 4;

bool stops(const TargetWork& work, const TargetBatch::Values& now) {
  switch (work.stop.kind) {
    case StopRule::Never: return false;
    case StopRule::Unchanged: return work.passed > 0 && now.tokens == work.target->predicted;
    case StopRule::Confident:
      for (size_t p = 0; p < now.scores.size(); p++)
        if (work.target->maskable[p] && !(now.scores[p] >= work.stop.log_prob)) return false;
      return true;
  }
  return false;
}

}  // namespace

int32_t bounded_count(const Target& target, const std::vector<float>& scores, int64_t most, float below) {
  if (below >= 0) return static_cast<int32_t>(most);
  int64_t unsure = 0;
  for (size_t p = 0; p < scores.size(); p++) unsure += target.maskable[p] && !(scores[p] > below);
  return static_cast<int32_t>(std::min(most, unsure));
}

int64_t TargetWork::last_pass() const {
  const int64_t n = target->maskable_count;
  return n == 0 ? 1 : iterations - (iterations + n - 1) / n + 1;
}

int64_t TargetWork::count_after(int64_t t) const { return target->maskable_count * (iterations - t) / iterations; }

int64_t Engine::advance(const Sources& all_sources, const std::vector<TargetWork*>& works, const Signals& signals) {
  // Readings of one kind one behind the other, after what is kept.
  Sources sources = all_sources;
  const auto kind_of = [](const auto& source) { return source->reading ? 1 + source->reading->kind : 0; };
  std::stable_sort(sources.begin(), sources.end(),
                   [&](const auto& a, const auto& b) { return kind_of(a) < kind_of(b); });
  context_.cancelled = &signals.cancelled;
  begin_pass();
  std::vector<TargetWork*> order;
  for (TargetWork* work : works) {
    if (work->target->masked_count > 0) {
      order.push_back(work);
      continue;
    }
    work->state = TargetWork::Done;
    if (work->candidates)
      work->log_probs.assign(work->candidates->size(), std::vector<float>(work->target->masked.size()));
  }
  if (order.empty() && sources.empty()) return 0;
  // Sort targets that draw their tokens to the end: the head then takes the best ids of all rows before them in one
  // call.
  std::stable_partition(order.begin(), order.end(), [](const TargetWork* work) { return !work->sampling; });

  Targets targets;
  bool scoring = false, looking = false;
  int64_t end = std::numeric_limits<int64_t>::max();  // passes until the first target has to leave
  for (const TargetWork* work : order) {
    targets.push_back(work->target);
    scoring = scoring || work->candidates;
    looking = looking || work->watched || work->stop.kind != StopRule::Never || work->remask_below < 0;
    end = std::min(end, std::max<int64_t>(std::min(work->until, work->last_pass()) - work->passed, 1));
  }
  if (scoring || !sources.empty()) end = 1;
  int64_t together = signals.interrupted != nullptr ? interruptible_iterations : planned_iterations;
  const bool can_capture = context_.operations->begin_capture != nullptr;
  if (looking || !can_capture) together = 1;
  // Sources come once, so a graph of them would not be used again. Drawing and scoring read numbers from the device in
  // between.
  const bool drawing = !order.empty() && order.back()->sampling;
  const bool in_graph = can_capture && sources.empty() && !drawing && !scoring;

  TargetBatch batch(std::move(targets), arena_, in_graph ? TargetBatch::Use::InGraph : TargetBatch::Use::Once, config(),
                    sources);
  const DeviceArena::Mark mark = arena_.mark();
  int64_t done = 0;
  for (bool leave = false; !leave;) {
    arena_.rewind(mark);
    std::vector<TargetBatch::Iteration> planned;
    const int64_t count = std::min(together, end - done);
    for (int64_t ahead = 1; ahead <= count; ahead++) planned.push_back(plan(batch, order, ahead, looking));
    if (scoring || !sources.empty()) {
      const HeadAnswers head = run_iteration(batch, planned.front());
      finish_sources(sources, planned.front().masked);
      answer(sources, planned.front().masked);
      if (scoring) score_candidates(planned.front(), head, order);
    } else {
      run_iterations(batch, planned);
    }
    if (looking) leave = look(batch, order);
    for (TargetWork* work : order) {
      work->passed += count;
      if (work->sampling) work->sampling->iteration += count;
    }
    done += count;
    leave = leave || done >= end;
    if (signals.interrupted != nullptr && !leave) leave = signals.interrupted->load();
  }
  throw_if_cancelled();

  const TargetBatch::Values now = batch.values();
  for (size_t i = 0; i < order.size(); i++) {
    TargetWork& work = *order[i];
    if (work.candidates) continue;
    if (work.passed >= work.last_pass()) work.state = TargetWork::Done;
    if (!batch.publish(i, now, mask_token_id())) work.state = TargetWork::NotNumbers;
  }
  return done;
}

// The padded number of masked rows of the iteration `ahead` of what has been done. If all targets are in the same pass
// t of the same T, it depends on t, T and the padded number N of all their positions, of which at most N (T - t + 1) /
// T are masked then: so one CUDA graph serves texts of other lengths. In the first pass the caller chose the masks.
int64_t Engine::padded_masked(const TargetBatch& batch, const std::vector<TargetWork*>& works, int64_t ahead) const {
  const int64_t masked = batch.masked_count();
  if (batch.use() == TargetBatch::Use::Once) return masked;
  const int64_t iterations = works.front()->iterations, pass = works.front()->passed + ahead;
  const bool together = std::all_of(works.begin(), works.end(), [&](const TargetWork* work) {
    return work->iterations == iterations && work->passed + ahead == pass;
  });
  const int64_t padded = padded_rows(masked);
  if (!together || pass == 1) return padded;
  const int64_t most = (padded_rows(batch.maskable_count()) * (iterations - pass + 1) + iterations - 1) / iterations;
  return std::max(padded, padded_rows(most));
}

// The iteration `ahead` of what has been done. Where each pass is looked at, what to mask again is known after it.
TargetBatch::Iteration Engine::plan(TargetBatch& batch, const std::vector<TargetWork*>& works, int64_t ahead,
                                    bool looking) {
  std::vector<int32_t> counts;
  for (const TargetWork* work : works)
    counts.push_back(looking || work->candidates ? 0 : static_cast<int32_t>(work->count_after(work->passed + ahead)));
  TargetBatch::Iteration iteration = batch.plan(counts, mask_token_id(), padded_masked(batch, works, ahead));
  for (size_t i = 0; i < works.size(); i++) {
    if (!works[i]->sampling) continue;
    Sampling sampling = *works[i]->sampling;
    sampling.iteration += ahead - 1;
    iteration.draws.push_back({iteration.masked_offsets[i], iteration.masked_offsets[i + 1], sampling});
  }
  return iteration;
}

// After a pass: copies tokens and scores for watched targets, applies the stopping rules, and masks again. Returns true
// if a target is done.
bool Engine::look(TargetBatch& batch, const std::vector<TargetWork*>& works) {
  const TargetBatch::Values all = batch.values();
  std::vector<int32_t> counts;
  bool any = false;
  for (size_t i = 0; i < works.size(); i++) {
    TargetWork& work = *works[i];
    TargetBatch::Values now = batch.of_target(i, all);
    const bool goes_on = !work.candidates && !stops(work, now);
    counts.push_back(
        goes_on ? bounded_count(*work.target, now.scores, work.count_after(work.passed + 1), work.remask_below) : 0);
    if (!work.candidates && counts.back() == 0) {
      work.state = TargetWork::Done;
      any = true;
    }
    if (work.stop.kind == StopRule::Unchanged) work.target->predicted = now.tokens;
    if (!work.watched) continue;
    work.tokens = std::move(now.tokens);
    work.scores = std::move(now.scores);
  }
  batch.remask(context_, counts, mask_token_id());
  return any;
}

// Stores the final states of the sources that keep them, and the length logits computed from these states. The states
// lie behind `first` other rows.
void Engine::finish_sources(Sources sources, int64_t first) {
  // Rows of a source without states are there where its keys and values were made of them.
  sources.erase(std::remove_if(sources.begin(), sources.end(),
                               [](const auto& source) { return source->reading || source->wanted.empty(); }),
                sources.end());
  const ModelConfig& c = config();
  const float* const states = workspace_.states + first * c.hidden;
  std::vector<int32_t> offsets = {0};
  for (const std::shared_ptr<Source>& source : sources) {
    if (source->has_states())
      context_.operations->download(context_, source->states.as<void>(), states + offsets.back() * c.hidden,
                                    source->states.bytes());
    offsets.push_back(static_cast<int32_t>(offsets.back() + source->length()));
  }
  if (sources.empty() || !weights_->lengths) return;
  const int64_t count = static_cast<int64_t>(sources.size());
  context_.operations->mean_rows(context_, {states, arena_.put(offsets), count, c.hidden, workspace_.attention});
  float* logits = arena_.take<float>(count * c.lengths);
  context_.operations->linear(
      context_, {workspace_.attention, count, &weights_->lengths, nullptr, false, nullptr, logits, ValueType::F32});
  for (const std::shared_ptr<Source>& source : sources) {
    float* const of_source = std::exchange(logits, logits + c.lengths);
    if (source->has_states()) source->length_logits = arena_.get(of_source, c.lengths);
  }
}

std::vector<float> Engine::log_probs_at(const void* transformed, const std::vector<int32_t>& rows,
                                        const std::vector<int32_t>& ids, const std::vector<float>& log_sums) {
  const auto count = static_cast<int64_t>(rows.size());
  std::vector<int32_t> head_rows;
  for (const int32_t id : ids) head_rows.push_back(std::max(head_.row_of(id), 0));
  float* logits = arena_.take<float>(count);
  context_.operations->logits_at(head_context(), {transformed, &head_.matrix(), head_.bias(), arena_.put(rows),
                                                  arena_.put(head_rows), count, logits});
  std::vector<float> log_probs = arena_.get(logits, count);
  for (size_t i = 0; i < log_probs.size(); i++)
    log_probs[i] = head_.row_of(ids[i]) < 0 ? -std::numeric_limits<float>::infinity()
                                            : log_probs[i] - log_sums[static_cast<size_t>(rows[i])];
  return log_probs;
}

// Scores candidates, eq. (2)-(4) and section 5.1: the log-probability of each candidate's id at every masked position,
// from the iteration's rows as the head has transformed them.
void Engine::score_candidates(const TargetBatch::Iteration& iteration, const HeadAnswers& head,
                              const std::vector<TargetWork*>& works) {
  const std::vector<float> log_sums = arena_.get(head.log_sums, iteration.best());
  std::vector<int32_t> rows, ids;
  const auto of_masked = [&](size_t i, const auto& use) {
    int32_t row = iteration.masked_offsets[i];
    for (size_t p = 0; p < works[i]->target->masked.size(); p++)
      if (works[i]->target->masked[p]) use(p, row++);
  };
  for (size_t i = 0; i < works.size(); i++)
    if (works[i]->candidates)
      for (const std::vector<int32_t>& candidate : *works[i]->candidates)
        of_masked(i, [&](size_t p, int32_t row) {
          rows.push_back(row);
          ids.push_back(candidate[p]);
        });
  const std::vector<float> log_probs = log_probs_at(workspace_.normed, rows, ids, log_sums);
  size_t next = 0;
  for (size_t i = 0; i < works.size(); i++) {
    TargetWork& work = *works[i];
    if (!work.candidates) continue;
    work.state = TargetWork::Done;
    of_masked(i, [&](size_t, int32_t row) {
      if (std::isnan(log_sums[static_cast<size_t>(row)])) work.state = TargetWork::NotNumbers;
    });
    for (size_t candidate = 0; candidate < work.candidates->size(); candidate++) {
      std::vector<float> result(work.target->masked.size(), 0.0f);
      of_masked(i, [&](size_t p, int32_t) { result[p] = log_probs[next++]; });
      work.log_probs.push_back(std::move(result));
    }
  }
}

Sources Engine::encode(const std::vector<std::vector<int32_t>>& ids, bool with_states,
                       const std::atomic<bool>& cancelled) {
  Sources sources;
  for (const std::vector<int32_t>& source_ids : ids) sources.push_back(new_source(source_ids, with_states));
  read(sources, cancelled);
  return sources;
}

void Engine::read(const Sources& sources, const std::atomic<bool>& cancelled) {
  std::vector<int64_t> lengths;
  for (const std::shared_ptr<Source>& source : sources) lengths.push_back(source->length());
  in_passes(sources, lengths, [&](const Sources& part) { advance(part, {}, {cancelled}); });
}

void Engine::run_to_end(std::vector<TargetWork>& works, const std::atomic<bool>& cancelled) {
  std::vector<TargetWork*> order;
  std::vector<int64_t> lengths;
  for (TargetWork& work : works) order.push_back(&work);
  // Targets that end together go together, so that a batch keeps its rows until its end.
  std::stable_sort(order.begin(), order.end(),
                   [](const TargetWork* a, const TargetWork* b) { return a->last_pass() > b->last_pass(); });
  for (const TargetWork* work : order) lengths.push_back(work->target->length());
  in_passes(order, lengths, [&](std::vector<TargetWork*> part) {
    while (!part.empty()) {
      advance({}, part, {cancelled});
      for (const TargetWork* work : part)
        if (work->state == TargetWork::NotNumbers) throw not_numbers("logits");
      part.erase(std::remove_if(part.begin(), part.end(),
                                [](const TargetWork* work) { return work->state == TargetWork::Done; }),
                 part.end());
    }
  });
}

void Engine::predict(const Targets& targets, const std::optional<Sampling>& sampling,
                     const std::atomic<bool>& cancelled) {
  std::vector<TargetWork> works(targets.size());
  for (size_t i = 0; i < works.size(); i++) {
    works[i].target = targets[i];
    works[i].sampling = sampling;
  }
  run_to_end(works, cancelled);
}

std::vector<int32_t> Engine::decode(const Targets& targets, int64_t iterations, const std::optional<Sampling>& sampling,
                                    const StopRule& stop, float remask_below, const std::atomic<bool>& cancelled) {
  std::vector<TargetWork> works(targets.size());
  for (size_t i = 0; i < works.size(); i++) {
    works[i].target = targets[i];
    works[i].iterations = works[i].until = iterations;
    works[i].sampling = sampling;
    works[i].stop = stop;
    works[i].remask_below = remask_below;
  }
  run_to_end(works, cancelled);
  std::vector<int32_t> passes;
  for (const TargetWork& work : works) passes.push_back(static_cast<int32_t>(work.passed));
  return passes;
}

std::vector<std::vector<std::vector<float>>> Engine::log_probs(
    const Targets& targets, std::vector<std::vector<std::vector<int32_t>>> candidates,
    const std::atomic<bool>& cancelled) {
  std::vector<TargetWork> works(targets.size());
  for (size_t i = 0; i < works.size(); i++) {
    works[i].target = targets[i];
    works[i].candidates = std::move(candidates[i]);
  }
  run_to_end(works, cancelled);
  std::vector<std::vector<std::vector<float>>> all;
  for (TargetWork& work : works) all.push_back(std::move(work.log_probs));
  return all;
}

}  // namespace mask_predict
