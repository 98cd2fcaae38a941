// Marks a function that the host and kernels of a CUDA device both call.
#pragma once

#ifdef __CUDACC__
#define MASK_PREDICT_HOST_DEVICE __host__ __device__
#else
#define MASK_PREDICT_HOST_DEVICE
#endif
