"""Building, looking into, rewriting functions; binding symbols."""

from __future__ import annotations

import pytest

from netc.ir.builder import FuncBuilder
from netc.ir.core import Module, definitions, fresh_name, users, walk
from netc.ir.diagnostics import NetcError, OpError
from netc.ir.dim import floordiv, symbol
from netc.ir.location import Location
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.normalize import SoftmaxAttrs
from netc.ir.ops.shape import ConcatAttrs, ReshapeAttrs
from netc.ir.parser import parse_module
from netc.ir.printer import print_module
from netc.ir.rewrite import bind_symbols, rewrite_func, rewrite_module
from netc.ir.types import TensorType
from netc.ir.verify import verify

N, H = symbol("N"), symbol("H")
HERE = Location("net.prototxt", 7, 3)

CHAIN = """\
module m tensor {
func @main(%x: f32[N,3]) -> (y = %c) {
  %a: f32[N,3] = math.tanh %x @"n":1:1
  %b: f32[N,3] = math.abs %a
  %c: f32[N,3] = math.add %a, %b
}
}
"""


def chain():
    return parse_module(CHAIN).func("main")


def text(func):
    return print_module(Module("m", "tensor", (func,)))


def test_a_builder_names_types_and_locates_what_it_makes():
    builder = FuncBuilder("main")
    x = builder.arg("x", TensorType("f32", (N, 3)), "input")
    w = builder.arg("x", TensorType("f32", (N, 3)), "param")
    y = builder.add1("math.add", [x, w], hint="x", location=HERE)
    (z,) = builder.add("nn.softmax", [y], SoftmaxAttrs(1), hint="prob")
    func = builder.finish([z], ["prob"])
    verify(Module("m", "tensor", (func,)))
    assert [v.name for v in (x, w, y, z)] == ["x", "x.1", "x.2", "prob"]
    assert func.ops[0].location == HERE
    assert (func.inputs, func.params, func.outputs) == ((x,), (w,), ())
    assert (func.role("x.1"), func.role("y")) == ("param", None)


def test_a_builders_error_points_at_the_layer():
    builder = FuncBuilder("main")
    x = builder.arg("x", TensorType("f32", (N, 3)), "input")
    with pytest.raises(OpError) as caught:
        builder.add("nn.softmax", [x], SoftmaxAttrs(5), hint="prob", location=HERE)
    assert caught.value.location == HERE


def test_a_module_is_searched_and_extended_by_function_name():
    func = chain()
    module = Module("m", "tensor", (func,))
    assert module.with_func(func) == module
    other = FuncBuilder("other").finish([], [])
    assert module.with_func(other).funcs == (func, other)
    with pytest.raises(KeyError):
        module.func("other")


def test_uses_and_definitions_are_found():
    func = chain()
    assert definitions(func)["b"] == func.ops[1]
    assert users(func) == {"x": [func.ops[0]], "a": [func.ops[1], func.ops[2]], "b": [func.ops[2]]}
    assert list(walk(func.ops)) == list(func.ops)
    taken = {"a", "a.1"}
    assert fresh_name("a", taken) == "a.2"
    assert "a.2" in taken


def test_many_values_with_one_hint_are_numbered_without_trying_every_number():
    class Counting(set):
        looks = 0

        def __contains__(self, name):
            Counting.looks += 1
            return super().__contains__(name)

    taken = Counting()
    assert [fresh_name("a", taken) for _ in range(1000)] == ["a", *(f"a.{i}" for i in range(1, 1000))]
    assert Counting.looks < 25 * 1000


def test_a_fresh_name_is_free_where_numbers_are_missing():
    taken = {"a", "a.1", "a.2", "a.4", "a.8"}
    made = [fresh_name("a", taken) for _ in range(50)]
    assert len(taken) == 5 + len(set(made)) == 55


def test_without_a_rule_that_fits_a_function_stays_as_it_is():
    assert rewrite_func(chain(), [lambda op, rewriter: None]) == chain()


def test_a_rule_may_remove_an_op():
    def drop_abs(op, rewriter):
        return op.operands if op.name == "math.abs" else None

    assert text(rewrite_func(chain(), [drop_abs])) == CHAIN.replace(
        "  %b: f32[N,3] = math.abs %a\n", ""
    ).replace("%a, %b", "%a, %a")


def test_a_rule_may_put_ops_in_place_of_one():
    def split_tanh(op, rewriter):
        if op.name != "math.tanh":
            return None
        half = rewriter.add1("math.exp", op.operands, hint="a", location=op.location)
        return rewriter.add("math.log", [half], hint="a", location=op.location)

    func = rewrite_func(chain(), [split_tanh])
    verify(Module("m", "tensor", (func,)))
    assert text(func) == CHAIN.replace(
        '  %a: f32[N,3] = math.tanh %x @"n":1:1\n',
        '  %a.1: f32[N,3] = math.exp %x @"n":1:1\n  %a.2: f32[N,3] = math.log %a.1 @"n":1:1\n',
    ).replace("math.abs %a", "math.abs %a.2").replace("%a, %b", "%a.2, %b")


def test_results_of_the_function_are_replaced_too():
    func = rewrite_func(chain(), [lambda op, _: op.operands[:1] if op.name == "math.add" else None])
    assert [v.name for v in func.results] == ["a"]
    assert func.result_names == ("y",)


