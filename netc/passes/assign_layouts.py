"""Assign blocked layouts to regions of the net, and convert at their borders.

Does: walks the ops in order and picks a layout for each result. ``{1:block}`` (channels in blocks) starts at
convolutions and is carried on for as long as the ops can carry it:

1.  ``conv``: weights ``{0:block}``, so the result is blocked. The input is blocked too, except that a
    row-major one of at most 4 channels (an image) is read as it is. Grouped convolutions only where blocks
    do not straddle groups, or with one channel a group (depthwise).
2.  ``deconv``: weights ``{1:block}``; depthwise ``{0:block}``; other groups stay row-major.
3.  ``pool``, ``global_pool``, ``lrn``, ``dropout``: the operand's layout.
4.  elementwise: that of the operands as large as the result; others are converted, but for those with
    extent 1 on the channel axis, which are row-major.
5.  ``concat``, ``slice``: blocked if an operand is and the boundaries fall between blocks.
6.  ``inner_product``: param-only weights ``{0:block}``; input and result are row-major.
7.  ``reduce``, ``moments``: the operand's layout, unless the channels are reduced.
8.  ``lrn_gradient``, ``max_pool_gradient``: the layout of what the forward pass left.
9.  ``ave_pool_gradient``, ``broadcast``: blocked behind the first blocked op. What is spread is small, and
    read where the forward pass was blocked.
10. all else, and the results of the function: row-major.

Operations on params and states alone stay row-major; their values are converted where they are used. Other
weights are never converted. ``adjoint_weight``, ``winograd_weight`` make each layout that is wanted of them.

Requires: a tensor module, row-major all over.
Ensures: a value is converted to a layout at most once, and never back to one it already exists in.
Refuses: nothing. What cannot be blocked stays row-major.

Example (``assign_layouts(block=4)``)::

    module m tensor {
    func @main(%x: f32[1,3,8,8], %w: param f32[8,3,3,3], %v: param f32[8,8,1,1]) -> (y = %y) {
      %c: f32[1,8,6,6] = nn.conv %x, %w {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
      %r: f32[1,8,6,6] = math.relu %c {slope = 0.0}
      %y: f32[1,8,6,6] = nn.conv %r, %v {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[1,3,8,8], %w: param f32[8,3,3,3], %v: param f32[8,8,1,1]) -> (y = %y) {
      %wb: f32[8,3,3,3]{0:4} = layout.convert %w {axis = 0, size = 4}
      %c: f32[1,8,6,6]{1:4} = nn.conv %x, %wb {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
      %r: f32[1,8,6,6]{1:4} = math.relu %c {slope = 0.0}
      %vb: f32[8,8,1,1]{0:4} = layout.convert %v {axis = 0, size = 4}
      %yb: f32[1,8,6,6]{1:4} = nn.conv %r, %vb {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
      %y: f32[1,8,6,6] = layout.convert %yb {axis = none, size = 1}
    }
    }
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from netc.ir.builder import infer_types
from netc.ir.core import Func, Module, Op, Value
from netc.ir.diagnostics import OpError
from netc.ir.layout import Blocked, Layout
from netc.ir.opdef import opdef
from netc.ir.ops.layout_ops import LayoutAttrs
from netc.ir.param_only import param_only
from netc.ir.rewrite import Rewriter
from netc.ir.types import TensorType

ROW_MAJOR_CHANNELS = 4  # an input of so few channels is not worth padding to a block
# ops whose attribute ``block`` says which layout they make
_IN_ANY_LAYOUT = frozenset({"nn.adjoint_weight", "nn.winograd_weight"})
# ops and the operand whose layout all have, and the results
_FOLLOWERS = {
    "nn.dropout": 0,
    "nn.global_max_gradient": 1,
    "nn.global_pool": 0,
    "nn.lrn": 0,
    "nn.lrn_gradient": 1,
    "nn.max_pool_choice": 0,
    "nn.max_pool_gradient": 1,
    "nn.pool": 0,
}


def assign_layouts(module: Module, *, block: int) -> Module:
    """The module with channels in blocks of ``block`` (the vector width, say) where that helps."""
    return replace(module, funcs=tuple(_Assigner(f, block).run() for f in module.funcs))


class _Assigner:
    """One sweep over a function: ``versions`` are the layouts in which each old value exists so far."""

    def __init__(self, func: Func, block: int) -> None:
        self.func = func
        self.block = block
        self.channels = Blocked(1, block)
        self.rewriter = Rewriter(func)
        self.params = param_only(func)
        self.weights = param_only(func, states=True)
        self.deferred: dict[str, Op] = {}
        self.blocked = False  # whether a value blocked by channels was made
        self.versions: dict[str, dict[Layout, Value]] = {a.name: {None: a} for a in func.args}
        self.made: dict[str, Value] = {a.name: a for a in func.args}

    def run(self) -> Func:
        """The function with layouts."""
        for op in self.func.ops:
            self._assign(op)
        results = tuple(self._in_layout(v, None) for v in self.func.results)
        return replace(self.func, ops=tuple(self.rewriter.ops), results=results)

    def _assign(self, op: Op) -> None:
        rule = _RULES.get(op.name)
        if op.name in _IN_ANY_LAYOUT:
            self._defer(op)
            return
        if op.results and all(r.name in self.weights for r in op.results):
            layouts: Sequence[Layout] = [None] * len(op.operands)
        elif rule is not None:
            layouts = rule(self, op)
        elif op.name in _FOLLOWERS:
            layouts = [self._layout(op.operands[_FOLLOWERS[op.name]])] * len(op.operands)
        elif opdef(op.name).elementwise:
            layouts = self._elementwise(op)
        else:
            layouts = [None] * len(op.operands)
        operands = tuple(self._in_layout(v, c, op) for v, c in zip(op.operands, layouts, strict=True))
        types = infer_types(op.name, operands, op.attrs, op.body)
        results = tuple(Value(r.name, t) for r, t in zip(op.results, types, strict=True))
        self.rewriter.append(replace(op, operands=operands, results=results))
        for result in results:
            self.made[result.name] = result
            self.versions[result.name] = {_tensor(result).layout: result}
            self.blocked |= _tensor(result).layout == self.channels

    def _defer(self, op: Op) -> None:
        """The op is put where its result is used, and makes the layout that is wanted there."""
        self.deferred[op.result.name] = op
        self.made[op.result.name] = op.result
        self.versions[op.result.name] = {}

    # --- the versions of a value ---
    def _layout(self, value: Value) -> Layout:
        """The layout in which a value was made."""
        return _tensor(self.made[value.name]).layout

    def _in_layout(self, value: Value, layout: Layout, user: Op | None = None) -> Value:
        """The version of a value in a layout, converted if it does not exist yet."""
        versions = self.versions[value.name]
        if layout not in versions and value.name in self.deferred and (layout is None or layout.axis == 0):
            versions[layout] = self._made_in(self.deferred[value.name], layout)
        if layout not in versions:
            location = user.location if user is not None else None
            source = self._in_layout(value, None) if value.name in self.deferred else self.made[value.name]
            versions[layout] = self.rewriter.add1(
                "layout.convert",
                (source,),
                LayoutAttrs.of(layout),
                hint=f"{value.name}.rows" if layout is None else f"{value.name}.blocks",
                location=location,
            )
        return versions[layout]

    def _made_in(self, op: Op, layout: Layout) -> Value:
        attrs = replace(op.attrs, block=1 if layout is None else layout.size)
        source = self._in_layout(op.operands[0], None, op)
        return self.rewriter.add1(op.name, (source,), attrs, hint=op.result.name, location=op.location)

    def _input_layout(self, x: Value) -> Layout:
        """The layout in which a blocked convolution reads its input."""
        if self._layout(x) is not None:
            return self.channels
        channels = _tensor(x).shape[1]
        few = isinstance(channels, int) and channels <= ROW_MAJOR_CHANNELS
        return None if few else self.channels

    def _may_convert(self, op: Op) -> bool:
        # without blocks there is no kernel for a fractional one
        return op.name == "nn.fractional_conv" or self._are_weights(op.operands[1:])

    def _are_weights(self, values: Sequence[Value]) -> bool:
        return all(v.name in self.weights for v in values)

    # --- the layouts of an op's operands ---
    def conv(self, op: Op) -> Sequence[Layout]:
        """Case 1."""
        x, w = op.operands[0], _tensor(op.operands[1])
        if not self._may_convert(op) or not self._conv_can_block(op.attrs.group, w):
            return [None] * len(op.operands)
        depthwise = op.attrs.group > 1 and w.shape[1] == 1
        layout = self.channels if depthwise else self._input_layout(x)
        return [layout, Blocked(0, self.block), Blocked(0, self.block)][: len(op.operands)]

    def winograd_conv(self, op: Op) -> Sequence[Layout]:
        """Case 1."""
        return [self.channels, Blocked(0, self.block), Blocked(0, self.block)][: len(op.operands)]

    def conv_weight_gradient(self, op: Op) -> Sequence[Layout]:
        """Case 2."""
        x, dw = op.operands[0], _tensor(op.result)
        if not self._conv_can_block(op.attrs.group, dw):
            return [None, None]
        return [self.channels if op.attrs.group > 1 else self._input_layout(x), self.channels]

    def _conv_can_block(self, group: int, w: TensorType) -> bool:
        out, per_group = w.shape[0], w.shape[1]
        if w.rank != 4 or not isinstance(out, int) or not isinstance(per_group, int):
            return False
        if group == 1 or (per_group == 1 and out == group):
            return True
        return (out // group) % self.block == 0 and per_group % self.block == 0

    def deconv(self, op: Op) -> Sequence[Layout]:
        """Case 2."""
        x, w = op.operands[0], _tensor(op.operands[1])
        group = op.attrs.group
        depthwise = group > 1 and w.shape[1] == 1 and w.shape[0] == group
        if not self._are_weights(op.operands[1:]) or w.rank != 4 or (group != 1 and not depthwise):
            return [None] * len(op.operands)
        layout = self.channels if depthwise else self._input_layout(x)
        weights = Blocked(0 if depthwise else 1, self.block)
        return [layout, weights, Blocked(0, self.block)][: len(op.operands)]

    def inner_product(self, op: Op) -> Sequence[Layout]:
        """Case 6."""
        if op.attrs.transpose or not all(v.name in self.params for v in op.operands[1:]):
            return [None] * len(op.operands)
        return [None, Blocked(0, self.block), Blocked(0, self.block)][: len(op.operands)]

    def concat(self, op: Op) -> Sequence[Layout]:
        """Case 5."""
        return self._blocked_if_legal(op, [self.channels] * len(op.operands))

    def slice(self, op: Op) -> Sequence[Layout]:
        """Case 5."""
        return self._blocked_if_legal(op, [self.channels])

    def reduce(self, op: Op) -> Sequence[Layout]:
        """Case 7."""
        return [None if 1 in op.attrs.axes else self._layout(op.operands[0])]

    def spread(self, op: Op) -> Sequence[Layout]:
        """Case 9."""
        (x,) = op.operands
        layout, type_ = self._layout(x), _tensor(x)
        channels = type_.shape[1] if type_.rank > 2 else 1
        many = not isinstance(channels, int) or channels > ROW_MAJOR_CHANNELS
        if layout is None and self.blocked and many and channels == _tensor(op.result).shape[1]:
            layout = self.channels
        return [layout]

    def dropout(self, op: Op) -> Sequence[Layout]:
        """Case 3."""
        return [self._layout(op.operands[0]), None]

    def _blocked_if_legal(self, op: Op, layouts: Sequence[Layout]) -> Sequence[Layout]:
        if not any(self._layout(v) == self.channels for v in op.operands):
            return [None] * len(op.operands)
        tried = tuple(
            Value(v.name, _tensor(v).with_layout(c)) for v, c in zip(op.operands, layouts, strict=True)
        )
        try:
            infer_types(op.name, tried, op.attrs)
        except OpError:
            return [None] * len(op.operands)
        return layouts

    def _elementwise(self, op: Op) -> Sequence[Layout]:
        """Case 4."""
        result = _tensor(op.result)
        data = [v for v in op.operands if v.name not in self.params]
        largest = [v for v in data if _tensor(v).shape == result.shape] or data
        if not any(self._layout(v) == self.channels for v in largest):
            return [None] * len(op.operands)
        spread = result.shape[1] != 1
        return [None if spread and _tensor(v).shape[1] == 1 else self.channels for v in op.operands]


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


_RULES: dict[str, Callable[[_Assigner, Op], Sequence[Layout]]] = {
    "math.broadcast": _Assigner.spread,
    "nn.ave_pool_gradient": _Assigner.spread,
    "nn.conv": _Assigner.conv,
    "nn.conv_weight_gradient": _Assigner.conv_weight_gradient,
    "nn.deconv": _Assigner.deconv,
    "nn.fractional_conv": _Assigner.conv,
    "nn.inner_product": _Assigner.inner_product,
    "nn.moments": _Assigner.reduce,
    "nn.winograd_conv": _Assigner.winograd_conv,
    "random.dropout": _Assigner.dropout,
    "tensor.concat": _Assigner.concat,
    "tensor.reduce": _Assigner.reduce,
    "tensor.slice": _Assigner.slice,
}
