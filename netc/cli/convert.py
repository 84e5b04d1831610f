"""``netc convert``: a net as prototxt or in the .net language, weights as caffemodel, HDF5 or safetensors."""

from __future__ import annotations

from netc.cli.output import put
from netc.frontend.convert_net import NET_SUFFIXES, write_net
from netc.frontend.net_file import read_net
from netc.frontend.weights import load_weights
from netc.frontend.write_weights import WEIGHT_SUFFIXES, write_weights
from netc.ir.diagnostics import NetcError


def command(source: str, target: str) -> None:
    """``netc convert``."""
    if target.lower().endswith(WEIGHT_SUFFIXES):
        weights = load_weights(source)
        write_weights(target, weights)
        put(f"{target}: {len(weights)} layers, {weights.nbytes} bytes of weights")
    elif target.lower().endswith(NET_SUFFIXES):
        net = read_net(source)
        write_net(target, net)
        put(f"{target}: {len(net.list('layer'))} layers")
    else:
        raise NetcError(
            f"{target}: its suffix says no format",
            remedy=f"nets are {' or '.join(NET_SUFFIXES)}, weights {' or '.join(WEIGHT_SUFFIXES)}",
        )
