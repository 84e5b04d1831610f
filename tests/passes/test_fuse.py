"""fuse: which ops share a kernel."""

from __future__ import annotations

import pytest
from checks import UNIT, becomes, keeps_meaning, main
from hypothesis import HealthCheck, given, settings
from nets import NETS, Net, random_nets

from netc.ir.core import Module
from netc.ir.opdef import opdef
from netc.ir.parser import parse_module
from netc.ir.verify import verify
from netc.passes.fuse import fuse

VIEWS = {"layout.convert", "tensor.concat", "tensor.reshape", "tensor.slice"}


def kernels(module: Module) -> list[list[str]]:
    """The ops of each fusion, without the families of their names."""
    return [
        [inner.name.partition(".")[2] for inner in op.body.ops]
        for op in fuse(module).func("main").ops
        if op.body is not None
    ]


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("max_ops", [1, 2, 32])
def test_the_meaning_stays(name: str, max_ops: int) -> None:
    keeps_meaning(lambda m: fuse(m, max_ops=max_ops), NETS[name]())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(module=random_nets())
def test_a_kernel_is_one_anchor_and_what_follows_or_a_map(module: Module) -> None:
    for op in fuse(module, max_ops=4).func("main").ops:
        assert (op.name in VIEWS) != (op.name == "fusion")
        if op.body is not None:
            assert len(op.body.ops) <= 4
            first = op.body.ops[0]
            assert op.attrs.anchor == ("map" if opdef(first.name).elementwise else first.name)
            assert all(opdef(inner.name).elementwise for inner in op.body.ops[1:])


def test_one_op_a_kernel_at_a_limit_of_one() -> None:
    module = fuse(NETS["residual"](), max_ops=1)
    assert all(len(op.body.ops) == 1 for op in module.func("main").ops if op.body is not None)


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        ("conv", ["conv", "relu", "mul", "add"]),
        ("deconv", ["deconv", "relu", "mul", "add"]),
        ("pool", ["pool", "relu", "mul", "add"]),
        ("lrn", ["lrn", "relu", "mul", "add"]),
    ],
)
def test_an_anchor_takes_in_what_follows(anchor: str, expected: list[str]) -> None:
    net = Net()
    x = net.input(1, 4, 4, 4)
    y = {
        "conv": lambda: net.conv(x, 4),
        "deconv": lambda: net.deconv(x, 4),
        "pool": lambda: net.pool(x),
        "lrn": lambda: net.lrn(x),
    }[anchor]()
    assert kernels(net.module(net.scale(net.relu(y)))) == [expected]


def test_a_residual_sum_goes_to_the_convolution_computed_last() -> None:
    net = Net()
    x = net.input(1, 4, 4, 4)
    long = net.conv(net.conv(x, 4, 3, pad=1), 4, 3, pad=1)
    short = net.conv(x, 4, 1)
    module = net.module(net.relu(net.op("math.add", long, short)))
    assert kernels(module) == [["conv"], ["conv"], ["conv", "add", "relu"]]
    last = fuse(module).func("main").ops[-1]
    assert [v.name for v in last.operands] == ["data", "w.4", "w.5", "conv.1"]


def test_a_value_read_twice_ends_a_kernel() -> None:
    net = Net()
    x = net.relu(net.conv(net.input(1, 4, 4, 4), 4))
    assert kernels(net.module(net.op("math.mul", net.op("math.sigmoid", x), x))) == [
        ["conv", "relu"],
        ["sigmoid", "mul"],
    ]


def test_a_value_that_one_op_reads_twice_does_not() -> None:
    net = Net()
    x = net.conv(net.input(1, 4, 4, 4), 4)
    assert kernels(net.module(net.op("math.mul", x, x))) == [["conv", "mul"]]


def test_a_result_of_the_function_ends_a_kernel() -> None:
    net = Net()
    x = net.conv(net.input(1, 4, 4, 4), 4)
    assert kernels(net.module(net.relu(x), x)) == [["conv"], ["relu"]]


def test_elementwise_ops_form_one_map_across_branches() -> None:
    net = Net()
    x = net.input(1, 4, 4, 4)
    y = net.op("math.add", net.op("math.exp", x), net.op("math.abs", net.op("math.tanh", x)))
    ((*ops,),) = kernels(net.module(y))
    assert sorted(ops) == ["abs", "add", "exp", "tanh"]
    assert ops[-1] == "add"


def test_what_is_computed_for_few_elements_is_not_repeated_for_many() -> None:
    net = Net()
    x = net.input(1, 4, 4, 4)
    gate = net.op("math.sigmoid", net.slice(x, (0, 0, 0, 0), (1, 4, 1, 1)))
    assert kernels(net.module(net.op("math.mul", x, gate))) == [["sigmoid"], ["mul"]]


def test_an_anchor_takes_no_operand_with_one_number_a_sample() -> None:
    net = Net()
    x = net.input(2, 4, 4, 4)
    gate = net.slice(x, (0, 0, 0, 0), (2, 4, 1, 1))
    assert kernels(net.module(net.op("math.mul", net.conv(x, 4, 1), gate))) == [["conv"], ["mul"]]


def test_the_text_of_a_residual_block() -> None:
    args = "%x: f32[1,4,4,4], %w: param f32[4,4,1,1], %b: param f32[4]"
    before = f"""
        %c: f32[1,4,4,4] = nn.conv %x, %w, %b {UNIT}
        %s: f32[1,4,4,4] = math.add %c, %x
        %y: f32[1,4,4,4] = math.relu %s {{slope = 0.0}}
        %t: f32[4,16] = tensor.reshape %y {{shape = [4, 16]}}"""
    after = f"""
        %y: f32[1,4,4,4] = fusion %x, %w, %b {{anchor = "nn.conv"}} (
            %x.1: f32[1,4,4,4], %w.1: f32[4,4,1,1], %b.1: f32[4]) {{
          %c: f32[1,4,4,4] = nn.conv %x.1, %w.1, %b.1 {UNIT}
          %s: f32[1,4,4,4] = math.add %c, %x.1
          %y.1: f32[1,4,4,4] = math.relu %s {{slope = 0.0}}
          yield %y.1
        }}
        %t: f32[4,16] = tensor.reshape %y {{shape = [4, 16]}}"""
    becomes(fuse, main(args, before, "t = %t"), main(args, after, "t = %t"))


def test_what_forward_needs_is_a_kernel_of_its_own() -> None:
    ops = """
        %a: f32[2,8] = math.exp %x
        %y: f32[2,8] = math.abs %a
        %b: f32[2,8] = math.mul %a, %s
        %z: f32[2,8] = math.mul %b, %y
    """
    module = parse_module(main("%x: f32[2,8], %s: f32[2,8]", ops, "y = %y, z = %z"), "<before>")
    whole = [op for op in fuse(module).func("main").ops if op.body is not None]
    assert [len(op.body.ops) for op in whole if op.body is not None] == [4]
    outcome = fuse(module, forward=["y"])
    verify(outcome)
    bodies = [op.body.ops for op in outcome.func("main").ops if op.body is not None]
    assert [[op.name for op in body] for body in bodies] == [
        ["math.exp", "math.abs"],
        ["math.mul", "math.mul"],
    ]
    keeps_meaning(lambda m: fuse(m, forward=["y"]), module)
