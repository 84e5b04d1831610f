"""The command line. Data goes to stdout, messages and progress to stderr.

Exit codes: 0 done, 1 internal error, 2 bad input or usage, 3 a check failed, 130 interrupted, 141 the reader
of stdout left.
"""

from netc.cli.app import main

__all__ = ["main"]
