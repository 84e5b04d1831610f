"""Cuts a binary net in two: a small skeleton for the protobuf library, and where the payloads lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from netc.frontend.binary import ProtobufMessage, parse_binary
from netc.frontend.binary_file import BinaryFile
from netc.frontend.wire import FIXED32, FIXED64, LENGTH, WireError, WireField, length_prefix, walk

MAX_SKELETON_BYTES = 64 << 20
MAX_WIRE_FIELDS = 500_000
"""Real files have some ten thousand fields; more is damage, and would take long to walk."""

MESSAGE_WEIGHT = 10
"""As how many fields a layer or a blob counts: each becomes several objects."""

# BlobProto: the numbers of its arrays
DATA, DIFF, DOUBLE_DATA, DOUBLE_DIFF = 5, 6, 8, 9
_ITEM_BYTES = {DATA: 4, DIFF: 4, DOUBLE_DATA: 8, DOUBLE_DIFF: 8}


@dataclass(frozen=True, slots=True)
class Payload:
    """A run of numbers in the file. ``stride`` is larger than ``item`` where tags stand between them."""

    start: int
    count: int
    item: int
    stride: int


@dataclass(slots=True)
class BlobCut:
    """A blob: where it begins, its message without arrays, and its arrays by field number."""

    offset: int
    message: ProtobufMessage
    payloads: dict[int, list[Payload]] = field(default_factory=dict)


@dataclass(slots=True)
class LayerCut:
    """A layer: where it begins, its message without blobs, and its blobs."""

    offset: int
    message: ProtobufMessage
    blobs: list[BlobCut]


@dataclass(slots=True)
class NetCut:
    """A net: its message without layers, and its layers of either generation, in the file's order."""

    message: ProtobufMessage
    layers: list[LayerCut]


@dataclass(slots=True)
class StateCut:
    """A solver's state: its message without the histories, and these."""

    message: ProtobufMessage
    history: list[BlobCut]


# where blobs lie: a message's fields that are cut out, with the type of what is in them
_LAYERS: Mapping[int, str] = {100: "LayerParameter", 2: "V1LayerParameter"}
_BLOBS: Mapping[str, int] = {
    "LayerParameter": 7,
    "V1LayerParameter": 6,
    "V0LayerParameter": 50,
    "SolverState": 3,
}
_V0_LAYER = 1  # V1LayerParameter.layer


def cut_net(file: BinaryFile) -> NetCut:
    """Cut a file that holds a ``NetParameter``."""
    cutter = _Cutter(file)
    try:
        return cutter.net()
    except WireError as error:
        raise file.error(f"not a caffemodel, or damaged: {error.message}", error.offset) from None


def cut_blob(file: BinaryFile) -> BlobCut:
    """Cut a file that holds one ``BlobProto``."""
    try:
        return _Cutter(file).blob(0, len(file.data), 0)
    except WireError as error:
        raise file.error(f"not a blob, or damaged: {error.message}", error.offset) from None


def cut_solver_state(file: BinaryFile) -> StateCut:
    """Cut a file that holds a ``SolverState``."""
    cutter = _Cutter(file)
    try:
        return cutter.solver_state()
    except WireError as error:
        raise file.error(f"not a solverstate, or damaged: {error.message}", error.offset) from None


