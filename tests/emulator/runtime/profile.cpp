// Counts what the warps of the first block ask of memory: bank conflicts of shared memory, sectors of global memory.
//
// The n-th access of each lane of a warp at one place of the code is taken for one request of the warp.
#include "runtime.h"

#include <algorithm>
#include <map>
#include <vector>

namespace emulator {

bool profiling = false;

namespace {

constexpr uintptr_t BANKS = 32, BANK_BYTES = 4, SECTOR_BYTES = 32;

struct Request {
    int lanes = 0;
    uintptr_t addresses[LANES];
    bool present[LANES] = {};
};
struct Site {
    Traffic* traffic = nullptr;
    std::vector<uint32_t> accesses;                                // by thread
    std::map<std::pair<uint32_t, uint32_t>, Request> unfinished;  // by warp and number of the access
};
std::map<std::pair<const void*, bool>, Site> sites;
Traffic* table;
int capacity;

// Lanes that one pass serves: all of them with a word each, fewer with wider accesses.
int lanes_of_pass(uint32_t bytes) { return bytes <= 4 ? LANES : bytes <= 8 ? LANES / 2 : LANES / 4; }

void count_shared(Traffic& t, const Request& r) {
    const int step = lanes_of_pass(t.bytes);
    for (int first = 0; first < LANES; first += step) {
        std::vector<uintptr_t> words;
        for (int lane = first; lane < first + step; ++lane)
            for (uintptr_t b = 0; r.present[lane] && b < t.bytes; b += BANK_BYTES)
                words.push_back((r.addresses[lane] + b) / BANK_BYTES);
        std::sort(words.begin(), words.end());
        words.erase(std::unique(words.begin(), words.end()), words.end());
        uint32_t of_bank[BANKS] = {}, most = 0;
        for (uintptr_t w : words) most = std::max(most, ++of_bank[w % BANKS]);
        t.transactions += most;
        t.least += words.empty() ? 0 : 1;
    }
}

void count_global(Traffic& t, const Request& r) {
    std::vector<uintptr_t> sectors, starts;
    for (int lane = 0; lane < LANES; ++lane) {
        if (!r.present[lane]) continue;
        starts.push_back(r.addresses[lane]);
        for (uintptr_t s = r.addresses[lane] / SECTOR_BYTES; s <= (r.addresses[lane] + t.bytes - 1) / SECTOR_BYTES; ++s)
            sectors.push_back(s);
    }
    for (auto* v : {&sectors, &starts}) {
        std::sort(v->begin(), v->end());
        v->erase(std::unique(v->begin(), v->end()), v->end());
    }
    t.transactions += sectors.size();
    t.least += (starts.size() * t.bytes + SECTOR_BYTES - 1) / SECTOR_BYTES;
}

void count(Traffic& t, const Request& r) {
    ++t.requests;
    if (t.shared) count_shared(t, r);
    else count_global(t, r);
}

}  // namespace

void start_profile(Traffic* into, int entries) {
    table = into;
    capacity = entries;
    profiling = true;
}

void end_profile() {
    for (auto& [key, site] : sites)
        for (auto& [place, request] : site.unfinished)
            if (site.traffic) count(*site.traffic, request);
    profiling = false;
}

static void arrive(Site& site, const uintptr_t* at) {
    const uint32_t warp = running.index / LANES, lane = running.index % LANES;
    if (site.accesses.empty()) site.accesses.resize(1024);
    const std::pair<uint32_t, uint32_t> place = {warp, site.accesses[running.index]++};
    Request& r = site.unfinished[place];
    r.present[lane] = at != nullptr;
    if (at) r.addresses[lane] = *at;
    if (++r.lanes < LANES) return;
    // where nobody has asked yet nobody asks in this request
    if (site.traffic) count(*site.traffic, r);
    site.unfinished.erase(place);
}

void note_absent(const void* pc, bool shared) { arrive(sites[{pc, shared}], nullptr); }

void note_access(uintptr_t at, size_t bytes, bool shared, bool write, const void* pc) {
    Site& site = sites[{pc, shared}];
    if (!site.traffic) {
        if (capacity-- == 0) fail(BAD_LAUNCH, pc, "", 0, "too many places that access memory");
        site.traffic = table++;
        *site.traffic = {offset_of(pc), shared, write, static_cast<uint32_t>(bytes), 0, 0, 0, 0};
    }
    arrive(site, &at);
}

}  // namespace emulator
