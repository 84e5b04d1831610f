"""The verifier: each rule, broken once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netc.ir.core import Block, Func, Module, Op, Value
from netc.ir.diagnostics import NetcError
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.location import Location
from netc.ir.opdef import NoAttrs
from netc.ir.ops.elementwise import ReluAttrs
from netc.ir.ops.fusion import FusionAttrs
from netc.ir.ops.normalize import SoftmaxAttrs
from netc.ir.types import BufferType, ScalarType, TensorType
from netc.ir.verify import verify

T = TensorType("f32", (symbol("N"), 3))
X, Y, Z, A, B = (Value(name, T) for name in "xyzab")
HERE = Location("net.prototxt", 7, 3)


def relu(x, y, **more):
    return Op("math.relu", (x,), ReluAttrs(), (y,), location=HERE, **more)


def func(*ops, args=(X,), results=(Y,), **changes):
    names = tuple(f"out{i}" for i in range(len(results)))
    made = Func("main", args, ("input",) * len(args), ops, results, names)
    return replace(made, **changes)


def module(*funcs, level="tensor"):
    return Module("m", level, funcs)


def fusion(args, ops, yields, operands=(X,), results=(Y,)):
    return Op("fusion", operands, FusionAttrs("map"), results, Block(args, ops, yields), HERE)


def test_a_correct_function_passes():
    verify(module(func(fusion((A,), (relu(A, B),), (B,)))))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (module(func(relu(Y, Z), relu(X, Y))), "operand %y: f32[N,3] is not defined before"),
        (
            module(func(relu(replace(X, type=TensorType("f32", (2, 3))), Y))),
            "operand %x: f32[2,3] is not defined",
        ),
        (module(func(relu(X, Y), relu(X, Y))), "%y is defined twice"),
        (module(func(relu(X, X), results=(X,))), "%x is defined twice"),
        (module(func(fusion((X,), (), (X,)))), "%x is defined twice"),
        (module(func(fusion((A,), (relu(A, Y),), (Y,)))), "%y is defined twice"),
        (module(func(fusion((A,), (), (B,)))), "the body yields %b, which is not defined"),
        (module(func(fusion((A,), (relu(X, B),), (B,)))), "operand %x: f32[N,3] is not defined before"),
        (
            module(func(fusion((A,), (relu(A, B),), (B,)), relu(B, Z))),
            "operand %b: f32[N,3] is not defined before",
        ),
        (module(func(fusion((), (), (), results=()))), "arguments do not have the types of the operands"),
        (module(func(Op("fusion", (X,), FusionAttrs("map"), (Y,)))), "fusion needs a body"),
        (module(func(relu(X, Y, body=Block((), (), ())))), "math.relu takes no body"),
        (module(func(Op("math.nothing", (X,), NoAttrs(), (Y,)))), "unknown op 'math.nothing'"),
        (module(func(Op("nn.softmax", (X,), SoftmaxAttrs(2), (Y,)))), "axis must be within 0..1"),
        (
            module(func(Op("nn.softmax", (X,), NoAttrs(), (Y,)))),
            "takes attributes of SoftmaxAttrs, got NoAttrs",
        ),
        (module(func(Op("math.add", (X,), NoAttrs(), (Y,)))), "math.add takes 2 operands"),
        (
            module(func(relu(X, replace(Y, type=TensorType("f32", (3,)))))),
            "results are f32[3], but the op makes f32[N,3]",
        ),
        (module(func(Op("math.relu", (X,), ReluAttrs(), ()))), "results are , but the op makes f32[N,3]"),
        (module(func(relu(X, Y)), level="loop"), "math.relu is an op of the tensor level, not loop"),
        (module(func(relu(X, Y)), level="buffer"), "%x: f32[N,3] is not a value of the buffer level"),
    ],
)
def test_a_broken_rule_is_reported(made, message):
    with pytest.raises(NetcError) as caught:
        verify(made)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (module(func(results=(Y,))), "function 'main' returns %y: f32[N,3], which is not defined so"),
        (module(func(relu(X, Y), results=(replace(Y, type=TensorType("f32", (3,))),))), "returns %y: f32[3]"),
        (module(func(relu(X, Y), roles=())), "each argument needs a role and each result a name"),
        (module(func(relu(X, Y), result_names=())), "each argument needs a role and each result a name"),
        (module(func(relu(X, Y), results=(Y, Y), result_names=("a", "a"))), "result 'a' is there twice"),
        (module(func(relu(X, Y)), func(relu(X, Y))), "function 'main' is there twice"),
        (module(func(args=(X, X), results=(X,))), "function 'main': %x is defined twice"),
        (
            module(func(args=(Value("x", ScalarType("i64")),), results=())),
            "%x: i64 is not a value of the tensor level",
        ),
        (module(func(args=(Value("x", BufferType(T)),), results=())), "is not a value of the tensor level"),
        (module(func(args=(Value("x", TensorType("f32", (0,))),), results=())), "extents must be >= 1"),
        (module(func(args=(Value("x", T.with_layout(Blocked(2, 4))),), results=())), "a layout blocks one"),
    ],
)
def test_a_broken_function_is_reported(made, message):
    with pytest.raises(NetcError) as caught:
        verify(made)
    assert message in caught.value.message


def test_an_error_quotes_the_op_and_points_at_its_layer():
    with pytest.raises(NetcError) as caught:
        verify(module(func(relu(Y, Z), relu(X, Y))))
    assert caught.value.location == HERE
    assert caught.value.notes == ("in %z: f32[N,3] = math.relu %y {slope = 0.0}",)


def test_an_error_in_a_body_quotes_the_inner_op():
    with pytest.raises(NetcError) as caught:
        verify(module(func(fusion((A,), (relu(A, A),), (A,)))))
    assert caught.value.notes == ("in %a: f32[N,3] = math.relu %a {slope = 0.0}",)
