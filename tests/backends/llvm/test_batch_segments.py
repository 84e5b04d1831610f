"""The segments of a batch: as many samples at once as leave what they compute in the cache."""

from __future__ import annotations

import itertools

from netc.backends.llvm.batch_segments import MOST_LAUNCHES, MOST_PARTS, choose_segments
from netc.ir.batch import Batch, Segment
from netc.ir.parser import parse_module
from netc.ir.row_axis import row_axes
from netc.passes.fuse import fuse

KB = 1 << 10


def batch_of(args: str, ops: str, rows: int = 16, results: str = "y = %y", *, fused: bool = False) -> Batch:
    module = parse_module(f"module m tensor {{\nfunc @main({args}) -> ({results}) {{\n{ops}\n}}\n}}\n")
    func = (fuse(module, max_ops=1) if fused else module).func("main")
    axes, end = row_axes(func)
    return Batch(func, rows, end, axes)


def chain(rows: int = 16, length: int = 6, extent: int = 1 << 16) -> Batch:
    """Values of 256 KiB a sample, each made of the one before."""
    names = ["x", *(f"a{i}" for i in range(length - 1)), "y"]
    ops = [f"%{new}: f32[{rows},{extent}] = math.exp %{old}" for old, new in itertools.pairwise(names)]
    return batch_of(f"%x: f32[{rows},{extent}]", "\n".join(ops), rows)


def test_a_batch_that_fits_stays_whole() -> None:
    assert choose_segments(chain(), cache_bytes=64 << 20) == []


def test_a_part_fills_the_cache_and_no_more() -> None:
    # two values are alive at once, 512 KiB a sample; five eighths of the cache are for them
    assert choose_segments(chain(), 8 * 512 * KB) == [Segment(0, 6, 4)]
    assert choose_segments(chain(), 8 * 512 * KB // 2) == [Segment(0, 6, 2)]


def test_a_sample_that_does_not_fit_runs_alone() -> None:
    assert choose_segments(chain(), 512 * KB) == [Segment(0, 6, 1)]


def test_segments_cover_all_that_may_be_split() -> None:
    shrinking = """%a: f32[16,65536] = math.exp %x
    %b: f32[16,65536] = math.tanh %a
    %s: f32[16,1024] = tensor.slice %b {start = [0, 0], shape = [16, 1024]}
    %c: f32[16,1024] = math.exp %s
    %d: f32[16,1024] = math.tanh %c
    %y: f32[16,1024] = nn.softmax %d {axis = 0}"""
    batch = batch_of("%x: f32[16,65536]", shrinking)
    assert batch.end == 5
    segments = choose_segments(batch, 4 << 20)
    assert [s.first for s in segments] == [0, *(s.end for s in segments[:-1])]
    assert segments[-1].end == 5
    assert segments[0].rows < 16


def test_weights_that_would_be_read_too_often_keep_the_batch_together() -> None:
    def rows_at_once(weights: int) -> int:
        ops = f"""%a: f32[16,{64 * KB}] = math.exp %x
        %b: f32[16,{64 * KB}] = math.exp %a
        %y: f32[16,{weights}] = nn.inner_product %b, %w"""
        batch = batch_of(f"%x: f32[16,{64 * KB}], %w: param f32[{weights},{64 * KB}]", ops)
        return next((s.rows for s in choose_segments(batch, 4 << 20) if s.end == 3), 16)

    assert rows_at_once(1) < 16
    assert rows_at_once(1024) == 16


def test_parts_are_of_one_size_and_not_too_many() -> None:
    for rows in (6, 15, 17, 7 * MOST_PARTS):
        for segment in choose_segments(chain(rows), 512 * KB):
            assert rows % segment.rows == 0
            assert rows // segment.rows <= MOST_PARTS


def test_deep_nets_have_fewer_parts() -> None:
    length = MOST_LAUNCHES // 8
    segments = choose_segments(chain(64, length), 512 * KB)
    launches = sum((segment.end - segment.first) * 64 // segment.rows for segment in segments)
    assert MOST_LAUNCHES // 2 <= launches <= MOST_LAUNCHES


def test_weights_are_read_again_at_a_lower_price_where_they_find_room_in_the_cache() -> None:
    outputs, extent = (2, 2, 2, 1), 21 << 14  # 21 MiB, and 9 of weights
    products = [f"%y{i}: f32[16,{n}] = nn.inner_product %a, %w{i}" for i, n in enumerate(outputs)]
    weights = ", ".join(f"%w{i}: param f32[{n},{extent}]" for i, n in enumerate(outputs))
    batch = batch_of(
        f"%x: f32[16,{extent}], {weights}",
        "\n".join([f"%a: f32[16,{extent}] = math.exp %x", *products]),
        results=", ".join(f"y{i} = %y{i}" for i in range(4)),
    )
    # room for 20 MiB: four samples and the weights fit, eight samples nearly do without them
    assert choose_segments(batch, 32 << 20) == [Segment(0, 5, 4)]


def test_what_runs_by_its_reference_runs_once_unless_much_is_won() -> None:
    def parts(op: str) -> int:
        ops = f"""%a: f32[16,64,16,64] = math.exp %x
        %b: f32[16,64,16,64] = {op}
        %y: f32[16,64,16,64] = math.tanh %b"""
        segments = choose_segments(batch_of("%x: f32[16,64,16,64]", ops, fused=True), 8 << 20)
        return max(
            (16 // segment.rows for segment in segments if segment.first <= 1 < segment.end), default=1
        )

    assert parts("math.exp %a") > 1
    assert parts("nn.resize %a {size = [16, 64], kind = nearest, coordinates = corners}") == 1


def test_nothing_is_cut_where_putting_it_together_would_copy() -> None:
    ops = """%a: f32[16,65536] = math.exp %x
    %r: f32[16,256,256] = tensor.reshape %a {shape = [16, 256, 256]}
    %b: f32[16,256,256] = math.exp %r
    %t: f32[256,16,256] = tensor.transpose %b {perm = [1, 0, 2]}
    %c: f32[256,16,256] = math.exp %t
    %u: f32[16,256,256] = tensor.transpose %c {perm = [1, 0, 2]}
    %d: f32[16,256,256] = math.exp %u
    %e: f32[16,256,256] = math.tanh %u
    %y: f32[16,512,256] = tensor.concat %d, %e {axis = 1}"""
    batch = batch_of("%x: f32[16,65536]", ops)
    assert batch.end == 9
    for cache in (1, 2, 4, 8):
        ends = {segment.end for segment in choose_segments(batch, cache << 20)}
        assert not ends & {2, 4, 5, 7, 8}
