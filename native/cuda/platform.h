// Every .cu file includes this file first: the CUDA language, all inline PTX, the warp sums and the only launcher.
//
// A .cu file is compiled twice. nvcc makes device code of it (C++17). A test build compiles the same text as
// plain C++20 with MASK_PREDICT_SIMT defined; native/simt then supplies the same names and runs every thread
// on the CPU (native/simt/README.md). So that both are possible, a .cu file
//   - includes no CUDA header of its own and contains no asm: what is missing goes into ptx.cuh and
//   simt/ptx.h;
//   - takes shared memory from shared_memory<T>() only, never from a __shared__ variable;
//   - starts kernels with launch() only, never with <<< >>>;
//   - calls warp functions with all 32 lanes, and uses blocks of whole warps;
//   - stays within C++17: no designated initializers, no concepts.
#pragma once

#include "cuda/language.h"
#include "cuda/launch.h"
#include "cuda/warp.h"
