// The runtime's functions that kernels call. What a call needs of its thread travels by value: an address that leaves
// the kernel would make a local array checked memory.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
// A site of a shared array: where it lies is decided when the first thread of a launch gets there.
struct EmulatorSharedSite {
    const char* name;
    size_t bytes;
    int element_bytes;
};

struct EmulatorWords4 { unsigned v[4]; };
struct EmulatorWords2 { unsigned v[2]; };
struct EmulatorFloats4 { float v[4]; };
struct EmulatorFloats8 { float v[8]; };

extern "C" {
// Never change while a thread sees them, so the compiler may keep them, and does not check their reads.
extern const uint3 threadIdx, blockIdx;
extern const dim3 blockDim, gridDim;

void emulator_sync_threads(int line);
void emulator_sync_warp(unsigned mask);
uint64_t emulator_shuffle(unsigned mask, uint64_t bits, int lane);
unsigned emulator_ballot(unsigned mask, int predicate);
void* emulator_shared(const EmulatorSharedSite* site);
void* emulator_dynamic_shared(size_t offset, size_t count, int element_bytes);
EmulatorWords4 emulator_load16(const void* from);
EmulatorWords2 emulator_load8(const void* from);
unsigned emulator_load4(const void* from);
void emulator_store16(void* to, EmulatorWords4 v);
void emulator_store8(void* to, EmulatorWords2 v);
void emulator_store4(void* to, unsigned v);
void emulator_copy_async(void* to, const void* from, int bytes, int valid, int asynchronous);
void emulator_copy_async_commit();
void emulator_copy_async_wait(int groups);
EmulatorFloats4 emulator_mma_m16n8k8_tf32(EmulatorFloats4 c, EmulatorWords4 a, EmulatorWords2 b);
EmulatorFloats4 emulator_mma_m16n8k16(EmulatorFloats4 c, EmulatorWords4 a, EmulatorWords2 b, int bf16);
EmulatorFloats8 emulator_mma_m8n8k4_f16(EmulatorFloats8 c, EmulatorWords2 a, EmulatorWords2 b);
EmulatorWords4 emulator_ldmatrix(const void* row, int matrices, int transposed);
void emulator_wgmma_publish();
void emulator_wgmma_fence();
// Rows of 128 bytes of tf32, or of 64 of 16-bit floats.
enum EmulatorWgmma { EMULATOR_TF32, EMULATOR_BF16, EMULATOR_F16 };
void emulator_wgmma_issue(const void* a, const void* b, int columns, EmulatorWgmma kind);
EmulatorFloats4 emulator_wgmma(EmulatorFloats4 sum, const void* a, const void* b, int first_column, EmulatorWgmma kind);
void emulator_wgmma_commit();
void emulator_wgmma_wait(int groups);
unsigned short emulator_float_to_half(float v);
float emulator_half_to_float(unsigned short h);
}
