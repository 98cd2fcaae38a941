#include "addon/executor.h"

#include <new>
#include <system_error>
#include <utility>

#include "addon/environment.h"

namespace mask_predict {

// Either an ended call, a message of a running one, or (neither) the thread's end.
struct Executor::Message {
  std::shared_ptr<Job> job;
  std::function<void(Napi::Env)> call;
};

struct Executor::Job {
  Job(Napi::Env env, Work work, uint32_t id)
      : deferred(Napi::Promise::Deferred::New(env)), work(std::move(work)), id(id), end(std::make_unique<Message>()) {}

  // On the executor's thread, where nothing may be thrown: a text that finds no memory is left out.
  void fail(const char* with, const char* what) noexcept {
    code = with;
    try {
      text = what;
    } catch (const std::bad_alloc&) {
    }
  }

  Napi::Promise::Deferred deferred;
  Work work;
  const uint32_t id;
  std::atomic<bool> cancelled{false};
  Answer answer;  // empty: failed
  const char* code = "";
  std::string text;
  std::unique_ptr<Message> end;  // made with the job, so that its end needs no memory
};

Executor::Executor(Napi::Env env, const char* owner, std::function<void(bool)> idle)
    : env_(env), closed_(std::string("the ") + owner + " was closed during this call"), idle_(std::move(idle)) {
  channel_ = Channel::New(env, "mask-predict", 0, 1, this);
  channel_.Unref(env);
  try {
    thread_ = Thread([this] { run(); });
  } catch (const std::system_error& error) {
    channel_.Release();
    throw Error(ErrorCode::Device, std::string("the system refused a thread: ") + error.what());
  } catch (...) {
    channel_.Release();
    throw;
  }
  napi_add_env_cleanup_hook(env, environment_ends, this);
}

Executor::~Executor() { stop(); }

Executor::Call Executor::submit(Napi::Env env, Work work) {
  auto job = std::make_shared<Job>(env, std::move(work), next_id_++);
  const Call call{job->deferred.Promise(), job->id};
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(job));
  }
  if (pending_++ == 0) {
    channel_.Ref(env);
    idle_(false);
  }
  wake_.notify_one();
  return call;
}

void Executor::post(std::function<void(Napi::Env)> message) {
  send(std::unique_ptr<Message>(new Message{nullptr, std::move(message)}));
}

void Executor::cancel(Napi::Env env, uint32_t id) {
  std::shared_ptr<Job> waiting;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (running_ && running_->id == id) running_->cancelled.store(true);
    for (auto i = queue_.begin(); i != queue_.end(); ++i) {
      if ((*i)->id != id) continue;
      waiting = *i;
      queue_.erase(i);
      break;
    }
  }
  if (waiting) reject(env, *waiting, "ERR_CANCELLED", "the call was cancelled");
}

Napi::Promise Executor::close(Napi::Env env, std::function<void()> last) {
  std::deque<std::shared_ptr<Job>> waiting;
  end_ = std::make_unique<Message>();
  closing_ = Napi::Promise::Deferred::New(env);
  const Napi::Promise promise = closing_->Promise();
  channel_.Ref(env);  // the process waits for the thread's end
  idle_(false);       // and so does the object
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    last_ = std::move(last);
    if (running_) running_->cancelled.store(true);
    waiting.swap(queue_);
  }
  wake_.notify_one();
  for (const auto& job : waiting) reject(env, *job, "ERR_DISPOSED", closed_);
  return promise;
}

void Executor::run() {
  std::function<void()> last;
  for (;;) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) {
        last = std::move(last_);
        break;
      }
      job = queue_.front();
      queue_.pop_front();
      running_ = job;
    }
    try {
      job->answer = job->work(job->cancelled);
    } catch (const Error& error) {
      job->fail(code_name(error.code), error.what());
    } catch (const Cancelled&) {
      job->fail("ERR_CANCELLED", "the call was cancelled");
    } catch (const std::bad_alloc&) {
      job->fail("ERR_OUT_OF_MEMORY", "the system refused memory for this call");
    } catch (const std::exception& error) {
      job->fail("ERR_INTERNAL", error.what());
    }
    job->work = nullptr;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      running_ = nullptr;
      if (stopping_ && !job->answer) job->fail("ERR_DISPOSED", closed_.c_str());
    }
    std::unique_ptr<Message> end = std::move(job->end);
    end->job = std::move(job);
    send(std::move(end));
  }
  // Only close() waits for a last message; after stop() there may be nobody left to receive it.
  if (!last) return;
  last();
  send(std::move(end_));
}

void Executor::send(std::unique_ptr<Message> message) {
  if (channel_.NonBlockingCall(message.get()) == napi_ok) message.release();
}

void Executor::receive(Napi::Env env, Napi::Function, Executor* executor, Message* received) {
  const std::unique_ptr<Message> message(received);
  if (env == nullptr) return;  // the environment is going away
  const Napi::HandleScope scope(env);
  if (message->call) {
    message->call(env);
  } else if (message->job) {
    executor->settle(env, *message->job);
  } else if (executor->closing_) {
    const Napi::Promise::Deferred closing = *executor->closing_;
    executor->stop();
    closing.Resolve(env.Undefined());
    executor->idle_(true);
  }
}

void Executor::settle(Napi::Env env, Job& job) {
  if (!job.answer) return reject(env, job, job.code, job.text);
  try {
    job.deferred.Resolve(guarded(env, [&] { return job.answer(env); }));
  } catch (const Napi::Error& error) {
    job.deferred.Reject(error.Value());
  }
  job.answer = nullptr;
  if (--pending_ == 0) {
    if (!closing_) channel_.Unref(env);
    idle_(true);
  }
}

void Executor::reject(Napi::Env env, Job& job, const char* code, const std::string& text) {
  job.deferred.Reject(make_error(env, code, text).Value());
  if (--pending_ == 0) {
    if (!closing_) channel_.Unref(env);
    idle_(true);
  }
}

void Executor::stop() {
  if (stopped_) return;
  stopped_ = true;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    if (running_) running_->cancelled.store(true);
    queue_.clear();
  }
  wake_.notify_one();
  thread_.join();
  napi_remove_env_cleanup_hook(env_, environment_ends, this);
  channel_.Release();
}

void Executor::environment_ends(void* executor) { static_cast<Executor*>(executor)->stop(); }

}  // namespace mask_predict
