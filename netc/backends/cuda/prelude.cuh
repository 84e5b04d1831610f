// The names that generated kernels are written in: shared memory, 16-byte accesses, warp exchanges, asynchronous
// copies, tensor cores, 16-bit floats. Needs no header of the host, so NVRTC compiles it alone.
//
// Under NETC_EMULATOR an emulator has declared everything that stands between #ifndef and #endif here, and
// compiles the rest, and the kernels, as ordinary C++. float16 and bfloat16 are stored as unsigned short.

#define NETC_WARP_SIZE 32
#define NETC_FULL_MASK 0xffffffffu

#ifndef NETC_EMULATOR

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 700
#error "netc's kernels need compute capability 7.0 or later"
#endif

#define NETC_DEVICE __device__ __forceinline__

// ---- shared memory -------------------------------------------------------------------------------------------------

// An array of `count` (a constant) elements in static shared memory, 16-byte aligned.
#define NETC_SHARED(type, name, count) __shared__ __align__(16) type name[count]

extern __shared__ __align__(1024) unsigned char netc_dynamic_shared[];

// The array at `offset` bytes (a multiple of 16) of the shared memory whose size the launch gives.
#define NETC_DYNAMIC_SHARED_AT(type, name, offset, count) \
    type* const name = reinterpret_cast<type*>(netc_dynamic_shared + (offset))
#define NETC_DYNAMIC_SHARED(type, name, count) NETC_DYNAMIC_SHARED_AT(type, name, 0, count)

// ---- 16-byte accesses ----------------------------------------------------------------------------------------------
// Addresses are multiples of 16. load8 and store8 move eight 16-bit values, two to a word, the first one low.

NETC_DEVICE float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }
NETC_DEVICE int4 load4(const int* p) { return *reinterpret_cast<const int4*>(p); }
NETC_DEVICE uint4 load4(const unsigned* p) { return *reinterpret_cast<const uint4*>(p); }
NETC_DEVICE uint4 load8(const unsigned short* p) { return *reinterpret_cast<const uint4*>(p); }
NETC_DEVICE void store4(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }
NETC_DEVICE void store4(int* p, int4 v) { *reinterpret_cast<int4*>(p) = v; }
NETC_DEVICE void store4(unsigned* p, uint4 v) { *reinterpret_cast<uint4*>(p) = v; }
NETC_DEVICE void store8(unsigned short* p, uint4 v) { *reinterpret_cast<uint4*>(p) = v; }

// Two floats, or a word of two 16-bit values; addresses are multiples of 8 and of 4.
NETC_DEVICE float2 load2(const float* p) { return *reinterpret_cast<const float2*>(p); }
NETC_DEVICE unsigned load2(const unsigned short* p) { return *reinterpret_cast<const unsigned*>(p); }
NETC_DEVICE void store2(float* p, float2 v) { *reinterpret_cast<float2*>(p) = v; }
NETC_DEVICE void store2(unsigned short* p, unsigned v) { *reinterpret_cast<unsigned*>(p) = v; }

// ---- asynchronous copies from global to shared memory ---------------------------------------------------------------
// Zeros arrive where `valid` is false; `from` is not read then. Before sm_80 the copies are ordinary ones.

NETC_DEVICE unsigned netc_shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

template <class T> NETC_DEVICE void copy_async16(T* tile, int i, const T* from, bool valid) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(netc_shared_address(tile + i)), "l"(from),
                 "r"(valid ? 16 : 0) : "memory");
#else
    uint4 v = make_uint4(0, 0, 0, 0);
    if (valid) v = *reinterpret_cast<const uint4*>(from);
    *reinterpret_cast<uint4*>(tile + i) = v;
#endif
}

template <class T> NETC_DEVICE void copy_async8(T* tile, int i, const T* from, bool valid) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(netc_shared_address(tile + i)), "l"(from),
                 "r"(valid ? 8 : 0) : "memory");
#else
    uint2 v = make_uint2(0, 0);
    if (valid) v = *reinterpret_cast<const uint2*>(from);
    *reinterpret_cast<uint2*>(tile + i) = v;
