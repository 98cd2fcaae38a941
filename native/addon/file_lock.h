// Locks on files, as the programs that share a cache of downloads take them.
#pragma once

#include <napi.h>

namespace mask_predict {

// lockFile(descriptor): takes the exclusive advisory lock (flock) of an open file without waiting. 'locked'; 'busy' where
// another open file has it, in this process or another; 'unsupported' on a file system without such locks. Closing the
// descriptor gives the lock back, and so does the end of the process, however it ends.
Napi::Value lock_file(const Napi::CallbackInfo& info);

}  // namespace mask_predict
