"""What a gradient rule works with: the op on its way back, and ways to add ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netc.ir.core import Op, Value
from netc.ir.diagnostics import NetcError
from netc.ir.ops.elementwise import AffineAttrs, BroadcastAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import ReshapeAttrs
from netc.ir.types import TensorType

# (op name, operands, attrs) -> the results
Emit = Callable[[str, Sequence[Value], Any], tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class Pullback:
    """One op, the gradients that reached its results, and a way to add ops.

    ``gradients`` has an entry a result, None where no gradient reached it (at least one did). ``wanted`` says
    for each operand whether its gradient is asked for; a rule computes no others. Of those some are
    ``required``: a rule that has none for such an operand raises NetcError.
    """

    op: Op
    gradients: tuple[Value | None, ...]
    wanted: tuple[bool, ...]
    required: tuple[bool, ...]
    emit_all: Emit

    @property
    def attrs(self) -> Any:
        """The attributes of the op."""
        return self.op.attrs

    @property
    def operands(self) -> tuple[Value, ...]:
        """The operands of the op."""
        return self.op.operands

    @property
    def result(self) -> Value:
        """The first result of the op."""
        return self.op.result

    @property
    def gradient(self) -> Value:
        """The gradient of the one result that has one."""
        (found,) = (g for g in self.gradients if g is not None)
        return found

    def refuse(self, operand: int, what: str) -> None:
        """NetcError if the gradient of an operand that has none is required; ``what`` it holds."""
        if self.required[operand]:
            raise NetcError(
                f"{what} have no gradient",
                location=self.op.location,
                remedy=f"give the layers that make the {what} lr_mult 0, or set propagate_down: false",
            )

    def emit(self, name: str, operands: Sequence[Value], attrs: Any = None) -> Value:
        """Add an op with one result."""
        (result,) = self.emit_all(name, operands, attrs)
        return result

    # ---- the few ops that most rules need

    def add(self, x: Value, y: Value) -> Value:
        """x + y."""
        return self.emit("math.add", (x, y))

    def mul(self, x: Value, y: Value) -> Value:
        """x * y."""
        return self.emit("math.mul", (x, y))

    def affine(self, x: Value, scale: float, shift: float = 0.0) -> Value:
        """scale * x + shift."""
        return (
            x if (scale, shift) == (1.0, 0.0) else self.emit("math.affine", (x,), AffineAttrs(scale, shift))
        )

    def reshape(self, x: Value, like: Value) -> Value:
        """x in the shape of ``like``."""
        shape = tensor_type(like).shape
        return x if tensor_type(x).shape == shape else self.emit("tensor.reshape", (x,), ReshapeAttrs(shape))

    def sum_to(self, x: Value, like: Value) -> Value:
        """x summed along the axes where ``like`` has extent 1: what broadcasting ``like`` takes back."""
        extents = zip(tensor_type(x).shape, tensor_type(like).shape, strict=True)
        axes = tuple(axis for axis, (extent, wanted) in enumerate(extents) if extent != wanted)
        return self.emit("tensor.reduce", (x,), ReduceAttrs("sum", axes)) if axes else x

    def broadcast(self, x: Value, like: Value) -> Value:
        """x, whose extents are those of ``like`` or 1, in the shape of ``like``."""
        shape = tensor_type(like).shape
        return (
            x if tensor_type(x).shape == shape else self.emit("math.broadcast", (x,), BroadcastAttrs(shape))
        )


def tensor_type(value: Value) -> TensorType:
    """The type of a value of the tensor level."""
    assert isinstance(value.type, TensorType)
    return value.type
