// Checks every access of a kernel: bounds, what nobody wrote yet, races. The compiler's thread sanitiser calls in.
#include "runtime.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <unistd.h>

extern "C" const char __ehdr_start __attribute__((visibility("hidden")));
extern "C" const char _end __attribute__((visibility("hidden")));

namespace emulator {

Region regions[SLOTS];
uintptr_t arena;
Running running;
Report* report;

uint64_t offset_of(const void* pc) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(&__ehdr_start), at = reinterpret_cast<uintptr_t>(pc);
    return at > begin && at < reinterpret_cast<uintptr_t>(&_end) ? at - begin : 0;
}

void fail(Kind kind, const void* pc, const char* buffer, int64_t index, const char* format, ...) {
    report->kind = kind;
    report->index = index;
    report->thread = running.thread;
    report->pc = offset_of(pc);
    snprintf(report->buffer, sizeof report->buffer, "%s", buffer);
    va_list rest;
    va_start(rest, format);
    vsnprintf(report->detail, sizeof report->detail, format, rest);
    va_end(rest);
    _exit(1);
}

namespace {

[[noreturn]] __attribute__((noinline)) void fail_access(Kind kind, const Region& r, uintptr_t at, bool write,
                                                        uint32_t other, const void* pc, const char* detail) {
    const int64_t offset = static_cast<int64_t>(at - r.begin), size = r.element_bytes;
    report->write = write;
    report->other = other;
    report->extent = static_cast<int64_t>(r.end - r.begin) / size;
    fail(kind, pc, r.name, offset >= 0 ? offset / size : -((-offset + size - 1) / size), "%s", detail);
}

__attribute__((noinline)) void check_elsewhere(uintptr_t at, bool write, const void* pc) {
    if (at >= reinterpret_cast<uintptr_t>(&__ehdr_start) && at < reinterpret_cast<uintptr_t>(&_end)) return;
    report->write = write;
    fail(OUT_OF_BOUNDS, pc, at < 65536 ? "null" : "", static_cast<int64_t>(at), "an address of no buffer");
}

__attribute__((noinline)) void out_of_bounds(const Region& r, uintptr_t at, size_t bytes, bool write, const void* pc) {
    if (!r.name) check_elsewhere(at, write, pc);
    const uintptr_t first = at < r.begin || at >= r.end ? at : r.end;
    fail_access(OUT_OF_BOUNDS, r, first, write, 0, pc, bytes > size_t(r.element_bytes) ? "part of a wider access" : "");
}

// Whether an access of this launch at `clock` by `thread` comes before what the running thread does now.
inline bool ordered(uint32_t thread, uint32_t clock, Readers readers) {
    if (readers == SEVERAL_BLOCKS || clock < running.block_clock) return false;
    if (clock < running.barrier_clock) return true;
    if (readers == ONE_BLOCK || clock >= running.warp_clock || warp_of(thread) != warp_of(running.thread)) return false;
    return readers == ONE_WARP ? running.warp_mask == ALL_LANES : (running.warp_mask >> lane_of(thread) & 1) != 0;
}

[[noreturn]] void fail_in_flight(const Region& r, uintptr_t at, const Shadow& s, bool write, const void* pc) {
    fail_access(MISSING_WAIT, r, at, write, s.writer, pc, "an asynchronous copy to here has not been waited for");
}

__attribute__((noinline)) void check_writer(const Region& r, uintptr_t at, const Shadow& s, bool write,
                                            const void* pc) {
    if (s.writer == 0) return;
    if (s.written == IN_FLIGHT) fail_in_flight(r, at, s, write, pc);
    if (s.writer == running.thread || (r.shared && s.written < running.block_clock)) return;
    if (!ordered(s.writer, s.written, ONE_THREAD))
        fail_access(RACE, r, at, write, s.writer, pc, write ? "both threads write" : "the other thread writes");
}

inline void note_reader(const Region& r, Shadow& s) {
    const uint32_t me = running.thread;
    if (s.reader != me || s.readers != ONE_THREAD) {
        if (s.reader == 0 || (r.shared && s.read < running.block_clock))
            s.reader = me, s.readers = ONE_THREAD;
        else if (s.read < running.block_clock)
            s.readers = SEVERAL_BLOCKS;
        else if (s.readers != SEVERAL_BLOCKS && ordered(s.reader, s.read, Readers(s.readers)))
            s.reader = me, s.readers = ONE_THREAD;
        else if (s.readers <= ONE_WARP)
            s.readers = warp_of(s.reader) == warp_of(me) ? ONE_WARP : ONE_BLOCK;
    }
    s.read = running.clock;
}

[[noreturn]] __attribute__((noinline)) void fail_unwritten(const Region& r, uintptr_t at, const void* pc) {
    if (r.shared) fail_access(UNINITIALISED_SHARED, r, at, false, 0, pc, "no thread of this block has written it");
    fail_access(UNINITIALISED_GLOBAL, r, at, false, 0, pc, "no thread of this launch has written it");
}

inline void read_granule(const Region& r, Shadow& s, uintptr_t at, const void* pc) {
    // most reads are of what this block wrote in front of its last barrier, after other warps read it too
    if (s.written < running.block_clock || s.written >= running.barrier_clock) {
        if (s.writer != running.thread || s.written == IN_FLIGHT) check_writer(r, at, s, false, pc);
        if (r.shared ? s.written < running.block_clock : s.writer == 0 && !r.initialised) fail_unwritten(r, at, pc);
    }
    if (s.readers == ONE_BLOCK && s.read >= running.barrier_clock) s.read = running.clock;
    else note_reader(r, s);
}

__attribute__((noinline)) void check_readers(const Region& r, uintptr_t at, const Shadow& s, const void* pc) {
    if (s.reader == 0 || (r.shared && s.read < running.block_clock)) return;
    if (s.reader == running.thread && s.readers == ONE_THREAD) return;
    if (!ordered(s.reader, s.read, Readers(s.readers)))
        fail_access(RACE, r, at, true, s.reader == running.thread ? 0 : s.reader, pc, "the other thread reads");
}

inline void write_granule(const Region& r, Shadow& s, uintptr_t at, const void* pc) {
    const uint32_t me = running.thread;
    if (s.writer != me || s.written == IN_FLIGHT) check_writer(r, at, s, true, pc);
    if (s.reader != me || s.readers != ONE_THREAD) check_readers(r, at, s, pc);
    s.writer = me;
    s.written = running.clock;
}

template <bool WRITE> inline void check(const void* address, size_t bytes, const void* pc) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(address), slot = (at - arena) >> SLOT_BITS;
    if (slot == STACK_SLOT) return;
    if (slot >= SLOTS) return check_elsewhere(at, WRITE, pc);
    const Region& r = regions[slot];
    if (at < r.begin || at + bytes > r.end) out_of_bounds(r, at, bytes, WRITE, pc);
    if (WRITE && r.read_only) fail_access(READ_ONLY, r, at, true, 0, pc, "the kernel's parameter is const");
    if (WRITE && operands_in_use) check_unused(at, bytes, pc);
    if (profiling) note_access(at, bytes, r.shared, WRITE, pc);
    if (!r.shadow) return;
    const uintptr_t granule = uintptr_t(1) << r.granule_shift;
    for (uintptr_t g = (at - r.begin) >> r.granule_shift, last = (at + bytes - 1 - r.begin) >> r.granule_shift;
         g <= last; ++g) {
        // of a granule that is touched in part only nothing can be said: its other part may be another thread's
        if (bytes < granule) {
            if (WRITE) r.shadow[g].writer = running.thread, r.shadow[g].written = running.clock;
        } else if (WRITE) {
            write_granule(r, r.shadow[g], r.begin + g * granule, pc);
        } else {
            read_granule(r, r.shadow[g], r.begin + g * granule, pc);
        }
    }
}

}  // namespace

