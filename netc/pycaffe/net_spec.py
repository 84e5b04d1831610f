"""``caffe.NetSpec``: the builder of nets; the nets that it makes are messages of the protobuf library."""

from __future__ import annotations

from typing import Any

from netc.frontend import net_spec
from netc.frontend.net_spec import Function, Top, layers, params
from netc.frontend.protobuf_messages import to_protobuf

__all__ = ["Function", "NetSpec", "Top", "layers", "params", "to_proto"]


class NetSpec(net_spec.NetSpec):
    """A net in the making: attributes are tops, in the order of their assignment."""

    def to_proto(self) -> Any:
        """The net as a ``caffe_pb2.NetParameter``: every layer that a named top needs."""
        return to_protobuf(super().to_proto())


def to_proto(*tops: Top | Function) -> Any:
    """The net that computes the tops, with numbered names, as a ``caffe_pb2.NetParameter``."""
    return to_protobuf(net_spec.to_proto(*tops))
