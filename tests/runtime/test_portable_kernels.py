"""Every family of kernels compiles for 64-bit ARM, forward and backward; that needs no such machine."""

import numpy as np
import pytest
from golden_cases import FOLDER

import netc
from netc.backends.launch_body import split_body
from netc.backends.llvm.backend import REFERENCE_KERNEL
from netc.backends.llvm.lower.table import LOWERINGS

# nets whose forward and backward passes hold all families between them, but
TRAINED = (
    "argmax", "batchnorm_train", "convolution_11x11s4", "convolution_group", "crop",
    "deconvolution_group_bilinear", "dropout_test", "innerproduct", "lrn_across", "lrn_within",
    "net_inception", "net_inplace_chain", "net_residual_bn", "net_two_losses", "pooling_global_max", "tile",
)  # fmt: skip
APPLIED = ("convolution_3x3_16ch",)
# those that vanish from whole nets; the kernels' own tests have them
LONE = {"random.uniform", "tensor.concat", "tensor.fill", "tensor.reshape", "tensor.slice"}


# large enough for Winograd's convolution where weights learn, and for narrow factors
WIDE = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 32 dim: 24 dim: 24 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 32 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc"
  inner_product_param { num_output: 20 weight_filler { type: "msra" } } }
"""
ARM = "cpu:aarch64-linux"


def modules():
    for case in TRAINED:
        yield netc.compile(FOLDER / f"{case}.prototxt", target=ARM, phase="TRAIN", training=True)
    for case in APPLIED:
        yield netc.compile(FOLDER / f"{case}.prototxt", target=ARM)
    yield netc.compile(WIDE, target=ARM, phase="TRAIN", training=True)
    yield netc.compile(WIDE, target=ARM, precision="bf16")
    ranges = netc.calibrate(WIDE, None, {"data": np.ones((4, 32, 24, 24), np.float32)}, method="max")
    yield netc.compile(WIDE, target=ARM, precision="int8", ranges=ranges)


@pytest.fixture(scope="module")
def families():
    """The anchors of all kernels of the nets, compiled for ARM."""
    found = set()
    for module in modules():
        for op in module.compiled.buffer.func("main").ops:
            if op.name == "buffer.launch" and op.attrs.kernel != REFERENCE_KERNEL and op.body.ops:
                assert module.compiled.objects[op.attrs.kernel].startswith(b"\x7fELF")
                found.add(split_body(op)[0].name)
    return found


def test_every_family_of_kernels_compiles_for_arm(families):
    assert set(LOWERINGS) - families == LONE
