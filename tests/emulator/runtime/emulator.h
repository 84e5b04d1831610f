// CUDA's names as C++ for the emulator: included in front of a generated translation unit, behind -DNETC_EMULATOR.
//
// Shared and global memory are plain memory. The kernels are compiled with the host compiler's thread sanitiser, so
// every access calls __tsan_read4 and the like, which checks.cpp implements; nothing here or in the kernels says so.
#pragma once
#include "calls.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define NETC_DEVICE inline __attribute__((always_inline))

// ---- vectors -------------------------------------------------------------------------------------------------------

#define EMULATOR_VECTORS(T, name, align2, align4)                                              \
    struct alignas(align2) name##2 { T x, y; };                                                \
    struct alignas(align4) name##4 { T x, y, z, w; };                                          \
    NETC_DEVICE name##2 make_##name##2(T x, T y) { return {x, y}; }                            \
    NETC_DEVICE name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATOR_VECTORS(float, float, 8, 16)
EMULATOR_VECTORS(int, int, 8, 16)
EMULATOR_VECTORS(unsigned, uint, 8, 16)
EMULATOR_VECTORS(unsigned short, ushort, 4, 8)
EMULATOR_VECTORS(unsigned char, uchar, 2, 4)
#undef EMULATOR_VECTORS

template <class To, class From> NETC_DEVICE To emulator_bits(From v) {
    static_assert(sizeof(To) == sizeof(From), "the same size");
    To to;
    __builtin_memcpy(&to, &v, sizeof to);
    return to;
}

// ---- shared memory -------------------------------------------------------------------------------------------------

// A pointer, not an array: an index past the end is then found by its address, and reported with the array's name.
#define NETC_SHARED(type, name, count)                                                               \
    static const EmulatorSharedSite name##_site = {#name, sizeof(type) * (count), (int)sizeof(type)}; \
    type* const name = static_cast<type*>(emulator_shared(&name##_site))
#define NETC_DYNAMIC_SHARED_AT(type, name, offset, count) \
    type* const name = static_cast<type*>(emulator_dynamic_shared((offset), (count), (int)sizeof(type)))
#define NETC_DYNAMIC_SHARED(type, name, count) NETC_DYNAMIC_SHARED_AT(type, name, 0, count)

// ---- vector accesses -----------------------------------------------------------------------------------------------

NETC_DEVICE float4 load4(const float* p) { return emulator_bits<float4>(emulator_load16(p)); }
NETC_DEVICE int4 load4(const int* p) { return emulator_bits<int4>(emulator_load16(p)); }
NETC_DEVICE uint4 load4(const unsigned* p) { return emulator_bits<uint4>(emulator_load16(p)); }
NETC_DEVICE uint4 load8(const unsigned short* p) { return emulator_bits<uint4>(emulator_load16(p)); }
NETC_DEVICE float2 load2(const float* p) { return emulator_bits<float2>(emulator_load8(p)); }
NETC_DEVICE unsigned load2(const unsigned short* p) { return emulator_load4(p); }
NETC_DEVICE void store4(float* p, float4 v) { emulator_store16(p, emulator_bits<EmulatorWords4>(v)); }
NETC_DEVICE void store4(int* p, int4 v) { emulator_store16(p, emulator_bits<EmulatorWords4>(v)); }
NETC_DEVICE void store4(unsigned* p, uint4 v) { emulator_store16(p, emulator_bits<EmulatorWords4>(v)); }
NETC_DEVICE void store8(unsigned short* p, uint4 v) { emulator_store16(p, emulator_bits<EmulatorWords4>(v)); }
NETC_DEVICE void store2(float* p, float2 v) { emulator_store8(p, emulator_bits<EmulatorWords2>(v)); }
NETC_DEVICE void store2(unsigned short* p, unsigned v) { emulator_store4(p, v); }

// ---- barriers and exchanges ----------------------------------------------------------------------------------------
// The line tells barriers apart, whatever the compiler does to the code around them.

#define __syncthreads() emulator_sync_threads(__LINE__)
NETC_DEVICE void __syncwarp(unsigned mask = 0xffffffffu) { emulator_sync_warp(mask); }

NETC_DEVICE int emulator_lane() {
    return (int)((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) & 31u);
}

template <class T> NETC_DEVICE T emulator_exchange(unsigned mask, T v, int lane) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a word or two");
    if constexpr (sizeof(T) == 4)
        return emulator_bits<T>((uint32_t)emulator_shuffle(mask, emulator_bits<uint32_t>(v), lane));
    else
        return emulator_bits<T>(emulator_shuffle(mask, emulator_bits<uint64_t>(v), lane));
}

template <class T> NETC_DEVICE T __shfl_sync(unsigned mask, T v, int source, int width = 32) {
    const int lane = emulator_lane();
    return emulator_exchange(mask, v, (lane & ~(width - 1)) | (source & (width - 1)));
}

template <class T> NETC_DEVICE T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32) {
    const int lane = emulator_lane(), within = (lane & (width - 1)) + (int)delta;
    return emulator_exchange(mask, v, within < width ? lane + (int)delta : lane);
}