#endif
}

template <class T> NETC_DEVICE void copy_async4(T* tile, int i, const T* from, bool valid) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(netc_shared_address(tile + i)), "l"(from),
                 "r"(valid ? 4 : 0) : "memory");
#else
    unsigned v = 0;
    if (valid) v = *reinterpret_cast<const unsigned*>(from);
    *reinterpret_cast<unsigned*>(tile + i) = v;
#endif
}

NETC_DEVICE void copy_async_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most N of the groups that this thread committed are under way.
template <int N> NETC_DEVICE void copy_async_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

// ---- numbers of 16 and 19 bits; all round to nearest, ties to even, but to_tf32, whose ties go away from zero -------

NETC_DEVICE unsigned short float_to_half(float v) {
    unsigned short h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(v));
    return h;
}

NETC_DEVICE float half_to_float(unsigned short h) {
    float v;
    asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(h));
    return v;
}

NETC_DEVICE float netc_bits_to_float(unsigned bits) { return __uint_as_float(bits); }
NETC_DEVICE unsigned netc_float_to_bits(float v) { return __float_as_uint(v); }

// A float's nearest tf32 (10 bits of mantissa), as the bits of a float.
NETC_DEVICE unsigned to_tf32(float v) {
#if __CUDA_ARCH__ >= 800
    unsigned t;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(t) : "f"(v));
    return t;
#else
    return (__float_as_uint(v) + 0x1000u) & 0xffffe000u;
#endif
}

// ---- tensor cores: d += a b, in the fragments of PTX's mma.sync.row.col ---------------------------------------------

#if __CUDA_ARCH__ >= 800

NETC_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

NETC_DEVICE void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

NETC_DEVICE void mma_m16n8k16_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif

// Four products at once, one for each eight lanes {4q..4q+3, 16+4q..16+4q+3}: the tensor cores of sm_70.
NETC_DEVICE void mma_m8n8k4_f16(float (&d)[8], const unsigned (&a)[2], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9}, {%10,%11}, "
                 "{%0,%1,%2,%3,%4,%5,%6,%7};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]), "r"(b[1]));
}

#if __CUDA_ARCH__ >= 750

// 8x8 matrices of 16-bit values: lane l gives the address of row l % 8 of matrix l / 8 (16 bytes, in shared memory)
// and receives of matrix m, in r[m], the two values of row l / 4 at columns 2 (l % 4) and on; `trans` transposes.
template <class T> NETC_DEVICE void ldmatrix_x4(unsigned (&r)[4], const T* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(netc_shared_address(row)) : "memory");
}

template <class T> NETC_DEVICE void ldmatrix_x4_trans(unsigned (&r)[4], const T* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(netc_shared_address(row)) : "memory");
}

template <class T> NETC_DEVICE void ldmatrix_x2(unsigned (&r)[2], const T* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(netc_shared_address(row)) : "memory");
}

template <class T> NETC_DEVICE void ldmatrix_x2_trans(unsigned (&r)[2], const T* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(netc_shared_address(row)) : "memory");
}

#endif

#endif  // NETC_EMULATOR

// ---- built on the above, for the device and the emulator ------------------------------------------------------------

// Exchanges within a warp; all 32 lanes take part.
template <class T> NETC_DEVICE T shfl(T v, int lane) { return __shfl_sync(NETC_FULL_MASK, v, lane); }
template <class T> NETC_DEVICE T shfl_down(T v, int delta) { return __shfl_down_sync(NETC_FULL_MASK, v, delta); }
template <class T> NETC_DEVICE T shfl_up(T v, int delta) { return __shfl_up_sync(NETC_FULL_MASK, v, delta); }
template <class T> NETC_DEVICE T shfl_xor(T v, int mask) { return __shfl_xor_sync(NETC_FULL_MASK, v, mask); }
NETC_DEVICE unsigned ballot(bool p) { return __ballot_sync(NETC_FULL_MASK, p); }
NETC_DEVICE bool any(bool p) { return __any_sync(NETC_FULL_MASK, p) != 0; }
NETC_DEVICE bool all(bool p) { return __all_sync(NETC_FULL_MASK, p) != 0; }

