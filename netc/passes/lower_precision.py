"""Compute convolutions and inner products in narrow numbers: bf16, or 8-bit integers.

Does: gives a convolution or inner product its narrow form, ``bf16_…`` or ``int8_…``, where it has enough
channels; its weights are cast from the parameters, its input by ``to_bf16`` or ``to_u8``. The result is f32:
what follows is computed as before, and cast where the next one reads it.

1.  A value that narrow ops read is cast where it was made, or before the ``concat`` or maximum ``pool`` that
    made it, if all that read the result can take it narrow: then narrow numbers are what lies in memory.
2.  Elementwise ops that read such a value too (a residual sum) read the narrow one, cast back.
3.  8-bit codes need the range of each value that is cast: ``ranges`` says it. Values that meet in a concat
    share a code. What has no range stays f32.
4.  A convolution that ``wide`` picks stays f32: one that Winograd's algorithm makes quicker than narrow
    numbers would.

Weights are narrow where their op has at least ``least`` input channels (in a group) and outputs, bf16 an even
number of them; depthwise convolutions and the first layer of an image stay f32, as does all that is no
convolution or inner product.

Requires: a tensor module, row-major, whose groups are as wide as they get. ``block`` is that of the layouts.
Ensures: casts, narrow ops, and ops that only move numbers are all that reads or makes a narrow value.
Refuses: nothing.

Example (``lower_precision(precision="bf16", block=4, least=4)``)::

    module m tensor {
    func @main(%x: f32[1,8,6,6], %w: param f32[8,8,3,3], %v: param f32[4,8,1,1]) -> (y = %y) {
      %c: f32[1,8,4,4] = nn.conv %x, %w {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
      %r: f32[1,8,4,4] = math.relu %c {slope = 0.0}
      %y: f32[1,4,4,4] = nn.conv %r, %v {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[1,8,6,6], %w: param f32[8,8,3,3], %v: param f32[4,8,1,1]) -> (y = %y) {
      %xn: bf16[1,8,6,6] = math.to_bf16 %x
      %wn: i32[8,4,3,3] = nn.bf16_weight %w
      %c: f32[1,8,4,4] = nn.bf16_conv %xn, %wn {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
      %r: f32[1,8,4,4] = math.relu %c {slope = 0.0}
      %rn: bf16[1,8,4,4] = math.to_bf16 %r
      %vn: i32[4,4,1,1] = nn.bf16_weight %v
      %y: f32[1,4,4,4] = nn.bf16_conv %rn, %vn {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
    }
    }
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from netc.ir.core import Func, Module, Op, Value, definitions, users
from netc.ir.opdef import NoAttrs, opdef
from netc.ir.ops.elementwise import AffineAttrs
from netc.ir.ops.int8 import LARGEST_INPUT, LEAST_SCALE, MAX_PRODUCTS, AffineCode, Int8ConvAttrs, ZeroAttrs
from netc.ir.ops.shape import FillAttrs
from netc.ir.param_only import param_only
from netc.ir.rewrite import Rewriter
from netc.ir.types import TensorType

NarrowPrecision = Literal["bf16", "int8"]
Ranges = Mapping[str, tuple[float, float]]
"""The least and the largest value of tensors, by name."""

IsWide = Callable[[Op], bool]
"""Whether an ``nn.conv`` is quicker in f32."""

LEAST_CHANNELS = 16
_PRODUCTS = {"nn.conv": "conv", "nn.inner_product": "inner_product"}


def lower_precision(
    module: Module,
    *,
    precision: NarrowPrecision,
    block: int,
    ranges: Ranges | None = None,
    wide: IsWide | None = None,
    least: int = LEAST_CHANNELS,
) -> Module:
    """The module with narrow products where they pay; ``ranges`` for ``int8``."""
    main = module.func("main")
    plan = _Plan(main, precision, block, least, ranges, wide)
    return module.with_func(_Narrower(main, plan).run())


def values_to_measure(module: Module, *, block: int, least: int = LEAST_CHANNELS) -> tuple[Value, ...]:
    """The values of ``@main`` whose ranges ``int8`` needs."""
    plan = _Plan(module.func("main"), "int8", block, least, None)
    return tuple(plan.casts.values())


class _Plan:
    """Which ops become narrow, which values are cast, and which ops then move narrow numbers.

    ``casts`` are the values to be cast, by name; ``moved`` names the results of ops that move narrow numbers;
    ``narrow`` the ops' results; ``replaceable`` the values whose f32 form only elementwise ops would read.
    Without ``ranges`` every value counts as having one.
    """

    def __init__(
        self,
        func: Func,
        precision: NarrowPrecision,
        block: int,
        least: int,
        ranges: Ranges | None,
        wide: IsWide | None = None,
    ) -> None:
        self.func = func
        self.wide = wide
        self.precision = precision
        self.block = block
        self.least = least
        self.params = param_only(func)
        self.returned = {v.name for v in func.results}
        self.made_by = definitions(func)
        self.read_by = users(func)
        self.narrow: dict[str, Op] = {}
        self.moved: dict[str, Op] = {}
        self.casts: dict[str, Value] = {}
        self.codes: dict[str, AffineCode] = {}
        excluded: set[str] = set()
        while True:
            self._find(excluded)
            if precision == "bf16" or ranges is None:
                break
            groups = self._groups()
            missing = {n for casts, _ in groups for n in casts if any(m not in ranges for m in casts)}
            if not missing:
                self.codes = {n: _code_of(ranges, casts) for casts, moved in groups for n in (*casts, *moved)}
                break
            excluded |= missing
        self.replaceable = {
            name
            for name in (*self.casts, *self.moved)
            if name not in self.returned
            and all(self._takes_narrow(op, name) or opdef(op.name).elementwise for op in self.read_by[name])
        }

    def _find(self, excluded: set[str]) -> None:
        """Goes from readers to makers: what a narrow op reads is wanted narrow."""
        self.narrow, self.moved, self.casts = {}, {}, {}
        wanted: dict[str, Value] = {}
        for op in reversed(self.func.ops):
            if self._may_narrow(op) and not self._leads_to(op.operands[0].name, excluded):
                self.narrow[op.result.name] = op
                wanted[op.operands[0].name] = op.operands[0]
            elif op.results and op.result.name in wanted and self._may_move(op):
                self.moved[op.result.name] = op
                wanted |= {v.name: v for v in op.operands}
        self.casts = {name: value for name, value in reversed(wanted.items()) if name not in self.moved}

    def _leads_to(self, name: str, excluded: set[str]) -> bool:
        """Whether the narrow form of a value would be made of one that is excluded."""
        if name in excluded:
            return True
        maker = self.made_by.get(name)
        if not excluded or maker is None or not self._only_moves(maker):
            return False
        return any(self._leads_to(v.name, excluded) for v in maker.operands)

    def _may_narrow(self, op: Op) -> bool:
        if op.name not in _PRODUCTS or any(v.name not in self.params for v in op.operands[1:]):
            return False
        w = _tensor(op.operands[1])
        known = all(isinstance(d, int) for d in w.shape)
        if not known or w.dtype != "f32" or op.operands[0].name in self.params:
            return False
        outputs, depth, *taps = w.static_shape
        if self.precision == "int8" and depth * math.prod(taps) > MAX_PRODUCTS:
            return False
        even = depth % (2 if self.precision == "bf16" else 1) == 0
        if op.name == "nn.inner_product":
            whole = depth % 4 == 0 or self.precision == "bf16"
            return not op.attrs.transpose and even and whole and depth >= self.least
        group = op.attrs.group
        blocks = group == 1 or (outputs // group % self.block == 0 and depth % self.block == 0)
        enough = min(depth, outputs // group) >= self.least
        return w.rank == 4 and even and blocks and enough and not (self.wide is not None and self.wide(op))

    def _only_moves(self, op: Op) -> bool:
        """Whether an op's narrow result is made of narrow operands without arithmetic."""
        if op.name == "tensor.concat":
            shapes = [_tensor(v).shape for v in op.operands]
            # blocks stay whole
            return op.attrs.axis == 1 and all(
                len(s) == 4 and isinstance(s[1], int) and s[1] % self.block == 0 for s in shapes
            )
        if op.name != "nn.pool" or op.attrs.kind != "max" or _tensor(op.result).rank != 4:
            return False
        # no window is empty
        return all(s <= k for s, k in zip(op.attrs.stride, op.attrs.kernel, strict=True))

    def _may_move(self, op: Op) -> bool:
        name = op.result.name
        if not self._only_moves(op) or name in self.returned:
            return False
        if any(v.name in self.params for v in op.operands):
            return False
        return all(
            self._takes_narrow(reader, name) or opdef(reader.name).elementwise
            for reader in self.read_by[name]
        )

    def _takes_narrow(self, reader: Op, name: str) -> bool:
        result = reader.results[0].name if reader.results else ""
        if result in self.narrow:
            return reader.operands[0].name == name
        return result in self.moved

    def _groups(self) -> list[tuple[list[str], list[str]]]:
        """The values that are cast, and those that are moved, of each code."""
        group_of: dict[str, set[str]] = {name: {name} for name in (*self.casts, *self.moved)}
        for op in self.moved.values():
            joined = set().union(*(group_of[v.name] for v in (op.result, *op.operands)))
            for name in joined:
                group_of[name] = joined
        found = {id(group): group for group in group_of.values()}
        return [
            ([n for n in self.casts if n in g], [n for n in self.moved if n in g]) for g in found.values()
        ]


