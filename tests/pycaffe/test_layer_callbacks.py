"""Functions that a net calls before and after every layer, on its way forward and back."""

from pathlib import Path

import numpy as np
import pytest
from small_nets import close

import netc.pycaffe as caffe
from netc.ir.diagnostics import NetcError

GOLDENS = Path(__file__).parents[1] / "goldens" / "solver"
# in place, a blob that several layers read, a parameter that two layers share
NET = """input: "data" input_shape { dim: 4 dim: 3 } input: "label" input_shape { dim: 4 }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" } param { lr_mult: 1 }
        inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "scale" type: "Power" bottom: "a" top: "a" power_param { scale: 3 shift: 1 } }
layer { name: "square" type: "Power" bottom: "a" top: "a" power_param { power: 2 } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } param { lr_mult: 1 }
        inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
layer { name: "tanh" type: "TanH" bottom: "a" top: "tanh" }
layer { name: "both" type: "Concat" bottom: "sum" bottom: "tanh" top: "both" }
layer { name: "accuracy" type: "Accuracy" bottom: "both" bottom: "label" top: "accuracy" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "both" bottom: "label" top: "loss" loss_weight: 3 }
"""


def data():
    rng = np.random.default_rng(2)
    return {"data": rng.normal(0, 0.3, (4, 3)).astype("f4"), "label": np.array([0, 4, 2, 5], "f4")}


def test_every_layer_is_announced_forward_and_back(write):
    net = caffe.Net(write(NET), caffe.TRAIN)
    calls = []
    for when in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, when)(lambda position, when=when: calls.append((when, net._layer_names[position])))
    net.forward(**data())
    assert calls == [(f"{when}_forward", name) for name in net._layer_names for when in ("before", "after")]
    calls.clear()
    net.backward()
    way = reversed(net._layer_names)
    assert calls == [(f"{when}_backward", name) for name in way for when in ("before", "after")]
    calls.clear()
    net.forward(start="b", end="tanh")
    assert [name for when, name in calls if when == "before_forward"] == ["b", "sum", "tanh"]


def test_passes_with_callbacks_give_what_passes_without_give(write):
    path = write(NET)
    plain, watched = caffe.Net(path, caffe.TRAIN), caffe.Net(path, caffe.TRAIN)
    for name, blobs in plain.params.items():
        for mine, other in zip(blobs, watched.params[name], strict=True):
            other.data[...] = mine.data
    watched.after_backward(lambda position: None)
    for net in (plain, watched):
        net.forward(**data())
        net.backward()
    for name, blob in plain.blobs.items():
        close(watched.blobs[name].data, blob.data)
        close(watched.blobs[name].diff, blob.diff)
    for name, blobs in plain.params.items():
        for mine, other in zip(blobs, watched.params[name], strict=True):
            assert np.abs(mine.diff).max() > 0
            close(other.diff, mine.diff)


def test_what_a_callback_writes_the_next_layer_reads(write):
    net = caffe.Net(write(NET), caffe.TEST)

    def edit(position):
        if net._layer_names[position] == "scale":
            net.blobs["a"].data[...] = 2

    net.after_forward(edit)
    net.forward(**data())
    close(net.blobs["a"].data, np.full((4, 3), 4.0))
    seen = []
    net.before_backward(
        lambda position: (
            seen.append(net.blobs["a"].diff.copy()) if net._layer_names[position] == "square" else None
        )
    )
    net.forward(**data())
    net.backward()
    close(net.blobs["a"].diff, seen[0] * 2 * 2 * 3)  # the square's slope at 2, then the scale's


def test_layers_that_draw_go_back_over_what_they_drew(write):
    net = caffe.Net(
        write(
            'input: "x" input_shape { dim: 50 }\n'
            'layer { name: "first" type: "Dropout" bottom: "x" top: "y" }\n'
            'layer { name: "second" type: "Dropout" bottom: "y" top: "y" }\n'
        ),
        caffe.TRAIN,
    )
    net.before_forward(lambda position: None)
    for _ in range(2):
        net.forward(x=np.ones(50, "f4"))
        net.backward(y=np.ones(50, "f4"))
        kept = net.blobs["y"].data
        assert 0 < np.count_nonzero(kept) < 30
        np.testing.assert_array_equal(net.blobs["x"].diff, kept)


def test_a_way_back_needs_a_forward_pass_with_the_same_callbacks(write):
    net = caffe.Net(write(NET), caffe.TRAIN)
    net.forward(**data())
    net.before_backward(print)
    with pytest.raises(NetcError, match="callbacks were added since the last forward pass"):
        net.backward()
    with pytest.raises(NetcError, match="after_forward is a function"):
        net.after_forward(3)


def test_the_nets_of_a_solver_refuse_callbacks_of_layers(monkeypatch):
    monkeypatch.chdir(GOLDENS)
    solver = caffe.SGDSolver("solver_sgd.prototxt")
    with pytest.raises(NetcError, match="before_forward cannot be called in the net of a solver"):
        solver.net.before_forward(print)
