"""Every family of kernels compiles for 64-bit ARM, forward and backward; that needs no such machine."""

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


@pytest.fixture(scope="module")
def families():
    """The anchors of all kernels of the nets, compiled for ARM."""
    found = set()
    for case in (*TRAINED, *APPLIED):
        trained = case in TRAINED
        phase = "TRAIN" if trained else "TEST"
        net = FOLDER / f"{case}.prototxt"
        module = netc.compile(net, target="cpu:aarch64-linux", phase=phase, training=trained)
        for op in module.compiled.buffer.func("main").ops:
            if op.name == "buffer.launch" and op.attrs.kernel != REFERENCE_KERNEL and op.body.ops:
                assert module.compiled.objects[op.attrs.kernel].startswith(b"\x7fELF")
                found.add(split_body(op)[0].name)
    return found


def test_every_family_of_kernels_compiles_for_arm(families):
    assert set(LOWERINGS) - families == LONE
