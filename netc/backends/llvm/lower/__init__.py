"""Lowerings from launches of the buffer level to loop-level kernels, one file a family."""