template <class T> NETC_DEVICE T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32) {
    const int lane = emulator_lane(), within = (lane & (width - 1)) - (int)delta;
    return emulator_exchange(mask, v, within >= 0 ? lane - (int)delta : lane);
}

template <class T> NETC_DEVICE T __shfl_xor_sync(unsigned mask, T v, int lanes, int width = 32) {
    const int lane = emulator_lane(), source = lane ^ lanes;
    return emulator_exchange(mask, v, source < (lane & ~(width - 1)) + width ? source : lane);
}

NETC_DEVICE unsigned __ballot_sync(unsigned mask, int p) { return emulator_ballot(mask, p); }
NETC_DEVICE int __any_sync(unsigned mask, int p) { return emulator_ballot(mask, p) != 0; }
NETC_DEVICE int __all_sync(unsigned mask, int p) { return emulator_ballot(mask, !p) == 0; }

// ---- asynchronous copies -------------------------------------------------------------------------------------------

template <class T> NETC_DEVICE void copy_async16(T* tile, int i, const T* from, bool valid) {
    emulator_copy_async(tile + i, from, 16, valid, __CUDA_ARCH__ >= 800);
}
template <class T> NETC_DEVICE void copy_async8(T* tile, int i, const T* from, bool valid) {
    emulator_copy_async(tile + i, from, 8, valid, __CUDA_ARCH__ >= 800);
}
template <class T> NETC_DEVICE void copy_async4(T* tile, int i, const T* from, bool valid) {
    emulator_copy_async(tile + i, from, 4, valid, __CUDA_ARCH__ >= 800);
}
NETC_DEVICE void copy_async_commit() { emulator_copy_async_commit(); }
template <int N> NETC_DEVICE void copy_async_wait() { emulator_copy_async_wait(N); }

// ---- tensor cores --------------------------------------------------------------------------------------------------

#define EMULATOR_MMA4(call)                                              \
    const EmulatorFloats4 c = {{d[0], d[1], d[2], d[3]}};                \
    const EmulatorWords4 x = {{a[0], a[1], a[2], a[3]}};                 \
    const EmulatorWords2 y = {{b[0], b[1]}};                             \
    const EmulatorFloats4 r = call;                                      \
    d[0] = r.v[0], d[1] = r.v[1], d[2] = r.v[2], d[3] = r.v[3]

#if __CUDA_ARCH__ >= 800
NETC_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    EMULATOR_MMA4(emulator_mma_m16n8k8_tf32(c, x, y));
}
NETC_DEVICE void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    EMULATOR_MMA4(emulator_mma_m16n8k16(c, x, y, 1));
}
NETC_DEVICE void mma_m16n8k16_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    EMULATOR_MMA4(emulator_mma_m16n8k16(c, x, y, 0));
}
#endif

#if __CUDA_ARCH__ == 900
NETC_DEVICE void wgmma_publish() { emulator_wgmma_publish(); }
NETC_DEVICE void wgmma_fence() { emulator_wgmma_fence(); }
NETC_DEVICE void wgmma_commit() { emulator_wgmma_commit(); }
template <int N> NETC_DEVICE void wgmma_wait() { emulator_wgmma_wait(N); }
#define EMULATOR_WGMMA(name, element, kind)                                                                      \
    template <int TILES> NETC_DEVICE void name(float (&sum)[TILES][4], const element* a, const element* b) {     \
        emulator_wgmma_issue(a, b, TILES * 8, kind);                                                             \
        for (int j = 0; j < TILES; ++j) {                                                                        \
            const EmulatorFloats4 from = {{sum[j][0], sum[j][1], sum[j][2], sum[j][3]}};                         \
            const EmulatorFloats4 r = emulator_wgmma(from, a, b, j * 8, kind);                                   \
            sum[j][0] = r.v[0], sum[j][1] = r.v[1], sum[j][2] = r.v[2], sum[j][3] = r.v[3];                      \
        }                                                                                                        \
    }
