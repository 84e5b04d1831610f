// A launch, in a process of its own: whatever a kernel does, the caller gets its results or a report.
#include "runtime.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

namespace {

using namespace emulator;

// The same structs stand in launch.py.
struct Memory {
    void* host;
    uint64_t bytes;
    const char* name;
    int32_t element_bytes;
    int32_t read_only, initialised;
    int32_t reserved;
};

struct Launch {
    Entry entry;
    uint32_t grid[3], block[3];
    uint64_t shared_bytes;
    double cpu_seconds;
    const Memory* memories;
    uint64_t* arguments;         // scalars as they are, pointers as offsets into their memory
    const int32_t* argument_of;  // a memory's number, or -1 for a scalar
    int32_t memory_count, argument_count;
    Traffic* traffic;  // room for a profile, or null
    int32_t traffic_count;
    int32_t reserved;
};

constexpr size_t ARGUMENT_BYTES = 65536;

void on_signal(int signal, siginfo_t* info, void* context) {
    const auto* registers = static_cast<const ucontext_t*>(context);
    const void* pc = reinterpret_cast<const void*>(registers->uc_mcontext.gregs[REG_RIP] + 1);
    const uintptr_t at = reinterpret_cast<uintptr_t>(info->si_addr), slot = (at - arena) >> SLOT_BITS;
    if (signal == SIGPROF) fail(TIMEOUT, pc, "", 0, "it ran out of the processor time it was given");
    if (signal == SIGFPE) fail(ARITHMETIC, pc, "", 0, "an integer division by zero");
    if (signal != SIGSEGV && signal != SIGBUS) fail(CRASH, pc, "", 0, "signal %d", signal);
    if (slot == STACK_SLOT) fail(CRASH, pc, "", 0, "a thread's stack overflowed");
    if (slot >= SLOTS || !regions[slot].name) fail(OUT_OF_BOUNDS, pc, "", 0, "address %#zx", size_t(at));
    const Region& r = regions[slot];
    const int64_t offset = static_cast<int64_t>(at - r.begin);
    report->extent = static_cast<int64_t>(r.end - r.begin) / r.element_bytes;
    fail(OUT_OF_BOUNDS, pc, r.name, offset / r.element_bytes, "found by the processor, not by a check");
}

void catch_signals(double cpu_seconds) {
    static char stack[65536];
    stack_t alternative = {};
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    sigaltstack(&alternative, nullptr);
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGPROF}) sigaction(signal, &action, nullptr);
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    itimerval limit = {};
    limit.it_value.tv_sec = static_cast<time_t>(cpu_seconds);
    limit.it_value.tv_usec = static_cast<suseconds_t>((cpu_seconds - limit.it_value.tv_sec) * 1e6) + 1;
    setitimer(ITIMER_PROF, &limit, nullptr);
}

// Ends as close to the end of a page as the alignment of the device's allocations permits.
uintptr_t place(int slot, size_t bytes) {
    const uintptr_t page = 4096, end = slot_middle(slot) + (bytes + page - 1) / page * page;
    return (end - bytes) & ~uintptr_t(255);
}

void run(const Launch& l) {
    for (int i = 0; i < l.memory_count; ++i) {
        Region& r = regions[FIRST_BUFFER_SLOT + i];
        if (!r.read_only) r.shadow = make_shadow(((r.end - r.begin) >> r.granule_shift) + 1);
    }
    const uintptr_t room = slot_middle(STACK_SLOT) - 2 * ARGUMENT_BYTES;
    map_memory(room, ARGUMENT_BYTES);
    auto* values = reinterpret_cast<uint64_t*>(room);
    auto** pointers = reinterpret_cast<void**>(room + ARGUMENT_BYTES / 2);
    for (int i = 0; i < l.argument_count; ++i) {
        const int memory = l.argument_of[i];
        values[i] = l.arguments[i] + (memory < 0 ? 0 : regions[FIRST_BUFFER_SLOT + memory].begin);
        pointers[i] = &values[i];
    }
    set_dynamic_shared(l.shared_bytes, FIRST_BUFFER_SLOT + l.memory_count);
    catch_signals(l.cpu_seconds);
    if (l.traffic) start_profile(reinterpret_cast<Traffic*>(report + 1), l.traffic_count);
    run_grid(l.entry, pointers, l.grid, l.block);
    _exit(0);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int emulator_launch(const Launch* l, Report* result) {
    const size_t traffic_bytes = l->traffic ? sizeof(Traffic) * l->traffic_count : 0;
    const size_t report_bytes = (sizeof(Report) + traffic_bytes + 4095) / 4096 * 4096;
    void* shared = mmap(nullptr, report_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return -errno;
    reserve_arena();
    if (arena == 0) return -ENOMEM;
    report = static_cast<Report*>(shared);
    for (Region& r : regions) r = {};
    bool mapped = true;
    for (int i = 0; i < l->memory_count; ++i) {
        const Memory& m = l->memories[i];
        const int slot = FIRST_BUFFER_SLOT + i;
        const uintptr_t begin = place(slot, m.bytes), page = begin & ~uintptr_t(4095);
        mapped = mapped && map_buffer(page, begin + m.bytes - page);
        if (!mapped) break;
        memcpy(reinterpret_cast<void*>(begin), m.host, m.bytes);
        regions[slot] = {begin, begin + m.bytes, nullptr, m.name, m.element_bytes, granule_shift(m.element_bytes),
                         false, m.read_only != 0, m.initialised != 0};
    }
    const pid_t child = mapped ? fork() : -1;
    const int error = errno;
    if (child == 0) run(*l);
    int status = 0;
    if (child > 0) {
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
        if (report->kind == NO_FAULT && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
            report->kind = CRASH;
            snprintf(report->detail, sizeof report->detail, "the process of the launch ended with status %d", status);
        }
        for (int i = 0; i < l->memory_count && report->kind == NO_FAULT; ++i)
            if (!l->memories[i].read_only)
                memcpy(l->memories[i].host, reinterpret_cast<void*>(regions[FIRST_BUFFER_SLOT + i].begin),
                       l->memories[i].bytes);
    }
    *result = *report;
    if (l->traffic) memcpy(l->traffic, report + 1, traffic_bytes);
    munmap(reinterpret_cast<void*>(arena), size_t(SLOTS) << SLOT_BITS);
    munmap(shared, report_bytes);
    return child > 0 ? 0 : -error;
}
