// Stands in for CUDA where a C++ compiler is all there is: kernels become functions, run one thread after the other.
//
// Not for kernels whose threads wait for each other or share memory.
#ifndef LENSREC_CUDA_ON_HOST_H
#define LENSREC_CUDA_ON_HOST_H
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
using namespace std;

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct cuda_index { unsigned x, y, z; };
static cuda_index blockIdx, threadIdx, blockDim = {1, 1, 1}, gridDim = {1, 1, 1};

template <typename... A, size_t... I>
static void cuda_on_host_launch(
    void (*kernel)(A...), unsigned blocks, unsigned threads, void **arguments, index_sequence<I...>)
{
    gridDim.x = blocks;
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x)
            kernel(*(A *)arguments[I]...);
}

// A launch as cuLaunchKernel takes it: an array of pointers to the arguments.
template <typename... A>
static void cuda_on_host_launch(void (*kernel)(A...), unsigned blocks, unsigned threads, void **arguments)
{
    cuda_on_host_launch(kernel, blocks, threads, arguments, index_sequence_for<A...>());
}
#endif
