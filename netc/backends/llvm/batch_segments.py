"""How many samples of a batch each kernel takes at once: as many as leave what they compute in the cache.

The batch is cut into segments of kernels, each run on parts of the batch (the pass ``split_batch``). What is
chosen moves the fewest bytes between the last cache and memory, as this model counts them:

- A value within a segment stays in the cache if all that is alive at once does, for the samples of a part; of
  more than fits, a share stays.
- A value that a later segment reads is kept for the whole batch; it stays if all such values do besides.
- Other values are written to memory, and read from there by each of their readers.
- Weights are read again by each part, from the cache where they find room there besides.
- A launch more takes time in which so many bytes could have been moved, a hundred times that where it runs by
  its reference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from netc.backends.llvm.lower.table import has_kernel
from netc.ir.batch import Batch, Segment
from netc.ir.core import Op, Value
from netc.ir.types import TensorType

LAUNCH_BYTES = 64 << 10  # about 1.5 µs
REFERENCE_BYTES = 100 * LAUNCH_BYTES  # of a launch that runs by its reference, in Python
MOST_PARTS = 64
MOST_LAUNCHES = 1000  # they take time to compile and to load, and memory
MOST_CUTS_IN_A_STRETCH = 64
CACHE_COST = 0.3  # of a byte from the last cache, against one from memory
CACHE_SHARE = 5 / 8  # of the last cache; the rest is for weights, and for others


def choose_segments(batch: Batch, cache_bytes: int) -> list[Segment]:
    """The segments of least cost where the last cache holds ``cache_bytes``; none where all fits as it is."""
    traffic = _Traffic(batch)
    room = int(cache_bytes * CACHE_SHARE)
    if max(traffic.alive[: batch.end], default=0) <= room:
        return []
    parts = [parts for parts in range(1, min(batch.rows, MOST_PARTS) + 1) if batch.rows % parts == 0]
    cuts = [0, *traffic.cuts(), batch.end]
    while parts:
        segments = _cheapest(traffic, cuts, parts, room)
        if sum(traffic.launches(segment) for segment in segments) <= MOST_LAUNCHES:
            return segments
        parts.pop()
    return []


def _cheapest(traffic: _Traffic, cuts: Sequence[int], parts: Sequence[int], room: int) -> list[Segment]:
    """The segments between some of the cuts, each in one of these numbers of parts."""
    rows = traffic.batch.rows
    best: dict[int, tuple[float, tuple[Segment, ...]]] = {0: (0.0, ())}
    for number, end in enumerate(cuts[1:], 1):
        for stretch in traffic.stretches(end, set(cuts[max(0, number - MOST_CUTS_IN_A_STRETCH) : number])):
            before, segments = best[stretch.first]
            for count in parts:
                cost = before + stretch.cost(count, room)
                if end not in best or cost < best[end][0]:
                    best[end] = cost, (*segments, Segment(stretch.first, end, rows // count))
    return list(best[cuts[-1]][1])


@dataclass(slots=True)
class _Stretch:
    """The ops from ``first`` to the end of a segment; all bytes are of the whole batch.

    ``inside`` goes to memory and back if nothing that only these ops read stays in the cache, ``behind`` if
    nothing does that later ops read; ``kept`` is the size of what later ops read, ``most_alive`` that of what
    is alive at once; ``overhead`` counts launches.
    """

    first: int
    kept: int
    inside: int = 0
    behind: int = 0
    most_alive: int = 0
    weights: int = 0
    overhead: int = 0

    def cost(self, parts: int, room: int) -> float:
        """The bytes moved when the batch is run in so many parts and the cache has so much room."""
        alive = self.most_alive // parts
        moved: float = self.overhead * parts
        moved += self.inside * _lost(alive, room)
        moved += self.behind * _lost(alive + self.kept - self.kept // parts, room)
        return moved + (parts - 1) * self.weights * (CACHE_COST if alive + self.weights <= room else 1.0)


def _lost(alive: int, room: int) -> float:
    """The share of what is alive that finds no room."""
    return max(1 - room / alive, 0.0) if alive else 0.0


@dataclass(slots=True)
class _Memory:
    """What a kernel writes: its bytes, the ops that write and last read it, and how many kernels read it."""

    nbytes: int
    born: int
    last: int
    reads: int = 0


class _Traffic:
    """What the ops of a batch read and write.

    ``alive`` are the bytes in use at each op, ``kept`` those that it and later ones read of earlier ones.
    """

    def __init__(self, batch: Batch) -> None:
        func = batch.func
        self.batch = batch
        self.alive = [0] * len(func.ops)
        self.kept = [0] * (len(func.ops) + 1)
        self.born: dict[int, list[_Memory]] = {}
        for piece in _memory_of(batch):
            for index in range(max(piece.born, 0), min(piece.last + 1, len(func.ops))):
                self.alive[index] += piece.nbytes
            if piece.born >= 0:  # inputs are there anyway
                for index in range(piece.born + 1, piece.last + 1):
                    self.kept[index] += piece.nbytes
            self.born.setdefault(piece.born, []).append(piece)
        sizes = {value.name: _bytes(value) for value in func.params}
        self.weights = [sum(sizes.get(v.name, 0) for v in op.operands) for op in func.ops]
        self.overhead = [_overhead(op) for op in func.ops]

    def cuts(self) -> list[int]:
        """The indices of ops before which a segment may begin, where no fewer bytes are kept next to them."""
        uncut = _uncut(self.batch)
        legal = [cut for cut in range(1, self.batch.end) if cut not in uncut]
        kept = self.kept
        near = zip(legal[:1] + legal, legal, legal[1:] + legal[-1:], strict=False)
        return [cut for before, cut, after in near if kept[cut] <= min(kept[before], kept[after])]

    def stretches(self, end: int, firsts: Collection[int]) -> Iterator[_Stretch]:
        """The stretches up to an op from each of ``firsts``, the shortest first."""
        stretch = _Stretch(end, self.kept[end])
        for index in range(end - 1, min(firsts) - 1, -1):
            stretch.most_alive = max(stretch.most_alive, self.alive[index])
            stretch.weights += self.weights[index]
            stretch.overhead += self.overhead[index]
            for piece in self.born.get(index, ()):
                if piece.last < end:
                    stretch.inside += piece.nbytes * (1 + piece.reads)
                else:
                    stretch.behind += piece.nbytes * (1 + piece.reads)
            if index in firsts:
                stretch.first = index
                yield stretch

    def launches(self, segment: Segment) -> int:
        """How many kernels a segment runs."""
        ops = self.batch.func.ops[segment.first : segment.end]
        return sum(not _only_moves(op) for op in ops) * (self.batch.rows // segment.rows)


def _memory_of(batch: Batch) -> list[_Memory]:
    """The memory that holds samples; what only moves data has none of its own."""
    func = batch.func
    lies_in: dict[str, list[_Memory]] = {}
    for value in func.inputs:
        lies_in[value.name] = [_Memory(_bytes(value), -1, -1)]
    for index, op in enumerate(func.ops):
        read = [piece for v in op.operands for piece in lies_in.get(v.name, ())]
        moves = _only_moves(op)
        for piece in read:
            piece.last = index
            piece.reads += not moves
        for result in op.results:
            if moves:
                lies_in[result.name] = read
            elif result.name in batch.axes:
                lies_in[result.name] = [_Memory(_bytes(result), index, index)]
    for value in func.results:
        for piece in lies_in.get(value.name, ()):
            piece.last = len(func.ops)
    return list({id(piece): piece for pieces in lies_in.values() for piece in pieces}.values())


def _uncut(batch: Batch) -> set[int]:
    """Where a value is alive that cannot be put together without a copy."""
    func, axes = batch.func, batch.axes
    last = {v.name: i for i, op in enumerate(func.ops) for v in op.operands}
    last.update((value.name, len(func.ops)) for value in func.results)
    found: set[int] = set()
    made = {value.name: index for index, op in enumerate(func.ops) for value in op.results}
    for index, op in enumerate(func.ops):
        if op.name == "tensor.concat":  # its operands are computed in it, by parts like its own
            for value in op.operands:
                found.update(range(made.get(value.name, index) + 1, index + 1))
        for value in op.results:
            elsewhere = _only_moves(op) and op.name != "tensor.concat"
            if (elsewhere or axes.get(value.name, 0) != 0) and value.name in axes:
                found.update(range(index + 1, last.get(value.name, index) + 1))
    return found


def _overhead(op: Op) -> int:
    """What could be moved while a launch begins and ends."""
    if _only_moves(op):
        return 0
    return LAUNCH_BYTES if op.body is None or has_kernel(op) else REFERENCE_BYTES


def _only_moves(op: Op) -> bool:
    return op.name in ("tensor.reshape", "tensor.slice", "tensor.concat")


def _bytes(value: Value) -> int:
    assert isinstance(value.type, TensorType)
    size = value.type.storage_bytes
    return size if isinstance(size, int) else 0
