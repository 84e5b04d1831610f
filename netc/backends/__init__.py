"""Backends: what IR becomes. The NumPy reference runs tensors; LLVM compiles buffers to machine code."""
