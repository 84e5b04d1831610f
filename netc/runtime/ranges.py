"""The ranges of a net's activations: what 8-bit codes are chosen by. Measured by ``netc calibrate``.

The file is JSON: ``format``, ``net`` (its name), ``digest`` (of its layers and the shapes of its parameters),
``method``, ``samples`` (how many inputs were seen), and ``ranges``: ``{"value": [least, largest]}``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netc.frontend.atomic_file import atomic_file
from netc.frontend.imported_net import ImportedNet
from netc.ir.diagnostics import NetcError

FORMAT = 1
MAX_BYTES = 64 << 20
LARGEST = 3.4e38


@dataclass(frozen=True, slots=True)
class ActivationRanges:
    """``values``: name, least and largest value, of tensors of the net that ``digest`` says."""

    net: str
    digest: str
    values: tuple[tuple[str, float, float], ...]
    method: str = "max"
    samples: int = 0

    @property
    def by_name(self) -> Mapping[str, tuple[float, float]]:
        """Name -> least and largest value."""
        return {name: (low, high) for name, low, high in self.values}

    def check(self, net: ImportedNet) -> None:
        """NetcError where the ranges are of another net."""
        if self.digest != net_digest(net):
            raise NetcError(
                f"the ranges are those of another net ('{self.net}') than '{net.module.name}', or of other "
                "layers",
                remedy="measure them for this one: netc calibrate",
            )

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        return {
            "format": FORMAT,
            "net": self.net,
            "digest": self.digest,
            "method": self.method,
            "samples": self.samples,
            "ranges": {name: [low, high] for name, low, high in self.values},
        }

    @staticmethod
    def from_json(given: object, name: str) -> ActivationRanges:
        """Read back; ``name`` is the file's, for messages."""
        if not isinstance(given, dict) or given.get("format") != FORMAT:
            raise _unreadable(name, f"no ranges of format {FORMAT}")
        net, digest, method, samples = (given.get(k) for k in ("net", "digest", "method", "samples"))
        ranges = given.get("ranges")
        texts = isinstance(net, str) and isinstance(digest, str) and isinstance(method, str)
        if not texts or not isinstance(ranges, dict) or type(samples) is not int:
            raise _unreadable(name, "net, digest, method, samples or ranges are missing")
        values = []
        for value, bounds in ranges.items():
            if not _is_range(bounds):
                raise _unreadable(name, f"the range of '{value}' is not [least, largest]")
            values.append((str(value), float(bounds[0]), float(bounds[1])))
        return ActivationRanges(str(net), str(digest), tuple(values), str(method), samples)


def read_ranges(path: str | os.PathLike[str]) -> ActivationRanges:
    """The ranges in a file that ``netc calibrate`` wrote."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise NetcError(f"{name}: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise _unreadable(name, f"it has more than {MAX_BYTES} bytes")
    try:
        given = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unreadable(name, f"no JSON: {error}") from None
    return ActivationRanges.from_json(given, name)


def write_ranges(path: str | os.PathLike[str], ranges: ActivationRanges) -> None:
    """Write the file."""
    with atomic_file(path) as file:
        file.write((json.dumps(ranges.to_json(), indent=1) + "\n").encode())


def net_digest(net: ImportedNet) -> str:
    """What a net's ranges hang on besides its weights: its layers and the shapes of its parameters.

    Layers without bottoms do not count: where inputs come from is no matter.
    """
    computing = [layer for layer in net.layers if layer.bottoms]
    layers = [[layer.name, layer.type, list(layer.bottoms), list(layer.tops)] for layer in computing]
    params = [[info.layer, info.index, list(info.shape)] for info in net.params]
    return hashlib.sha256(json.dumps([layers, params]).encode()).hexdigest()


def _is_range(bounds: object) -> bool:
    if not isinstance(bounds, list) or len(bounds) != 2 or any(type(b) not in (int, float) for b in bounds):
        return False
    low, high = bounds
    # comparisons, as whole numbers of JSON may be larger than any float
    return bool(-LARGEST <= low <= high <= LARGEST)


def _unreadable(name: str, why: str) -> NetcError:
    return NetcError(f"{name}: {why}", remedy="write it again: netc calibrate")
