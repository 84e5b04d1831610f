"""Training: the loop around the compiled step, its learning rates, its snapshots, what it reports."""
