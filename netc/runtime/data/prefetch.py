"""Makes batches ahead of their use, in threads, and hands them out in order."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from types import TracebackType

from netc.runtime.data.source import DataSource
from netc.runtime.memory import Array

Batch = dict[str, Array]


class Prefetcher:
    """Iterates over the batches ``start_index``, ``start_index + 1``, … of all sources together, without end.

    Up to ``depth`` batches are made ahead by ``threads`` threads. What goes wrong in a thread is raised
    where the batch is asked for. In a forked process, which has no threads, new ones go on.
    """

    def __init__(
        self, sources: Sequence[DataSource], start_index: int = 0, *, depth: int = 3, threads: int = 2
    ) -> None:
        self._sources = tuple(sources)
        self._depth = max(1, depth)
        self._threads = max(1, min(threads, self._depth))
        self._next = start_index
        self._closed = False
        self._start()

    def __iter__(self) -> Prefetcher:
        return self

    def __next__(self) -> Batch:
        if self._closed:
            raise StopIteration
        if os.getpid() != self._process:
            self._start()
        batch = self._work.take(self._next)
        self._next += 1
        return batch

    def peek(self) -> Batch | None:
        """The batch that comes next, if it is made."""
        if self._closed or os.getpid() != self._process:
            return None
        return self._work.look(self._next)

    @property
    def index(self) -> int:
        """The number of the batch that comes next."""
        return self._next

    def close(self) -> None:
        """End the threads; the iteration is over."""
        self._closed = True
        if os.getpid() == self._process:
            self._finalizer()

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        self._process = os.getpid()
        self._work = _Work(self._sources, self._next, self._depth, self._threads)
        # the threads know the work alone, so that a forgotten prefetcher is collected, and ends them
        self._finalizer = weakref.finalize(self, self._work.stop)


class _Work:
    """What the threads and the consumer share. All fields are guarded by ``_change``."""

    def __init__(self, sources: tuple[DataSource, ...], start: int, depth: int, threads: int) -> None:
        self._sources = sources
        self._depth = depth
        self._claimed = start  # the first batch that nobody works on
        self._wanted = start  # the batch that the consumer takes next
        self._made: dict[int, Batch | BaseException] = {}
        self._stopped = False
        self._change = threading.Condition()
        # daemons: a batch that takes long does not keep the process from ending
        self._threads = [
            threading.Thread(target=self._run, name="netc-data", daemon=True) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def take(self, index: int) -> Batch:
        with self._change:
            # the timeout lets an interrupt through on every platform
            while index not in self._made:
                self._change.wait(1.0)
            made = self._made[index]
            if isinstance(made, BaseException):
                raise made
            del self._made[index]
            self._wanted = index + 1
            self._change.notify_all()
            return made

    def look(self, index: int) -> Batch | None:
        with self._change:
            made = self._made.get(index)
        return None if isinstance(made, BaseException) else made

    def stop(self) -> None:
        with self._change:
            self._stopped = True
            self._change.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._stopped and self._claimed >= self._wanted + self._depth:
                    self._change.wait()
                if self._stopped:
                    return
                index = self._claimed
                self._claimed += 1
            made = self._make(index)
            with self._change:
                self._made[index] = made
                self._change.notify_all()

    def _make(self, index: int) -> Batch | BaseException:
        batch: Batch = {}
        try:
            for source in self._sources:
                batch.update(source.batch(index))
        except BaseException as error:  # whatever it is, the consumer has to know
            return error
        return batch
