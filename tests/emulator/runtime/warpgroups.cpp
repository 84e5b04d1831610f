// Products of warpgroups: computed when they are issued, their operands watched until they are waited for.
#include "runtime.h"

#include "calls.h"

#include <vector>

namespace emulator {

bool operands_in_use = false;

namespace {

constexpr int MAX_WARPS = 32;
constexpr uintptr_t ROWS_OF_A_WARPGROUP = 64, PIECE_BYTES = 16;

uintptr_t row_bytes(EmulatorWgmma kind) { return kind == EMULATOR_TF32 ? 128 : 64; }

struct InUse {
    uintptr_t begin, end;
    uint32_t groups;  // of products, committed by its warp before it
};
struct Products {
    std::vector<InUse> in_use;
    uint32_t committed = 0;
    bool fenced = false;  // since the last wait
};
Products products[MAX_WARPS];          // by warp of the block
struct Published {
    uint32_t last = 0, before_barrier = 0;  // the latter in front of the last barrier
};
Published published[MAX_WARPS * LANES];  // when each thread of the block made its writes visible
uint32_t of_block = 0;                  // the block that the above is about

void begin_block() {
    const uint32_t block = running.thread - running.index;
    if (block == of_block) return;
    of_block = block;
    for (Products& p : products) p = {};
    for (Published& p : published) p = {};
    operands_in_use = false;
}

void check_published(uintptr_t at, size_t bytes, const void* pc) {
    if (!CHECKS) return;
    const Region& r = regions[(at - arena) >> SLOT_BITS];
    const uintptr_t first = (at - r.begin) >> r.granule_shift, last = (at + bytes - 1 - r.begin) >> r.granule_shift;
    for (uintptr_t g = first; g <= last; ++g) {
        const Shadow& s = r.shadow[g];
        if (s.written < running.block_clock) continue;
        const Published& p = published[s.writer - of_block];
        const bool ordered = s.writer == running.thread || p.last < running.barrier_clock;
        if ((ordered ? p.last : p.before_barrier) > s.written) continue;
        report->other = s.writer;
        fail(MISSING_WAIT, pc, r.name, static_cast<int64_t>(g), "its writer did not publish it for products in front of the barrier");
    }
}

// Where a 16-byte piece of a row of a swizzled tile lies whose pointer is `tile`: the hardware exchanges bits of
// addresses, as many as a row has pieces.
uintptr_t place(const void* tile, int row, int piece, EmulatorWgmma kind) {
    const uintptr_t bytes = row_bytes(kind);
    const uintptr_t at = reinterpret_cast<uintptr_t>(tile) + row * bytes + piece * PIECE_BYTES;
    return at ^ (at >> 7 & (bytes / PIECE_BYTES - 1)) << 4;
}

void nothing(Lane*, uint32_t, const void*) {}

void finish_wait(Lane* lanes, uint32_t, const void*) {
    Products& p = products[running.index / LANES];
    const uint32_t left = static_cast<uint32_t>(lanes[0].in.words[0]);
    std::vector<InUse> kept;
    for (const InUse& o : p.in_use)
        if (o.groups + left >= p.committed) kept.push_back(o);
    p.in_use = kept;
    p.fenced = false;
    operands_in_use = false;
    for (const Products& each : products) operands_in_use |= !each.in_use.empty();
}

// Element k of an instruction, in a row of a tile.
float element(const void* tile, int row, int k, EmulatorWgmma kind) {
    const int of_piece = kind == EMULATOR_TF32 ? 4 : 8;
    const uintptr_t piece = place(tile, row, k / of_piece, kind);
    if (kind != EMULATOR_TF32) {
        const uint16_t bits = reinterpret_cast<const uint16_t*>(piece)[k % of_piece];
        return kind == EMULATOR_F16 ? emulator_half_to_float(bits) : bits_to_float(static_cast<uint32_t>(bits) << 16);
    }
    return bits_to_float(reinterpret_cast<const uint32_t*>(piece)[k % of_piece] & 0xffffe000u);
}

}  // namespace

void finish_products() {
    if (operands_in_use && !products[running.index / LANES].in_use.empty())
        fail(MISSING_WAIT, nullptr, "", 0, "the kernel ends, and a product has not been waited for");
}

void check_unused(uintptr_t at, size_t bytes, const void* pc) {
    for (const Products& p : products)
        for (const InUse& o : p.in_use)
            if (at < o.end && o.begin < at + bytes)
                fail(MISSING_WAIT, pc, regions[(at - arena) >> SLOT_BITS].name, 0,
                     "a product that reads this has not been waited for");
}

}  // namespace emulator

