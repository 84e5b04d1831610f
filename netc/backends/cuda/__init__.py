"""The CUDA backend: CUDA C++ text, compiled by NVRTC for named architectures, with or without a GPU."""
