import numpy as np
import pytest

import netc
from netc.backends.llvm.machine_peak import Peaks
from netc.runtime.profile import KernelTime, profile
from netc.runtime.report import layer_rows, make_report, total_params


def test_every_launch_is_timed_and_counted(tiny, tiny_weights, images):
    module = netc.compile(tiny, tiny_weights)
    kernels = profile(*module.specialise(data=images), repeats=3)
    conv = next(k for k in kernels if k.ops[0] == "nn.conv")
    assert conv.ops == ("nn.conv", "math.relu")
    assert conv.value.partition(".")[0] == "conv"
    assert conv.shape == "2x20x8x8"
    outputs = 2 * 20 * 8 * 8
    assert conv.flops == 2 * 27 * outputs + outputs
    assert conv.bytes >= 4 * (2 * 3 * 64 + 20 * 27 + outputs)
    assert all(k.seconds > 0 for k in kernels)


def test_kernels_are_known_by_the_layers_of_the_net_after_loading_too(tiny, tiny_weights, images, tmp_path):
    (tmp_path / "tiny.prototxt").write_text(f"# moves every line\n{tiny}")
    module = netc.compile(tmp_path / "tiny.prototxt", tiny_weights)
    module.save(tmp_path / "tiny.netc")
    for each in (module, netc.load(tmp_path / "tiny.netc")):
        kernels = profile(*each.specialise(data=images), repeats=1)
        layers = [kernel.layers for kernel in kernels]
        assert ("conv", "relu") in layers
        assert ("prob",) in layers
        assert all(layers)


def test_layers_of_a_function_that_is_called_often_are_told_apart(tmp_path):
    (tmp_path / "twins.net").write_text(
        """net(name="twins")
def twin(x, i):
    y = Convolution(x, name="conv{i}", num_output=8, kernel_size=3, pad=1)
    return ReLU!(y, name="relu{i}")

x = Input(shape={dim: [1, 8, 6, 6]}, name="data")
for i in 1..3:
    x = twin(x, i)
"""
    )
    module = netc.compile(tmp_path / "twins.net")
    kernels = profile(*module.specialise(data=np.zeros((1, 8, 6, 6), np.float32)), repeats=1)
    convolutions = [kernel for kernel in kernels if "math.relu" in kernel.ops]
    assert len({kernel.kernel for kernel in convolutions}) < 3
    assert [kernel.layers for kernel in convolutions] == [(f"conv{i}", f"relu{i}") for i in (1, 2, 3)]


def test_timing_leaves_results_alone(tiny, tiny_weights, images):
    module = netc.compile(tiny, tiny_weights)
    before = module.run(data=images)["prob"]
    profile(*module.specialise(data=images), repeats=2)
    np.testing.assert_array_equal(module.run(data=images)["prob"], before)


def test_the_reference_has_no_kernels(tiny, images):
    module = netc.compile(tiny, target="numpy")
    with pytest.raises(netc.NetcError, match="no kernels to time"):
        profile(*module.specialise(data=images), repeats=1)


def test_the_fraction_of_the_peak_is_that_of_the_nearer_limit():
    peaks = Peaks(1, gflops=100, gbytes_per_s=10)
    assert KernelTime("k", (), "v", (), "", 1e-3, flops=50_000_000, bytes=1).fraction_of_peak(
        peaks
    ) == pytest.approx(0.5)
    assert KernelTime("k", (), "v", (), "", 1e-3, flops=1, bytes=2_500_000).fraction_of_peak(
        peaks
    ) == pytest.approx(0.25)


def test_the_report_counts_what_is_there(tiny):
    module = netc.compile(tiny)
    report = make_report(module.compiled, module.memory, ())
    assert report.ops_before == 6  # conv relu pool reshape fc softmax
    assert report.flops == 2 * (2 * 20 * 64 * 27 + 2 * 5 * 320)
    assert report.param_bytes == 4 * (20 * 27 + 20 + 5 * 320 + 5)
    assert 0 < report.kernels <= report.launches


def test_layers_are_listed_with_their_costs(tiny):
    net = netc.compile(tiny, target="numpy").compiled.net
    rows = {row.name: row for row in layer_rows(net)}
    assert rows["conv"].params == 20 * 27 + 20
    assert rows["conv"].flops == 2 * 2 * 20 * 64 * 27
    assert rows["relu"].flops == 0
    assert total_params(net) == 20 * 27 + 20 + 5 * 320 + 5


def test_counts_of_symbolic_nets_are_texts(tiny):
    net = netc.compile(tiny, target="numpy", input_shapes={"data": ("N", 3, 8, 8)}).compiled.net
    assert layer_rows(net)[1].flops == "69120*N"
    assert layer_rows(net)[1].shapes == (("N", 20, 8, 8),)
