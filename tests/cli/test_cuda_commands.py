"""Commands on nets for GPUs, on a machine without one."""

import json

import pytest

from netc.backends.cuda.nvrtc import has_nvrtc

needs_nvrtc = pytest.mark.skipif(not has_nvrtc(), reason="NVRTC is not installed")


def test_cuda_code_is_shown_without_nvrtc_or_a_gpu(netc, net_file):
    outcome = netc("compile", net_file, "--target", "cuda:sm_90", "--emit", "cuda")
    assert outcome.code == 0
    assert 'extern "C" __global__' in outcome.out
    assert "// %conv" in outcome.out


def test_inspect_lists_kernels_with_their_predicted_time(netc, net_file):
    outcome = netc("inspect", net_file, "--target", "cuda:sm_90", "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    assert found["functions"] >= len(found["kernels"]) == 3
    assert found["architecture"]["chip"] == "H100 SXM5"
    assert found["seconds"] == pytest.approx(sum(k["seconds"] for k in found["kernels"]))
    shown = netc("inspect", net_file, "--target", "cuda:sm_90")
    assert "predicted, not measured" in shown.out


@needs_nvrtc
def test_ptx_cubin_and_resources_are_written_without_a_gpu(netc, net_file, tmp_path):
    ptx = netc("compile", net_file, "--target", "cuda:sm_90", "--emit", "ptx")
    assert ".target sm_90" in ptx.out
    assert netc("compile", net_file, "--target", "cuda:sm_80", "--emit", "cubin", "-o", "net.cubin").code == 0
    assert (tmp_path / "net.cubin").read_bytes().startswith(b"\x7fELF")
    table = netc("compile", net_file, "--target", "cuda:sm_70,sm_90", "--emit", "sass-info")
    assert table.out.count("sm_70") == table.out.count("sm_90") >= 3


@needs_nvrtc
def test_a_net_compiled_for_gpus_runs_only_where_one_is(netc, net_file, tmp_path):
    compiled = netc("compile", net_file, "--target", "cuda:sm_90", "-o", "net.netc")
    assert compiled.code == 0
    assert "kernels      3" in compiled.out
    outcome = netc("time", "net.netc")
    assert outcome.code == 2
    assert "running on a GPU needs CuPy" in outcome.err or "CuPy finds no GPU" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "cuda:sm_90", "--emit", "asm"], "has no stage 'asm'"),
        (["--target", "cpu", "--emit", "ptx"], "has no stage 'ptx'"),
        (["--target", "cuda:sm_13", "--emit", "cuda"], "unknown CUDA target"),
        (["--target", "cuda:sm_80,sm_90", "--emit", "cubin"], "one architecture"),
        (["--target", "cuda:sm_90", "--emit", "cubin"], "not shown on a terminal"),
    ],
)
def test_what_cannot_be_had_is_an_error_with_a_remedy(netc, net_file, arguments, message):
    if "cubin" in arguments and not has_nvrtc():
        pytest.skip("NVRTC is not installed")
    outcome = netc("compile", net_file, *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert "help:" in outcome.err
