"""Real compilation of products of warpgroups: for sm_90a alone, overlapping, without spills."""

from __future__ import annotations

from typing import Any

import pytest
from cuda_harness import lowered
from products import conv_launch, gradient_launch, inner_product_launch
from test_cuda_nvrtc import LARGE, MODELS, needs_nvrtc
from windows import conv

from netc.backends.cuda.backend import lower_module, translation_unit
from netc.backends.cuda.nvrtc import compile_cuda
from netc.backends.cuda.resources import parse_resources
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.passes.pipeline import run_pipeline
from netc.runtime.compiler import import_message, with_shapes
from netc.runtime.cuda_emit import mma_counts
from netc.runtime.options import CompileOptions
from netc.runtime.training import differentiable_module, forward_results

WGMMA128 = "wgmma_m=128 wgmma_n=128 parts=1"


def check_text(text: str) -> None:
    made = compile_cuda(text, "sm_90a")
    assert not [r for r in parse_resources(made.log) if r.spill_bytes or r.stack_bytes]
    assert "serializ" not in made.log  # what ptxas says when it must wait behind each product


@needs_nvrtc
@pytest.mark.parametrize(
    ("precision", "launch", "schedule"),
    [
        ("tf32", conv_launch(conv((4, 128, 28, 28), 256, 3, pad=1)), "wgmma_m=128 wgmma_n=256 parts=1"),
        ("tf32", conv_launch(conv((4, 128, 28, 28), 256, 1)), "wgmma_m=64 wgmma_n=128 parts=1"),
        ("tf32", conv_launch(conv((2, 64, 14, 14), 128, 4, 2, transposed=True)), WGMMA128),
        ("tf32", gradient_launch(conv((4, 64, 28, 28), 128, 3, pad=1)), "wgmma_m=128 wgmma_n=128 parts=2"),
        ("tf32", gradient_launch(conv((4, 64, 28, 28), 128, 1)), "wgmma_m=64 wgmma_n=64 parts=1"),
        ("tf32", inner_product_launch(256, 512, 256), "wgmma_m=128 wgmma_n=256 parts=1"),
        ("bf16", conv_launch(conv((4, 128, 28, 28), 256, 3, pad=1)), WGMMA128),
        ("bf16", gradient_launch(conv((4, 64, 28, 28), 128, 3, pad=1)), "wgmma_m=64 wgmma_n=128 parts=1"),
        ("fp16", conv_launch(conv((2, 64, 14, 14), 128, 4, 2, transposed=True)), WGMMA128),
        ("fp16", inner_product_launch(256, 512, 256, transpose=True), "wgmma_m=128 wgmma_n=64 parts=1"),
    ],
)
def test_products_of_warpgroups_compile_for_sm_90a_overlap_and_spill_nothing(
    precision: str, launch: Any, schedule: str
) -> None:
    text = translation_unit([lowered(launch, precision, warpgroups=True, schedule=schedule).text])
    check_text(text)
    ptx = compile_cuda(text, "sm_90a", ptx=True).code.decode()
    assert "wgmma.mma_async" in ptx
    assert mma_counts(ptx)["kernel"] > 0
    with pytest.raises(NetcError, match="refuses"):
        compile_cuda(text, "sm_100")


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["tf32", "fp16"])
@pytest.mark.parametrize("batch", [1, 128])
@pytest.mark.parametrize("name", LARGE)
def test_what_the_model_gives_to_warpgroups_in_large_nets_compiles_so(
    name: str, batch: int, precision: Any
) -> None:
    options = CompileOptions(target="cuda:sm_90")
    message = load_net(MODELS / f"{name}.prototxt", phase="TEST")
    inputs = import_message(message, options).inputs
    shapes = {v.name: (batch, *v.type.shape[1:]) for v in inputs}
    imported = import_message(message, with_shapes(options, shapes))
    module, _ = differentiable_module(imported)
    lowered_net = run_pipeline(module, opt_level=2, block=1, forward=forward_results(imported, carried=False))
    code = lower_module(lowered_net.buffer, precision, warpgroups=True)
    for kernel in code.kernels.values():
        if "wgmma_" in kernel.text:
            check_text(translation_unit([kernel.text]))
