"""Batches made ahead in threads."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from netc.ir.diagnostics import NetcError
from netc.runtime.data.prefetch import Prefetcher


class Counted:
    """Batch i holds the number i; some take longer, one may fail."""

    def __init__(self, bad: int = -1) -> None:
        self.tops = {"data": (1,)}
        self.bad = bad
        self.made: list[int] = []

    def batch(self, index: int) -> dict[str, np.ndarray]:
        time.sleep(0.002 * (index % 3 == 0))
        self.made.append(index)
        if index == self.bad:
            raise NetcError(f"batch {index} is bad")
        return {"data": np.array([index], np.float32)}


class Other(Counted):
    def batch(self, index: int) -> dict[str, np.ndarray]:
        return {"other": np.array([-index], np.float32)}


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_batches_of_all_sources_come_in_order(threads):
    with Prefetcher([Counted(), Other()], 5, depth=4, threads=threads) as prefetcher:
        for index in range(5, 45):
            assert prefetcher.index == index
            batch = next(prefetcher)
            assert batch["data"].tolist() == [index]
            assert batch["other"].tolist() == [-index]


def test_no_more_batches_are_made_ahead_than_the_depth():
    source = Counted()
    with Prefetcher([source], depth=3) as prefetcher:
        next(prefetcher)
        time.sleep(0.1)
        assert sorted(source.made) == [0, 1, 2, 3]


def test_an_error_is_raised_where_its_batch_is_asked_for():
    with Prefetcher([Counted(bad=3)]) as prefetcher:
        assert [next(prefetcher)["data"][0] for _ in range(3)] == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(NetcError, match="batch 3 is bad"):
                next(prefetcher)


def test_a_closed_prefetcher_gives_nothing_and_leaves_no_threads():
    before = threading.active_count()
    prefetcher = Prefetcher([Counted()], threads=3)
    next(prefetcher)
    prefetcher.close()
    prefetcher.close()
    assert list(prefetcher) == []
    assert threading.active_count() == before


def test_a_forgotten_prefetcher_ends_its_threads():
    gc.collect()  # what other tests left
    before = threading.active_count()
    prefetcher = Prefetcher([Counted()], threads=3)
    next(prefetcher)
    del prefetcher
    gc.collect()
    assert threading.active_count() == before


def test_a_forked_process_goes_on_with_the_next_batch():
    with Prefetcher([Counted()]) as prefetcher:
        next(prefetcher)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, bytes([int(next(prefetcher)["data"][0]), int(next(prefetcher)["data"][0])]))
            prefetcher.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert list(os.read(read, 2)) == [1, 2]
        assert next(prefetcher)["data"].tolist() == [1]


@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("raise KeyboardInterrupt", -signal.SIGINT), ("raise SystemExit(3)", 3)]
)
def test_a_process_ends_while_batches_are_made(end, code):
    script = f"""
import numpy as np
from netc.runtime.data.prefetch import Prefetcher
class Source:
    tops = {{}}
    def batch(self, index):
        return {{"data": np.zeros(1000)}}
prefetcher = Prefetcher([Source()], depth=50, threads=4)
next(prefetcher)
{end}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert "Fatal" not in done.stderr


def soon(look):
    """What a function gives once it gives something."""
    while (found := look()) is None:
        time.sleep(0.001)
    return found


def test_a_look_at_the_next_batch_takes_nothing():
    with Prefetcher([Counted()]) as prefetcher:
        for index in range(3):
            seen = soon(prefetcher.peek)
            assert seen["data"].tolist() == [index]
            assert prefetcher.index == index
            assert next(prefetcher)["data"] is seen["data"]
    assert prefetcher.peek() is None


def test_a_bad_batch_is_raised_where_it_is_taken_and_not_where_it_is_looked_for():
    source = Counted(bad=0)
    with Prefetcher([source], threads=1) as prefetcher:
        soon(lambda: source.made[1:] or None)
        assert prefetcher.peek() is None
        with pytest.raises(NetcError, match="batch 0 is bad"):
            next(prefetcher)
