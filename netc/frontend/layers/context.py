"""What a layer's import rule works with: the layer's message, its input values, and ways to add IR."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from netc.frontend.imported_net import ParamInfo
from netc.frontend.layers.custom_param import CustomParam
from netc.frontend.layers.net_under_construction import NetUnderConstruction
from netc.frontend.layers.param_specs import check_sharing, multipliers, share_name
from netc.frontend.layers.shapes import Shape, show_shape
from netc.frontend.message import Message
from netc.ir.core import Value
from netc.ir.diagnostics import NetcError, OpError
from netc.ir.dim import symbols
from netc.ir.location import Location
from netc.ir.opdef import Array
from netc.ir.ops.python_layer import CALLS, PythonLayerAttrs
from netc.ir.ops.random import STATE, UniformAttrs
from netc.ir.ops.shape import ReshapeAttrs, TransposeAttrs
from netc.ir.types import MAX_ELEMENTS, TensorType

__all__ = ["LayerContext", "Shape", "show_shape"]

MAX_AXES = 32  # Caffe's kMaxBlobAxes


class LayerContext:
    """One layer while its rule runs.

    ``bottoms`` are the values of its input blobs. The rule gives every top a value with :meth:`top`.
    """

    def __init__(
        self, net: NetUnderConstruction, message: Message, bottoms: Sequence[Value], position: int
    ) -> None:
        self.net = net
        self.message = message
        self.bottoms = tuple(bottoms)
        self.position = position
        self.type = message.text("type")
        self.name = message.text("name")
        self.bottom_names = message.texts("bottom")
        self.top_names = message.texts("top")
        self.location: Location | None = message.location
        self.phase = net.phase
        self.tops: dict[int, Value] = {}
        self.params: list[ParamInfo] = []
        self.params_read: set[str] = set()
        self.fed = False  # its tops are inputs of the net

    # ---- reading

    @property
    def label(self) -> str:
        """A name to call the layer by in messages and in names of values; never empty."""
        return self.name or next(iter(self.top_names), self.type)

    def shape(self, bottom: int = 0) -> Shape:
        """The shape of an input blob."""
        return _tensor(self.bottoms[bottom]).shape

    def param(self, name: str) -> Message:
        """The message that holds the layer's settings, such as ``convolution_param``."""
        self.params_read.add(name)
        return self.message.message(name)

    def custom_param(self, name: str) -> CustomParam:
        """Settings that Caffe's schema does not know, as plug-ins use them."""
        self.params_read.add(name)
        found = next((u for u in self.message.unknown if u.name == name), None)
        return CustomParam(name, found, self.location, self.label)

    def axis(self, field_path: str, rank: int, index: int) -> int:
        """A setting that counts from the end where it is negative, as a non-negative axis."""
        axis = index + rank if index < 0 else index
        if not 0 <= axis < rank:
            raise self.error(f"axis {index} is not an axis of an input with {rank} axes", field_path)
        return axis

    # ---- complaining

    def error(
        self, message: str, field_path: str | None = None, index: int = 0, *, remedy: str | None = None
    ) -> NetcError:
        """An error of this layer that points at a field, for example ``"convolution_param.stride"``."""
        return NetcError(message, location=self.where(field_path, index), layer=self.label, remedy=remedy)

    def where(self, field_path: str | None = None, index: int = 0) -> Location | None:
        """Where a field of the layer stands; of one that is not set, where its message does."""
        message = self.message
        for name in (field_path or "").split(".")[:-1]:
            message = message.message(name)
        return message.where(field_path.split(".")[-1], index) if field_path else self.location

    def refuse(self, field_path: str) -> NetcError:
        """The error for a setting that changes the numbers and is not supported."""
        return self.error(f"'{field_path}' changes the result and is not supported", field_path)

    def warn(self, message: str, field_path: str | None = None) -> None:
        """Note something that the user should know and that does not stop the import."""
        where = self.where(field_path)
        self.net.warnings.append(f"{f'{where}: ' if where else ''}warning: layer '{self.label}': {message}")

    # ---- adding

    def emit(
        self,
        op: str,
        operands: Sequence[Value],
        attrs: Any = None,
        *,
        top: int = 0,
        part: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Value:
        """Add an op with one result, named after a top; ``part`` is added to the name of a value on the way.

        ``fields`` says which field of the layer an attribute comes from, so that an error of the op's own
        rule points there.
        """
        (value,) = self.emit_all(op, operands, attrs, top=top, part=part, fields=fields)
        return value

    def emit_all(
        self,
        op: str,
        operands: Sequence[Value],
        attrs: Any = None,
        *,
        top: int = 0,
        part: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> tuple[Value, ...]:
        """:meth:`emit` for an op of any number of results."""
        name = self.top_names[top] if top < len(self.top_names) else self.label
        hint = f"{name}.{part}" if part else name
        try:
            values = self.net.builder.add(op, operands, attrs, hint=hint, location=self.location)
        except OpError as error:
            path = (fields or {}).get(error.attr or "")
            error.location = self.where(path)
            error.layer = self.label
            error.notes += (f"while importing {self.type} as {op}",)
            raise
        for value in values:
            self.check_size(_tensor(value).shape, f"blob '{name}'")
        return values

    def top(self, index: int, value: Value) -> None:
        """Give a top its value."""
        self.tops[index] = value

    def input(self, index: int, declared: Shape | None, *, remedy: str = "") -> None:
        """Make a top an input of the net, of the caller's shape or else of the declared one.

        A top without a shape that no layer reads is left out. ``remedy`` is another way out than to state
        the shape.
        """
        self.fed = True
        name = self.top_names[index]
        shape = self.net.input_shapes.get(name, declared)
        if shape is None:
            if name in self.net.read:
                raise NetcError(
                    f"the shape of input '{name}' is not stated",
                    location=self.message.where("top", index),
                    layer=self.label,
                    remedy=f"{remedy}state it: --input-shape {name}=N,3,224,224 (a name stands for any size)",
                )
            return
        self.check_size(shape, f"input '{name}'")
        self.top(index, self.net.builder.arg(name, TensorType("f32", shape), "input"))

    def reshape(self, value: Value, shape: Shape, *, part: str | None = None, top: int = 0) -> Value:
        """The value in another shape; the same value where it has that shape."""
        if _tensor(value).shape == shape:
            return value
        return self.emit("tensor.reshape", (value,), ReshapeAttrs(shape), part=part, top=top)

    def transpose(self, value: Value, perm: tuple[int, ...], *, part: str | None = None) -> Value:
        """The value with its axes in another order."""
        return self.emit("tensor.transpose", (value,), TransposeAttrs(perm), part=part)

    def param_value(
        self,
        role: str,
        shape: Shape,
        index: int,
        filler: Message | None = None,
        *,
        learnable: bool = True,
        trainable: bool = True,
        initial: Array | None = None,
    ) -> Value:
        """Declare parameter blob ``index``; ``role`` names it. A shared one is declared once.

        Solvers leave it alone where it is not ``trainable`` (statistics, say). ``initial`` are its first
        values instead of a filler's.
        """
        static = self._static(role, shape)
        self.check_size(static, f"its {role}")
        shared_name = share_name(self.message, index)
        first = self.net.shared.get(shared_name) if shared_name else None
        if first is None:
            value = self.net.builder.arg(f"{self.label}.{role}", TensorType("f32", static), "param")
        else:
            value = first.value
            uses = [info for info in self.net.params if info.value.name == value.name]
            check_sharing(self.message, self.label, index, static, uses)
        blobs = self.message.messages("blobs")
        stored = blobs[index] if learnable and index < len(blobs) else None
        info = ParamInfo(
            value,
            self.name,
            index,
            static,
            filler,
            self.location,
            self.position,
            learnable,
            stored,
            *(multipliers(self.message, index) if trainable and learnable else (0.0, 0.0)),
            initial=initial,
        )
        self.net.params.append(info)
        self.params.append(info)
        if shared_name and first is None:
            self.net.shared[shared_name] = info
        return self.reshape(value, static, part=role)

    def stored_value(self, role: str, shape: Shape, path: str) -> Value:
        """An array that a field of the layer names the file of (a BlobProto), read with the parameters."""
        static = self._static(role, shape)
        self.check_size(static, f"its {role}")
        value = self.net.builder.arg(f"{self.label}.{role}", TensorType("f32", static), "param")
        message, field = path.split(".")
        info = ParamInfo(
            value, self.name, 0, static, None, self.where(path), self.position, learnable=False,
            file=self.param(message).text(field),
        )  # fmt: skip
        self.net.params.append(info)
        self.params.append(info)
        return value

    # ---- what lasts from run to run

    def next_state(self, argument: Value, value: Value) -> None:
        """Say what an argument's content is after the run."""
        self.net.next_states[argument] = value

    def state_so_far(self, argument: Value) -> Value:
        """What layers before this one, which share the argument, have made of it."""
        return self.net.next_states.get(argument, argument)

    def carried(self, role: str, shape: Shape) -> Value:
        """A value that the run before left (see :meth:`next_state`); zeros in the first one."""
        self.check_size(shape, f"its {role}")
        return self.net.builder.arg(f"{self.label}.{role}", TensorType("f32", shape), "input")

    def uniform(self, shape: Shape, *, part: str) -> Value:
        """Numbers from [0, 1), new ones in every run."""
        state, stream = self.random_stream()
        return self.emit(
            "random.uniform", (state,), UniformAttrs(TensorType("f32", shape), stream), part=part
        )

    def random_stream(self) -> tuple[Value, int]:
        """The state of the random numbers, and the number of a draw of its own."""
        net = self.net
        if net.random is None:
            net.random = net.builder.arg("random.state", STATE, "input")
        net.streams += 1
        return net.random, net.streams - 1

    def call_python(self, inputs: Sequence[Value], attrs: PythonLayerAttrs) -> tuple[Value, ...]:
        """The results of code outside of netc, which is called behind that of the layers before."""
        net = self.net
        if net.python_calls is None:
            net.python_calls = net.builder.arg("python.calls", CALLS, "input")
        calls = self.state_so_far(net.python_calls)
        # that a layer is called after another passes no gradient
        calls = self.emit("math.stop_gradient", (calls,), part="calls")
        *results, after = self.emit_all("python.layer", (calls, *inputs), attrs)
        self.next_state(net.python_calls, after)
        return tuple(results)

    def check_size(self, shape: Shape, what: str) -> None:
        """Refuse extents below one and sizes beyond Caffe's own limit."""
        if len(shape) > MAX_AXES:
            raise self.error(f"{what} has {len(shape)} axes; at most {MAX_AXES} are possible")
        shown = show_shape(shape)
        if any(isinstance(d, int) and d < 1 for d in shape):
            raise self.error(f"{what} would have the shape {shown}; every extent must be at least 1")
        least = math.prod(d for d in shape if isinstance(d, int))  # every symbol is at least 1
        if least > MAX_ELEMENTS:
            raise self.error(f"{what}, {shown}, would have {least} elements; Caffe's limit is {MAX_ELEMENTS}")

    def _static(self, role: str, shape: Shape) -> tuple[int, ...]:
        for extent in shape:
            if not isinstance(extent, int):
                free = ", ".join(sorted(symbols(extent)))
                raise self.error(
                    f"the size of its {role} depends on {free}, which is not fixed",
                    remedy=f"give the input's shape with a number for {free}",
                )
        return tuple(d for d in shape if isinstance(d, int))


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