void check_read(const void* from, size_t bytes, const void* pc) { check<false>(from, bytes, pc); }
void check_write(const void* to, size_t bytes, const void* pc) { check<true>(to, bytes, pc); }

void check_aligned(const void* address, size_t bytes, bool write, const void* pc) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(address), slot = (at - arena) >> SLOT_BITS;
    if (at % bytes == 0) return;
    if (slot >= SLOTS || !regions[slot].name) check_elsewhere(at, write, pc);
    else fail_access(MISALIGNED, regions[slot], at, write, 0, pc, "the address is no multiple of the access's size");
}

void mark_in_flight(const void* to, size_t bytes, bool in_flight) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(to);
    const Region& r = regions[(at - arena) >> SLOT_BITS];
    if (!r.shadow) return;
    for (uintptr_t g = (at - r.begin) >> r.granule_shift, last = (at + bytes - 1 - r.begin) >> r.granule_shift;
         g <= last; ++g)
        r.shadow[g].writer = running.thread, r.shadow[g].written = in_flight ? IN_FLIGHT : running.clock;
}

}  // namespace emulator

// ---- what instrumented code calls ----------------------------------------------------------------------------------

using emulator::check;
#define PC __builtin_return_address(0)
#define ACCESSES(bytes)                                                                \
    void __tsan_read##bytes(void* p) { check<false>(p, bytes, PC); }                   \
    void __tsan_write##bytes(void* p) { check<true>(p, bytes, PC); }                   \
    void __tsan_unaligned_read##bytes(void* p) { check<false>(p, bytes, PC); }         \
    void __tsan_unaligned_write##bytes(void* p) { check<true>(p, bytes, PC); }

extern "C" {
void __tsan_init() {}
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
void __tsan_read_range(void* p, size_t bytes) { check<false>(p, bytes, PC); }
void __tsan_write_range(void* p, size_t bytes) { check<true>(p, bytes, PC); }

// of -fsanitize=bounds: an index past the end of an array whose size the compiler knows
struct OutOfBounds {
    struct { const char* file; uint32_t line, column; } location;
    const void* array_type;
    const void* index_type;
};
void __ubsan_handle_out_of_bounds(OutOfBounds* data, uintptr_t index) {
    emulator::report->line = static_cast<int32_t>(data->location.line);
    // a type descriptor is two 16-bit numbers and the type's name
    const char* name = static_cast<const char*>(data->array_type) + 4;
    emulator::fail(emulator::OUT_OF_BOUNDS, PC, name, static_cast<int64_t>(index), "an array of known size");
}
}
