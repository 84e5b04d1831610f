"""LLVM IR for narrow numbers: dot products of words, bf16. Targets without the instruction get several.

The registers of bf16 hold its bits, as i16.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

QUIET_NAN = 0x7FC0


class Emitter(Protocol):
    """What is needed of the emitter of a kernel."""

    dots: frozenset[str]

    def assign(self, expression: str) -> str:
        """A name for the value of an expression."""

    def intrinsic(self, name: str, result: str, args: str) -> None:
        """Declare an intrinsic function."""


def dot_bf16(k: Emitter, x: str, y: str, z: str, lanes: int) -> str:
    """``z`` (f32) plus the products of both halves of the words x and y."""
    words, floats = f"<{lanes} x i32>", f"<{lanes} x float>"
    if "bf16" in k.dots:
        pairs = f"<{2 * lanes} x bfloat>"
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}"
        k.intrinsic(name, floats, f"{floats}, {pairs}, {pairs}")
        a, b = (k.assign(f"bitcast {words} {v} to {pairs}") for v in (x, y))
        return k.assign(f"call {floats} @{name}({floats} {z}, {pairs} {a}, {pairs} {b})")
    name = f"llvm.fmuladd.v{lanes}f32"
    k.intrinsic(name, floats, ", ".join([floats] * 3))
    for part in (
        f"and {words} {{}}, {_splat(-0x10000, 32, lanes)}",
        f"shl {words} {{}}, {_splat(16, 32, lanes)}",
    ):
        halves = (k.assign(part.format(v)) for v in (x, y))
        a, b = (k.assign(f"bitcast {words} {half} to {floats}") for half in halves)
        z = k.assign(f"call {floats} @{name}({floats} {a}, {floats} {b}, {floats} {z})")
    return z


def dot_u8(k: Emitter, x: str, y: str, z: str, lanes: int) -> str:
    """``z`` (i32) plus the four products of u8 in the words x and i8 in the words y."""
    words = f"<{lanes} x i32>"
    if "u8" in k.dots:
        quads = f"<{4 * lanes} x i8>"
        name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
        k.intrinsic(name, words, f"{words}, {quads}, {quads}")
        a, b = (k.assign(f"bitcast {words} {v} to {quads}") for v in (x, y))
        return k.assign(f"call {words} @{name}({words} {z}, {quads} {a}, {quads} {b})")
    # bytes of even and of odd number as i16: what LLVM knows as a multiplication of pairs (pmaddwd)
    pairs = f"<{2 * lanes} x i16>"
    a, b = (k.assign(f"bitcast {words} {v} to {pairs}") for v in (x, y))
    eight = _splat(8, 16, 2 * lanes)
    even = (
        k.assign(f"and {pairs} {a}, {_splat(0xFF, 16, 2 * lanes)}"),
        k.assign(f"ashr {pairs} {k.assign(f'shl {pairs} {b}, {eight}')}, {eight}"),
    )
    odd = (k.assign(f"lshr {pairs} {a}, {eight}"), k.assign(f"ashr {pairs} {b}, {eight}"))
    for factors in (even, odd):
        z = k.assign(f"add {words} {z}, {_pair_sums(k, factors, lanes)}")
    return z


def _pair_sums(k: Emitter, factors: Sequence[str], lanes: int) -> str:
    """Products of i16, neighbours added up: ``lanes`` of i32."""
    wide = f"<{2 * lanes} x i32>"
    a, b = (k.assign(f"sext <{2 * lanes} x i16> {v} to {wide}") for v in factors)
    products = k.assign(f"mul nsw {wide} {a}, {b}")
    halves = []
    for first in (0, 1):
        picked = ", ".join(f"i32 {2 * i + first}" for i in range(lanes))
        halves.append(k.assign(f"shufflevector {wide} {products}, {wide} poison, <{lanes} x i32> <{picked}>"))
    return k.assign(f"add nsw <{lanes} x i32> {halves[0]}, {halves[1]}")


def f32_to_bf16(k: Emitter, x: str, lanes: int) -> str:
    """The bits of the nearest bf16, ties to even; of a scalar where ``lanes`` is 0."""
    floats, words, halves = (_type(element, lanes) for element in ("float", "i32", "i16"))
    if "bf16" in k.dots:
        short = _type("bfloat", lanes)
        return k.assign(f"bitcast {short} {k.assign(f'fptrunc {floats} {x} to {short}')} to {halves}")
    bits = k.assign(f"bitcast {floats} {x} to {words}")
    sixteen = _splat(16, 32, lanes)
    odd = k.assign(f"and {words} {k.assign(f'lshr {words} {bits}, {sixteen}')}, {_splat(1, 32, lanes)}")
    raised = k.assign(f"add {words} {k.assign(f'add {words} {bits}, {odd}')}, {_splat(0x7FFF, 32, lanes)}")
    rounded = k.assign(f"trunc {words} {k.assign(f'lshr {words} {raised}, {sixteen}')} to {halves}")
    number = k.assign(f"fcmp ord {floats} {x}, {x}")
    return k.assign(
        f"select {_type('i1', lanes)} {number}, {halves} {rounded}, {halves} {_splat(QUIET_NAN, 16, lanes)}"
    )


def bf16_to_f32(k: Emitter, x: str, lanes: int) -> str:
    """The value of the bits of a bf16."""
    words = _type("i32", lanes)
    wide = k.assign(f"zext {_type('i16', lanes)} {x} to {words}")
    high = k.assign(f"shl {words} {wide}, {_splat(16, 32, lanes)}")
    return k.assign(f"bitcast {words} {high} to {_type('float', lanes)}")


def _type(element: str, lanes: int) -> str:
    return f"<{lanes} x {element}>" if lanes else element


def _splat(value: int, bits: int, lanes: int) -> str:
    return f"<{', '.join([f'i{bits} {value}'] * lanes)}>" if lanes else str(value)
