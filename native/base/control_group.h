// The limits that a control group of Linux sets for this process, in its two versions. Only where
// native/base/*_linux.cpp is built.
#pragma once

#include <cstdint>
#include <string>

namespace mask_predict::control_group {

constexpr const char* usual_root = "/sys/fs/cgroup";

// Bytes the group may still take; UINT64_MAX without a limit. The page cache of the files it has read counts as free: the
// system gives it up before it refuses memory.
uint64_t memory_left(const std::string& root = usual_root);

// Processors the group may use at once, a part of one counted as a whole; INT_MAX without a quota.
int processors(const std::string& root = usual_root);

}  // namespace mask_predict::control_group
