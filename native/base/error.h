// The one exception of the native code. Its code becomes `code` of the JavaScript error (lib/errors.ts says
// what each means); the message names the file, tensor or argument and what to do about it.
#pragma once

#include <stdexcept>
#include <string>

namespace mask_predict {

enum class ErrorCode { ModelFormat, InvalidArgument, OutOfMemory, Device, Disposed };

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code(code) {}
  const ErrorCode code;
};

// Thrown when a call's cancel flag was seen; the caller reports its own reason.
class Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "cancelled"; }
};

}  // namespace mask_predict
