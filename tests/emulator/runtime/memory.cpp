// Reserves address space, and places buffers and shared arrays in it.
#include "runtime.h"

#include "calls.h"

#include <cstring>
#include <sys/mman.h>
#include <vector>

namespace emulator {

namespace {

constexpr size_t MAX_STATIC_BYTES = 48 * 1024;  // of every device
std::vector<const EmulatorSharedSite*> sites;  // in the slots from first_shared_slot on
int first_shared_slot = 0;
size_t static_bytes = 0;
size_t dynamic_bytes = 0;

void fill(Region& r) { memset(reinterpret_cast<void*>(r.begin), 0xff, r.end - r.begin); }  // floats that are NaN

void place_shared(int slot, const char* name, size_t bytes, int element_bytes) {
    const uintptr_t begin = slot_middle(slot);
    const int shift = granule_shift(element_bytes);
    map_memory(begin, bytes);
    regions[slot] = {begin, begin + bytes, make_shadow((bytes >> shift) + 1), name, element_bytes, shift,
                     true, false, false};
    fill(regions[slot]);
}

// Halves the granules of dynamic shared memory until an element of an array in it is one.
void split_granules(Region& r, int shift) {
    if (!r.shadow || r.granule_shift <= shift) return;
    const size_t parts = size_t(1) << (r.granule_shift - shift), old = (r.end - r.begin) >> r.granule_shift;
    Shadow* finer = make_shadow(parts * old + 1);
    for (size_t i = 0; i < parts * old; ++i) finer[i] = r.shadow[i / parts];
    r.shadow = finer;
    r.granule_shift = shift;
}

}  // namespace

void reserve_arena() {
    const size_t bytes = size_t(SLOTS) << SLOT_BITS;
    void* p = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    arena = p == MAP_FAILED ? 0 : reinterpret_cast<uintptr_t>(p);
}

uintptr_t slot_middle(int slot) { return arena + (uintptr_t(slot) << SLOT_BITS) + (uintptr_t(1) << (SLOT_BITS - 1)); }

bool map_buffer(uintptr_t page, size_t bytes) {
    return mmap(reinterpret_cast<void*>(page), bytes, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

void map_memory(uintptr_t page, size_t bytes) {
    if (mmap(reinterpret_cast<void*>(page), bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
        fail(BAD_LAUNCH, nullptr, "", 0, "no memory for %zu bytes", bytes);
}

Shadow* make_shadow(size_t granules) {
    if (!CHECKS) return nullptr;
    void* p = mmap(nullptr, granules * sizeof(Shadow), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) fail(BAD_LAUNCH, nullptr, "", 0, "no memory for the record of accesses");
    madvise(p, granules * sizeof(Shadow), MADV_HUGEPAGE);
    return static_cast<Shadow*>(p);
}

void set_dynamic_shared(size_t bytes, int first_free_slot) {
    dynamic_bytes = bytes;
    first_shared_slot = first_free_slot;
}

void poison_shared_memory() {
    for (size_t i = 0; i < sites.size(); ++i) fill(regions[first_shared_slot + i]);
    if (regions[DYNAMIC_SLOT].name) fill(regions[DYNAMIC_SLOT]);
}

}  // namespace emulator

using namespace emulator;

extern "C" {

void* emulator_shared(const EmulatorSharedSite* site) {
    size_t i = 0;
    while (i < sites.size() && sites[i] != site) ++i;
    const int slot = first_shared_slot + static_cast<int>(i);
    if (i == sites.size()) {
        if (slot >= SLOTS) fail(BAD_LAUNCH, nullptr, site->name, 0, "more than %d buffers and shared arrays", SLOTS);
        static_bytes += site->bytes;
        if (static_bytes > MAX_STATIC_BYTES)
            fail(BAD_LAUNCH, __builtin_return_address(0), site->name, 0,
                 "%zu bytes of static shared memory; a block has %zu", static_bytes, MAX_STATIC_BYTES);
        sites.push_back(site);
        place_shared(slot, site->name, site->bytes, site->element_bytes);
    }
    return reinterpret_cast<void*>(regions[slot].begin);
}

void* emulator_dynamic_shared(size_t offset, size_t count, int element_bytes) {
    Region& r = regions[DYNAMIC_SLOT];
    if (offset + count * element_bytes > dynamic_bytes)
        fail(BAD_LAUNCH, __builtin_return_address(0), "dynamic shared memory", 0,
             "an array ends at byte %zu; the launch gives %zu", offset + count * element_bytes, dynamic_bytes);
    if (!r.name) place_shared(DYNAMIC_SLOT, "dynamic shared memory", dynamic_bytes, element_bytes);
    split_granules(r, granule_shift(element_bytes));
    return reinterpret_cast<void*>(r.begin + offset);
}

}
