"""fuse: which ops share a kernel."""

from __future__ import annotations

import pytest
from checks import UNIT, becomes, keeps_meaning, main
from hypothesis import HealthCheck, given, settings
from nets import NETS, Net, random_nets

from netc.backends.launch_body import parts_of
from netc.ir.core import Module, Value
from netc.ir.opdef import opdef
from netc.ir.ops.elementwise import PowAttrs, ThresholdAttrs
from netc.ir.ops.reduce import MomentsAttrs, ReduceAttrs
from netc.ir.parser import parse_module
from netc.ir.verify import verify
from netc.passes.bufferize import bufferize
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
            anchors = {inner.name for inner in op.body.ops if not opdef(inner.name).elementwise}
            assert anchors == ({op.attrs.anchor} - {"map"})
            assert parts_of(op.body).fit_one_kernel


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


def test_a_value_that_only_one_kernel_reads_does_not_end_one() -> None:
    net = Net()
    x = net.relu(net.conv(net.input(1, 4, 4, 4), 4))
    swish = net.op("math.mul", net.op("math.sigmoid", x), x)
    assert kernels(net.module(swish)) == [["conv", "relu", "sigmoid", "mul"]]


def test_a_value_that_other_kernels_read_ends_one() -> None:
    net = Net()
    x = net.relu(net.conv(net.input(1, 4, 4, 4), 4))
    y = net.op("math.mul", net.op("math.sigmoid", x), net.conv(x, 4, 1))
    assert kernels(net.module(y)) == [["conv", "relu"], ["conv", "sigmoid", "mul"]]


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


def sums(net: Net, *xs: Value) -> list[Value]:
    return [net.op("tensor.reduce", x, attrs=ReduceAttrs("sum", (0, 2, 3))) for x in xs]


def test_reductions_of_one_operand_share_a_kernel_with_what_leads_to_them() -> None:
    net = Net()
    x, y = net.input(2, 4, 4, 4), net.input(2, 4, 4, 4)
    module = net.module(*sums(net, net.op("math.mul", x, y), x))
    assert kernels(module) == [["mul", "reduce", "reduce"]]
    keeps_meaning(fuse, module)


def test_reductions_without_a_common_operand_share_no_kernel() -> None:
    net = Net()
    x, y = net.input(2, 4, 4, 4), net.input(2, 4, 4, 4)
    assert kernels(net.module(*sums(net, x, y))) == [["reduce"], ["reduce"]]


def test_a_reduction_that_needs_another_has_its_own_kernel() -> None:
    net = Net()
    x = net.input(2, 4, 4, 4)
    (total,) = sums(net, x)
    module = net.module(*sums(net, net.op("math.sub", x, total)), total)
    assert kernels(module) == [["reduce"], ["sub", "reduce"]]


def test_mean_and_variance_take_in_what_follows_and_stay_for_others() -> None:
    net = Net()
    x = net.input(2, 4, 4, 4)
    mean, variance = net.add("nn.moments", [x], MomentsAttrs((0, 2, 3)), hint="moments")
    centred = net.op("math.sub", x, mean)
    factor = net.op("math.pow", variance, attrs=PowAttrs(-0.5))
    module = net.module(net.op("math.mul", centred, factor))
    assert kernels(module) == [["moments", "pow"], ["sub", "mul"]]
    keeps_meaning(fuse, module)


def test_a_cheap_value_is_computed_in_each_kernel_that_reads_it() -> None:
    net = Net()
    x = net.input(2, 4, 4, 4)
    y = net.op("math.abs", x)
    first = net.op("math.mul", y, *sums(net, y))
    assert kernels(net.module(first)) == [["abs", "reduce"], ["abs", "mul"]]


def test_a_costly_value_is_computed_once() -> None:
    net = Net()
    x = net.input(2, 4, 4, 4)
    y = net.op("math.exp", x)
    module = net.module(net.op("math.mul", y, *sums(net, y)))
    assert kernels(module) == [["exp"], ["reduce"], ["mul"]]


def test_a_value_that_an_anchor_makes_in_passing_is_kept() -> None:
    net = Net()
    y = net.relu(net.conv(net.input(2, 4, 4, 4), 4, 1))
    module = net.module(net.op("math.mul", y, *sums(net, y)))
    assert kernels(module) == [["conv", "relu"], ["reduce"], ["mul"]]


def test_an_anchor_takes_in_what_is_computed_beside_it() -> None:
    net = Net()
    x, z = net.input(2, 4, 4, 4), net.input(2, 4, 4, 4)
    mask = net.op("math.threshold", z, attrs=ThresholdAttrs(0.0))
    module = net.module(net.op("math.mul", net.conv(x, 4, 1), mask))
    assert [sorted(ops) for ops in kernels(module)] == [["conv", "mul", "threshold"]]
    keeps_meaning(fuse, module)


def test_a_value_of_the_forward_pass_is_computed_again_behind_it() -> None:
    net = Net()
    x, g = net.input(2, 4, 4, 4), net.input(2, 4, 4, 4)
    y = net.op("math.abs", x)
    first = net.op("math.mul", y, *sums(net, y))
    module = net.module(first, net.op("math.mul", g, y))
    found = [
        [inner.name.partition(".")[2] for inner in op.body.ops]
        for op in fuse(module, forward=module.func("main").result_names[:1]).func("main").ops
        if op.body is not None
    ]
    assert found == [["abs", "reduce"], ["abs", "mul"], ["abs", "mul"]]
    keeps_meaning(fuse, module)


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
    outcome = fuse(module, forward=["y"])
    verify(outcome)
    bodies = [op.body.ops for op in outcome.func("main").ops if op.body is not None]
    assert [[op.name for op in body] for body in bodies] == [
        ["math.exp", "math.abs"],
        ["math.mul", "math.mul"],
    ]
    keeps_meaning(lambda m: fuse(m, forward=["y"]), module)


def test_an_update_sweeps_in_place_behind_the_last_reader_of_its_state():
    module = parse_module(
        """
        module m tensor {
        func @main(%x: f32[4,8], %z: f32[8,4], %w: state f32[8,8], %h: state f32[8,8])
            -> (y = %y, w = %wn, h = %hn) {
          %g: f32[8,8] = nn.inner_product %z, %x {transpose = true}
          %m: f32[8,8] = math.affine %h {scale = 0.9, shift = 0.0}
          %hn: f32[8,8] = math.add %m, %g
          %wn: f32[8,8] = math.sub %w, %hn
          %y: f32[4,8] = nn.inner_product %x, %w {transpose = false}
        }
        }
        """
    )
    fused = fuse(module)
    verify(fused)
    ops = fused.func("main").ops
    assert [op.attrs.anchor for op in ops] == ["nn.inner_product", "nn.inner_product", "map"]
    assert [r.name for r in ops[-1].results] == ["hn", "wn"]
    launches = [op for op in bufferize(fused).func("main").ops if op.name == "buffer.launch"]
    assert len(launches) == 3, "no copy"
    assert [v.name for v in launches[-1].operands[-2:]] == ["h", "w"]
