"""What lasts from pass to pass belongs to the whole net, whichever of its parts runs."""

import numpy as np
from small_nets import close

import netc.pycaffe as caffe

LSTM = """input: "x" input_shape { dim: 1 dim: 1 dim: 2 } input: "cont" input_shape { dim: 1 dim: 1 }
layer { name: "scale" type: "Power" bottom: "x" top: "s" power_param { scale: 2 } }
layer { name: "lstm" type: "LSTM" bottom: "s" bottom: "cont" top: "y"
        recurrent_param { num_output: 3 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "out" type: "Power" bottom: "y" top: "out" }
"""
DROPOUT = """input: "x" input_shape { dim: 50 dim: 40 }
layer { name: "p" type: "Power" bottom: "x" top: "p" }
layer { name: "d" type: "Dropout" bottom: "p" top: "d" }
"""


def test_a_part_of_a_net_goes_on_with_the_hidden_states_of_the_whole(write):
    inputs = {"x": np.ones((1, 1, 2)), "cont": np.ones((1, 1))}
    caffe.set_random_seed(3)
    whole = caffe.Net(write(LSTM), caffe.TEST)
    caffe.set_random_seed(3)
    parts = caffe.Net(write(LSTM), caffe.TEST)
    wanted = [whole.forward(**inputs)["out"].copy() for _ in range(3)]
    close(parts.forward(**inputs)["out"], wanted[0])
    close(parts.forward(end="lstm")["y"], wanted[1])
    close(parts.forward(start="lstm")["out"], wanted[2])
    assert np.abs(wanted[0] - wanted[2]).max() > 1e-3


def test_every_pass_over_every_part_draws_new_numbers(write):
    net = caffe.Net(write(DROPOUT), caffe.TRAIN)
    net.blobs["x"].data[...] = 1
    drawn = [net.forward()["d"].copy(), net.forward(start="d")["d"].copy(), net.forward()["d"].copy()]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert 0.3 < (drawn[first] != drawn[second]).mean() < 0.7


def test_the_seed_of_the_process_fixes_what_is_dropped(write):
    path = write(DROPOUT)

    def dropped(seed):
        caffe.set_random_seed(seed)
        net = caffe.Net(path, caffe.TRAIN)
        return net.forward(x=np.ones((50, 40)))["d"].copy()

    np.testing.assert_array_equal(dropped(1), dropped(1))
    assert (dropped(1) != dropped(2)).any()
