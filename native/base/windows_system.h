// Code that the files for Windows share: its header, conversion between UTF-8 and UTF-16, and its errors in the words
// of other systems.
#pragma once

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include <string>

namespace mask_predict {

// Converts UTF-8 to UTF-16, which the system's functions take, and back.
std::wstring wide(const std::string& utf8);
std::string narrow(const std::wstring& text);

// Converts the value of GetLastError() to an errno; 0 if there is none for it.
int errno_of(DWORD reason);
// The same as a text, as strerror gives it on other systems; else the system's own, in English where it has that.
std::string describe(DWORD reason);

}  // namespace mask_predict
