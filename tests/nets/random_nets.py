"""Random Caffe nets."""

from __future__ import annotations

from caffe_net import CaffeNet
from hypothesis import strategies as st
from layer_steps import STEPS

MOST_LAYERS = 30


@st.composite
def caffe_nets(draw: st.DrawFn) -> CaffeNet:
    """A net of 1 to 30 layers on one or two small inputs; what no layer reads is an output."""
    net = CaffeNet()
    batch, plane = draw(st.integers(1, 2)), draw(st.sampled_from([(6, 6), (5, 8), (4, 4)]))
    for channels in draw(st.lists(st.sampled_from([1, 3, 4, 8]), min_size=1, max_size=2)):
        net.input((batch, channels, *plane))
    wanted = draw(st.integers(1, MOST_LAYERS))
    while net.layers < wanted:
        # recent blobs are likelier, so that nets are deep
        back = min(draw(st.sampled_from([0, 0, 0, 1, 2, 5])), len(net.blobs) - 1)
        step = draw(st.sampled_from(STEPS))
        step(net, net.blobs[-1 - back], draw)
    return net
