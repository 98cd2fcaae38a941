// Text of files and callers inside messages.
#pragma once

#include <string>
#include <string_view>

namespace mask_predict {

// Makes any text fit for a message: puts it in double quotes, escapes control characters, cuts long text.
std::string quote(std::string_view text);

}  // namespace mask_predict
