// Vector accesses, and asynchronous copies: they read when they are issued and write when they are waited for.
#include "runtime.h"

#include "calls.h"

#include <cstring>
#include <vector>

namespace emulator {

namespace {

struct Copy {
    void* to;
    int bytes;
    unsigned char data[16];
};
struct Copies {
    std::vector<Copy> under_way;
    std::vector<size_t> group_ends;  // the number of copies up to the end of each committed group
};
Copies copies[1024];  // by thread of the block

void land(Copies& c, size_t groups_left) {
    if (c.group_ends.size() <= groups_left) return;
    const size_t groups = c.group_ends.size() - groups_left, landed = c.group_ends[groups - 1];
    for (size_t i = 0; i < landed; ++i) {
        memcpy(c.under_way[i].to, c.under_way[i].data, c.under_way[i].bytes);
        if (CHECKS) mark_in_flight(c.under_way[i].to, c.under_way[i].bytes, false);
    }
    c.under_way.erase(c.under_way.begin(), c.under_way.begin() + landed);
    c.group_ends.erase(c.group_ends.begin(), c.group_ends.begin() + groups);
    for (size_t& end : c.group_ends) end -= landed;
}

template <class T> T load(const void* from, const void* pc) {
    check_aligned(from, sizeof(T), false, pc);
    if (CHECKS) check_read(from, sizeof(T), pc);
    T v;
    memcpy(&v, from, sizeof v);
    return v;
}

template <class T> void store(void* to, T v, const void* pc) {
    check_aligned(to, sizeof v, true, pc);
    if (CHECKS) check_write(to, sizeof v, pc);
    memcpy(to, &v, sizeof v);
}

bool in_shared_memory(const void* p) {
    const uintptr_t slot = (reinterpret_cast<uintptr_t>(p) - arena) >> SLOT_BITS;
    return slot < SLOTS && regions[slot].shared;
}

}  // namespace

void finish_copies() {
    Copies& c = copies[running.index];
    if (c.under_way.empty()) return c.group_ends.clear();
    c.group_ends.push_back(c.under_way.size());
    land(c, 0);
}

}  // namespace emulator

using namespace emulator;
#define PC __builtin_return_address(0)

extern "C" {

EmulatorWords4 emulator_load16(const void* from) { return load<EmulatorWords4>(from, PC); }
EmulatorWords2 emulator_load8(const void* from) { return load<EmulatorWords2>(from, PC); }
unsigned emulator_load4(const void* from) { return load<unsigned>(from, PC); }
void emulator_store16(void* to, EmulatorWords4 v) { store(to, v, PC); }
void emulator_store8(void* to, EmulatorWords2 v) { store(to, v, PC); }
void emulator_store4(void* to, unsigned v) { store(to, v, PC); }

void emulator_copy_async(void* to, const void* from, int bytes, int valid, int asynchronous) {
    const void* pc = PC;
    if (!in_shared_memory(to)) fail(OUT_OF_BOUNDS, pc, "", 0, "an asynchronous copy to no shared memory");
    check_aligned(to, bytes, true, pc);
    check_aligned(from, bytes, false, pc);
    Copy c = {to, bytes, {}};
    if (CHECKS) check_write(to, bytes, pc);
    if (valid) {
        if (in_shared_memory(from)) fail(OUT_OF_BOUNDS, pc, "", 0, "an asynchronous copy from shared memory");
        if (CHECKS) check_read(from, bytes, pc);
        memcpy(c.data, from, bytes);
    } else if (profiling) {
        note_absent(pc, false);
    }
    if (!asynchronous) {
        memcpy(to, c.data, bytes);
        return;
    }
    if (CHECKS) mark_in_flight(to, bytes, true);
    copies[running.index].under_way.push_back(c);
}

void emulator_copy_async_commit() {
    Copies& c = copies[running.index];
    c.group_ends.push_back(c.under_way.size());
}

void emulator_copy_async_wait(int groups) { land(copies[running.index], static_cast<size_t>(groups)); }

}
