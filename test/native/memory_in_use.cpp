// A Node addon for tests that look for leaks: what malloc has given out, which resident memory does not tell. It keeps
// what is freed for later, the more the more threads come and go.
#include <malloc.h>
#include <node_api.h>

// memoryInUse(): { used, taken }, bytes. Used: given out and not freed. Taken: of the system, with what is kept for later;
// blocks that are mappings of their own are not in it.
static napi_value memory_in_use(napi_env env, napi_callback_info) {
  const struct mallinfo2 info = mallinfo2();
  napi_value result, used, taken;
  napi_create_object(env, &result);
  napi_create_double(env, static_cast<double>(info.uordblks + info.hblkhd), &used);
  napi_create_double(env, static_cast<double>(info.arena), &taken);
  napi_set_named_property(env, result, "used", used);
  napi_set_named_property(env, result, "taken", taken);
  return result;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "memoryInUse", NAPI_AUTO_LENGTH, memory_in_use, nullptr, &function);
  napi_set_named_property(env, exports, "memoryInUse", function);
  return exports;
}