EMULATOR_WGMMA(wgmma_tf32, float, EMULATOR_TF32)
EMULATOR_WGMMA(wgmma_bf16, unsigned, EMULATOR_BF16)
EMULATOR_WGMMA(wgmma_f16, unsigned, EMULATOR_F16)
#undef EMULATOR_WGMMA
#endif

NETC_DEVICE void mma_m8n8k4_f16(float (&d)[8], const unsigned (&a)[2], const unsigned (&b)[2]) {
    const EmulatorFloats8 c = {{d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]}};
    const EmulatorFloats8 r = emulator_mma_m8n8k4_f16(c, {{a[0], a[1]}}, {{b[0], b[1]}});
    d[0] = r.v[0], d[1] = r.v[1], d[2] = r.v[2], d[3] = r.v[3];
    d[4] = r.v[4], d[5] = r.v[5], d[6] = r.v[6], d[7] = r.v[7];
}

#if __CUDA_ARCH__ >= 750
template <class T> NETC_DEVICE void ldmatrix_x4(unsigned (&r)[4], const T* row) {
    const EmulatorWords4 m = emulator_ldmatrix(row, 4, 0);
    r[0] = m.v[0], r[1] = m.v[1], r[2] = m.v[2], r[3] = m.v[3];
}
template <class T> NETC_DEVICE void ldmatrix_x4_trans(unsigned (&r)[4], const T* row) {
    const EmulatorWords4 m = emulator_ldmatrix(row, 4, 1);
    r[0] = m.v[0], r[1] = m.v[1], r[2] = m.v[2], r[3] = m.v[3];
}
template <class T> NETC_DEVICE void ldmatrix_x2(unsigned (&r)[2], const T* row) {
    const EmulatorWords4 m = emulator_ldmatrix(row, 2, 0);
    r[0] = m.v[0], r[1] = m.v[1];
}
template <class T> NETC_DEVICE void ldmatrix_x2_trans(unsigned (&r)[2], const T* row) {
    const EmulatorWords4 m = emulator_ldmatrix(row, 2, 1);
    r[0] = m.v[0], r[1] = m.v[1];
}
#endif

// ---- arithmetic: the host's mathematical functions, under their own names and CUDA's --------------------------------

extern "C" {
#define EMULATOR_FUNCTION1(name) float name(float) noexcept;
#define EMULATOR_FUNCTION2(name) float name(float, float) noexcept;
EMULATOR_FUNCTION1(expf) EMULATOR_FUNCTION1(exp2f) EMULATOR_FUNCTION1(expm1f) EMULATOR_FUNCTION1(logf)
EMULATOR_FUNCTION1(log2f) EMULATOR_FUNCTION1(log10f) EMULATOR_FUNCTION1(log1pf) EMULATOR_FUNCTION1(sqrtf)
EMULATOR_FUNCTION1(cbrtf) EMULATOR_FUNCTION1(sinf) EMULATOR_FUNCTION1(cosf) EMULATOR_FUNCTION1(tanf)
EMULATOR_FUNCTION1(sinhf) EMULATOR_FUNCTION1(coshf) EMULATOR_FUNCTION1(tanhf) EMULATOR_FUNCTION1(erff)
EMULATOR_FUNCTION1(fabsf) EMULATOR_FUNCTION1(floorf) EMULATOR_FUNCTION1(ceilf) EMULATOR_FUNCTION1(truncf)
EMULATOR_FUNCTION1(roundf) EMULATOR_FUNCTION1(rintf) EMULATOR_FUNCTION1(nearbyintf)
EMULATOR_FUNCTION2(powf) EMULATOR_FUNCTION2(fmodf) EMULATOR_FUNCTION2(fmaxf) EMULATOR_FUNCTION2(fminf)
EMULATOR_FUNCTION2(atan2f) EMULATOR_FUNCTION2(copysignf) EMULATOR_FUNCTION2(hypotf)
#undef EMULATOR_FUNCTION1
#undef EMULATOR_FUNCTION2
float fmaf(float, float, float) noexcept;
double exp(double) noexcept;
double log(double) noexcept;
double sqrt(double) noexcept;
double pow(double, double) noexcept;
double fma(double, double, double) noexcept;
double fabs(double) noexcept;
double floor(double) noexcept;
int abs(int) noexcept;
}

