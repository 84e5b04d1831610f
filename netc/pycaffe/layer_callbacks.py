"""Passes that stop at every layer, for functions that want to be called before or after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netc.frontend.message import Message
from netc.pycaffe.blob import Storage
from netc.runtime.solver.callbacks import check_callbacks

OnLayer = Callable[[int], object]
"""Gets the position of the layer among the net's."""


class LayerCallbacks:
    """The functions of a net, by when they are called; they go layer by layer once there is one."""

    def __init__(self) -> None:
        self.before_forward: list[OnLayer] = []
        self.after_forward: list[OnLayer] = []
        self.before_backward: list[OnLayer] = []
        self.after_backward: list[OnLayer] = []

    def __bool__(self) -> bool:
        return any((self.before_forward, self.after_forward, self.before_backward, self.after_backward))

    def add(self, when: str, call: OnLayer) -> None:
        """Add a function to the list of that name."""
        check_callbacks(**{when: call})
        getattr(self, when).append(call)

    def forward(self, first: int, last: int, run: Callable[[int], None]) -> None:
        """Run the layers from the first to the last, one by one."""
        for position in range(first, last + 1):
            _call(self.before_forward, position)
            run(position)
            _call(self.after_forward, position)

    def backward(
        self,
        first: int,
        last: int,
        run: Callable[[int], None],
        layers: Sequence[Message],
        storages: Mapping[str, Storage],
    ) -> None:
        """Run the layers from the last back to the first; what several of them give a blob is summed."""
        given: set[tuple[str, int]] = set()  # a blob, and the position of the layer that made what was read
        for position in range(last, first - 1, -1):
            bottoms = dict.fromkeys(layers[position].texts("bottom"))
            read = [(blob, _maker(layers, blob, position)) for blob in bottoms]
            later = {blob: storages[blob].diff.copy() for blob, maker in read if (blob, maker) in given}
            _call(self.before_backward, position)
            run(position)
            for blob, diff in later.items():
                storages[blob].diff[...] += diff
            given.update(read)
            _call(self.after_backward, position)


def _maker(layers: Sequence[Message], blob: str, before: int) -> int:
    """The layer that made what a layer reads; -1 if none did."""
    return next((i for i in range(before - 1, -1, -1) if blob in layers[i].texts("top")), -1)


def _call(functions: Sequence[OnLayer], position: int) -> None:
    for function in functions:
        function(position)
