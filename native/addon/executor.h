// The thread an engine's calls run on, one after the other, and their way back to JavaScript.
//
// Not libuv's pool: a long call there would hold up the host's file and network work, and could be stopped by
// nothing. Everything but the work itself happens on the JavaScript thread.
#pragma once

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/thread.h"

namespace mask_predict {

class Executor {
 public:
  // Work runs on the executor's thread; the Answer that it returns runs on the JavaScript thread.
  using Answer = std::function<Napi::Value(Napi::Env)>;
  using Work = std::function<Answer(const std::atomic<bool>& cancelled)>;

  // Messages name the `owner` ("engine"). `idle` is called on the JavaScript thread when the first call begins (false)
  // and when the last ends (true). Error(Device) if the system refuses a thread.
  Executor(Napi::Env env, const char* owner, std::function<void(bool)> idle);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  struct Call {
    Napi::Promise promise;
    uint32_t id;
  };
  Call submit(Napi::Env env, Work work);

  // Calls `message` on the JavaScript thread. From the executor's thread only.
  void post(std::function<void(Napi::Env)> message);

  // Stops one call: a waiting one rejects at once, a running one between two layers. Unknown ids are ignored.
  void cancel(Napi::Env env, uint32_t id);

  // True once the environment has ended, or after a close().
  bool has_stopped() const { return stopped_; }

  // Rejects all calls with ERR_DISPOSED, runs `last` on the thread, and ends it. The promise resolves after that.
  Napi::Promise close(Napi::Env env, std::function<void()> last);

 private:
  struct Job;
  struct Message;
  static void receive(Napi::Env env, Napi::Function, Executor* executor, Message* message);
  using Channel = Napi::TypedThreadSafeFunction<Executor, Message, receive>;

  void run();
  void send(std::unique_ptr<Message> message);
  void settle(Napi::Env env, Job& job);
  void reject(Napi::Env env, Job& job, const char* code, const std::string& text);
  void stop();
  static void environment_ends(void* executor);

  const napi_env env_;
  const std::string closed_;  // why calls end that were not done
  const std::function<void(bool)> idle_;
  Channel channel_;
  Thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> queue_;
  std::shared_ptr<Job> running_;
  std::function<void()> last_;
  bool stopping_ = false;
  bool stopped_ = false;  // JavaScript thread only
  std::optional<Napi::Promise::Deferred> closing_;
  std::unique_ptr<Message> end_;  // made by close(): that of the thread
  uint32_t pending_ = 0;          // JavaScript thread only
  uint32_t next_id_ = 1;
};

}  // namespace mask_predict
