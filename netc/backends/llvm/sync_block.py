"""The memory that a group of threads shares while it runs programs in lock step.

One *sync block* of 64-bit words per group, each hot word on cache lines of its own:

====================  =========================================================================
`EPOCH`               number of programs published; workers wait for it to change
`ARRIVED`             threads that have reached the current barrier
`GENERATION`          barriers completed; waiters wait for it to change; next word: how many sleep
`JOB` + 0, 1, 2, 3    steps, number of steps, clock array or null, stop flag
`BUSY`                1 while a program runs; whoever wants to run one sets it first
`CONFIG` + 0 … 12     threads, yield function or null, lock acquire, lock release,
                      ticks to spin before parking, spins at a barrier before sleeping or yielding,
                      the C library's ``syscall`` where there are futexes or null, the call's number,
                      how many cores the group takes, where the number of free ones is or null,
                      to bind the caller: ``sched_getaffinity`` or null, ``sched_setaffinity``, the core
`WORKER` + 16 tid     1 while the worker is parked; next words: the lock on which it parks, and at how
                      many barriers the thread has slept in a row
====================  =========================================================================
"""

from __future__ import annotations

LINE_WORDS = 16  # 128 bytes: two lines of 64, which some processors fetch together
EPOCH = 0
ARRIVED = 1 * LINE_WORDS
GENERATION = 2 * LINE_WORDS
JOB = 3 * LINE_WORDS
BUSY = JOB + 4
CONFIG = 4 * LINE_WORDS
WORKER = 5 * LINE_WORDS

FUTEX_NUMBERS = {"x86_64": 202, "aarch64": 98}
"""The number of the system call ``futex`` of Linux, by architecture."""


def sync_words(threads: int) -> int:
    """The size of the sync block of a group of threads."""
    return WORKER + LINE_WORDS * threads