class _Cutter:
    def __init__(self, file: BinaryFile) -> None:
        self._file = file
        self._data = file.data
        self._skeleton_bytes = 0
        self._fields = 0

    def net(self) -> NetCut:
        layers: list[LayerCut] = []
        skeleton = bytearray()
        for each in walk(self._data, 0, len(self._data)):
            self._count(each)
            if each.number in _LAYERS and each.wire_type == LENGTH:
                self._count(each, MESSAGE_WEIGHT)
                layers.append(self._layer(each, _LAYERS[each.number]))
            else:
                self._keep(skeleton, each)
        return NetCut(self._parse("NetParameter", bytes(skeleton), 0), layers)

    def solver_state(self) -> StateCut:
        history: list[BlobCut] = []
        whole = WireField(0, LENGTH, 0, 0, len(self._data))
        skeleton = self._without_blobs(whole, "SolverState", history)
        return StateCut(self._parse("SolverState", skeleton, 0), history)

    def _layer(self, whole: WireField, kind: str) -> LayerCut:
        blobs: list[BlobCut] = []
        skeleton = self._without_blobs(whole, kind, blobs)
        return LayerCut(whole.tag, self._parse(kind, skeleton, whole.tag), blobs)

    def _without_blobs(self, whole: WireField, kind: str, blobs: list[BlobCut]) -> bytes:
        skeleton = bytearray()
        for each in walk(self._data, whole.start, whole.end):
            self._count(each)
            if each.number == _BLOBS[kind] and each.wire_type == LENGTH:
                self._count(each, MESSAGE_WEIGHT)
                blobs.append(self.blob(each.start, each.end, each.tag))
            elif kind == "V1LayerParameter" and each.number == _V0_LAYER and each.wire_type == LENGTH:
                inner = self._without_blobs(each, "V0LayerParameter", blobs)
                skeleton += length_prefix(_V0_LAYER, len(inner)) + inner
            else:
                self._keep(skeleton, each)
        return bytes(skeleton)

    def blob(self, start: int, end: int, offset: int) -> BlobCut:
        """Cut the blob between two offsets; ``offset`` is the one that errors name."""
        skeleton = bytearray()
        payloads: dict[int, list[Payload]] = {}
        position = start
        while position < end:
            # a run of unpacked numbers is one step here, so the walk starts anew behind it
            for each in walk(self._data, position, end):
                self._count(each)
                position = each.end
                payload = self._payload(each, end)
                if payload is None:
                    self._keep(skeleton, each)
                    continue
                payloads.setdefault(each.number, []).append(payload)
                if payload.stride != payload.item:
                    position = each.tag + payload.count * payload.stride
                    break
        return BlobCut(offset, self._parse("BlobProto", bytes(skeleton), offset), payloads)

    def _payload(self, each: WireField, end: int) -> Payload | None:
        """The numbers that a field of a blob begins: all of a packed one, or a run of unpacked ones."""
        item = _ITEM_BYTES.get(each.number)
        if item is None:
            return None
        if each.wire_type == LENGTH:
            count, rest = divmod(each.end - each.start, item)
            if rest:
                raise WireError(f"an array of {item}-byte numbers has {rest} bytes too many", each.tag)
            return Payload(each.start, count, item, item)
        if each.wire_type == (FIXED32 if item == 4 else FIXED64):
            stride = each.end - each.tag
            return Payload(each.start, self._run_length(each, stride, end), item, stride)
        return None

    def _run_length(self, first: WireField, stride: int, end: int) -> int:
        """How many fields like this one follow each other without a gap."""
        if first.start - first.tag != 1:
            return 1  # an overlong tag: legal, and never written
        count = (end - first.tag) // stride
        tags = np.frombuffer(self._data, np.uint8, count * stride, first.tag)[::stride]
        others = np.flatnonzero(tags != tags[0])
        return int(others[0]) if len(others) else count

    def _count(self, each: WireField, weight: int = 1) -> None:
        self._fields += weight
        if self._fields > MAX_WIRE_FIELDS:
            raise WireError(f"more than {MAX_WIRE_FIELDS} fields", each.tag)

    def _keep(self, skeleton: bytearray, each: WireField) -> None:
        self._skeleton_bytes += each.end - each.tag
        if self._skeleton_bytes > MAX_SKELETON_BYTES:
            raise WireError(f"more than {MAX_SKELETON_BYTES} bytes beside the weights", each.tag)
        skeleton += self._data[each.tag : each.end]

    def _parse(self, kind: str, skeleton: bytes, offset: int) -> ProtobufMessage:
        try:
            return parse_binary(kind, skeleton)
        except ValueError:
            raise WireError(f"this is no {kind}", offset) from None
