// Runs a grid: blocks one after the other, the threads of a block as fibers that switch where they wait.
#include "runtime.h"

#include "calls.h"

#include <sys/mman.h>
#include <vector>

extern "C" {
uint3 emulator_thread_index, emulator_block_index;
dim3 emulator_block_extent, emulator_grid_extent;
// Saves the callee's registers, leaves the stack pointer in *from, goes on with the stack `to`.
void emulator_switch(void** from, void* to);
}

// The kernels' names for them are constants, as they never change while a thread looks.
asm(".globl threadIdx, blockIdx, blockDim, gridDim\n"
    ".hidden threadIdx, blockIdx, blockDim, gridDim\n"
    ".set threadIdx, emulator_thread_index\n.set blockIdx, emulator_block_index\n"
    ".set blockDim, emulator_block_extent\n.set gridDim, emulator_grid_extent\n");

#if defined(__x86_64__)
asm(".text\n.globl emulator_switch\n.hidden emulator_switch\n.type emulator_switch, @function\nemulator_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");
constexpr int SAVED_WORDS = 6;  // below the return address
#else
#error "the emulator switches stacks on x86-64 only"
#endif

namespace emulator {

namespace {

constexpr size_t STACK_BYTES = 128 * 1024;
constexpr size_t GUARD_BYTES = 64 * 1024;
constexpr int MAX_THREADS = 1024;

enum State : uint8_t { NEW, READY, AT_BARRIER, AT_EXCHANGE, DONE };

struct Thread {
    void* stack_pointer;
    int stack;
    State state;
    uint32_t warp_clock, warp_mask;
    uint3 index;
};

struct Warp {
    const char* what;  // the exchange that its lanes have begun; none: null
    unsigned mask;
    bool whole_warp;
    uint32_t arrived, live;
    Finish finish;
    const void* pc;
    Lane lanes[LANES];
};

Thread threads[MAX_THREADS];
Warp warps[MAX_THREADS / LANES];
int thread_count, live_threads, at_barrier, barrier_line;
uint32_t current, block_base;
void* main_stack_pointer;
std::vector<int> free_stacks;
int stacks_made;
uint16_t queue[MAX_THREADS];  // threads that can run, a ring; none stands in it twice
uint32_t queue_head, queue_tail;
Entry kernel_entry;
void** kernel_arguments;

void push(uint32_t thread) { queue[queue_tail++ % MAX_THREADS] = static_cast<uint16_t>(thread); }

uintptr_t stack_top(int stack) {
    return slot_middle(STACK_SLOT) + (stack + 1) * (STACK_BYTES + GUARD_BYTES);
}

void become(uint32_t thread) {
    current = thread;
    const Thread& t = threads[thread];
    emulator_thread_index = t.index;
    running.thread = block_base + thread + 1;
    running.index = thread;
    running.warp_clock = t.warp_clock;
    running.warp_mask = t.warp_mask;
}

// Nobody can run on, but threads wait: says who waits for what.
[[noreturn]] void fail_stuck() {
    for (int t = 0; t < thread_count; ++t) {
        if (threads[t].state != AT_EXCHANGE) continue;
        const Warp& w = warps[t / LANES];
        const uint32_t missing = w.mask & w.live & ~w.arrived;
        running.thread = block_base + t + 1;
        report->other = block_base + t / LANES * LANES + (missing ? __builtin_ctz(missing) : 0) + 1;
        fail(DIVERGENCE, w.pc, w.what, 0, "lanes %08x wait in %s for lanes %08x", w.arrived, w.what, missing);
    }
    int waiting = 0, other = 0;
    while (threads[waiting].state != AT_BARRIER) ++waiting;
    while (other < thread_count && threads[other].state != DONE) ++other;
    running.thread = block_base + waiting + 1;
    report->other = other < thread_count ? block_base + other + 1 : 0;
    report->line = barrier_line;
    fail(DIVERGENCE, nullptr, "__syncthreads", 0, "%d of %d threads wait here; %d have left the kernel", at_barrier,
         thread_count, thread_count - live_threads);
}

void finish_exchange(Warp& w, uint32_t warp) {
    if (w.whole_warp && w.arrived != ALL_LANES) {
        fail(DIVERGENCE, w.pc, w.what, 0, "%s needs all lanes of the warp; lanes %08x have come", w.what, w.arrived);
    }
    const uint32_t arrived = w.arrived;
    w.finish(w.lanes, arrived, w.pc);
    w.what = nullptr;
    w.arrived = 0;
    for (uint32_t lane = 0; lane < LANES; ++lane) {
        const uint32_t t = warp * LANES + lane;
        if (!(arrived >> lane & 1) || threads[t].state != AT_EXCHANGE) continue;
        threads[t].state = READY;
        push(t);
    }
}

void run_fiber();

// Goes on with the next thread that can run. A thread that waits leaves its stack pointer in *save.
void run_next(void** save) {
    if (queue_head == queue_tail) {
        if (live_threads != 0) fail_stuck();
        emulator_switch(save, main_stack_pointer);
        return;
    }
    const uint32_t next = queue[queue_head++ % MAX_THREADS];
    become(next);
    Thread& t = threads[next];
    if (t.state != NEW) {
        emulator_switch(save, t.stack_pointer);
        return;
    }
    t.state = READY;
    if (free_stacks.empty()) {
        const int made = stacks_made++;
        map_memory(stack_top(made) - STACK_BYTES, STACK_BYTES);
        free_stacks.push_back(made);
    }
    t.stack = free_stacks.back();
    free_stacks.pop_back();
    void** top = reinterpret_cast<void**>(stack_top(t.stack)) - 4;
    top[0] = reinterpret_cast<void*>(run_fiber);
    emulator_switch(save, top - SAVED_WORDS);
}

// A fiber: threads one after the other, as long as the next one is new.
void run_fiber() {
    void* nowhere;
    const int stack = threads[current].stack;
    for (;;) {
        kernel_entry(kernel_arguments);
        finish_copies();
        finish_products();
        threads[current].state = DONE;
        --live_threads;
        Warp& w = warps[current / LANES];
        w.live &= ~(1u << current % LANES);
        if (w.what && w.arrived == (w.mask & w.live)) finish_exchange(w, current / LANES);
        if (queue_head != queue_tail && threads[queue[queue_head % MAX_THREADS]].state == NEW) {
            const uint32_t next = queue[queue_head++ % MAX_THREADS];
            become(next);
            threads[next].state = READY;
            threads[next].stack = stack;
            continue;
        }
        free_stacks.push_back(stack);
        run_next(&nowhere);
    }
}

void wait_as(State state) {
    threads[current].state = state;
    run_next(&threads[current].stack_pointer);
}

void run_block() {
    poison_shared_memory();
    running.block_clock = running.barrier_clock = ++running.clock;
    for (int t = 0; t < thread_count; ++t) {
        threads[t].state = NEW;
        threads[t].warp_clock = 0;
        push(t);
    }
    for (int w = 0; w * LANES < thread_count; ++w) {
        const int lanes = thread_count - w * LANES;
        warps[w].what = nullptr;
        warps[w].arrived = 0;
        warps[w].live = lanes >= LANES ? ALL_LANES : (1u << lanes) - 1;
    }
    live_threads = thread_count;
    at_barrier = 0;
    run_next(&main_stack_pointer);
}

}  // namespace

void run_grid(Entry entry, void** arguments, const uint32_t* grid, const uint32_t* block) {
    kernel_entry = entry;
    kernel_arguments = arguments;
    emulator_block_extent = {block[0], block[1], block[2]};
    emulator_grid_extent = {grid[0], grid[1], grid[2]};
    thread_count = static_cast<int>(block[0] * block[1] * block[2]);
    for (int t = 0; t < thread_count; ++t)
        threads[t].index = {t % block[0], t / block[0] % block[1], t / block[0] / block[1]};
    block_base = 0;
    for (uint32_t z = 0; z < grid[2]; ++z)
        for (uint32_t y = 0; y < grid[1]; ++y)
            for (uint32_t x = 0; x < grid[0]; ++x) {
                emulator_block_index = {x, y, z};
                run_block();
                if (profiling) end_profile();
                block_base += static_cast<uint32_t>((thread_count + LANES - 1) / LANES * LANES);
            }
}

const Operand& exchange(const char* what, unsigned mask, bool whole_warp, const Operand& in, Finish finish,
                        const void* pc) {
    const uint32_t warp = current / LANES, lane = current % LANES;
    Warp& w = warps[warp];
    if (!(mask >> lane & 1)) {
        fail(DIVERGENCE, pc, what, 0, "lane %u calls %s with mask %08x, which is without it", lane, what, mask);
    }
    if (w.what && (w.what != what || w.mask != mask)) {
        report->other = block_base + warp * LANES + __builtin_ctz(w.arrived) + 1;
        fail(DIVERGENCE, pc, what, 0, "lane %u is in %s with mask %08x, others in %s with mask %08x", lane, what, mask,
             w.what, w.mask);
    }
    w.what = what;
    w.mask = mask;
    w.whole_warp = whole_warp;
    w.finish = finish;
    w.pc = pc;
    w.lanes[lane].in = in;
    w.arrived |= 1u << lane;
    if (w.arrived == (mask & w.live)) finish_exchange(w, warp);
    else wait_as(AT_EXCHANGE);
    return w.lanes[lane].out;
}

}  // namespace emulator

