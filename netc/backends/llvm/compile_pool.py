"""Compiles many kernels at once: equal ones once, known ones from the cache, the rest on all cores."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.object_cache import ObjectCache
from netc.backends.llvm.target import Target

GENERATOR_PARTS = ("ir", "passes", "backends/llvm")  # of the package netc: what a kernel's text depends on


@dataclass(frozen=True, slots=True)
class Job:
    """One kernel to compile: ``key`` says all that its text depends on, ``build_text`` makes the text.

    ``build_text`` runs in any thread, and not at all where the object is in the cache.
    """

    key: str
    build_text: Callable[[], str]


def compile_all(
    jobs: Sequence[Job],
    target: Target,
    opt_level: int,
    cache: ObjectCache,
    threads: int,
    on_done: Callable[[int, int], None] | None = None,
) -> dict[str, bytes]:
    """The object file of every job by its key, in the order in which the keys first appear.

    ``on_done(done, total)`` is called in the calling thread, once for the cache hits and then after each
    compilation; ``total`` counts distinct keys. The first error ends the compilation and is raised.
    """
    distinct = {job.key: job for job in reversed(jobs)}
    order = list(dict.fromkeys(job.key for job in jobs))
    disk_keys = {key: _disk_key(key, target, opt_level) for key in order}
    found = {key: data for key in order if (data := cache.get(disk_keys[key])) is not None}
    missing = [distinct[key] for key in order if key not in found]
    if on_done is not None and (found or not missing):
        on_done(len(found), len(order))
    if not missing:
        return {key: found[key] for key in order}

    def build(job: Job) -> bytes:
        data = compile_to_object(job.build_text(), target, opt_level)
        cache.put(disk_keys[job.key], data)
        return data

    with ThreadPoolExecutor(min(max(1, threads), len(missing)), thread_name_prefix="netc-compile") as pool:
        keys = {pool.submit(build, job): job.key for job in missing}
        try:
            for future in as_completed(keys):
                found[keys[future]] = future.result()
                if on_done is not None:
                    on_done(len(found), len(order))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {key: found[key] for key in order}


def _disk_key(key: str, target: Target, opt_level: int) -> str:
    return "\n".join((code_digest(GENERATOR_PARTS), target.cache_key, str(opt_level), key))


@functools.cache
def code_digest(parts: tuple[str, ...]) -> str:
    """Of the code in parts of the package: what is kept on disk must not be found by changed code."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[2]
    for part in parts:
        for path in sorted((package / part).rglob("*.py")):
            digest.update(f"{path.relative_to(package).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