def _code_of(ranges: Ranges, names: Sequence[str]) -> AffineCode:
    """The code that all these values fit; 0 has a code of its own."""
    low = min([0.0, *(ranges[n][0] for n in names)])
    high = max([0.0, *(ranges[n][1] for n in names)])
    scale = (high - low) / LARGEST_INPUT
    if not LEAST_SCALE <= scale <= 1 / LEAST_SCALE:
        return AffineCode(1.0)  # nothing but zeros, or not finite
    return AffineCode(scale, min(LARGEST_INPUT, round(-low / scale)))


class _Narrower:
    """Rewrites the function as planned. ``narrowed``: old value -> its narrow form."""

    def __init__(self, func: Func, plan: _Plan) -> None:
        self.func = func
        self.plan = plan
        self.rewriter = Rewriter(func)
        self.narrowed: dict[str, Value] = {}
        self.widened: dict[str, Value] = {}

    def run(self) -> Func:
        """The function with narrow products."""
        for arg in self.func.args:
            self._cast(arg, None)
        for op in self.func.ops:
            name = op.results[0].name if op.results else ""
            if name in self.plan.narrow:
                self._product(op)
            elif name in self.plan.moved:
                operands = [self.narrowed[v.name] for v in op.operands]
                self.narrowed[name] = self._add(op.name, operands, op.attrs, f"{name}.narrow", op)
            else:
                self.rewriter.append(replace(op, operands=tuple(self._wide(v, op) for v in op.operands)))
            for result in op.results:
                self._cast(result, op)
        return replace(self.func, ops=tuple(self.rewriter.ops))

    def _add(self, name: str, operands: list[Value], attrs: Any, hint: str, op: Op | None) -> Value:
        location = None if op is None else op.location
        return self.rewriter.add1(name, operands, attrs, hint=hint, location=location)

    def _cast(self, value: Value, op: Op | None) -> None:
        if value.name in self.plan.casts:
            narrow = self.plan.precision == "bf16"
            name, attrs = (
                ("math.to_bf16", NoAttrs()) if narrow else ("math.to_u8", self.plan.codes[value.name])
            )
            self.narrowed[value.name] = self._add(name, [value], attrs, f"{value.name}.narrow", op)

    def _wide(self, value: Value, op: Op) -> Value:
        """The value as an op reads it that is not narrow."""
        name = value.name
        if name not in self.plan.replaceable or not opdef(op.name).elementwise:
            return value
        if name not in self.widened:
            bf16 = self.plan.precision == "bf16"
            kind, attrs = ("math.from_bf16", NoAttrs()) if bf16 else ("math.from_u8", self.plan.codes[name])
            self.widened[name] = self._add(kind, [self.narrowed[name]], attrs, f"{name}.wide", op)
        return self.widened[name]

    def _product(self, op: Op) -> None:
        x, w, *bias = op.operands
        kind = _PRODUCTS[op.name]
        if self.plan.precision == "bf16":
            words = self._add("nn.bf16_weight", [w], NoAttrs(), f"{w.name}.narrow", op)
            attrs = op.attrs if kind == "conv" else NoAttrs()
            operands = (self.narrowed[x.name], words, *bias)
            self.rewriter.append(replace(op, name=f"nn.bf16_{kind}", operands=operands, attrs=attrs))
            return
        code = self.plan.codes[x.name]
        step = self._add("nn.int8_scale", [w], NoAttrs(), f"{w.name}.step", op)
        words = self._add("nn.int8_weight", [w, step], NoAttrs(), f"{w.name}.narrow", op)
        scale = self._add("math.affine", [step], AffineAttrs(code.scale, 0.0), f"{w.name}.scale", op)
        if code.zero:
            start = self._add("nn.int8_start", [words], ZeroAttrs(code.zero), f"{w.name}.start", op)
        else:
            zeros = TensorType("i32", _tensor(w).shape[:1])
            start = self._add("tensor.fill", [], FillAttrs(zeros, 0.0), f"{w.name}.start", op)
        a = op.attrs
        attrs = (
            Int8ConvAttrs(a.stride, a.pad, a.dilation, a.group, code.zero)
            if kind == "conv"
            else ZeroAttrs(code.zero)
        )
        operands = (self.narrowed[x.name], words, scale, start, *bias)
        self.rewriter.append(replace(op, name=f"nn.int8_{kind}", operands=operands, attrs=attrs))


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
