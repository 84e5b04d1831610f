// What the lanes of a warp do together: shuffles, votes, matrix loads, tensor cores (fragments as in the PTX ISA).
#include "runtime.h"

#include "calls.h"

#include <cmath>
#include <cstring>

namespace emulator {

float bits_to_float(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

float accumulate(float sum, double products) {
    const double exact = products + sum;
    const float nearest = static_cast<float>(exact);
    return std::isfinite(nearest) && std::fabs(static_cast<double>(nearest)) > std::fabs(exact)
               ? std::nextafterf(nearest, 0.0f)
               : nearest;
}

}  // namespace emulator

using namespace emulator;

namespace {

template <class T> Operand pack(const T& v) {
    static_assert(sizeof(T) <= sizeof(Operand), "an operand's room");
    Operand o = {};
    memcpy(&o, &v, sizeof v);
    return o;
}

template <class T> T unpack(const Operand& o) {
    T v;
    memcpy(&v, &o, sizeof v);
    return v;
}

struct Shuffled {
    uint64_t bits;
    int source;
};

void finish_shuffle(Lane* lanes, uint32_t arrived, const void* pc) {
    for (int lane = 0; lane < LANES; ++lane) {
        if (!(arrived >> lane & 1)) continue;
        const int source = unpack<Shuffled>(lanes[lane].in).source & (LANES - 1);
        if (!(arrived >> source & 1))
            fail(DIVERGENCE, pc, "shuffle", source, "lane %d reads lane %d, which does not take part", lane, source);
        lanes[lane].out.words[0] = lanes[source].in.words[0];
    }
}

void finish_ballot(Lane* lanes, uint32_t arrived, const void*) {
    uint32_t votes = 0;
    for (int lane = 0; lane < LANES; ++lane)
        if (arrived >> lane & 1 && lanes[lane].in.words[0]) votes |= 1u << lane;
    for (int lane = 0; lane < LANES; ++lane)
        if (arrived >> lane & 1) lanes[lane].out.words[0] = votes;
}

// ---- tensor cores --------------------------------------------------------------------------------------------------

float tf32(unsigned bits) { return bits_to_float(bits & 0xffffe000u); }  // the units do not see the rest
float bf16(unsigned bits) { return bits_to_float(bits << 16); }
float f16(unsigned bits) { return emulator_half_to_float(static_cast<unsigned short>(bits)); }

struct Operands4 {
    EmulatorFloats4 c;
    EmulatorWords4 a;
    EmulatorWords2 b;
};
static_assert(sizeof(Operands4) <= 40, "an operand's room");

using Element = float (*)(unsigned);

// d[16][8] = a[16][k] b[k][8] + c for k of 8 or 16: `wide` elements of 32 bits, else pairs of 16.
template <int K, Element element, bool wide> void finish_mma_m16n8(Lane* lanes, uint32_t, const void*) {
    float a[16][K], b[K][8];
    for (int lane = 0; lane < LANES; ++lane) {
        const Operands4 o = unpack<Operands4>(lanes[lane].in);
        const int group = lane / 4, within = lane % 4;
        for (int i = 0; i < 4; ++i) {
            const int row = group + (i % 2) * 8, column = (wide ? within : within * 2) + (i / 2) * (K / 2);
            a[row][column] = element(wide ? o.a.v[i] : o.a.v[i] & 0xffffu);
            if (!wide) a[row][column + 1] = element(o.a.v[i] >> 16);
        }
        for (int i = 0; i < 2; ++i) {
            const int row = (wide ? within : within * 2) + i * (K / 2);
            b[row][group] = element(wide ? o.b.v[i] : o.b.v[i] & 0xffffu);
            if (!wide) b[row + 1][group] = element(o.b.v[i] >> 16);
        }
    }
    for (int lane = 0; lane < LANES; ++lane) {
        const Operands4 o = unpack<Operands4>(lanes[lane].in);
        EmulatorFloats4 d;
        for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + (i / 2) * 8, column = lane % 4 * 2 + i % 2;
            double sum = 0;
            for (int k = 0; k < K; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
            d.v[i] = accumulate(o.c.v[i], sum);
        }
        lanes[lane].out = pack(d);
    }
}

struct Operands8 {
    EmulatorFloats8 c;
    EmulatorWords2 a, b;
};

void finish_mma_m8n8k4(Lane* lanes, uint32_t, const void*) {
    for (int quad = 0; quad < 4; ++quad) {
        float a[8][4], b[4][8];
        for (int half = 0; half < 2; ++half)
            for (int within = 0; within < 4; ++within) {
                const Operands8 o = unpack<Operands8>(lanes[half * 16 + quad * 4 + within].in);
                for (int i = 0; i < 4; ++i) {
                    a[half * 4 + within][i] = f16(o.a.v[i / 2] >> i % 2 * 16 & 0xffffu);
                    b[i][half * 4 + within] = f16(o.b.v[i / 2] >> i % 2 * 16 & 0xffffu);
                }
            }
        for (int half = 0; half < 2; ++half)
            for (int within = 0; within < 4; ++within) {
                Lane& lane = lanes[half * 16 + quad * 4 + within];
                const Operands8 o = unpack<Operands8>(lane.in);
                EmulatorFloats8 d;
                for (int i = 0; i < 8; ++i) {
                    const int row = (within & 1) + (i & 2) + half * 4, column = (i & 4) + (within & 2) + (i & 1);
                    double sum = 0;
                    for (int k = 0; k < 4; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
                    d.v[i] = accumulate(o.c.v[i], sum);
                }
                lane.out = pack(d);
            }
    }
}

// ---- matrix loads --------------------------------------------------------------------------------------------------

struct Rows {
    const uint16_t* row;
    int matrices;
    int transposed;
};

void finish_ldmatrix(Lane* lanes, uint32_t, const void*) {
    const Rows all = unpack<Rows>(lanes[0].in);
    for (int lane = 0; lane < LANES; ++lane) {
        EmulatorWords4 r = {};
        for (int m = 0; m < all.matrices; ++m) {
            const int row = lane / 4, column = lane % 4 * 2;
            uint16_t pair[2];
            for (int i = 0; i < 2; ++i) {
                const int from_row = all.transposed ? column + i : row, from_column = all.transposed ? row : column + i;
                pair[i] = unpack<Rows>(lanes[m * 8 + from_row].in).row[from_column];
            }
            r.v[m] = pair[0] | static_cast<unsigned>(pair[1]) << 16;
        }
        lanes[lane].out = pack(r);
    }
}

}  // namespace

#define PC __builtin_return_address(0)

extern "C" {

uint64_t emulator_shuffle(unsigned mask, uint64_t bits, int lane) {
    return exchange("shuffle", mask, false, pack(Shuffled{bits, lane}), finish_shuffle, PC).words[0];
}

unsigned emulator_ballot(unsigned mask, int predicate) {
    const Operand vote = pack(static_cast<uint64_t>(predicate != 0));
    return static_cast<unsigned>(exchange("vote", mask, false, vote, finish_ballot, PC).words[0]);
}

EmulatorFloats4 emulator_mma_m16n8k8_tf32(EmulatorFloats4 c, EmulatorWords4 a, EmulatorWords2 b) {
    const Operand in = pack(Operands4{c, a, b});
    return unpack<EmulatorFloats4>(exchange("mma", ALL_LANES, true, in, finish_mma_m16n8<8, tf32, true>, PC));
}

EmulatorFloats4 emulator_mma_m16n8k16(EmulatorFloats4 c, EmulatorWords4 a, EmulatorWords2 b, int bf) {
    const Operand in = pack(Operands4{c, a, b});
    const Finish finish = bf ? finish_mma_m16n8<16, bf16, false> : finish_mma_m16n8<16, f16, false>;
    return unpack<EmulatorFloats4>(exchange(bf ? "mma bf16" : "mma f16", ALL_LANES, true, in, finish, PC));
}

EmulatorFloats8 emulator_mma_m8n8k4_f16(EmulatorFloats8 c, EmulatorWords2 a, EmulatorWords2 b) {
    const Operand in = pack(Operands8{c, a, b});
    return unpack<EmulatorFloats8>(exchange("mma m8n8k4", ALL_LANES, true, in, finish_mma_m8n8k4, PC));
}

EmulatorWords4 emulator_ldmatrix(const void* row, int matrices, int transposed) {
    const void* pc = PC;
    if (static_cast<int>(lane_of(running.thread)) < matrices * 8) {
        check_aligned(row, 16, false, pc);
        if (CHECKS) check_read(row, 16, pc);
    }
    const Operand in = pack(Rows{static_cast<const uint16_t*>(row), matrices, transposed});
    return unpack<EmulatorWords4>(exchange("ldmatrix", ALL_LANES, true, in, finish_ldmatrix, pc));
}

unsigned short emulator_float_to_half(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0x7fffu;                                     // not a number
    if (magnitude >= 0x477ff000u) return static_cast<unsigned short>(sign | 0x7c00u);  // rounds past 65504
    if (magnitude < 0x38800000u) {  // a subnormal: adding 0.5 leaves its bits, rounded, at the float's end
        float shifted;
        memcpy(&shifted, &magnitude, sizeof shifted);
        shifted += 0.5f;
        memcpy(&bits, &shifted, sizeof bits);
        return static_cast<unsigned short>(sign | (bits - 0x3f000000u));
    }
    const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u) - (112u << 23);
    return static_cast<unsigned short>(sign | rounded >> 13);
}

float emulator_half_to_float(unsigned short h) {
    const uint32_t sign = (h & 0x8000u) << 16, exponent = h >> 10 & 31u, mantissa = h & 0x3ffu;
    if (exponent == 0) return std::copysign(static_cast<float>(mantissa) * 0x1p-24f, sign ? -1.0f : 1.0f);
    return bits_to_float(sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | mantissa << 13);
}

}