// The same by element: `i` is a multiple of 4, of 8 for load8 and store8, of 2 for load2 and store2.
NETC_DEVICE float4 load4(const float* tile, int i) { return load4(tile + i); }
NETC_DEVICE int4 load4(const int* tile, int i) { return load4(tile + i); }
NETC_DEVICE uint4 load4(const unsigned* tile, int i) { return load4(tile + i); }
NETC_DEVICE uint4 load8(const unsigned short* tile, int i) { return load8(tile + i); }
NETC_DEVICE float2 load2(const float* tile, int i) { return load2(tile + i); }
NETC_DEVICE unsigned load2(const unsigned short* tile, int i) { return load2(tile + i); }
NETC_DEVICE void store4(float* tile, int i, float4 v) { store4(tile + i, v); }
NETC_DEVICE void store4(int* tile, int i, int4 v) { store4(tile + i, v); }
NETC_DEVICE void store4(unsigned* tile, int i, uint4 v) { store4(tile + i, v); }
NETC_DEVICE void store8(unsigned short* tile, int i, uint4 v) { store8(tile + i, v); }
NETC_DEVICE void store2(float* tile, int i, float2 v) { store2(tile + i, v); }
NETC_DEVICE void store2(unsigned short* tile, int i, unsigned v) { store2(tile + i, v); }

NETC_DEVICE float bfloat16_to_float(unsigned short h) { return netc_bits_to_float((unsigned)h << 16); }

NETC_DEVICE unsigned short float_to_bfloat16(float v) {
    const unsigned bits = netc_float_to_bits(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;  // not a number: rounding could make it infinite
    return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// A word of two 16-bit floats, `low` in the lower half: an element pair of a fragment.
NETC_DEVICE unsigned pack_half2(float low, float high) {
#if !defined(NETC_EMULATOR) && __CUDA_ARCH__ >= 800
    unsigned pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return (unsigned)float_to_half(low) | (unsigned)float_to_half(high) << 16;
#endif
}

NETC_DEVICE unsigned pack_bfloat162(float low, float high) {
#if !defined(NETC_EMULATOR) && __CUDA_ARCH__ >= 800
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return (unsigned)float_to_bfloat16(low) | (unsigned)float_to_bfloat16(high) << 16;
#endif
}

NETC_DEVICE unsigned pack_half2(float2 v) { return pack_half2(v.x, v.y); }
NETC_DEVICE unsigned pack_bfloat162(float2 v) { return pack_bfloat162(v.x, v.y); }

NETC_DEVICE int netc_lane() { return (int)(threadIdx.x & (NETC_WARP_SIZE - 1)); }
NETC_DEVICE int netc_warp() { return (int)(threadIdx.x / NETC_WARP_SIZE); }

struct netc_sum {
    static NETC_DEVICE float identity() { return 0.0f; }
    NETC_DEVICE float operator()(float a, float b) const { return a + b; }
};

struct netc_max {
    static NETC_DEVICE float identity() { return -netc_bits_to_float(0x7f800000u); }
    NETC_DEVICE float operator()(float a, float b) const { return fmaxf(a, b); }
};

// The values of all lanes combined, in every lane and in the same order whatever the block.
template <class Op> NETC_DEVICE float warp_reduce(float v, Op op) {
#pragma unroll
    for (int m = NETC_WARP_SIZE / 2; m > 0; m /= 2) v = op(v, shfl_xor(v, m));
    return v;
}

// The values of all threads combined, in every thread. Blocks are one-dimensional, of whole warps, of at most 1024
// threads; all threads call it. `scratch` is 32 floats of shared memory, which may be used again after the call.
template <class Op> NETC_DEVICE float block_reduce(float v, float* scratch, Op op) {
    v = warp_reduce(v, op);
    if (netc_lane() == 0) scratch[netc_warp()] = v;
    __syncthreads();
    v = netc_lane() < (int)(blockDim.x / NETC_WARP_SIZE) ? scratch[netc_lane()] : Op::identity();
    v = warp_reduce(v, op);
    __syncthreads();
    return v;
}
