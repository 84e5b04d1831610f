"""widen_groups: narrow groups share a block."""

from __future__ import annotations

import pytest
from checks import UNIT, keeps_meaning, main, stays
from nets import NETS, Net

from netc.ir.core import Module
from netc.passes.assign_layouts import assign_layouts
from netc.passes.widen_groups import widen_groups


def widened(module: Module) -> Module:
    return widen_groups(module, block=4)


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_meaning_stays(name: str) -> None:
    keeps_meaning(widened, NETS[name]())


@pytest.mark.parametrize(
    ("channels", "out", "group", "groups_after"),
    [
        (16, 16, 8, 4),  # 2 -> 4 channels
        (16, 32, 16, 4),  # 1 -> 4 in, 2 -> 8 out
        (6, 6, 2, 1),  # no whole blocks: one group
        (8, 8, 8, 8),  # depthwise
        (8, 16, 2, 2),  # fits already
        (15, 15, 5, 5),  # one group would waste more than a block
    ],
)
def test_groups_are_joined_until_blocks_fit(channels: int, out: int, group: int, groups_after: int) -> None:
    net = Net()
    module = net.module(net.relu(net.conv(net.input(1, channels, 4, 4), out, group=group)))
    keeps_meaning(widened, module)
    outcome = widened(module)
    (conv,) = [op for op in outcome.func("main").ops if op.name == "nn.conv"]
    assert conv.attrs.group == groups_after
    keeps_meaning(lambda m: assign_layouts(widened(m), block=4), module)


def test_weights_that_are_data_stay() -> None:
    ops = f"%y: f32[1,8,3,3] = nn.conv %x, %w {UNIT.replace('}', ', group = 4}')}"
    stays(widened, main("%x: f32[1,8,3,3], %w: f32[8,2,1,1]", ops))
