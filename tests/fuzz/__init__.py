"""Fuzzing of everything that reads a user's file: ``python -m tests.fuzz.run_fuzz --help``."""
