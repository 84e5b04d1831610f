"""CUDA code of a net as text: CUDA C++, PTX, a cubin, or what each kernel takes of a processor."""

from __future__ import annotations

import re

from netc.backends.cuda.backend import lower_for
from netc.backends.cuda.compile_pool import supported
from netc.backends.cuda.nvrtc import compile_cuda
from netc.backends.cuda.resources import parse_resources
from netc.backends.cuda.target import Architecture
from netc.ir.core import Module
from netc.ir.diagnostics import NetcError
from netc.runtime.options import CompileOptions
from netc.runtime.pass_settings import cuda_target

_ENTRY = re.compile(r"\.entry (\w+)\(")


def named_for_cuda(buffer: Module, options: CompileOptions) -> Module:
    """The buffer module with the kernels of the target's latest architecture named on its launches."""
    target = cuda_target(options)
    return lower_for(buffer, target)[target.architectures[-1].units(target.precision)].module


def emit_cuda(buffer: Module, options: CompileOptions, stage: str) -> str | bytes:
    """The stage ``cuda``, ``ptx``, ``cubin`` or ``sass-info`` of a buffer-level module."""
    target = cuda_target(options)
    code = lower_for(buffer, target)
    if stage == "cuda":
        return code[target.architectures[-1].units(target.precision)].text
    if stage == "sass-info":
        rows = [
            row for a in supported(target) for row in _resource_rows(code[a.units(target.precision)].text, a)
        ]
        header = ("architecture", "function", "registers", "spilled", "stack", "shared", "mma")
        return _table([header, *rows])
    if len(target.architectures) > 1:
        names = ", ".join(a.name for a in target.architectures[:3])
        raise NetcError(
            f"--emit {stage} writes code for one architecture, and {options.target} names several",
            remedy=f"write --target cuda:{target.architectures[-1].name} (or {names}, …)",
        )
    (architecture,) = supported(target)
    text = code[architecture.units(target.precision)].text
    compiled = compile_cuda(text, architecture.compiled_as, ptx=stage == "ptx").code
    return compiled.rstrip(b"\0").decode() if stage == "ptx" else compiled


def _resource_rows(text: str, architecture: Architecture) -> list[tuple[str, ...]]:
    """What each function takes; ``mma`` counts its instructions for tensor cores."""
    used = parse_resources(compile_cuda(text, architecture.compiled_as).log)
    products = mma_counts(compile_cuda(text, architecture.compiled_as, ptx=True).code.decode())
    return [
        (
            architecture.name,
            r.function,
            str(r.registers),
            f"{r.spill_bytes} B",
            f"{r.stack_bytes} B",
            f"{r.shared_bytes} B",
            str(products.get(r.function, 0)),
        )
        for r in sorted(used, key=lambda r: r.function)
    ]


def mma_counts(ptx: str) -> dict[str, int]:
    """Function -> how many instructions of PTX multiply on tensor cores."""
    parts = _ENTRY.split(ptx)
    return {
        name: body.count("mma.sync") + body.count("wgmma.mma_async")
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
