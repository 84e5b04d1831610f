"""The buffer level: memory is explicit, kernels say what they read and what they write.

.. code-block:: none

    %conv1: buffer f32[N,64,8,8]{1:16} = buffer.alloc {offset = 0}
    buffer.launch %data, %w, %conv1 {writes = 1} (%x: f32[N,3,8,8], %w.1: f32[64,3,3,3]{0:16}) { … yield %y }
"""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.core import Block
from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim
from netc.ir.opdef import OpDef, define
from netc.ir.types import BufferType, TensorType


@dataclass(frozen=True, slots=True)
class AllocAttrs:
    """``tensor`` is what the buffer holds; ``offset`` (bytes in the arena) is set by share_buffers."""

    tensor: TensorType
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class ViewAttrs:
    """The part that begins at ``start`` (one index per logical axis) and holds ``shape``."""

    start: tuple[int, ...]
    shape: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class ReinterpretAttrs:
    """``tensor`` is the new type; its storage has as many elements as the operand's."""

    tensor: TensorType


@dataclass(frozen=True, slots=True)
class LaunchAttrs:
    """The last ``writes`` operands are written, the others read. ``kernel`` is set when lowered.

    ``schedule`` is the backend's own word for how it is done, where that is not what its model chooses.
    """

    writes: int
    kernel: str | None = None
    schedule: str | None = None


def _infer_alloc(operands: tuple[BufferType, ...], attrs: AllocAttrs) -> tuple[BufferType, ...]:
    del operands
    return (BufferType(attrs.tensor),)


def _infer_view(operands: tuple[BufferType, ...], attrs: ViewAttrs) -> tuple[BufferType, ...]:
    base = operands[0]
    layout = base.tensor.layout
    if len(attrs.start) != base.tensor.rank or len(attrs.shape) != base.tensor.rank:
        raise OpError(f"a view of {base} needs {base.tensor.rank} starts and extents", attr="start")
    for axis, (start, extent, whole) in enumerate(
        zip(attrs.start, attrs.shape, base.tensor.shape, strict=True)
    ):
        if start < 0:
            raise OpError(f"axis {axis}: start must be >= 0, got {start}", attr="start")
        if isinstance(extent, int) and isinstance(whole, int) and not start < start + extent <= whole:
            raise OpError(f"axis {axis}: [{start}, {start + extent}) lies outside of {whole}", attr="start")
        if layout is not None and layout.axis == axis and start % layout.size:
            raise OpError(
                f"axis {axis} is blocked by {layout.size}; a view cannot start at {start}", attr="start"
            )
    return (BufferType(TensorType(base.tensor.dtype, attrs.shape, layout), base.storage_strides),)


def _infer_reinterpret(operands: tuple[BufferType, ...], attrs: ReinterpretAttrs) -> tuple[BufferType, ...]:
    base = operands[0]
    if base.strides is not None:
        raise OpError(f"only contiguous memory can be reinterpreted, got {base}")
    if base.tensor.storage_bytes != attrs.tensor.storage_bytes:
        raise OpError(f"{attrs.tensor} does not have the size of {base.tensor}", attr="tensor")
    return (BufferType(attrs.tensor),)


def _infer_launch(
    operands: tuple[BufferType, ...], attrs: LaunchAttrs, body: Block
) -> tuple[BufferType, ...]:
    if not 0 <= attrs.writes <= len(operands):
        raise OpError(f"writes must be within 0..{len(operands)}, got {attrs.writes}", attr="writes")
    reads = operands[: len(operands) - attrs.writes]
    writes = operands[len(operands) - attrs.writes :]
    if tuple(a.type for a in body.args) != tuple(b.tensor for b in reads):
        raise OpError("the body's arguments do not have the types of the buffers read")
    if tuple(v.type for v in body.results) != tuple(b.tensor for b in writes):
        raise OpError("the body does not yield the types of the buffers written")
    return ()


ALLOC = define(OpDef("buffer.alloc", "buffer", "Memory of the arena.", (), AllocAttrs, infer=_infer_alloc))
VIEW = define(
    OpDef("buffer.view", "buffer", "A part of a buffer; no copy.", ("base",), ViewAttrs, infer=_infer_view)
)
REINTERPRET = define(
    OpDef(
        "buffer.reinterpret",
        "buffer",
        "The same memory as another type.",
        ("base",),
        ReinterpretAttrs,
        infer=_infer_reinterpret,
    )
)
LAUNCH = define(
    OpDef(
        "buffer.launch",
        "buffer",
        "Runs its body as one kernel: arguments come from the buffers read, results go to those written.",
        ("buffers*",),
        LaunchAttrs,
        infer_body=_infer_launch,
    )
)
