// Calls of the runtime that fail on purpose, and the devices that calls have made a context on.
//
// MASK_PREDICT_SIMT_FAULT is the name of a runtime function, a colon and a number. "cudaMemcpyAsync:5": the fifth call of
// it ends the context of its device, as an illegal address does: it and every later call on that device return
// cudaErrorIllegalAddress. "cudaGraphInstantiate:0": every call of it is refused memory.
// "cudaLaunchAttribute:0": the driver does not capture dependent launches.
//
// "*:5": the fifth call, of whatever function that needs a context. "*:device": on each device the call that has the
// device's own number, counted from 0 on each, so that one process can have every call fail once. Behind either ":once"
// says that this call alone returns an error, cudaErrorNotSupported, and the device works on.
#pragma once

#include <string>

#include "simt/runtime_api.h"

namespace mask_predict::simt {

// The calling thread's, as cudaSetDevice sets it.
int current_device();

// Begins a call of the runtime on the device, which makes a context there. Unless the result is cudaSuccess, the call must
// return it at once.
cudaError_t begin_call(const char* function, int device);
inline cudaError_t begin_call(const char* function) { return begin_call(function, current_device()); }

// Calls that were begun, on all devices.
long calls_begun();

// The devices that have a context, such as "0, 2"; empty where there is none.
std::string contexts();

}  // namespace mask_predict::simt
