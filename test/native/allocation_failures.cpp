// Every allocation fails once, and once it and all after it: while a model loads, and in every call of an engine. Each
// time the call succeeds or ends in Error(OutOfMemory) or std::bad_alloc (a thread that cannot start: Error(Device)),
// gives back what it took, and the next call has the same bits as ever.
//   allocation_failures DEVICE [MODEL-DIRECTORY]
// Without a directory the model is a small random one.
#include <cstdio>
#include <cstring>
#include <functional>
#include <new>
#include <optional>

#include "allocations.h"
#include "base/error.h"
#include "engine/model_loader.h"
#include "masked_target.h"

using namespace mask_predict;
using allocations::alive;
using allocations::countdown;

namespace {

const std::atomic<bool> never{false};
int failures = 0;

void expect(bool condition, const std::string& what) {
  if (condition || ++failures > 20) return;
  std::printf("FAILED: %s\n", what.c_str());
}

// The result of a call, as bytes that can be compared.
using Bits = std::string;
template <class T>
Bits bits_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

LoadOptions options;
ModelRequest request;

LoadedModel load() {
  return load_model(
      request, options, [](double) {}, never);
}

ModelConfig small_architecture() {
  ModelConfig config;
  config.model_type = "xlm-roberta";
  config.layers = 1;
  config.hidden = config.feed_forward = config.vocabulary = 32;
  config.max_positions = 16;
  config.heads = 1;
  config.mask_token_id = config.vocabulary - 1;
  config.lengths = 16;
  return config;
}

std::shared_ptr<Source> encode(Engine& engine, bool with_states = true) {
  std::vector<int32_t> ids = {0};
  for (int32_t id = 3; id < 8; id++) ids.push_back(id);
  ids.push_back(2);
  return engine.encode({ids, {0, 7, 2}}, with_states, never)[0];
}

Targets targets_over(const Engine& engine, const std::shared_ptr<Source>& source) {
  return {masked_target(engine, source, 5), masked_target(engine, source, 8)};
}

Bits state_of(const Targets& targets) {
  Bits bits;
  for (const ActiveTarget& target : targets)
    bits += bits_of(target->tokens) + bits_of(target->scores) + bits_of(target->masked);
  return bits;
}

using Call = std::function<Bits(Engine&, const std::shared_ptr<Source>&)>;
struct NamedCall {
  const char* name;
  Call run;
};

const NamedCall calls[] = {
    {"encode", [](Engine& engine, const auto&) { return encode(engine)->has_states() ? Bits("encoded") : Bits(); }},
    {"encode without states",
     [](Engine& engine, const auto&) { return encode(engine, false)->has_states() ? Bits("states") : Bits(); }},
    {"predict",
     [](Engine& engine, const auto& source) {
       const Targets targets = targets_over(engine, source);
       engine.predict(targets, std::nullopt, never);
       return state_of(targets);
     }},
    {"remask",
     [](Engine& engine, const auto& source) {
       const Targets targets = targets_over(engine, source);
       engine.predict(targets, std::nullopt, never);
       engine.remask(targets, {1, 4}, 0);
       return state_of(targets);
     }},
    {"decode",
     [](Engine& engine, const auto& source) {
       const Targets targets = targets_over(engine, source);
       engine.decode(targets, 3, std::nullopt, {}, 0, never);
       return state_of(targets);
     }},
    {"decode with sampling",
     [](Engine& engine, const auto& source) {
       const Targets targets = targets_over(engine, source);
       engine.decode(targets, 3, Sampling{7, 3, 1}, {}, 0, never);
       return state_of(targets);
     }},
    {"decode until nothing changes",
     [](Engine& engine, const auto& source) {
       const Targets targets = targets_over(engine, source);
       engine.decode(targets, 3, std::nullopt, {StopRule::Unchanged}, -1, never);
       return state_of(targets);
     }},
    {"advance with a new source",
     [](Engine& engine, const auto& source) {
       const Targets targets = targets_over(engine, source);
       std::vector<TargetWork> works(targets.size());
       std::vector<TargetWork*> order;
       for (size_t i = 0; i < works.size(); i++) {
         works[i].target = targets[i];
         works[i].iterations = works[i].until = 3;
         works[i].watched = true;
         order.push_back(&works[i]);
       }
       engine.advance({engine.new_source({0, 9, 4, 2}, true)}, order, {never});
       Bits bits = state_of(targets);
       for (const TargetWork& work : works) bits += bits_of(work.tokens) + bits_of(work.scores);
       return bits;
     }},
    {"logits",
     [](Engine& engine, const auto& source) {
       Bits bits;
       for (const auto& values : engine.logits(targets_over(engine, source), never)) bits += bits_of(values);
       return bits;
     }},
    {"states",
     [](Engine& engine, const auto& source) {
       Bits bits;
       for (const auto& values : engine.states(targets_over(engine, source), never)) bits += bits_of(values);
       return bits;
     }},
    {"log_probs",
     [](Engine& engine, const auto& source) {
       const Targets targets = targets_over(engine, source);
       Bits bits;
       for (const auto& target : engine.log_probs(targets, {{targets[0]->tokens}, {targets[1]->tokens}}, never))
         for (const auto& values : target) bits += bits_of(values);
       return bits;
     }},
};

// Runs `body` with the n-th allocation failing, for n from 1 on until none fails any more. After each, `use` must work
// as ever and leave as much memory taken as it does without a failure. How many allocations there are.
uint64_t sweep(const char* name, bool lasting, const std::function<void()>& body, const std::function<void()>& use) {
  use();
  const int64_t before = alive();
  for (uint64_t n = 1;; n++) {
    std::optional<std::string> wrong;
    bool refused = true;
    countdown.set(n, lasting);
    try {
      body();
      refused = false;
    } catch (const Error& error) {
      countdown.set(0, false);
      const bool thread = error.code == ErrorCode::Device && std::strstr(error.what(), "thread") != nullptr;
      if (error.code != ErrorCode::OutOfMemory && !thread) wrong = error.what();
    } catch (const std::bad_alloc&) {
    }
    const bool failed = refused || countdown.has_failed();
    countdown.set(0, false);
    use();
    const int64_t left = alive() - before;
    const std::string where =
        std::string(name) + ", allocation " + std::to_string(n) + (lasting ? " and all after it" : "");
    if (wrong)
      expect(false, where + ": " + *wrong);
    else
      expect(left == 0, where + " left " + std::to_string(left));
    if (!failed || failures > 20) return n - 1;
  }
}

void try_loading(bool lasting) {
  const auto load_and_use = [&] {
    const LoadedModel model = load();
    return calls[2].run(*model.engine, encode(*model.engine));
  };
  const Bits expected = load_and_use();
  const uint64_t count = sweep(
      "load", lasting, [&] { load(); },
      [&] { expect(load_and_use() == expected, "another result after a failed load"); });
  std::printf("load: %llu allocations\n", static_cast<unsigned long long>(count));
}

void try_calls(bool lasting) {
  for (const NamedCall& call : calls) {
    const LoadedModel model = load();
    Engine& engine = *model.engine;
    const std::shared_ptr<Source> source = encode(engine);
    const Bits expected = call.run(engine, source);
    const uint64_t used = engine.budget().used();
    const uint64_t count = sweep(
        call.name, lasting, [&] { call.run(engine, source); },
        [&] {
          expect(call.run(engine, source) == expected, std::string("another result after a failed ") + call.name);
          expect(engine.budget().used() == used, std::string("a failed ") + call.name + " left bytes in the budget");
        });
    std::printf("%s: %llu allocations\n", call.name, static_cast<unsigned long long>(count));
  }
}

// The same calls on engines whose working memory has yet to be taken.
void try_first_calls(bool lasting) {
  for (const NamedCall& call : calls) {
    std::optional<LoadedModel> model;
    std::shared_ptr<Source> source;
    const auto renew = [&] {
      source = nullptr;
      model = load();
      source = encode(*model->engine);
    };
    renew();
    const Bits expected = call.run(*model->engine, source);
    const uint64_t count = sweep(
        call.name, lasting, [&] { call.run(*model->engine, source); },
        [&] {
          expect(call.run(*model->engine, source) == expected,
                 std::string("another result after a failed first ") + call.name);
          renew();
        });
    std::printf("%s, the first time: %llu allocations\n", call.name, static_cast<unsigned long long>(count));
  }
}

}  // namespace

int main(int count, char** arguments) {
  options.device = count > 1 ? arguments[1] : "cpu";
  options.threads = 3;
  if (count > 2)
    request.directory = arguments[2];
  else
    request.random = small_architecture();
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  for (const bool lasting : {false, true}) {
    try_loading(lasting);
    try_calls(lasting);
    try_first_calls(lasting);
  }
  std::printf(failures == 0 ? "passed\n" : "%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
