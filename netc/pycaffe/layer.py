"""The class ``Layer`` of Caffe's Python interface."""

from __future__ import annotations

from collections.abc import Sequence

from netc.pycaffe.blob import ParamBlob


class Layer:
    """A layer of a net: its ``type``, and its parameters as ``blobs``. Python layers derive from it."""

    def __init__(self, kind: str = "Python", blobs: Sequence[ParamBlob] = ()) -> None:
        self.type = kind
        self.blobs = list(blobs)

    def __repr__(self) -> str:
        return f"<Layer {self.type} with {len(self.blobs)} blobs>"
