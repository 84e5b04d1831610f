"""Lowerings from launches of the buffer level to CUDA C++ kernels, one file a family."""
