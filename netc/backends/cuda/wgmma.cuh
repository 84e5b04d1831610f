// Matrix products of a warpgroup (four warps) by the tensor cores of sm_90a: both operands in shared memory, sums in
// registers, asynchronous. An emulator declares all but the place of an element itself.
//
// A tile begins at a multiple of 1024 bytes of dynamic shared memory and has rows of 32 floats, or of 16 words of two
// 16-bit floats each; within eight rows their 16-byte pieces are swizzled, as `wgmma_place` says of an element, and
// `wgmma_place_pair` of a word.

NETC_DEVICE int wgmma_place(int row, int k) { return row * 32 + (k ^ (row & 7) << 2); }
NETC_DEVICE int wgmma_place_pair(int row, int pair) { return row * 16 + (pair ^ (row >> 1 & 3) << 2); }

#if !defined(NETC_EMULATOR) && defined(__CUDA_ARCH_FEAT_SM90_ALL)

// What this thread wrote to shared memory so far may be read by products behind the next barrier.
NETC_DEVICE void wgmma_publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Stands between other uses of the sums and the first product on them.
NETC_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
NETC_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most N of the groups of products that this warp committed are under way.
template <int N> NETC_DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// The descriptor of a tile: swizzled rows of 128 bytes, eight of them every 1024, or of 64 bytes, every 512.
NETC_DEVICE unsigned long long netc_wgmma_tile(const float* tile) {
    const unsigned long long address = (netc_shared_address(tile) & 0x3ffffu) >> 4;
    return address | 1ull << 16 | 64ull << 32 | 1ull << 62;
}
NETC_DEVICE unsigned long long netc_wgmma_tile(const unsigned* tile) {
    const unsigned long long address = (netc_shared_address(tile) & 0x3ffffu) >> 4;
    return address | 1ull << 16 | 32ull << 32 | 2ull << 62;
}

#define NETC_TEN(d) "%" #d "0,%" #d "1,%" #d "2,%" #d "3,%" #d "4,%" #d "5,%" #d "6,%" #d "7,%" #d "8,%" #d "9,"
#define NETC_FIRST_TEN "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,"
#define NETC_SUM1(j) "+f"(sum[j][0]), "+f"(sum[j][1]), "+f"(sum[j][2]), "+f"(sum[j][3])
#define NETC_SUM4(j) NETC_SUM1(j), NETC_SUM1(j + 1), NETC_SUM1(j + 2), NETC_SUM1(j + 3)
#define NETC_SUM8(j) NETC_SUM4(j), NETC_SUM4(j + 4)
#define NETC_SUM16(j) NETC_SUM8(j), NETC_SUM8(j + 8)
#define NETC_WGMMA(name, element, n, shape, types, registers, a, b, one, last, ...)                                    \
    NETC_DEVICE void name(float(&sum)[n / 8][4], const element* a_tile, const element* b_tile) {                       \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " one ", 0;\n"                                                  \
                     "wgmma.mma_async.sync.aligned.m64n" #n shape ".f32" types " {" registers "}, " a ", " b           \
                     ", p, 1, 1" last ";\n}"                                                                           \
                     : __VA_ARGS__ : "l"(netc_wgmma_tile(a_tile)), "l"(netc_wgmma_tile(b_tile)), "r"(1));              \
    }
#define NETC_WGMMA64(name, element, shape, types, last)                                                                \
    NETC_WGMMA(name, element, 64, shape, types, NETC_FIRST_TEN NETC_TEN(1) NETC_TEN(2) "%30,%31", "%32", "%33", "%34", \
               last, NETC_SUM8(0))
#define NETC_WGMMA128(name, element, shape, types, last)                                                               \
    NETC_WGMMA(name, element, 128, shape, types, NETC_FIRST_TEN NETC_TEN(1) NETC_TEN(2) NETC_TEN(3) NETC_TEN(4)        \
               NETC_TEN(5) "%60,%61,%62,%63", "%64", "%65", "%66", last, NETC_SUM16(0))
#define NETC_WGMMA256(name, element, shape, types, last)                                                               \
    NETC_WGMMA(name, element, 256, shape, types, NETC_FIRST_TEN NETC_TEN(1) NETC_TEN(2) NETC_TEN(3) NETC_TEN(4)        \
               NETC_TEN(5) NETC_TEN(6) NETC_TEN(7) NETC_TEN(8) NETC_TEN(9) NETC_TEN(10) NETC_TEN(11)                   \
               "%120,%121,%122,%123,%124,%125,%126,%127", "%128", "%129", "%130", last, NETC_SUM16(0), NETC_SUM16(16))

// sum[64][n] += A[64][8] B[n][8], the sums as `mma_m16n8k8_tf32` has them: warp w of the group has rows 16 w and on.
// The tiles' pointers are their first row's, at a multiple of 8 of its floats. Lower bits than tf32 has are ignored.
NETC_WGMMA64(wgmma_tf32, float, "k8", ".tf32.tf32", "")
NETC_WGMMA128(wgmma_tf32, float, "k8", ".tf32.tf32", "")
NETC_WGMMA256(wgmma_tf32, float, "k8", ".tf32.tf32", "")

// The same for 16 columns of 16-bit floats, at a multiple of 8 of the words of a row.
NETC_WGMMA64(wgmma_bf16, unsigned, "k16", ".bf16.bf16", ", 0, 0")
NETC_WGMMA128(wgmma_bf16, unsigned, "k16", ".bf16.bf16", ", 0, 0")
NETC_WGMMA64(wgmma_f16, unsigned, "k16", ".f16.f16", ", 0, 0")
NETC_WGMMA128(wgmma_f16, unsigned, "k16", ".f16.f16", ", 0, 0")

#endif
