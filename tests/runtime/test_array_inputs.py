"""Inputs that are no NumPy arrays: what speaks DLPack, or has ``__array__``. Outputs speak DLPack themselves."""

import numpy as np
import pytest

import netc
from netc.ir.diagnostics import NetcError

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""
SOLVER = f"""
base_lr: 0.1 lr_policy: "fixed" max_iter: 1 random_seed: 1
net_param {{ {NET} layer {{ name: "l" type: "Reduction" bottom: "y" top: "l" loss_weight: 1 }} }}
"""
CPU, CUDA = 1, 2  # device types of DLPack
X = np.arange(6, dtype=np.float32).reshape(2, 3)


class Tensor:
    """A tensor of another library: it has DLPack, and nothing else."""

    def __init__(self, array, device=CPU):
        self._array, self._device = array, device

    def __dlpack_device__(self):
        return self._device, 0

    def __dlpack__(self, **options):
        assert self._device == CPU, "nobody asks for memory of another device"
        return self._array.__dlpack__(**options)


class HasArray:
    """What turns itself into an array."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array


class Broken(Tensor):
    """Refuses to be looked at."""

    def __dlpack__(self, **options):
        raise BufferError("it is in use")


@pytest.mark.parametrize("wrap", [Tensor, HasArray])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u1"])
def test_a_run_takes_it_for_the_array_it_is(wrap, dtype):
    net = netc.compile(NET)
    want = net.run(x=X)["y"]
    np.testing.assert_array_equal(net.run(x=wrap(X.astype(dtype)))["y"], want)


@pytest.mark.parametrize("wrap", [Tensor, HasArray])
def test_gradients_of_outputs_may_be_such(wrap):
    net = netc.compile(NET, training=True, phase="TRAIN")
    seed = np.ones((2, 2), np.float32)
    net.forward(x=X)
    want = net.backward(y=seed)["x"]
    net.forward(x=wrap(X))
    np.testing.assert_array_equal(net.backward(y=wrap(seed))["x"], want)


@pytest.mark.parametrize("wrap", [Tensor, HasArray])
def test_a_solver_takes_batches_of_such(wrap):
    solvers = [netc.Solver(SOLVER, inputs=lambda f=f: {"x": f(X)}) for f in (np.asarray, wrap)]
    for solver in solvers:
        solver.step(2)
    want, got = (solver.params["ip"][0] for solver in solvers)
    np.testing.assert_array_equal(got, want)


def test_outputs_are_arrays_that_others_take_without_a_copy():
    found = netc.compile(NET).run(x=X)["y"]
    assert found.__dlpack_device__() == (CPU, 0)
    assert np.shares_memory(np.from_dlpack(Tensor(found)), found)


def test_memory_of_another_device_is_refused_with_the_way_out():
    with pytest.raises(NetcError, match="memory of another device") as caught:
        netc.compile(NET).run(x=Tensor(X, CUDA))
    assert "cpu()" in str(caught.value)


@pytest.mark.parametrize("value", [Broken(X), [[1, 2], [3]], object(), "text"])
def test_what_is_no_array_is_an_error_of_the_input(value):
    with pytest.raises(NetcError, match="input 'x'"):
        netc.compile(NET).run(x=value)
