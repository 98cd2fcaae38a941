// The addon's data for one JavaScript environment (main thread or worker): the class of its errors and its own classes'
// constructors. No JavaScript value is kept per process.
#pragma once

#include <napi.h>

#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "cpu/thread_pool.h"
#include "engine/device.h"

namespace mask_predict {

struct SourceHandle;
struct Target;

struct Environment {
  Napi::FunctionReference error_class;
  Napi::FunctionReference source_class;
  Napi::FunctionReference target_class;
  // The native side of the next object of these classes; null if JavaScript calls their constructors itself. We do not
  // pass it in an External, because Node leaks a piece of memory for each External that an ending worker has not
  // collected.
  std::shared_ptr<SourceHandle> next_source;
  std::shared_ptr<Target> next_target;
  // Threads for the synchronous operations, by their number; kept so that a call does not start any.
  std::map<int, std::unique_ptr<cpu::ThreadPool>> pools;
  // And GPUs, by name and precision.
  std::map<std::string, std::unique_ptr<OpenDevice>> devices;

  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }
};

const char* code_name(ErrorCode code);

// A MaskPredictError; a plain Error with the code before initialize() was called.
Napi::Error make_error(Napi::Env env, const char* code, const std::string& message);

// Runs `body` and turns the native code's errors into JavaScript's.
template <class Body>
auto guarded(Napi::Env env, const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Error& error) {
    throw make_error(env, code_name(error.code), error.what());
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw make_error(env, "ERR_OUT_OF_MEMORY", "the system refused memory for this call");
  } catch (const std::exception& error) {  // beyond here it would end the process
    throw make_error(env, "ERR_INTERNAL", error.what());
  }
}

}  // namespace mask_predict
