"""share_buffers: no two buffers that are alive at once overlap, and little memory is needed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from nets import NETS, random_nets

from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.arena import ALIGN_BYTES, arena_bytes, live_intervals, unshared_bytes
from netc.ir.core import Module
from netc.ir.diagnostics import NetcError
from netc.ir.parser import parse_module
from netc.ir.types import BufferType, TensorType, Type
from netc.passes.bufferize import bufferize
from netc.passes.fuse import fuse
from netc.passes.pipeline import run_pipeline
from netc.passes.share_buffers import share_buffers

MODELS = Path(__file__).parents[2] / "examples" / "models"


def check_no_overlap(module: Module) -> None:
    """Two allocations may share bytes only if no launch lies in the lives of both."""
    main = module.func("main")
    offsets = {op.result.name: op.attrs.offset for op in main.ops if op.name == "buffer.alloc"}
    intervals = live_intervals(main)
    for i, a in enumerate(intervals):
        assert offsets[a.name] % ALIGN_BYTES == 0
        assert offsets[a.name] + a.nbytes <= arena_bytes(module)
        for b in intervals[:i]:
            if a.first <= b.last and b.first <= a.last:
                ends = offsets[a.name] + a.nbytes, offsets[b.name] + b.nbytes
                assert ends[0] <= offsets[b.name] or ends[1] <= offsets[a.name], (a, b)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(module=random_nets())
def test_buffers_that_are_alive_at_once_never_overlap(module: Module) -> None:
    check_no_overlap(share_buffers(bufferize(fuse(module))))
    check_no_overlap(run_pipeline(module, opt_level=3, block=4).buffer)


@pytest.mark.parametrize("name", sorted(NETS))
def test_without_reuse_the_arena_holds_everything(name: str) -> None:
    buffers = bufferize(fuse(NETS[name]()))
    stacked = share_buffers(buffers, reuse=False)
    check_no_overlap(stacked)
    assert arena_bytes(stacked) == unshared_bytes(stacked)
    assert arena_bytes(share_buffers(buffers)) <= arena_bytes(stacked)


def test_views_keep_the_whole_alive() -> None:
    text = """
        module m buffer {
        func @main(%x: buffer f32[4], %y: output buffer f32[4]) -> () {
          %a: buffer f32[8] = buffer.alloc {tensor = <f32[8]>, offset = none}
          %v: buffer f32[4] strides(1) = buffer.view %a {start = [4], shape = [4]}
          buffer.launch %x, %v {writes = 1} (%x.1: f32[4]) { yield %x.1 }
          %b: buffer f32[4] = buffer.alloc {tensor = <f32[4]>, offset = none}
          buffer.launch %x, %b {writes = 1} (%x.2: f32[4]) { yield %x.2 }
          buffer.launch %v, %b, %y {writes = 1} (%v.1: f32[4], %b.1: f32[4]) {
            %y.1: f32[4] = math.add %v.1, %b.1
            yield %y.1
          }
        }
        }"""
    module = share_buffers(parse_module(text))
    assert [(i.name, i.first, i.last) for i in live_intervals(module.func("main"))] == [
        ("a", 2, 5),
        ("b", 4, 5),
    ]
    check_no_overlap(module)
    assert arena_bytes(module) == 128


def test_symbolic_sizes_are_refused() -> None:
    text = """
        module m buffer {
        func @main(%x: buffer f32[N]) -> () {
          %a: buffer f32[N] = buffer.alloc {tensor = <f32[N]>, offset = none} @"net.prototxt":3:1
        }
        }"""
    with pytest.raises(NetcError, match=r"%a has 4\*N bytes: bind the symbols") as caught:
        share_buffers(parse_module(text))
    assert str(caught.value.location) == "net.prototxt:3:1"


def test_an_arena_without_offsets_has_no_size() -> None:
    with pytest.raises(NetcError, match="has no offset yet; run share_buffers"):
        arena_bytes(bufferize(fuse(NETS["dense"]())))


@pytest.mark.parametrize(("model", "saved"), [("caffenet", 0.5), ("googlenet", 0.75)])
def test_a_classic_net_needs_a_fraction_of_what_its_blobs_add_up_to(model: str, saved: float) -> None:
    net = import_net(load_net(MODELS / f"{model}.prototxt"))
    module = run_pipeline(net.module, opt_level=3, block=16).buffer
    check_no_overlap(module)
    main = module.func("main")
    outside = nbytes(t.type.tensor for t in (*main.inputs, *main.outputs) if isinstance(t.type, BufferType))
    blobs = nbytes(v.type for v in net.blobs.values())
    assert outside + arena_bytes(module) <= (1 - saved) * blobs


def nbytes(types: Iterable[Type]) -> int:
    return sum(int(str(t.storage_bytes)) for t in types if isinstance(t, TensorType))
