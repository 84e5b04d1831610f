import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest
from test_llvm_engine import call, set_text

import netc
from netc.backends.llvm.elf_image import CannotLinkError, ElfImage
from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.target import host_target

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or host_target().architecture != "x86_64",
    reason="our linker knows x86-64 under Linux",
)


def test_our_linker_takes_what_the_backend_makes_and_needs_no_llvm(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    path = tmp_path / "net.netc"
    x = np.ones((1, 3, 8, 8), np.float32)
    made = netc.compile(tmp_path / "net.prototxt")
    made.save(path)
    expected = made.run(data=x)["prob"]
    script = f"""
import sys, numpy as np, netc
got = netc.load({str(path)!r}).run(data=np.ones((1, 3, 8, 8), np.float32))["prob"]
print("llvmlite.binding" in sys.modules, got.tobytes().hex())
"""
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    for _ in range(2):  # the first learns what machine this is
        command = [sys.executable, "-c", script]
        run = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", expected.tobytes().hex()]


def test_a_call_into_the_c_library_goes_through_a_stub():
    text = (
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)\n"
        + """
define void @f(ptr %slots, i64 %tid, i64 %nth) {
  %n = load i64, ptr %slots
  call void @llvm.memset.p0.i64(ptr %slots, i8 7, i64 %n, i1 false)
  ret void
}
"""
    )
    filler = ctypes.CDLL(None).memset
    data = compile_to_object(text, host_target())
    image = ElfImage([data], {"memset": ctypes.cast(filler, ctypes.c_void_p).value})
    slots = np.array([16, 0], np.int64)
    call(image.address("f"), slots)
    assert slots.tolist() == [0x0707070707070707] * 2
    with pytest.raises(CannotLinkError, match="nothing defines memset"):
        ElfImage([data], {})


def test_damaged_tables_are_refused_or_harmless_but_never_read_out_of_bounds():
    data = compile_to_object(set_text("f", 1) + set_text("g", 2), host_target())
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 4):
            damaged[position] = int(rng.integers(0, 256))
        try:
            ElfImage([bytes(damaged)], {}).close()
        except CannotLinkError:
            refused += 1
    assert refused > 300


NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