NETC_DEVICE bool isnan(float v) { return __builtin_isnan(v); }
NETC_DEVICE bool isinf(float v) { return __builtin_isinf(v); }
NETC_DEVICE bool isfinite(float v) { return __builtin_isfinite(v); }
NETC_DEVICE float netc_bits_to_float(unsigned bits) { return emulator_bits<float>(bits); }
NETC_DEVICE unsigned netc_float_to_bits(float v) { return emulator_bits<unsigned>(v); }
NETC_DEVICE float __uint_as_float(unsigned v) { return emulator_bits<float>(v); }
NETC_DEVICE float __int_as_float(int v) { return emulator_bits<float>(v); }
NETC_DEVICE unsigned __float_as_uint(float v) { return emulator_bits<unsigned>(v); }
NETC_DEVICE int __float_as_int(float v) { return emulator_bits<int>(v); }
NETC_DEVICE unsigned to_tf32(float v) { return (emulator_bits<unsigned>(v) + 0x1000u) & 0xffffe000u; }
NETC_DEVICE unsigned short float_to_half(float v) { return emulator_float_to_half(v); }
NETC_DEVICE float half_to_float(unsigned short h) { return emulator_half_to_float(h); }

template <class T> NETC_DEVICE T __ldg(const T* p) { return *p; }
NETC_DEVICE float rsqrtf(float v) { return 1.0f / sqrtf(v); }
NETC_DEVICE float __expf(float v) { return expf(v); }
NETC_DEVICE float __logf(float v) { return logf(v); }
NETC_DEVICE float __log2f(float v) { return log2f(v); }
NETC_DEVICE float __powf(float a, float b) { return powf(a, b); }
NETC_DEVICE float __fdividef(float a, float b) { return a / b; }
NETC_DEVICE float __frcp_rn(float v) { return 1.0f / v; }
NETC_DEVICE float __fsqrt_rn(float v) { return sqrtf(v); }
NETC_DEVICE float __fadd_rn(float a, float b) { return a + b; }
NETC_DEVICE float __fmul_rn(float a, float b) { volatile float p = a * b; return p; }
NETC_DEVICE float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
NETC_DEVICE float __saturatef(float v) { return v > 0.0f ? (v < 1.0f ? v : 1.0f) : 0.0f; }
NETC_DEVICE int __float2int_rz(float v) { return (int)v; }
NETC_DEVICE int __float2int_rn(float v) { return (int)rintf(v); }
NETC_DEVICE int __float2int_rd(float v) { return (int)floorf(v); }
NETC_DEVICE float __int2float_rn(int v) { return (float)v; }
NETC_DEVICE unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
NETC_DEVICE int __popc(unsigned v) { return __builtin_popcount(v); }
NETC_DEVICE int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
NETC_DEVICE int __ffs(int v) { return __builtin_ffs(v); }
NETC_DEVICE int min(int a, int b) { return a < b ? a : b; }
NETC_DEVICE int max(int a, int b) { return a > b ? a : b; }
NETC_DEVICE unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
NETC_DEVICE unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
NETC_DEVICE long long min(long long a, long long b) { return a < b ? a : b; }
NETC_DEVICE long long max(long long a, long long b) { return a > b ? a : b; }
NETC_DEVICE float min(float a, float b) { return fminf(a, b); }
NETC_DEVICE float max(float a, float b) { return fmaxf(a, b); }

// ---- entries: a kernel called with pointers to its arguments ---------------------------------------------------------

template <int... I> struct EmulatorIndices {};
template <int N, int... I> struct EmulatorCount : EmulatorCount<N - 1, N - 1, I...> {};
template <int... I> struct EmulatorCount<0, I...> { using type = EmulatorIndices<I...>; };

template <class... P, int... I>
NETC_DEVICE void emulator_call(void (*kernel)(P...), void** arguments, EmulatorIndices<I...>) {
    (void)arguments;
    kernel(*static_cast<P*>(arguments[I])...);
}

#define EMULATOR_ENTRY(kernel, parameters)                                                          \
    extern "C" __attribute__((visibility("default"))) void emulator_entry_##kernel(void** a) {      \
        emulator_call(kernel, a, EmulatorCount<parameters>::type());                                \
    }
