"""Compiles the kernels of a net for its architectures, each known one from a cache, the rest on all cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Protocol

from netc.backends.cuda.backend import CudaCode, translation_unit
from netc.backends.cuda.nvrtc import OPTIONS, compile_cuda, nvrtc_version, supported_architectures
from netc.backends.cuda.target import ARCHITECTURES, Architecture, CudaTarget, Units
from netc.ir.diagnostics import NetcError

Images = dict[str, dict[str, bytes]]
"""Architecture (``sm_90``, or ``compute_90`` for PTX) -> kernel -> its code."""


class Cache(Protocol):
    """Byte strings under string keys, which may be forgotten."""

    def get(self, key: str) -> bytes | None:
        """The data stored under the key, or None."""

    def put(self, key: str, data: bytes) -> None:
        """Store the data."""


@dataclass(frozen=True, slots=True)
class _Job:
    image: str
    kernel: str
    text: str
    compiled_as: str

    @property
    def key(self) -> str:
        """All that the code depends on."""
        return "\n".join(("cuda", nvrtc_version(), *OPTIONS, self.image, self.compiled_as, self.text))


def compile_kernels(
    code: Mapping[Units, CudaCode],
    target: CudaTarget,
    cache: Cache,
    threads: int,
    on_done: Callable[[int, int], None] | None = None,
) -> Images:
    """Machine code of every kernel for every architecture, and PTX of the last for GPUs to come.

    ``on_done(done, total)`` is called in the calling thread.
    """
    jobs = []
    for architecture in supported(target):
        chosen = code[architecture.units(target.precision)]
        jobs += _jobs(chosen, architecture.name, architecture.compiled_as)
    last = supported(target)[-1]
    jobs += _jobs(code[last.portable_units(target.precision)], ptx_name(last), last.name)
    return _compile(jobs, cache, threads, on_done)


def compile_for_one(code: CudaCode, architecture: Architecture, cache: Cache, threads: int) -> Images:
    """Machine code of every kernel for one architecture."""
    return _compile(_jobs(code, architecture.name, architecture.compiled_as), cache, threads)


def _compile(
    jobs: Sequence[_Job], cache: Cache, threads: int, on_done: Callable[[int, int], None] | None = None
) -> Images:
    images: Images = {job.image: {} for job in jobs}
    missing = []
    for job in jobs:
        known = cache.get(job.key)
        if known is None:
            missing.append(job)
        else:
            images[job.image][job.kernel] = known
    done = len(jobs) - len(missing)
    if on_done is not None and done:
        on_done(done, len(jobs))

    def build(job: _Job) -> bytes:
        is_ptx = job.image.startswith("compute_")
        data = compile_cuda(job.text, job.compiled_as, ptx=is_ptx).code
        cache.put(job.key, data)
        return data

    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="netc-compile") as pool:
        waiting = {pool.submit(build, job): job for job in missing}
        try:
            for future in as_completed(waiting):
                job = waiting[future]
                images[job.image][job.kernel] = future.result()
                done += 1
                if on_done is not None:
                    on_done(done, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return images


def _jobs(code: CudaCode, image: str, compiled_as: str) -> list[_Job]:
    return [_Job(image, k.name, translation_unit([k.text]), compiled_as) for k in code.kernels.values()]


def supported(target: CudaTarget) -> tuple[Architecture, ...]:
    """The target's architectures that this NVRTC knows; NetcError where one that was named is missing."""
    known = supported_architectures()
    found = tuple(a for a in target.architectures if a.name in known)
    missing = [a.name for a in target.architectures if a.name not in known]
    if missing and (not found or len(target.architectures) < len(ARCHITECTURES)):
        raise NetcError(
            f"NVRTC {nvrtc_version()} makes no code for {', '.join(missing)}",
            remedy="NVRTC 12.9 knows sm_70 to sm_120: pip install 'netc[nvrtc]'",
        )
    return found


def ptx_name(architecture: Architecture) -> str:
    """``compute_90``."""
    return architecture.name.replace("sm_", "compute_")
