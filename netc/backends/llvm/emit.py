"""Loop-level functions to LLVM IR text.

Every loop op has one emitter in a table; structured loops and conditions become basic blocks. A kernel
``k`` is an internal function whose pointers are ``noalias``, and ``void k(ptr slots, i64 tid, i64 nth)``,
which reads the arguments from the slots and calls it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from netc.backends.llvm.emit_narrow import bf16_to_f32, dot_bf16, dot_u8, f32_to_bf16
from netc.ir.core import Block, Func, Op, Value
from netc.ir.types import PointerType, ScalarType, Type, VectorType

_SCALARS = {
    "f32": "float",
    "f64": "double",
    "bf16": "i16",
    "i64": "i64",
    "i32": "i32",
    "i1": "i1",
    "i8": "i8",
    "u8": "i8",
}
# index arithmetic never overflows; the bit tricks of vectors may
_NO_SIGNED_WRAP = frozenset({"add", "sub", "mul"})
_INTRINSIC_SUFFIX = {
    "f32": "f32",
    "f64": "f64",
    "bf16": "i16",
    "i64": "i64",
    "i32": "i32",
    "i8": "i8",
    "u8": "i8",
}


def llvm_type(type_: Type) -> str:
    """The LLVM spelling of a loop-level type."""
    if isinstance(type_, ScalarType):
        return _SCALARS[type_.dtype]
    if isinstance(type_, VectorType):
        return f"<{type_.lanes} x {_SCALARS[type_.dtype]}>"
    if isinstance(type_, PointerType):
        return "ptr"
    raise TypeError(f"{type_} is not a type of the loop level")


def emit_kernel(func: Func, *, fma: bool = True, dots: frozenset[str] = frozenset()) -> str:
    """A module with one kernel. The last two arguments of the function are ``tid`` and ``nth``.

    ``fma`` says that the target multiplies and adds in one instruction, ``dots`` which dot products it has
    instructions for, see :attr:`netc.backends.llvm.target.Target.dots`.
    """
    return _KernelEmitter(func, fma, dots).module()


class _KernelEmitter:
    def __init__(self, func: Func, fma: bool, dots: frozenset[str]) -> None:
        self.func = func
        self.fma = fma
        self.dots = dots
        self.lines: list[str] = []
        self.names: dict[str, str] = {}
        self.declared: dict[str, str] = {}
        self.block = "entry"
        self.count = 0

    def module(self) -> str:
        args = self.func.args
        for i, arg in enumerate(args):
            self.names[arg.name] = f"%a{i}"
        self.ops(self.func.ops)
        declarations = "\n".join(self.declared.values())
        signature = ", ".join(
            f"{llvm_type(a.type)}{' noalias' if isinstance(a.type, PointerType) else ''} %a{i}"
            for i, a in enumerate(args)
        )
        body = "\n".join(self.lines)
        return (
            f"define internal void @body({signature}) noinline nounwind {{\nentry:\n{body}\n  ret void\n}}\n"
            f"{self.entry_point()}\n{declarations}\n"
        )

    def entry_point(self) -> str:
        """The function of the kernel ABI: unpacks the slots."""
        lines = []
        passed = []
        for i, arg in enumerate(self.func.args[:-2]):
            type_ = llvm_type(arg.type)
            lines.append(f"  %p{i} = getelementptr inbounds i64, ptr %slots, i64 {i}")
            lines.append(f"  %s{i} = load {type_}, ptr %p{i}")
            passed.append(f"{type_} %s{i}")
        call = ", ".join([*passed, "i64 %tid", "i64 %nth"])
        unpack = "\n".join(lines)
        return (
            f'define void @"{self.func.name}"(ptr %slots, i64 %tid, i64 %nth) nounwind {{\n{unpack}\n'
            f"  call void @body({call})\n  ret void\n}}"
        )

    # --- pieces ---
    def ops(self, ops: tuple[Op, ...]) -> None:
        for op in ops:
            _EMITTERS[op.name](self, op)

    def name(self, value: Value) -> str:
        return self.names[value.name]

    def typed(self, value: Value) -> str:
        return f"{llvm_type(value.type)} {self.names[value.name]}"

    def fresh(self) -> str:
        self.count += 1
        return f"%t{self.count}"

    def label(self, hint: str) -> str:
        self.count += 1
        return f"{hint}{self.count}"

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def start_block(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def assign(self, expression: str) -> str:
        name = self.fresh()
        self.lines.append(f"  {name} = {expression}")
        return name

    def result(self, op: Op, expression: str) -> None:
        self.names[op.results[0].name] = self.assign(expression)

    def intrinsic(self, name: str, result: str, args: str) -> None:
        self.declared[name] = f"declare {result} @{name}({args})"

    def address(self, pointer: Value, index: Value) -> str:
        assert isinstance(pointer.type, PointerType)
        element = _SCALARS[pointer.type.dtype]
        return self.assign(
            f"getelementptr inbounds {element}, ptr {self.name(pointer)}, i64 {self.name(index)}"
        )

    def first_lanes(self, count: Value, lanes: int) -> str:
        """A mask with the lanes below ``count``."""
        vector = f"<{lanes} x i64>"
        wide = self.splat(f"i64 {self.name(count)}", vector)
        iota = ", ".join(f"i64 {i}" for i in range(lanes))
        return self.assign(f"icmp slt {vector} <{iota}>, {wide}")

    def splat(self, typed_scalar: str, vector: str) -> str:
        one = self.assign(f"insertelement {vector} poison, {typed_scalar}, i64 0")
        lanes = int(vector[1:].split(" ")[0])
        return self.assign(f"shufflevector {vector} {one}, {vector} poison, <{lanes} x i32> zeroinitializer")


def _is_float(type_: Type) -> bool:
    return isinstance(type_, ScalarType | VectorType) and type_.dtype[0] == "f"


def _nearest_f32(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _literal(value: int | float, dtype: str) -> str:
    if dtype == "f32":
        rounded = _nearest_f32(value)
        return f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
    if dtype == "f64":
        return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
    if dtype == "i1":
        return "true" if value else "false"
    return str(value)


def _const(k: _KernelEmitter, op: Op) -> None:
    type_ = op.result.type
    assert isinstance(type_, ScalarType | VectorType)
    text = _literal(op.attrs.value, type_.dtype)
    if isinstance(type_, VectorType):
        element = _SCALARS[type_.dtype]
        text = "<" + ", ".join([f"{element} {text}"] * type_.lanes) + ">"
    k.names[op.result.name] = text


def _arithmetic(float_name: str, int_name: str) -> Callable[[_KernelEmitter, Op], None]:
    def emit(k: _KernelEmitter, op: Op) -> None:
        x, y = op.operands
        name = float_name if _is_float(x.type) else int_name
        if name in _NO_SIGNED_WRAP and isinstance(x.type, ScalarType) and x.type.dtype == "i64":
            name += " nsw"
        k.result(op, f"{name} {k.typed(x)}, {k.name(y)}")

    return emit


def _min_max(float_predicate: str, int_predicate: str) -> Callable[[_KernelEmitter, Op], None]:
    def emit(k: _KernelEmitter, op: Op) -> None:
        x, y = op.operands
        unsigned = isinstance(x.type, ScalarType | VectorType) and x.type.dtype == "u8"
        predicate = int_predicate.replace("s", "u") if unsigned else int_predicate
        compare = f"fcmp {float_predicate}" if _is_float(x.type) else f"icmp {predicate}"
        condition = k.assign(f"{compare} {k.typed(x)}, {k.name(y)}")
        lanes = f"<{x.type.lanes} x i1>" if isinstance(x.type, VectorType) else "i1"
        k.result(op, f"select {lanes} {condition}, {k.typed(x)}, {k.typed(y)}")

    return emit


def _unary_intrinsic(name: str) -> Callable[[_KernelEmitter, Op], None]:
    def emit(k: _KernelEmitter, op: Op) -> None:
        _call_intrinsic(k, op, name)

    return emit


def _call_intrinsic(k: _KernelEmitter, op: Op, name: str) -> None:
    type_ = op.result.type
    assert isinstance(type_, ScalarType | VectorType)
    suffix = _INTRINSIC_SUFFIX[type_.dtype]
    if isinstance(type_, VectorType):
        suffix = f"v{type_.lanes}{suffix}"
    full = f"llvm.{name}.{suffix}"
    spelled = llvm_type(type_)
    k.intrinsic(full, spelled, ", ".join([spelled] * len(op.operands)))
    args = ", ".join(k.typed(v) for v in op.operands)
    k.result(op, f"call {spelled} @{full}({args})")


def _fma(k: _KernelEmitter, op: Op) -> None:
    """One rounding where the machine has the instruction; a product and a sum where it would be a call."""
    if k.fma:
        _call_intrinsic(k, op, "fma")
        return
    x, y, z = op.operands
    product = k.assign(f"fmul {k.typed(x)}, {k.name(y)}")
    k.result(op, f"fadd {llvm_type(x.type)} {product}, {k.name(z)}")


def _neg(k: _KernelEmitter, op: Op) -> None:
    (x,) = op.operands
    zero = "zeroinitializer" if isinstance(x.type, VectorType) else "0"
    k.result(
        op, f"fneg {k.typed(x)}" if _is_float(x.type) else f"sub {llvm_type(x.type)} {zero}, {k.name(x)}"
    )


def _compare(k: _KernelEmitter, op: Op) -> None:
    x, y = op.operands
    predicate = op.attrs.predicate
    if _is_float(x.type):
        head = "fcmp une" if predicate == "ne" else f"fcmp o{predicate}"
    else:
        head = f"icmp {predicate}" if predicate in ("eq", "ne") else f"icmp s{predicate}"
    k.result(op, f"{head} {k.typed(x)}, {k.name(y)}")


def _select(k: _KernelEmitter, op: Op) -> None:
    condition, yes, no = op.operands
    k.result(op, f"select {k.typed(condition)}, {k.typed(yes)}, {k.typed(no)}")


def _cast(k: _KernelEmitter, op: Op) -> None:
    (x,) = op.operands
    to = op.result.type
    assert isinstance(x.type, ScalarType | VectorType)
    assert isinstance(to, ScalarType | VectorType)
    if "bf16" in (x.type.dtype, to.dtype):
        convert = f32_to_bf16 if to.dtype == "bf16" else bf16_to_f32
        k.names[op.result.name] = convert(k, k.name(x), to.lanes if isinstance(to, VectorType) else 0)
        return
    widen = "zext" if x.type.dtype == "u8" else "sext"
    names = {
        "bitcast": "bitcast",
        "to_int": "fptosi",
        "to_float": "sitofp",
        "extend": "fpext" if to.dtype[0] == "f" else widen,
        "truncate": "fptrunc" if to.dtype[0] == "f" else "trunc",
    }
    k.result(op, f"{names[op.attrs.kind]} {k.typed(x)} to {llvm_type(to)}")


def _dot(emit: Callable[[_KernelEmitter, str, str, str, int], str]) -> Callable[[_KernelEmitter, Op], None]:
    def write(k: _KernelEmitter, op: Op) -> None:
        assert isinstance(op.result.type, VectorType)
        x, y, z = (k.name(v) for v in op.operands)
        k.names[op.result.name] = emit(k, x, y, z, op.result.type.lanes)

    return write


def _recast(k: _KernelEmitter, op: Op) -> None:
    k.names[op.result.name] = k.name(op.operands[0])


def _splat(k: _KernelEmitter, op: Op) -> None:
    k.names[op.result.name] = k.splat(k.typed(op.operands[0]), llvm_type(op.result.type))


def _first_lanes(k: _KernelEmitter, op: Op) -> None:
    type_ = op.result.type
    assert isinstance(type_, VectorType)
    k.names[op.result.name] = k.first_lanes(op.operands[0], type_.lanes)


def _lane_numbers(k: _KernelEmitter, op: Op) -> None:
    type_ = op.result.type
    assert isinstance(type_, VectorType)
    k.names[op.result.name] = "<" + ", ".join(f"i64 {i}" for i in range(type_.lanes)) + ">"


def _load(k: _KernelEmitter, op: Op) -> None:
    pointer, index = op.operands
    address = k.address(pointer, index)
    k.result(op, f"load {llvm_type(op.result.type)}, ptr {address}, align {_align(pointer)}")


def _align(pointer: Value) -> int:
    assert isinstance(pointer.type, PointerType)
    return {"f64": 8, "i64": 8, "f32": 4, "i32": 4, "bf16": 2}.get(pointer.type.dtype, 1)


def _load_first(k: _KernelEmitter, op: Op) -> None:
    pointer, index, count = op.operands
    type_ = op.result.type
    assert isinstance(type_, VectorType)
    mask = k.first_lanes(count, type_.lanes)
    address = k.address(pointer, index)
    spelled = llvm_type(type_)
    bits = f"<{type_.lanes} x i1>"
    name = f"llvm.masked.load.v{type_.lanes}{_INTRINSIC_SUFFIX[type_.dtype]}.p0"
    k.intrinsic(name, spelled, f"ptr, i32 immarg, {bits}, {spelled}")
    k.result(
        op,
        f"call {spelled} @{name}(ptr {address}, i32 {_align(pointer)}, {bits} {mask}, "
        f"{spelled} zeroinitializer)",
    )


def _load_strided(k: _KernelEmitter, op: Op) -> None:
    pointer, index, stride = op.operands
    type_ = op.result.type
    assert isinstance(type_, VectorType)
    assert isinstance(pointer.type, PointerType)
    element = _SCALARS[type_.dtype]
    spelled = llvm_type(type_)
    current, at = "poison", k.name(index)
    for lane in range(type_.lanes):
        if lane:
            at = k.assign(f"add i64 {at}, {k.name(stride)}")
        address = k.assign(f"getelementptr inbounds {element}, ptr {k.name(pointer)}, i64 {at}")
        scalar = k.assign(f"load {element}, ptr {address}, align {_align(pointer)}")
        current = k.assign(f"insertelement {spelled} {current}, {element} {scalar}, i64 {lane}")
    k.names[op.result.name] = current


def _store(k: _KernelEmitter, op: Op) -> None:
    value, pointer, index = op.operands
    address = k.address(pointer, index)
    k.line(f"store {k.typed(value)}, ptr {address}, align {_align(pointer)}")


def _store_first(k: _KernelEmitter, op: Op) -> None:
    value, pointer, index, count = op.operands
    assert isinstance(value.type, VectorType)
    if k.name(count) == "1":
        # LLVM 22 stores four bytes where it knows that the mask has one lane and the value was truncated
        element = k.assign(f"extractelement {k.typed(value)}, i64 0")
        address = k.address(pointer, index)
        k.line(f"store {_SCALARS[value.type.dtype]} {element}, ptr {address}, align {_align(pointer)}")
        return
    mask = k.first_lanes(count, value.type.lanes)
    address = k.address(pointer, index)
    bits = f"<{value.type.lanes} x i1>"
    name = f"llvm.masked.store.v{value.type.lanes}{_INTRINSIC_SUFFIX[value.type.dtype]}.p0"
    k.intrinsic(name, "void", f"{llvm_type(value.type)}, ptr, i32 immarg, {bits}")
    k.line(f"call void @{name}({k.typed(value)}, ptr {address}, i32 {_align(pointer)}, {bits} {mask})")


def _prefetch(k: _KernelEmitter, op: Op) -> None:
    pointer, index = op.operands
    assert isinstance(pointer.type, PointerType)
    # not inbounds: the address may lie beyond the array
    element = _SCALARS[pointer.type.dtype]
    address = k.assign(f"getelementptr {element}, ptr {k.name(pointer)}, i64 {k.name(index)}")
    k.intrinsic("llvm.prefetch.p0", "void", "ptr, i32 immarg, i32 immarg, i32 immarg")
    locality = {1: 3, 2: 2}[op.attrs.level]
    k.line(f"call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 {locality}, i32 1)")


def _fence(k: _KernelEmitter, op: Op) -> None:
    del op
    k.line('call void asm sideeffect "", "~{memory}"()')


def _shuffle(k: _KernelEmitter, op: Op) -> None:
    x, y = op.operands
    lanes = ", ".join(f"i32 {i}" for i in op.attrs.lanes)
    k.result(op, f"shufflevector {k.typed(x)}, {k.typed(y)}, <{len(op.attrs.lanes)} x i32> <{lanes}>")


def _extract(k: _KernelEmitter, op: Op) -> None:
    k.result(op, f"extractelement {k.typed(op.operands[0])}, i64 {op.attrs.lanes}")


def _reduce(k: _KernelEmitter, op: Op) -> None:
    """Halve the vector until one lane is left: a fixed order, so a fixed result."""
    (x,) = op.operands
    type_ = x.type
    assert isinstance(type_, VectorType)
    element = _SCALARS[type_.dtype]
    current, lanes = k.name(x), type_.lanes
    while lanes > 1:
        spelled = f"<{lanes} x {element}>"
        half = lanes // 2
        parts = []
        for start in (0, half):
            mask = ", ".join(f"i32 {start + i}" for i in range(half))
            parts.append(
                k.assign(f"shufflevector {spelled} {current}, {spelled} poison, <{half} x i32> <{mask}>")
            )
        lanes = half
        spelled = f"<{lanes} x {element}>"
        low, high = parts
        if op.attrs.kind == "sum":
            current = k.assign(f"fadd {spelled} {low}, {high}")
        else:
            predicate = "ogt" if op.attrs.kind == "max" else "olt"
            mask = k.assign(f"fcmp {predicate} {spelled} {low}, {high}")
            current = k.assign(f"select <{lanes} x i1> {mask}, {spelled} {low}, {spelled} {high}")
    k.result(op, f"extractelement <1 x {element}> {current}, i64 0")


def _for(k: _KernelEmitter, op: Op) -> None:
    lo, hi, step, *carried = op.operands
    assert op.body is not None
    head, body, done = k.label("head"), k.label("body"), k.label("done")
    before = k.block
    k.line(f"br label %{head}")
    k.start_block(head)
    index, *args = op.body.args
    phi_at = len(k.lines)
    for arg in op.body.args:
        k.names[arg.name] = k.fresh()
    condition = k.assign(f"icmp slt i64 {k.name(index)}, {k.name(hi)}")
    k.line(f"br i1 {condition}, label %{body}, label %{done}")
    k.start_block(body)
    k.ops(op.body.ops)
    following = k.assign(f"add nsw i64 {k.name(index)}, {k.name(step)}")
    latch = k.block
    k.line(f"br label %{head}")
    phis = [f"  {k.name(index)} = phi i64 [ {k.name(lo)}, %{before} ], [ {following}, %{latch} ]"]
    phis += [
        f"  {k.name(arg)} = phi {llvm_type(arg.type)} "
        f"[ {k.name(first)}, %{before} ], [ {k.name(last)}, %{latch} ]"
        for arg, first, last in zip(args, carried, op.body.results, strict=True)
    ]
    k.lines[phi_at:phi_at] = phis
    k.start_block(done)
    for result, arg in zip(op.results, args, strict=True):
        k.names[result.name] = k.names[arg.name]


def _if(k: _KernelEmitter, op: Op) -> None:
    assert isinstance(op.body, Block)
    then, done = k.label("then"), k.label("done")
    k.line(f"br i1 {k.name(op.operands[0])}, label %{then}, label %{done}")
    k.start_block(then)
    k.ops(op.body.ops)
    k.line(f"br label %{done}")
    k.start_block(done)


_EMITTERS: dict[str, Callable[[_KernelEmitter, Op], None]] = {
    "loop.const": _const,
    "loop.add": _arithmetic("fadd", "add"),
    "loop.sub": _arithmetic("fsub", "sub"),
    "loop.mul": _arithmetic("fmul", "mul"),
    "loop.div": _arithmetic("fdiv", "udiv"),
    "loop.rem": _arithmetic("frem", "urem"),
    "loop.and": _arithmetic("", "and"),
    "loop.or": _arithmetic("", "or"),
    "loop.xor": _arithmetic("", "xor"),
    "loop.shl": _arithmetic("", "shl"),
    "loop.shr": _arithmetic("", "lshr"),
    "loop.min": _min_max("olt", "slt"),
    "loop.max": _min_max("ogt", "sgt"),
    "loop.neg": _neg,
    "loop.abs": _unary_intrinsic("fabs"),
    "loop.sqrt": _unary_intrinsic("sqrt"),
    "loop.floor": _unary_intrinsic("floor"),
    "loop.round": _unary_intrinsic("rint"),
    "loop.fma": _fma,
    "loop.compare": _compare,
    "loop.select": _select,
    "loop.cast": _cast,
    "loop.dot_bf16": _dot(dot_bf16),
    "loop.dot_u8": _dot(dot_u8),
    "loop.recast": _recast,
    "loop.splat": _splat,
    "loop.first_lanes": _first_lanes,
    "loop.lane_numbers": _lane_numbers,
    "loop.load": _load,
    "loop.load_first": _load_first,
    "loop.load_strided": _load_strided,
    "loop.store": _store,
    "loop.store_first": _store_first,
    "loop.prefetch": _prefetch,
    "loop.fence": _fence,
    "loop.shuffle": _shuffle,
    "loop.extract": _extract,
    "loop.reduce": _reduce,
    "loop.for": _for,
    "loop.if": _if,
}
