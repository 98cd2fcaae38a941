// How many threads can work at once; each system has its file.
#pragma once

namespace mask_predict::cpu {

// Processors this process may use: its affinity mask and its control group's quota, at least 1.
int available_processors();

}  // namespace mask_predict::cpu