using namespace emulator;
#define PC __builtin_return_address(0)

extern "C" {

void emulator_wgmma_publish() {
    begin_block();
    Published& p = published[running.index];
    if (p.last < running.barrier_clock) p.before_barrier = p.last;
    p.last = ++running.clock;
}

void emulator_wgmma_issue(const void* a, const void* b, int columns, EmulatorWgmma kind) {
    const void* pc = PC;
    begin_block();
    exchange("wgmma", ALL_LANES, true, {}, nothing, pc);
    Products& p = products[running.index / LANES];
    if (!p.fenced) fail(MISSING_WAIT, pc, "", 0, "no fence stands between the last wait and this product");
    if (running.index % LANES != 0) return;
    const uintptr_t bytes = row_bytes(kind);
    const uintptr_t a_at = reinterpret_cast<uintptr_t>(a) & ~(bytes - 1);
    const uintptr_t b_at = reinterpret_cast<uintptr_t>(b) & ~(bytes - 1);
    p.in_use.push_back({a_at, a_at + ROWS_OF_A_WARPGROUP * bytes, p.committed});
    p.in_use.push_back({b_at, b_at + columns * bytes, p.committed});
    operands_in_use = true;
}

EmulatorFloats4 emulator_wgmma(EmulatorFloats4 sum, const void* a, const void* b, int first_column, EmulatorWgmma kind) {
    const void* pc = PC;
    const bool counts = profiling;
    profiling = false;  // the units read shared memory in ways of their own
    const int warp = static_cast<int>(running.index / LANES % 4), lane = static_cast<int>(running.index % LANES);
    const int rows[2] = {warp * 16 + lane / 4, warp * 16 + lane / 4 + 8};
    const int columns[2] = {first_column + lane % 4 * 2, first_column + lane % 4 * 2 + 1};
    for (int i = 0; i < 2; ++i)
        for (int piece = 0; piece < 2; ++piece)
            for (const uintptr_t at : {place(a, rows[i], piece, kind), place(b, columns[i], piece, kind)}) {
                check_aligned(reinterpret_cast<const void*>(at), PIECE_BYTES, false, pc);
                if (CHECKS) check_read(reinterpret_cast<const void*>(at), PIECE_BYTES, pc);
                check_published(at, PIECE_BYTES, pc);
            }
    for (int i = 0; i < 4; ++i) {
        double added = 0;
        for (int k = 0; k < (kind == EMULATOR_TF32 ? 8 : 16); ++k)
            added += static_cast<double>(element(a, rows[i / 2], k, kind)) * element(b, columns[i % 2], k, kind);
        sum.v[i] = accumulate(sum.v[i], added);
    }
    profiling = counts;
    return sum;
}

void emulator_wgmma_fence() {
    begin_block();
    exchange("wgmma fence", ALL_LANES, true, {}, nothing, PC);
    products[running.index / LANES].fenced = true;
}

void emulator_wgmma_commit() {
    exchange("wgmma commit", ALL_LANES, true, {}, nothing, PC);
    if (running.index % LANES == 0) ++products[running.index / LANES].committed;
}

void emulator_wgmma_wait(int groups) {
    exchange("wgmma wait", ALL_LANES, true, {{static_cast<uint64_t>(groups)}}, finish_wait, PC);
}

}
