// What the files for Windows share: its header, texts of both encodings, and its reasons in the words that other systems use.
#pragma once

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include <string>

namespace mask_predict {

// Of UTF-8, as the system's functions take it.
std::wstring wide(const std::string& utf8);
std::string narrow(const std::wstring& text);

// What GetLastError() gave, as errno has it; 0 where errno has no word for it.
int errno_of(DWORD reason);
// The same as a text, as strerror gives it on other systems; else the system's own, in English where it has that.
std::string describe(DWORD reason);

}  // namespace mask_predict
