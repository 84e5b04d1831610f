"""The CPU backend: LLVM IR text, machine code, and the threads that run it."""
