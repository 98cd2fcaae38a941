#include "base/text.h"

#include <cstdio>

namespace mask_predict {

std::string quote(std::string_view text) {
  constexpr size_t longest = 160;
  const bool cut = text.size() > longest;
  if (cut) {
    size_t length = longest;
    const auto inside_character = [text](size_t at) { return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80; };
    while (length > 0 && inside_character(length)) length--;
    text = text.substr(0, length);
  }
  std::string result = "\"";
  for (const char character : text) {
    const unsigned byte = static_cast<unsigned char>(character);
    if (byte < 0x20 || byte == 0x7F) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
      result += escaped;
    } else {
      if (byte == '"' || byte == '\\') result.push_back('\\');
      result.push_back(character);
    }
  }
  return result + (cut ? "…\"" : "\"");
}

}  // namespace mask_predict
