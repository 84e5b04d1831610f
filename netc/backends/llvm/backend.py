"""The LLVM backend's entry: a buffer-level module in, named kernels and their object files out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from netc.backends.launch_body import split_body
from netc.backends.llvm.compile_pool import Job, compile_all
from netc.backends.llvm.emit import emit_kernel
from netc.backends.llvm.lower.table import fingerprint, has_kernel, lower_launch
from netc.backends.llvm.object_cache import ObjectCache
from netc.backends.llvm.target import Target
from netc.ir.core import Func, Module, Op
from netc.ir.launch_text import launch_text

REFERENCE_KERNEL = "reference"
"""The kernel name of a launch that has no kernel: the runtime runs it by the reference."""


@dataclass(frozen=True)
class CompiledKernels:
    """``module``: the buffer module with kernels named on every launch; ``objects``: name → object file."""

    module: Module
    objects: dict[str, bytes]


def kernel_key(launch: Op) -> str:
    """All that a kernel depends on: equal launches share one."""
    return f"{launch_text(launch)}\n{fingerprint(launch)}"


def kernel_name(launch: Op) -> str:
    """A name made of the anchor op and a digest of the key."""
    assert launch.body is not None
    digest = hashlib.sha256(kernel_key(launch).encode()).hexdigest()[:16]
    anchor = split_body(launch)[0].name.rpartition(".")[2] if launch.body.ops else "copy"
    return f"{anchor}_{digest}"


def name_kernels(module: Module) -> Module:
    """Set the kernel attribute of every launch of ``@main``."""

    def named(op: Op) -> Op:
        if op.name != "buffer.launch":
            return op
        name = kernel_name(op) if has_kernel(op) else REFERENCE_KERNEL
        return replace(op, attrs=replace(op.attrs, kernel=name))

    main = module.func("main")
    return module.with_func(replace(main, ops=tuple(named(op) for op in main.ops)))


def launches(module: Module) -> dict[str, Op]:
    """Kernel name → the first launch that uses it, for a module with named kernels."""
    found: dict[str, Op] = {}
    for op in module.func("main").ops:
        if op.name == "buffer.launch" and op.attrs.kernel != REFERENCE_KERNEL:
            found.setdefault(op.attrs.kernel, op)
    return found


def kernel_text(name: str, launch: Op, target: Target) -> str:
    """The LLVM IR of one kernel."""
    return emit_kernel(lower_launch(name, launch, target), fma=target.fma, dots=target.dots)


def lower_module(module: Module, target: Target) -> Module:
    """The loop-level module: one function a distinct kernel of a module with named kernels."""
    funcs: list[Func] = [lower_launch(name, op, target) for name, op in launches(module).items()]
    return Module(module.name, "loop", tuple(funcs))


def compile_launches(
    module: Module,
    target: Target,
    opt_level: int,
    cache: ObjectCache,
    threads: int,
    on_done: Callable[[int, int], None] | None = None,
) -> CompiledKernels:
    """Compile every distinct kernel; objects come from the cache where they are known.

    ``opt_level`` is LLVM's level, see :mod:`netc.backends.llvm.engine`.
    """
    named = name_kernels(module)
    return CompiledKernels(
        named, compile_kernels(launches(named), target, opt_level, cache, threads, on_done)
    )


def compile_kernels(
    kernels: Mapping[str, Op],
    target: Target,
    opt_level: int,
    cache: ObjectCache,
    threads: int,
    on_done: Callable[[int, int], None] | None = None,
) -> dict[str, bytes]:
    """Kernel name → object file, for launches by the names of their kernels."""

    def job(name: str, op: Op) -> Job:
        return Job(f"{name}\n{kernel_key(op)}", lambda: kernel_text(name, op, target))

    jobs = {name: job(name, op) for name, op in kernels.items()}
    objects = compile_all(list(jobs.values()), target, opt_level, cache, threads, on_done)
    return {name: objects[j.key] for name, j in jobs.items()}
