"""Real compilation: what is generated compiles for every architecture, spills nothing, uses tensor cores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cuda_harness import lowered
from cuda_nets import NETS
from test_cuda_winograd import SIZES, winograd_launch

import netc
from netc.backends.cuda import nvrtc
from netc.backends.cuda.backend import CudaCode, lower_for, lower_module, translation_unit
from netc.backends.cuda.compile_pool import compile_kernels
from netc.backends.cuda.kernel import CudaKernel
from netc.backends.cuda.nvrtc import compile_cuda, has_nvrtc, nvrtc_version
from netc.backends.cuda.resources import Resources, parse_resources
from netc.backends.cuda.target import ARCHITECTURES as KNOWN
from netc.backends.cuda.target import Units, parse_cuda_target
from netc.backends.llvm.object_cache import ObjectCache
from netc.frontend.net_file import load_net
from netc.ir.core import Module
from netc.ir.diagnostics import NetcError
from netc.passes.pipeline import run_pipeline
from netc.passes.update_params import UpdateRule
from netc.runtime.compiler import import_message
from netc.runtime.cuda_emit import mma_counts
from netc.runtime.lower_net import lower_net
from netc.runtime.options import CompileOptions
from netc.runtime.training import differentiable_module, forward_results, step_module

needs_nvrtc = pytest.mark.skipif(not has_nvrtc(), reason="NVRTC is not installed")
MODELS = Path(netc.__file__).parents[1] / "examples" / "models"
ARCHITECTURES = ["sm_70", "sm_80", "sm_90", "sm_100", "sm_120"]
QUICK = {("det1", "sm_70"), ("det1", "sm_120"), ("resnet_like", "sm_90"), ("googlenet_like", "sm_80")}
WITH_TENSOR_CORES = ARCHITECTURES[1:]


def buffers_of(
    net: str | Path, phase: Any, precision: Any, batch: int | None = None, backward: bool = False
) -> Module:
    """The launches of a forward pass, of that with its backward pass, or of an iteration of training."""
    options = CompileOptions(target="cuda:sm_90", phase=phase, precision=precision)
    message = load_net(net, phase=phase)
    imported = import_message(message, options)
    if batch is not None:
        shapes = {v.name: (batch, *v.type.shape[1:]) for v in imported.inputs}
        options = replace(options, input_shapes=tuple(shapes.items()))
        imported = import_message(message, options)
    module = imported.module
    forward: Any = ()
    if phase == "TRAIN":
        module = step_module(imported, UpdateRule("SGD", momentum=0.9))
        forward = forward_results(imported)
    elif backward:
        module, _ = differentiable_module(imported)
        forward = forward_results(imported, carried=False)
    return lower_net(module, options, forward=forward).buffer


def code_for(buffers: Module, architecture: str, precision: Any) -> CudaCode:
    """The kernels that an architecture gets."""
    units = KNOWN[architecture].units(precision)
    return lower_module(buffers, units.precision, warpgroups=units.warpgroups)


class Compiler:
    """Compiles each distinct text once for an architecture, however its kernel is named; a folder remembers."""

    def __init__(self, folder: Path) -> None:
        self.reports = ObjectCache(folder)

    def resources(self, kernel: CudaKernel, architecture: str) -> tuple[Resources, ...]:
        """What the functions take; that of the first stage is called ``kernel``."""
        text = translation_unit([kernel.text.replace(kernel.name, "kernel")])
        name = KNOWN[architecture].compiled_as
        key = "\n".join((nvrtc_version(), *nvrtc.OPTIONS, name, text))
        report = self.reports.get(key)
        if report is None:
            report = compile_cuda(text, name).log.encode()
            self.reports.put(key, report)
        return parse_resources(report.decode())

    def check(self, code: CudaCode, architecture: str) -> None:
        """Every launch has a kernel, which compiles, without spills and without a stack."""
        assert not code.without_kernel
        for kernel in code.kernels.values():
            used = self.resources(kernel, architecture)
            assert {r.function for r in used} == {
                s.name.replace(kernel.name, "kernel") for s in kernel.stages
            }
            spilling = [r for r in used if r.spill_bytes or r.stack_bytes]
            assert not spilling, f"{architecture}\n{kernel.text}"


@pytest.fixture
def compiler(pytestconfig: pytest.Config) -> Compiler:
    assert pytestconfig.cache is not None
    return Compiler(pytestconfig.cache.mkdir("nvrtc"))


@needs_nvrtc
@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        pytest.param(n, a, marks=() if (n, a) in QUICK else pytest.mark.slow)
        for n in NETS
        for a in ARCHITECTURES
    ],
)
def test_every_kernel_of_a_small_net_compiles_without_spills(
    name: str, architecture: str, compiler: Compiler
) -> None:
    compiler.check(code_for(buffers_of(NETS[name], "TRAIN", "tf32"), architecture, "tf32"), architecture)


@needs_nvrtc
@pytest.mark.parametrize(
    "precision", ["tf32", *(pytest.param(p, marks=pytest.mark.slow) for p in ("bf16", "fp16"))]
)
def test_wide_products_are_computed_on_tensor_cores(precision: str) -> None:
    code = code_for(buffers_of(NETS["googlenet_like"], "TRAIN", precision), "sm_80", precision)
    counts = mma_counts(compile_cuda(code.text, "sm_80", ptx=True).code.decode())
    products = [k for k in code.kernels.values() if k.lowering == "product"]
    assert products
    for kernel in products:
        wide = "mma_m" in kernel.text
        assert (counts[kernel.stages[0].name] > 0) == wide
    assert sum("mma_m" in k.text for k in products) > len(products) / 2


LARGE = ["caffenet", "googlenet", "vgg16", "resnet50", "mobilenet_v1", "squeezenet_v1.1"]
FCN = Path(netc.__file__).parent / "zoo" / "fcn8s.net"


@needs_nvrtc
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize(
    ("path", "batch"),
    [
        *(pytest.param(MODELS / f"{m}.prototxt", b, id=f"{m}-{b}") for m in LARGE for b in (1, 16, 128)),
        *(pytest.param(FCN, b, id=f"fcn8s-{b}") for b in (1, 16)),
    ],
)
def test_every_kernel_of_a_large_net_compiles_without_spills(
    path: Path, batch: int, precision: str, compiler: Compiler
) -> None:
    buffers = buffers_of(path, "TEST", precision, batch, backward=True)
    for architecture in ARCHITECTURES:
        if precision == "fp32" or architecture in WITH_TENSOR_CORES:
            compiler.check(code_for(buffers, architecture, precision), architecture)


@needs_nvrtc
@pytest.mark.parametrize("architecture", ["sm_70", "sm_90", "sm_120"])
@pytest.mark.parametrize(("tile", "taps"), SIZES)
def test_winograd_s_convolutions_compile_without_spills(
    tile: int, taps: int, architecture: str, compiler: Compiler
) -> None:
    launch, _, _ = winograd_launch(((2, 64, 14, 14), 128, ((1, 1), (1, 1))), tile, taps)
    used = compiler.resources(lowered(launch), architecture)
    assert [r.function for r in used if r.spill_bytes or r.stack_bytes] == []
    assert len(used) == 3


@needs_nvrtc
def test_an_artefact_holds_code_for_each_architecture_and_ptx_of_the_last() -> None:
    class Nothing:
        """A cache that forgets."""

        def get(self, key: str) -> bytes | None:
            return None

        def put(self, key: str, data: bytes) -> None:
            pass

    target = parse_cuda_target("cuda:sm_90,sm_70")
    module = run_pipeline(
        import_message(load_net(NETS["det1"], phase="TEST"), CompileOptions(target="cuda")).module,
        opt_level=2,
        block=1,
    ).buffer
    code = lower_for(module, target)
    done: list[tuple[int, int]] = []
    images = compile_kernels(code, target, Nothing(), 2, lambda *counts: done.append(counts))  # type: ignore[arg-type]
    assert list(images) == ["sm_70", "sm_90", "compute_90"]
    assert images["sm_70"].keys() == code[Units("fp32")].kernels.keys()
    assert images["sm_90"].keys() == code[Units("tf32", warpgroups=True)].kernels.keys()
    assert images["compute_90"].keys() == code[Units("tf32")].kernels.keys()
    assert all(data.startswith(b"\x7fELF") for data in images["sm_90"].values())
    assert all(b".target sm_90" in data for data in images["compute_90"].values())
    assert done[-1][0] == done[-1][1] == sum(map(len, images.values()))


@needs_nvrtc
def test_faulty_code_is_an_error_with_the_compiler_s_message() -> None:
    with pytest.raises(NetcError, match=r"refuses .* sm_90[\s\S]*undefined"):
        compile_cuda(translation_unit(["void f() { undefined(); }"]), "sm_90")


def test_without_nvrtc_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    nvrtc._library.cache_clear()
    monkeypatch.setattr(nvrtc, "_candidates", list)
    try:
        assert not has_nvrtc()
        with pytest.raises(NetcError, match="needs NVRTC") as error:
            compile_cuda("", "sm_90")
        assert "netc[nvrtc]" in str(error.value.remedy)
    finally:
        nvrtc._library.cache_clear()


def test_the_report_of_the_assembler_is_read() -> None:
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_90'
ptxas info    : Function properties for one
ptxas         .     8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 1024 bytes smem, 372 bytes cmem[0]
ptxas info    : Compiling entry function 'two' for 'sm_90'
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 14 registers"""
    assert parse_resources(log) == (Resources("one", 40, 8, 28, 1024), Resources("two", 14, 0, 0, 0))
