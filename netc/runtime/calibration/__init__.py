"""Calibration: the ranges of activations on sample inputs, and what narrow numbers change of the outputs."""
