// What the parts of the emulator's runtime share: memory with its shadow, the running thread, the report of a fault.
#pragma once
#include <cstddef>
#include <cstdint>

namespace emulator {

// ---- the report; the same struct stands in launch.py ---------------------------------------------------------------

enum Kind : int32_t {
    NO_FAULT,
    OUT_OF_BOUNDS,
    MISALIGNED,
    UNINITIALISED_SHARED,
    UNINITIALISED_GLOBAL,
    READ_ONLY,
    RACE,
    MISSING_WAIT,
    DIVERGENCE,
    ARITHMETIC,
    CRASH,
    TIMEOUT,
    BAD_LAUNCH,
};

struct Report {
    int32_t kind;
    int32_t write;           // the access was a write
    int64_t index;           // of the element in the buffer
    int64_t extent;          // elements of the buffer
    uint32_t thread, other;  // 1 + number of the thread; 0: none
    int32_t line;            // where a call gives it; else 0
    int32_t reserved;
    uint64_t pc;             // where the access stands in the library, as an offset into it
    char buffer[64];
    char detail[192];
};

// What the warps of a block asked of memory at one place of the code; the same struct stands in launch.py.
struct Traffic {
    uint64_t pc;  // as in Report; 0: the end of the table
    int32_t shared, write;
    uint32_t bytes;  // of a lane's access
    uint32_t reserved;
    uint64_t requests;      // of warps
    uint64_t transactions;  // passes over the banks of shared memory, or sectors of global memory
    uint64_t least;         // what the same bytes would need at best
};

extern Report* report;
uint64_t offset_of(const void* pc);  // into the library; 0 where it lies elsewhere

// Ends the launch: writes the report and leaves the process, which was made for this launch.
[[noreturn]] void fail(Kind kind, const void* pc, const char* buffer, int64_t index, const char* format, ...)
    __attribute__((format(printf, 5, 6)));

// ---- threads -------------------------------------------------------------------------------------------------------
// Threads are numbered from 1: block * stride + thread + 1, where stride is the block's size in whole warps, so that
// threads of a warp share (number - 1) / 32. The clock ticks at every barrier, every __syncwarp and every new block.

struct Running {
    uint32_t thread = 1;         // the running thread's number
    uint32_t index = 0;          // the same within its block, from 0
    uint32_t clock = 1;          // now
    uint32_t block_clock = 1;    // when the block began
    uint32_t barrier_clock = 1;  // when it last passed __syncthreads
    uint32_t warp_clock = 1;     // when the running warp last passed __syncwarp
    uint32_t warp_mask = 0;      // the lanes that passed it
};
extern Running running;

constexpr int LANES = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;
inline uint32_t warp_of(uint32_t thread) { return (thread - 1) / LANES; }
inline uint32_t lane_of(uint32_t thread) { return (thread - 1) % LANES; }

// ---- memory --------------------------------------------------------------------------------------------------------
// One reservation of address space is cut into slots so large that an index of 32 bits stays in its buffer's slot:
// slot 0 holds the threads' stacks, the others a buffer or a shared array each, in their middle.

constexpr int SLOT_BITS = 36;
constexpr int SLOTS = 256;
constexpr int STACK_SLOT = 0;
constexpr int DYNAMIC_SLOT = 1;
constexpr int FIRST_BUFFER_SLOT = 2;

// Who touched a granule last. `readers` says among whom the reads since spread.
enum Readers : uint32_t { ONE_THREAD, ONE_WARP, ONE_BLOCK, SEVERAL_BLOCKS };
struct Shadow {
    uint32_t writer, written;  // thread and clock; IN_FLIGHT: an asynchronous copy that nobody waited for yet
    uint32_t reader : 30, readers : 2;
    uint32_t read;
};
constexpr uint32_t IN_FLIGHT = 0xffffffffu;

// A word, or an element where elements are smaller.
inline int granule_shift(int element_bytes) { return element_bytes >= 4 ? 2 : element_bytes >= 2 ? 1 : 0; }

struct Region {
    uintptr_t begin, end;
    Shadow* shadow;  // a granule each; none for what kernels cannot write
    const char* name;
    int32_t element_bytes;
    int32_t granule_shift;
    bool shared, read_only, initialised;
};
extern Region regions[SLOTS];
extern uintptr_t arena;

void reserve_arena();
uintptr_t slot_middle(int slot);
bool map_buffer(uintptr_t page, size_t bytes);  // shared with the process of the launch
void map_memory(uintptr_t page, size_t bytes);  // of the process of the launch alone
Shadow* make_shadow(size_t granules);
void poison_shared_memory();  // at the start of a block
void set_dynamic_shared(size_t bytes, int first_free_slot);

// Checks an access as if the running thread made it now, without making it.
void check_read(const void* from, size_t bytes, const void* pc);
void check_write(const void* to, size_t bytes, const void* pc);
void check_aligned(const void* at, size_t bytes, bool write, const void* pc);
// Fails where a product of a warpgroup that was not waited for still reads the bytes.
extern bool operands_in_use;
void check_unused(uintptr_t at, size_t bytes, const void* pc);
// Marks what an asynchronous copy will write, and what it has written.
void mark_in_flight(const void* to, size_t bytes, bool in_flight);

// ---- the profile ---------------------------------------------------------------------------------------------------

extern bool profiling;
void start_profile(Traffic* into, int entries);
void end_profile();
void note_access(uintptr_t at, size_t bytes, bool shared, bool write, const void* pc);
// The running lane takes part in a request without asking for anything.
void note_absent(const void* pc, bool shared);

// ---- what runs -----------------------------------------------------------------------------------------------------

using Entry = void (*)(void**);
void run_grid(Entry entry, void** arguments, const uint32_t* grid, const uint32_t* block);
void finish_copies();    // of the running thread, which ends
void finish_products();  // of its warp, which must have waited for them

// A warp's exchange: waits until every lane of `mask` that runs has arrived, then the last one calls `finish`.
struct Operand { uint64_t words[6]; };
struct Lane { Operand in, out; };
using Finish = void (*)(Lane* lanes, uint32_t arrived, const void* pc);
const Operand& exchange(const char* what, unsigned mask, bool whole_warp, const Operand& in, Finish finish,
                        const void* pc);

// A sum on tensor cores and further products, rounded toward zero: an error no smaller than theirs.
float accumulate(float sum, double products);
float bits_to_float(uint32_t bits);

#ifdef EMULATOR_CHECKS
constexpr bool CHECKS = true;
#else
constexpr bool CHECKS = false;
#endif

}  // namespace emulator
