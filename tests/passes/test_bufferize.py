"""bufferize: where values lie, and what is copied."""

from __future__ import annotations

import numpy as np
import pytest
from alpha import assert_same
from buffer_machine import run_buffers
from checks import main
from nets import NETS, Net, arguments, run_main

from netc.ir.core import Module
from netc.ir.diagnostics import NetcError
from netc.ir.ops.normalize import SoftmaxAttrs
from netc.ir.parser import parse_module
from netc.ir.verify import verify
from netc.passes.assign_layouts import assign_layouts
from netc.passes.bufferize import bufferize
from netc.passes.fuse import fuse
from netc.passes.share_buffers import share_buffers


def check(module: Module, *, in_place: bool = True) -> Module:
    """The buffer module of a module, after it was seen to compute the same."""
    buffers = share_buffers(bufferize(module, in_place=in_place))
    verify(buffers)
    args = arguments(module)
    for a, b in zip(run_buffers(buffers, args), run_main(module, args, "f32"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    return buffers


def steps(module: Module, *, in_place: bool = True) -> list[str]:
    """The ops after the pass: a launch by the ops of its body, ``copy`` for none."""
    found = []
    for op in check(module, in_place=in_place).func("main").ops:
        inner = [o.name.partition(".")[2] for o in op.body.ops] if op.body is not None else []
        found.append("+".join(inner) or "copy" if op.body is not None else op.name.partition(".")[2])
    return found


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("name", sorted(NETS))
def test_the_meaning_stays(name: str, in_place: bool) -> None:
    check(fuse(NETS[name]()), in_place=in_place)
    check(fuse(assign_layouts(NETS[name](), block=4)), in_place=in_place)


def test_a_result_is_computed_straight_into_its_output() -> None:
    net = Net()
    assert steps(fuse(net.module(net.conv(net.input(1, 2, 4, 4), 2)))) == ["conv"]


def test_the_operands_of_a_concat_are_computed_in_place_and_nested_ones_too() -> None:
    net = Net()
    x = net.input(1, 2, 4, 4)
    inner = net.concat(net.conv(x, 2, 1), net.conv(x, 3, 1))
    module = net.module(net.concat(inner, net.pool(net.deconv(inner, 4))))
    assert steps(fuse(module)) == ["view", "view", "conv", "view", "conv", "alloc", "deconv", "view", "pool"]


def test_what_lives_elsewhere_is_copied_into_a_concat() -> None:
    net = Net()
    x = net.input(1, 2, 4, 4)
    y = net.relu(x)
    module = net.module(net.concat(x, y, y), y)
    assert steps(fuse(module)) == ["relu", "view", "copy", "view", "copy", "view", "copy"]


def test_a_value_that_is_returned_twice_is_copied_once() -> None:
    net = Net()
    y = net.relu(net.input(1, 8))
    assert steps(fuse(net.module(y, y))) == ["relu", "copy"]


def test_an_argument_that_is_returned_is_copied() -> None:
    net = Net()
    assert steps(net.module(net.input(1, 8))) == ["copy"]


def test_reshapes_cost_nothing_on_the_way_to_an_output() -> None:
    net = Net()
    module = net.module(net.flatten(net.relu(net.input(2, 2, 3, 3))))
    assert steps(fuse(module)) == ["reinterpret", "relu"]


def test_a_reshape_of_an_argument_is_a_view_of_it() -> None:
    net = Net()
    module = net.module(net.relu(net.flatten(net.input(2, 2, 3, 3))))
    assert steps(fuse(module)) == ["reinterpret", "relu"]


def test_a_reshape_of_memory_with_gaps_is_copied_first() -> None:
    net = Net()
    part = net.slice(net.input(2, 4, 3, 3), (0, 0, 0, 0), (2, 2, 3, 3))
    assert steps(fuse(net.module(net.relu(net.flatten(part))))) == [
        "view",
        "alloc",
        "copy",
        "reinterpret",
        "relu",
    ]


def test_one_spatial_position_of_whole_blocks_is_not_converted() -> None:
    net = Net()
    module = net.module(net.flatten(net.conv(net.input(2, 3, 3, 3), 8)))
    assert "convert" not in steps(fuse(_hoisted(module)))
    net = Net()
    module = net.module(net.flatten(net.conv(net.input(2, 3, 3, 3), 6)))
    assert "convert" in steps(fuse(_hoisted(module)))


def _hoisted(module: Module) -> Module:
    """Weights blocked by hand: the arguments of main themselves have the layout."""
    blocked = assign_layouts(module, block=4).func("main")
    text = {op.operands[0].name: op.result for op in blocked.ops if op.name == "layout.convert"}
    args = tuple(text.get(a.name, a) if a.name.startswith("w") else a for a in blocked.args)
    ops = tuple(op for op in blocked.ops if op.result not in args)
    return Module(
        "m",
        "tensor",
        (type(blocked)("main", args, blocked.roles, ops, blocked.results, blocked.result_names),),
    )


def test_a_dying_operand_is_overwritten_where_the_kernel_is_elementwise() -> None:
    net = Net()
    x = net.conv(net.input(1, 2, 4, 4), 2)
    module = net.module(net.pool(net.relu(x)))
    assert steps(fuse(module, max_ops=1)) == ["alloc", "conv", "relu", "pool"]
    assert steps(fuse(module, max_ops=1), in_place=False) == ["alloc", "conv", "alloc", "relu", "pool"]


def test_a_softmax_overwrites_its_operand() -> None:
    net = Net()
    y = net.op("nn.softmax", net.inner_product(net.input(2, 3), 4), attrs=SoftmaxAttrs(1))
    assert steps(fuse(net.module(y))) == ["inner_product", "softmax"]


def test_an_operand_that_is_read_later_is_not_overwritten() -> None:
    net = Net()
    x = net.conv(net.input(1, 2, 4, 4), 2)
    y = net.relu(x)
    module = net.module(net.pool(y), net.pool(x))
    assert steps(fuse(module)) == ["alloc", "conv", "alloc", "relu", "pool", "pool"]


def test_an_operand_of_which_a_part_is_read_is_not_overwritten() -> None:
    net = Net()
    x = net.conv(net.input(1, 2, 4, 4), 2)
    y = net.op("math.mul", x, net.slice(x, (0, 0, 0, 0), (1, 1, 2, 2)))
    assert steps(fuse(net.module(net.pool(y)))).count("alloc") == 2


def test_arguments_are_never_overwritten() -> None:
    net = Net()
    x = net.input(1, 8)
    assert steps(fuse(net.module(net.inner_product(net.relu(x), 2)))) == ["alloc", "relu", "inner_product"]


def test_a_concat_whose_parts_begin_at_a_symbol_is_a_kernel() -> None:
    text = main(
        "%x: f32[2,W], %z: f32[2,W]",
        """
        %e: f32[2,W] = math.exp %x
        %y: f32[2,2*W] = tensor.concat %e, %z {axis = 1}
        """,
    )
    expected = """
        module m buffer {
        func @main(%x: buffer f32[2,W], %z: buffer f32[2,W], %y: output buffer f32[2,2*W]) -> () {
          %e: buffer f32[2,W] = buffer.alloc {tensor = <f32[2,W]>, offset = none}
          buffer.launch %x, %e {writes = 1} (%x.1: f32[2,W]) {
            %e.1: f32[2,W] = math.exp %x.1
            yield %e.1
          }
          buffer.launch %e, %z, %y {writes = 1} (%e.2: f32[2,W], %z.1: f32[2,W]) {
            %y.1: f32[2,2*W] = tensor.concat %e.2, %z.1 {axis = 1}
            yield %y.1
          }
        }
        }"""
    outcome = bufferize(parse_module(text))
    verify(outcome)
    assert_same(outcome, expected)


def test_outputs_stand_in_the_order_of_the_results_and_take_other_names_than_inputs() -> None:
    module = parse_module(main("%x: f32[2]", "%y: f32[2] = math.exp %x", "x = %x, y = %y"))
    func = check(module).func("main")
    assert [a.name for a in func.outputs] == ["x.1", "y"]


def test_a_result_that_is_not_row_major_is_refused() -> None:
    text = main("%x: f32[2,8]{1:4}", "%y: f32[2,8]{1:4} = math.exp %x")
    with pytest.raises(NetcError, match=r"result 'y' is f32\[2,8\]\{1:4\}; a result must be row-major"):
        bufferize(parse_module(text))


def test_states_that_become_each_other_are_refused() -> None:
    module = parse_module(
        """
        module m tensor {
        func @main(%a: state f32[4], %b: state f32[4]) -> (a = %b, b = %a) {
        }
        }
        """
    )
    with pytest.raises(NetcError, match="the state 'a' becomes the state 'b', which changes too"):
        bufferize(module)
