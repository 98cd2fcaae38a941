// Lists what the program has made on the devices and not given back. A call that gives something back counts though it fails
// (faults.h): the program can do no more.
#pragma once

#include <string>

namespace mask_predict::simt {

enum class Made { Allocation, PinnedMemory, Stream, Event, Graph, ExecutableGraph };

void note_made(Made kind, const void* object);
void note_given_back(Made kind, const void* object);

// Such as "2 allocations, 1 stream"; "nothing" if there is nothing.
std::string left_over();

}  // namespace mask_predict::simt