using namespace emulator;

static void tick(Lane* lanes, uint32_t arrived, const void*) {
    ++running.clock;
    for (int lane = 0; lane < LANES; ++lane)
        if (arrived >> lane & 1) lanes[lane].out.words[0] = running.clock;
}

extern "C" {

void emulator_sync_threads(int line) {
    if (at_barrier > 0 && barrier_line != line) {
        int first = 0;
        while (threads[first].state != AT_BARRIER) ++first;
        report->line = line;
        report->other = block_base + first + 1;
        fail(DIVERGENCE, __builtin_return_address(0), "__syncthreads", 0,
             "others wait at the __syncthreads of line %d", barrier_line);
    }
    barrier_line = line;
    if (++at_barrier < thread_count) return wait_as(AT_BARRIER);
    at_barrier = 0;
    running.barrier_clock = ++running.clock;
    for (int t = 0; t < thread_count; ++t)
        if (threads[t].state == AT_BARRIER) threads[t].state = READY, push(t);
}

void emulator_sync_warp(unsigned mask) {
    const Operand& clock = exchange("__syncwarp", mask, false, {}, tick, __builtin_return_address(0));
    threads[current].warp_clock = running.warp_clock = static_cast<uint32_t>(clock.words[0]);
    threads[current].warp_mask = running.warp_mask = mask;
}

}
