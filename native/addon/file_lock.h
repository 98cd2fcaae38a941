// Locks on files, as the programs that share a cache of downloads take them.
#pragma once

#include <napi.h>

namespace mask_predict {

// lockFile(descriptor): takes the exclusive lock (flock; LockFileEx on Windows) of an open file without waiting. 'locked'; 'busy' where
// another open file has it, in this process or another; 'unsupported' on a file system without such locks. Closing the
// descriptor gives the lock back, and so does the end of the process, however it ends.
Napi::Value lock_file(const Napi::CallbackInfo& info);

// The same natively, which each system has a file for; Error(InvalidArgument) if no file is open under that number.
const char* try_lock(int descriptor);

}  // namespace mask_predict
