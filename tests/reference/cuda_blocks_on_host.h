// Stands in for CUDA where a C++ compiler is all there is, for kernels whose threads share memory and wait for each other.
//
// Each thread of a block is a coroutine with a stack of its own; __syncthreads hands over to the next. Blocks run one
// after the other, so that what is __shared__ may be static. Between two waits the threads run in order, or in reverse:
// a result that depends on it lacks a wait.
#ifndef LENSREC_CUDA_BLOCKS_ON_HOST_H
#define LENSREC_CUDA_BLOCKS_ON_HOST_H
#include <csetjmp>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>
#include <vector>
using std::max;
using std::min;

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

struct float2 { float x, y; };
struct double2 { double x, y; };
struct cuda_index { unsigned x, y, z; };
static cuda_index blockIdx, threadIdx, blockDim, gridDim;

namespace on_host {
constexpr size_t STACK = 1 << 16;

struct Block {
    // A context starts a thread on its stack; from then on it is left and entered by jumps, which ask no kernel.
    std::vector<ucontext_t> contexts;
    struct Place { jmp_buf jump; };
    std::vector<Place> threads;
    Place scheduler;
    std::vector<bool> begun, ended;
    std::vector<char> stacks;
    unsigned current = 0;
    bool reverse = false;
    bool voted = false, verdict = false;  // of __syncthreads_or: while votes come in, and once they all have
    void (*body)(void*) = nullptr;
    void* arguments = nullptr;
};
static Block block;

static void run_thread() {
    block.body(block.arguments);
    block.ended[block.current] = true;
    _longjmp(block.scheduler.jump, 1);
}

// Run thread i until it waits or ends.
__attribute__((noinline)) static void resume(unsigned i) {
    if (_setjmp(block.scheduler.jump)) return;
    if (block.begun[i]) _longjmp(block.threads[i].jump, 1);
    block.begun[i] = true;
    setcontext(&block.contexts[i]);
}

static void run_block(unsigned size) {
    block.contexts.resize(size);
    block.threads.resize(size);
    block.begun.assign(size, false);
    block.ended.assign(size, false);
    block.stacks.resize(size * STACK);
    for (unsigned i = 0; i < size; ++i) {
        getcontext(&block.contexts[i]);
        block.contexts[i].uc_stack.ss_sp = &block.stacks[i * STACK];
        block.contexts[i].uc_stack.ss_size = STACK;
        block.contexts[i].uc_link = nullptr;
        makecontext(&block.contexts[i], run_thread, 0);
    }
    for (bool running = true; running;) {
        running = false;
        block.voted = false;
        for (unsigned turn = 0; turn < size; ++turn) {
            const unsigned i = block.reverse ? size - 1 - turn : turn;
            if (block.ended[i]) continue;
            block.current = i;
            threadIdx = {i, 0, 0};
            resume(i);
            running = running || !block.ended[i];
        }
        block.verdict = block.voted;
    }
}

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
}

template <class... A>
void launch(void (*kernel)(A...), unsigned gx, unsigned gy, unsigned size, void** arguments) {
    static void (*function)(A...);  // one launch at a time
    function = kernel;
    block.body = [](void* all) { call(function, static_cast<void**>(all), std::index_sequence_for<A...>()); };
    block.arguments = arguments;
    gridDim = {gx, gy, 1};
    blockDim = {size, 1, 1};
    for (unsigned y = 0; y < gy; ++y)
        for (unsigned x = 0; x < gx; ++x) {
            blockIdx = {x, y, 0};
            run_block(size);
        }
}
}  // namespace on_host

__attribute__((noinline)) inline void __syncthreads() {
    if (!_setjmp(on_host::block.threads[on_host::block.current].jump)) _longjmp(on_host::block.scheduler.jump, 1);
}

inline int __syncthreads_or(int vote) {
    on_host::block.voted = on_host::block.voted || vote;
    __syncthreads();
    return on_host::block.verdict;
}

extern "C" void reverse_threads(int reverse) { on_host::block.reverse = reverse; }

// Arguments as cudaLaunchKernel takes them: an array of pointers to values.
#define LAUNCHER(KERNEL)                                                                                    \
    extern "C" void launch_##KERNEL(unsigned gx, unsigned gy, unsigned size, void** arguments) {            \
        on_host::launch(KERNEL, gx, gy, size, arguments);                                                   \
    }
#endif