def test_types_that_change_are_inferred_through_the_ops_that_stay():
    def narrow(op, rewriter):
        if op.name != "math.tanh":
            return None
        flat = rewriter.add1("tensor.reshape", op.operands, ReshapeAttrs((3 * N,)), hint="flat")
        return rewriter.add("math.tanh", [flat], hint="a")

    func = rewrite_func(chain(), [narrow])
    verify(Module("m", "tensor", (func,)))
    assert [str(v.type) for v in func.results] == ["f32[3*N]"]


def test_a_change_that_breaks_a_later_op_is_reported_at_that_op():
    module = parse_module(CHAIN.replace("math.add %a, %b", 'math.add %b, %x @"n":9:1'))

    def narrow(op, rewriter):
        if op.name != "math.tanh":
            return None
        return rewriter.add("tensor.reshape", op.operands, ReshapeAttrs((3 * N,)), hint="a")

    with pytest.raises(OpError, match="one rank") as caught:
        rewrite_module(module, [narrow])
    assert str(caught.value.location) == "n:9:1"


def test_a_rules_own_mistake_is_reported_where_it_says():
    def broken(op, rewriter):
        return rewriter.add("nn.softmax", op.operands, SoftmaxAttrs(9), hint="a", location=HERE)

    with pytest.raises(OpError) as caught:
        rewrite_func(chain(), [broken])
    assert caught.value.location == HERE


def test_a_rewriter_knows_definitions_and_counts_uses():
    seen = []

    def look(op, rewriter):
        defining = rewriter.defining(op.operands[0])
        seen.append((defining and defining.name, rewriter.old_uses(op.results[0])))

    rewrite_func(chain(), [look])
    assert seen == [(None, 2), ("math.tanh", 1), ("math.tanh", 1)]


SYMBOLIC = """\
module m tensor {
func @main(%x: f32[N,3,H,8], %w: param f32[4,3,3,3]) -> (y = %y) {
  %c: f32[N,4,H-2,6] = nn.conv %x, %w {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1], group = 1} @"n":4:1
  %f: f32[N,4,H-2,6] = fusion %c {anchor = map} (%a: f32[N,4,H-2,6]) {
    %b: f32[N,4,H-2,6] = math.tanh %a
    yield %b
  }
  %y: f32[N,24*H-48] = tensor.reshape %f {shape = [<N>, <24*H-48>]}
}
}
"""


def test_symbols_are_bound_in_types_attributes_and_bodies():
    bound = bind_symbols(parse_module(SYMBOLIC), {"N": 2, "H": 5})
    verify(bound)
    expected = SYMBOLIC.replace("24*H-48", "72").replace("H-2", "3").replace("[N,", "[2,").replace("H", "5")
    assert print_module(bound) == expected.replace("<N>", "2").replace("<72>", "72")


def test_a_symbol_may_be_bound_to_an_expression():
    bound = bind_symbols(parse_module(SYMBOLIC), {"H": floordiv(symbol("K"), 2) + 3})
    verify(bound)
    assert str(bound.func("main").results[0].type) == "f32[N,24*floordiv(K, 2)+24]"


def test_a_size_that_an_op_cannot_take_is_reported_at_its_layer():
    with pytest.raises(NetcError, match="the kernel covers 3 elements") as caught:
        bind_symbols(parse_module(SYMBOLIC), {"N": 1, "H": 2})
    assert str(caught.value.location) == "n:4:1"


@pytest.mark.parametrize("size", [0, -4])
def test_a_size_below_one_is_refused(size):
    with pytest.raises(NetcError, match=f"the size N must be >= 1, got {size}"):
        bind_symbols(parse_module(SYMBOLIC), {"N": size})


def test_rounding_comes_out_the_same_before_and_after_binding():
    builder = FuncBuilder("main")
    x = builder.arg("x", TensorType("f32", (1, 1, H, 4)), "input")
    w = builder.arg("w", TensorType("f32", (1, 1, 2, 1)), "param")
    y = builder.add1("nn.conv", [x, w], ConvAttrs((2, 1), ((0, 0),) * 2, (1, 1)), hint="y")
    doubled = builder.add1("tensor.concat", [y, y], ConcatAttrs(2), hint="z")
    rows = builder.add1("tensor.reshape", [doubled], ReshapeAttrs((8 * floordiv(H, 2),)), hint="r")
    module = Module("m", "tensor", (builder.finish([rows], ["r"]),))
    assert str(bind_symbols(module, {"H": 7}).func("main").results[0].type) == "f32[24]"


def test_sizes_that_give_too_many_elements_are_refused_at_the_layer():
    text = """module m tensor {
    func @main(%x: f32[N,1000]) -> (y = %y) { %y: f32[N,1000000] = tensor.tile %x {axis = 1, tiles = 1000} @"n":7:1 }
    }"""
    module = parse_module(text)
    assert bind_symbols(module, {"N": 2147}).func("main").results[0].type.shape == (2147, 1_000_000)
    with pytest.raises(NetcError, match="2148000000 elements; Caffe's limit is 2147483647") as caught:
        bind_symbols(module, {"N": 2148})
    assert str(caught.value.location) == "n:7:1"


def test_types_that_an_op_does_not_make_are_reported():
    module = parse_module(CHAIN.replace("%b: f32[N,3]", "%b: f32[N,4]"))
    with pytest.raises(NetcError, match=r"math.abs gives f32\[2,3\] where the net needs f32\[2,4\]"):
        bind_symbols(module, {"N": 2})
