"""lower_precision: which products become narrow, where values are cast, and that the numbers stay near."""

from __future__ import annotations

import numpy as np
import pytest
from nets import Net, arguments, run_main, shape

from netc.ir.core import Module, Value
from netc.ir.verify import verify
from netc.passes.assign_layouts import assign_layouts
from netc.passes.fuse import fuse
from netc.passes.hoist_prepare import hoist_prepare
from netc.passes.lower_precision import Ranges, lower_precision, values_to_measure

BLOCK = 4


def bf16(module: Module, **more: object) -> Module:
    return _checked(lower_precision(module, precision="bf16", block=BLOCK, least=4, **more))  # type: ignore[arg-type]


def int8(module: Module, ranges: Ranges) -> Module:
    return _checked(lower_precision(module, precision="int8", block=BLOCK, least=4, ranges=ranges))


def _checked(module: Module) -> Module:
    verify(module)
    return module


def ops(module: Module) -> list[str]:
    return [op.name for op in module.func("main").ops]


def measured(module: Module) -> dict[str, tuple[float, float]]:
    """The ranges on the arguments that the tests run with."""
    values = values_to_measure(module, block=BLOCK, least=4)
    main = module.func("main")
    names = tuple(v.name for v in values)
    seen = Module("m", "tensor", (type(main)(main.name, main.args, main.roles, main.ops, values, names),))
    found = run_main(seen, arguments(module), "f32")
    return {n: (float(a.min()), float(a.max())) for n, a in zip(names, found, strict=True)}


def stays_near(narrow: Module, module: Module, tolerance: float) -> None:
    args = arguments(module)
    for got, wanted in zip(run_main(narrow, args, "f32"), run_main(module, args, "f32"), strict=True):
        assert np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max()


def inception() -> Module:
    net = Net()
    x = net.relu(net.conv(net.input(2, 8, 8, 8), 8))
    left = net.relu(net.conv(x, 4, 1))
    right = net.relu(net.conv(net.pool(x, kernel=3, stride=1), 8, 3, pad=1))
    both = net.concat(net.slice(left, (0, 0, 1, 1), (2, 4, 4, 4)), right)
    return net.module(net.conv(both, 8, 3))


def two_branches() -> Module:
    """A concat of two convolutions, read by a convolution alone."""
    net = Net()
    x = net.input(2, 8, 6, 6)
    both = net.concat(net.relu(net.conv(x, 4, 1)), net.relu(net.conv(x, 8, 1)))
    return net.module(net.conv(net.pool(both), 8, 1))


def residual() -> Module:
    net = Net()
    x = net.relu(net.conv(net.input(1, 8, 6, 6), 8, 1))
    y = net.conv(net.relu(net.conv(x, 8, 3, pad=1)), 8, 1)
    z = net.relu(net.op("math.add", y, x))
    return net.module(net.inner_product(net.flatten(net.conv(z, 8, 1)), 12))


NETS = {"inception": inception, "two branches": two_branches, "residual": residual}


@pytest.mark.parametrize("name", NETS)
def test_bf16_stays_near_float32(name: str) -> None:
    module = NETS[name]()
    narrow = bf16(module)
    assert "nn.bf16_conv" in ops(narrow)
    stays_near(narrow, module, 0.02)


@pytest.mark.parametrize("name", NETS)
def test_int8_stays_near_float32_within_the_ranges_measured(name: str) -> None:
    module = NETS[name]()
    narrow = int8(module, measured(module))
    assert "nn.int8_conv" in ops(narrow)
    stays_near(narrow, module, 0.06)


def test_a_concat_and_a_maximum_move_narrow_numbers_of_one_code() -> None:
    module = two_branches()
    narrow = int8(module, measured(module))
    main = narrow.func("main")
    kinds = {op.name: str(op.result.type) for op in main.ops if op.name in ("tensor.concat", "nn.pool")}
    assert {text[:2] for text in kinds.values()} == {"u8"}
    casts = [op for op in main.ops if op.name == "math.to_u8"]
    assert len(casts) == 3  # the input, and each branch
    assert casts[1].attrs == casts[2].attrs


def test_a_residual_sum_reads_the_narrow_value() -> None:
    narrow = bf16(residual())
    main = narrow.func("main")
    (add,) = [op for op in main.ops if op.name == "math.add"]
    makers = {op.result.name: op.name for op in main.ops}
    assert [makers[v.name] for v in add.operands] == ["nn.bf16_conv", "math.from_bf16"]


def test_the_casts_go_into_the_kernels_of_convolutions() -> None:
    fused = fuse(hoist_prepare(assign_layouts(bf16(residual()), block=BLOCK)))
    verify(fused)
    bodies = [[op.name for op in op.body.ops] for op in fused.func("main").ops if op.body is not None]
    assert ["nn.bf16_conv", "math.relu", "math.to_bf16"] in bodies
    assert ["nn.bf16_conv", "math.from_bf16", "math.add", "math.relu", "math.to_bf16"] in bodies
    prepared = [op.name for op in fused.func("prepare").ops]
    assert prepared.count("nn.bf16_weight") == 5


def test_a_value_that_the_net_returns_stays_f32() -> None:
    net = Net()
    x = net.relu(net.conv(net.input(1, 8, 6, 6), 8, 1))
    module = net.module(x, net.conv(x, 8, 1))
    narrow = bf16(module)
    assert [str(v.type)[:3] for v in narrow.func("main").results] == ["f32", "f32"]
    stays_near(narrow, module, 0.02)


def test_what_has_few_channels_or_no_whole_blocks_stays() -> None:
    net = Net()
    image = net.conv(net.input(1, 3, 9, 9), 8)
    depthwise = net.conv(image, 8, 3, group=8)
    module = net.module(net.conv(depthwise, 2, 1))
    assert bf16(module) == module


def test_a_value_without_a_range_stays_and_so_do_its_readers() -> None:
    module = residual()
    ranges = measured(module)
    first = next(iter(ranges))
    narrow = int8(module, {name: r for name, r in ranges.items() if name != first})
    assert ops(narrow).count("nn.int8_conv") == ops(int8(module, ranges)).count("nn.int8_conv") - 1
    assert int8(module, {}) == module


def test_what_is_quicker_in_float32_stays() -> None:
    module = residual()

    def is_3x3(conv: object) -> bool:
        w: Value = conv.operands[1]  # type: ignore[attr-defined]
        return shape(w)[2:] == (3, 3)

    narrow = bf16(module, wide=is_3x3)
    assert ops(narrow).count("nn.conv") == 1
    stays_near(narrow, module, 0.02)


def test_a_range_of_zeros_and_negative_values_have_codes() -> None:
    net = Net()
    module = net.module(net.conv(net.input(1, 8, 5, 5), 8, 3, pad=1))
    (value,) = values_to_measure(module, block=BLOCK, least=4)
    stays_near(int8(module, measured(module)), module, 0.06)
    (cast,) = [
        op for op in int8(module, {value.name: (0.0, 0.0)}).func("main").ops if op.name == "math.to_u8"
    ]
    assert (cast.attrs.scale, cast.attrs.zero) == (1.0, 0)
    (cast,) = [
        op for op in int8(module, {value.name: (-3.0, -1.0)}).func("main").ops if op.name == "math.to_u8"
    ]
    assert cast.attrs.zero == 255
