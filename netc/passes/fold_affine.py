"""Fold per-channel affine arithmetic (BatchNorm, Scale, Bias, Power, Eltwise coefficients) into weights.

Does: looks at chains of ``affine`` and of ``add``, ``sub``, ``mul``, ``div`` with a param-only operand that
has one number a channel (extent 1 except on axis 1), where only the next op of the chain reads a value. A
chain computes ``x * a + b``.

1. Behind a ``conv``, ``deconv`` or ``inner_product`` with param-only weights that only the chain reads:
   the chain disappears, ``a`` goes into the weights and ``a``, ``b`` into the bias (one is added if need be).
2. Anywhere else (BatchNorm before its convolution, say): a chain of more ops than that needs becomes one
   ``mul`` and one ``add``.

The arithmetic on params is made of ordinary ops; hoist_prepare moves it out of the way.

Requires: a tensor module, row-major.
Ensures: no such chain is left behind an op of case 1.
Refuses: nothing. Dividing a constant by data is not affine and ends a chain.

Example (``fold_affine()``)::

    module m tensor {
    func @main(%x: f32[N,3,8,8], %w: param f32[4,3,1,1], %m: param f32[1,4,1,1], %s: param f32[1,4,1,1])
        -> (y = %y) {
      %c: f32[N,4,8,8] = nn.conv %x, %w {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
      %n: f32[N,4,8,8] = math.sub %c, %m
      %y: f32[N,4,8,8] = math.mul %n, %s
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[N,3,8,8], %w: param f32[4,3,1,1], %m: param f32[1,4,1,1], %s: param f32[1,4,1,1])
        -> (y = %y) {
      %n: f32[1,4,1,1] = math.affine %m {scale = -1.0, shift = 0.0}
      %b: f32[1,4,1,1] = math.mul %n, %s
      %s4: f32[4,1,1,1] = tensor.reshape %s {shape = [4, 1, 1, 1]}
      %ws: f32[4,3,1,1] = math.mul %w, %s4
      %b1: f32[4] = tensor.reshape %b {shape = [4]}
      %y: f32[N,4,8,8] = nn.conv %x, %ws, %b1 {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
    }
    }
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from netc.ir.core import Func, Module, Op, Value, definitions, users
from netc.ir.dim import Dim
from netc.ir.opdef import NoAttrs
from netc.ir.ops.elementwise import AffineAttrs
from netc.ir.ops.shape import FillAttrs, ReshapeAttrs
from netc.ir.param_only import param_only
from netc.ir.rewrite import Rewriter, rewrite_func
from netc.ir.types import TensorType

_ANCHORS = frozenset({"nn.conv", "nn.deconv", "nn.inner_product"})
_BINARY = frozenset({"math.add", "math.sub", "math.mul", "math.div"})


def fold_affine(module: Module) -> Module:
    """The module with affine chains folded."""
    return replace(module, funcs=tuple(_fold_func(f) for f in module.funcs))


def _fold_func(func: Func) -> Func:
    folder = _Folder(_worthwhile_chains(func))
    return rewrite_func(func, (folder,)) if folder.chains else func


@dataclass
class _Chain:
    """Affine ops in a row, the first on ``root``; ``anchor`` makes the root, if it is an op that can fold."""

    root: Value
    anchor: Op | None
    ops: list[Op] = field(default_factory=list)


def _worthwhile_chains(func: Func) -> list[_Chain]:
    params = param_only(func)
    made_by = definitions(func)
    read_by = users(func)
    returned = {v.name for v in func.results}

    def read_once(value: Value) -> bool:
        return len(read_by.get(value.name, ())) == 1 and value.name not in returned

    chains: list[_Chain] = []
    ending_in: dict[str, _Chain] = {}
    for op in func.ops:
        x = _affine_operand(op, params)
        if x is None:
            continue
        chain = ending_in.pop(x.name, None) if read_once(x) else None
        if chain is None:
            anchor = made_by.get(x.name)
            folds = anchor is not None and read_once(x) and _can_absorb(anchor, params)
            chain = _Chain(x, anchor if folds else None)
            chains.append(chain)
        chain.ops.append(op)
        ending_in[op.result.name] = chain
    return [c for c in chains if c.anchor is not None or len(c.ops) > _ops_needed(c)]


def _affine_operand(op: Op, params: frozenset[str]) -> Value | None:
    """The data operand of an op that is affine in it, None for other ops."""
    if op.result.name in params:
        return None
    if op.name == "math.affine":
        return op.operands[0]
    if op.name not in _BINARY:
        return None
    data = [v for v in op.operands if v.name not in params]
    if len(data) != 1 or data[0].type != op.result.type:
        return None
    if op.name == "math.div" and data[0] is not op.operands[0]:
        return None
    (other,) = [v for v in op.operands if v.name in params]
    per_channel = all(extent == 1 for axis, extent in enumerate(_tensor(other).shape) if axis != 1)
    return data[0] if per_channel else None


def _can_absorb(op: Op, params: frozenset[str]) -> bool:
    return op.name in _ANCHORS and all(v.name in params for v in op.operands[1:])


def _ops_needed(chain: _Chain) -> int:
    scales = any(op.name in ("math.mul", "math.div") or _attr(op, "scale", 1.0) != 1.0 for op in chain.ops)
    shifts = any(op.name in ("math.add", "math.sub") or _attr(op, "shift", 0.0) != 0.0 for op in chain.ops)
    return scales + shifts


def _attr(op: Op, name: str, otherwise: float) -> float:
    return float(getattr(op.attrs, name, otherwise))


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


class _Folder:
    """The rewrite rule: drops the ops of a chain and its anchor, and emits what replaces them at its end."""

    def __init__(self, chains: list[_Chain]) -> None:
        self.chains = chains
        self._ends = {c.ops[-1].result.name: c for c in chains}
        self._dropped = {op.result.name for c in chains for op in c.ops}
        self._dropped |= {c.anchor.result.name for c in chains if c.anchor is not None}

    def __call__(self, op: Op, rewriter: Rewriter) -> tuple[Value, ...] | None:
        if len(op.results) != 1 or op.result.name not in self._dropped:
            return None
        chain = self._ends.get(op.result.name)
        if chain is None:
            return op.results
        emit = _Arithmetic(rewriter, op)
        scale, shift = emit.form_of(chain)
        if chain.anchor is None:
            return (emit.apply(op.result, emit.now(chain.root), scale, shift),)
        return (emit.fold(op.result, chain.anchor, scale, shift),)


_Number = Value | float


class _Arithmetic:
    """Emits ops on params. A number is a python float, or a value with one element or one a channel."""

    def __init__(self, rewriter: Rewriter, last: Op) -> None:
        self.rewriter = rewriter
        self.location = last.location
        self.hint = f"{last.result.name}.folded"

    def now(self, value: Value) -> Value:
        """The value that stands for a value of the old function."""
        return self.rewriter.replaced.get(value.name, value)

    def form_of(self, chain: _Chain) -> tuple[_Number, _Number]:
        """``scale`` and ``shift`` such that the chain computes ``root * scale + shift``."""
        scale: _Number = 1.0
        shift: _Number = 0.0
        x = chain.root
        for op in chain.ops:
            if op.name == "math.affine":
                scale = self.times(scale, op.attrs.scale)
                shift = self.plus(self.times(shift, op.attrs.scale), op.attrs.shift)
            else:
                x_first = op.operands[0].name == x.name
                other = self.now(op.operands[1 if x_first else 0])
                scale, shift = self.compose(op.name, scale, shift, other, x_first=x_first)
            x = op.result
        return scale, shift

    def compose(
        self, name: str, scale: _Number, shift: _Number, other: Value, *, x_first: bool
    ) -> tuple[_Number, _Number]:
        """The form of one more op on top of a form."""
        if name == "math.add":
            return scale, self.plus(shift, other)
        if name == "math.mul":
            return self.times(scale, other), self.times(shift, other)
        if name == "math.div":
            return self.over(scale, other), self.over(shift, other)
        if x_first:
            return scale, self.plus(shift, self.times(other, -1.0))
        return self.times(scale, -1.0), self.plus(self.times(shift, -1.0), other)

    def times(self, a: _Number, b: _Number) -> _Number:
        """``a * b``, spending no op on a factor of 1 or 0."""
        if isinstance(a, float) and isinstance(b, float):
            return a * b
        if isinstance(a, float):
            a, b = b, a
        assert isinstance(a, Value)
        if isinstance(b, float):
            return a if b == 1.0 else 0.0 if b == 0.0 else self.affine(a, b, 0.0)
        return self.binary("math.mul", a, b)

    def plus(self, a: _Number, b: _Number) -> _Number:
        """``a + b``, spending no op on a term of 0."""
        if isinstance(a, float) and isinstance(b, float):
            return a + b
        if isinstance(a, float):
            a, b = b, a
        assert isinstance(a, Value)
        if isinstance(b, float):
            return a if b == 0.0 else self.affine(a, 1.0, b)
        return self.binary("math.add", a, b)

    def over(self, a: _Number, b: Value) -> _Number:
        """``a / b``."""
        if isinstance(a, Value):
            return self.binary("math.div", a, b)
        return 0.0 if a == 0.0 else self.binary("math.div", self.fill(_tensor(b), a), b)

    def affine(self, x: Value, scale: float, shift: float) -> Value:
        """``x * scale + shift`` with numbers known now."""
        return self.add("math.affine", (x,), AffineAttrs(scale, shift))

    def binary(self, name: str, x: Value, y: Value) -> Value:
        """An elementwise op on two values."""
        return self.add(name, (x, y), NoAttrs())

    def fill(self, type_: TensorType, value: float) -> Value:
        """A constant."""
        return self.add("tensor.fill", (), FillAttrs(type_, value))

    def reshaped(self, x: Value, *shape: Dim) -> Value:
        """The same elements in another shape."""
        if _tensor(x).shape == shape:
            return x
        return self.add("tensor.reshape", (x,), ReshapeAttrs(shape))

    def add(self, name: str, operands: tuple[Value, ...], attrs: object) -> Value:
        """Append an op at the location of the chain."""
        return self.rewriter.add1(name, operands, attrs, hint=self.hint, location=self.location)

    def apply(self, result: Value, x: Value, scale: _Number, shift: _Number) -> Value:
        """``x * scale + shift`` under the name of ``result``."""
        if isinstance(scale, float) and isinstance(shift, float):
            attrs = AffineAttrs(scale, shift)
            return self.append(Op("math.affine", (x,), attrs, (result,), None, self.location))
        if isinstance(scale, float) and scale == 1.0:
            return self.last("math.add", x, shift, result)
        if isinstance(shift, float) and shift == 0.0:
            return self.last("math.mul", x, scale, result)
        scaled = self.affine(x, scale, 0.0) if isinstance(scale, float) else self.binary("math.mul", x, scale)
        return self.last("math.add", scaled, shift, result)

    def last(self, name: str, x: Value, y: _Number, result: Value) -> Value:
        """``add`` or ``mul`` under the name of ``result``."""
        if isinstance(y, Value):
            return self.append(Op(name, (x, y), NoAttrs(), (result,), None, self.location))
        attrs = AffineAttrs(1.0, y) if name == "math.add" else AffineAttrs(y, 0.0)
        return self.append(Op("math.affine", (x,), attrs, (result,), None, self.location))

    def append(self, op: Op) -> Value:
        """Append an op that has its result already."""
        self.rewriter.append(op)
        return op.result

    def fold(self, result: Value, anchor: Op, scale: _Number, shift: _Number) -> Value:
        """The anchor with scale and shift in its weights and bias, under the name of ``result``."""
        x, w, *bias = (self.now(v) for v in anchor.operands)
        channels = _tensor(result).shape[1]
        operands = [x, self.scaled_weights(anchor, w, scale)]
        b: _Number = self.times(bias[0], self.flat(scale)) if bias else 0.0
        b = self.plus(b, self.flat(shift))
        if isinstance(b, float) and (bias or b != 0.0):
            b = self.fill(_tensor(w).with_shape(channels), b)
        if isinstance(b, Value):
            operands.append(self.one_per_channel(b, channels))
        return self.append(replace(anchor, operands=tuple(operands), results=(result,)))

    def flat(self, number: _Number) -> _Number:
        """A per-channel number as a vector."""
        return number if isinstance(number, float) else self.reshaped(number, _tensor(number).elements)

    def one_per_channel(self, b: Value, channels: Dim) -> Value:
        """A bias vector of full length."""
        if _tensor(b).shape == (channels,):
            return b
        return self.binary("math.add", self.fill(_tensor(b).with_shape(channels), 0.0), b)

    def scaled_weights(self, anchor: Op, w: Value, scale: _Number) -> Value:
        """The weights with each output channel's part multiplied by its scale."""
        if isinstance(scale, float):
            scaled = self.times(w, scale)
            return scaled if isinstance(scaled, Value) else self.fill(_tensor(w), scaled)
        shape = _tensor(w).shape
        count = _tensor(scale).elements
        ones = (1,) * (len(shape) - 1)
        if anchor.name == "nn.conv" or (anchor.name == "nn.inner_product" and not anchor.attrs.transpose):
            return self.binary("math.mul", w, self.reshaped(scale, count, *ones))  # [O, C/g, *K]
        group = 1 if anchor.name == "nn.inner_product" else anchor.attrs.group
        if group == 1 or count == 1:
            return self.binary("math.mul", w, self.reshaped(scale, 1, count, *ones[1:]))  # [C, O, *K]
        # [C, O/g, *K] -> [g, C/g, O/g, *K]
        by_group = self.reshaped(w, group, _whole(shape[0]) // group, *shape[1:])
        factor = self.reshaped(scale, group, 1, _whole(count) // group, *ones[1:])
        return self.reshaped(self.binary("math.mul", by_group, factor), *shape)


def _whole(dim: Dim) -> int:
    assert isinstance(dim, int)
    return dim
