"""A convolution alone: the kernel that each algorithm makes of it."""

from __future__ import annotations

from dataclasses import replace

from netc.backends.launch_body import split_body
from netc.backends.llvm.lower.winograd_schedule import winograd_keeps_weights
from netc.backends.llvm.target import Target
from netc.ir.core import Func, Module, Op, Role, Value
from netc.passes.pipeline import run_pipeline

_CONVOLUTIONS = ("nn.conv", "nn.winograd_conv")


def lone_module(conv: Op) -> Module:
    """A tensor module of one ``nn.conv``, the same for convolutions that differ in names alone."""
    names = ("x", "w", "b")
    args = tuple(Value(name, v.type) for name, v in zip(names, conv.operands, strict=False))
    roles: tuple[Role, ...] = ("input", "param", "param")
    y = Value("y", conv.result.type)
    op = replace(conv, operands=args, results=(y,), location=None)
    return Module("alone", "tensor", (Func("main", args, roles[: len(args)], (op,), (y,), ("y",)),))


def lone_launch(module: Module, tile: int | None, target: Target) -> Op:
    """The launch of the convolution of a `lone_module`: Winograd's with a tile, direct with none."""
    lowered = run_pipeline(
        module,
        opt_level=3,
        block=target.lanes,
        winograd=lambda _conv: tile,
        winograd_keeps_weights=lambda conv, tile: winograd_keeps_weights(conv, tile, target),
    )
    launches = (op for op in lowered.buffer.func("main").ops if op.name == "buffer.launch")
    return next(op for op in launches if split_body(op)[0].name in _CONVOLUTIONS)
