"""A module's parameters: the net's own arrays, and their prepared copies in the layouts of the kernels.

The arrays that `ParamStore.by_layer` hands out are the parameters themselves, not copies. As long as the
caller holds one of them (or a view of it), every run first looks whether its content has changed, which
costs one pass over those arrays (about 5 GB/s); after the last of them is gone runs cost nothing again.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from netc.backends.numpy_reference import run_func
from netc.frontend.imported_net import ImportedNet
from netc.ir.core import Func, Op, Value, definitions, ops_for, walk
from netc.ir.layout import Layout
from netc.runtime.filed_params import FiledParams
from netc.runtime.lasting import LastingArray, content_digest
from netc.runtime.memory import Array, aligned_zeros, pack_aligned, release_free_memory
from netc.runtime.shapes import tensor_of


@dataclass(frozen=True, slots=True)
class ParamEntry:
    """One parameter: the IR value that stands for it, and every (layer, index) that uses it."""

    value: str
    shape: tuple[int, ...]
    uses: tuple[tuple[str, int], ...]


def param_entries(net: ImportedNet) -> tuple[ParamEntry, ...]:
    """The parameters of a net, shared ones once."""
    uses: dict[str, list[tuple[str, int]]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for info in net.params:
        shapes[info.value.name] = tensor_of(info.value.type).static_shape
        if info.learnable:
            uses.setdefault(info.value.name, []).append((info.layer, info.index))
    return tuple(ParamEntry(name, shape, tuple(uses.get(name, ()))) for name, shape in shapes.items())


def own_params(arrays: dict[str, Array]) -> dict[str, Array]:
    """Copies of arrays that may belong to the caller or to a file; empties the dictionary on the way."""
    own: dict[str, Array] = {}
    while arrays:
        name = next(iter(arrays))
        array = arrays.pop(name)
        own[name] = aligned_zeros(array.shape, what=f"parameter {name}")
        own[name][...] = array
    return own


class ParamStore:
    """The parameters of a net by value name; ``versions`` grow whenever a content was seen to change.

    ``arrays`` are aligned and belong to the store from now on, or lie in a file. What ``lasting`` gives
    belongs to another store too.
    """

    def __init__(
        self,
        entries: Sequence[ParamEntry],
        arrays: Mapping[str, Array],
        lasting: Mapping[str, LastingArray] | None = None,
    ) -> None:
        self.entries = tuple(entries)
        self._filed = arrays if isinstance(arrays, FiledParams) else None
        self._lasting = dict(lasting or {})
        if self._filed is None:
            missing = (e.value for e in self.entries if e.value not in self._lasting)
            self._lasting.update({value: LastingArray(arrays[value]) for value in missing})
        self.versions = dict.fromkeys((entry.value for entry in self.entries), 0)
        self._digests: dict[str, int] = {}  # of what callers hold

    @property
    def arrays(self) -> Mapping[str, Array]:
        """The parameters as they are when somebody takes one; it may be changed until the next run."""
        return _Newest(self)

    @property
    def lasting(self) -> Mapping[str, LastingArray]:
        """The parameters, wherever their newest content is; none is left in a file."""
        return {entry.value: self.last(entry.value) for entry in self.entries}

    def last(self, value: str) -> LastingArray:
        """One parameter, which is the same array from now on."""
        if value not in self._lasting:
            assert self._filed is not None
            self._lasting[value] = LastingArray(self._filed[value])
        return self._lasting[value]

    def read(self, value: str) -> Array:
        """The newest content of one parameter; one that lies in a file is left there."""
        if self._filed is not None and value not in self._lasting:
            return self._filed[value]
        return self._lasting[value].look()

    @property
    def nbytes(self) -> int:
        """The memory of the parameters: of those that are not left in a file."""
        return sum(param.memory.nbytes for param in self._lasting.values())

    @property
    def in_file(self) -> bool:
        """Whether parameters that nobody edits are left in a file."""
        return self._filed is not None

    def by_layer(self) -> dict[str, list[Array]]:
        """Layer name -> its parameters, writable; layers that share a parameter have the same memory."""
        lent = {entry.value: self.lend(entry.value) for entry in self.entries}
        slots: dict[str, dict[int, Array]] = {}
        for entry in self.entries:
            for layer, index in entry.uses:
                slots.setdefault(layer, {})[index] = lent[entry.value]
        return {layer: [found[i] for i in sorted(found)] for layer, found in slots.items()}

    def assign(self, value: str, array: Array) -> None:
        """Give a parameter new content."""
        self.last(value).look()[...] = array
        self.versions[value] += 1

    def refresh(self) -> Mapping[str, int]:
        """The versions after looking at the arrays that callers hold, or held since the last look."""
        for value, known in list(self._digests.items()):
            param = self.last(value)
            held = param.home.held
            digest = self._digests[value] = content_digest(param.look())
            self.versions[value] += digest != known
            if not held:
                del self._digests[value]
                if self._filed is not None and self._filed.holds(value, param.memory):
                    del self._lasting[value]  # who asks next reads it again
        return self.versions

    @property
    def is_lent(self) -> bool:
        """Whether a caller holds any of the arrays."""
        return any(param.home.held for param in self._lasting.values())

    def lend(self, value: str) -> Array:
        """One parameter, writable, as :meth:`by_layer` hands it out."""
        param = self.last(value)
        if value not in self._digests:
            self._digests[value] = content_digest(param.look())
        return param.lend()


class _Newest(Mapping[str, Array]):
    """The arrays of a store, each looked at when it is taken."""

    def __init__(self, store: ParamStore) -> None:
        self._store = store

    def __len__(self) -> int:
        return len(self._store.versions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.versions)

    def __getitem__(self, value: str) -> Array:
        return self._store.read(value)


class PreparedParams:
    """What ``@prepare`` makes of the parameters, stored as the kernels read it; addresses never change.

    Most of it is a parameter in another layout, packed straight from the parameter; only what is computed
    (a folded BatchNorm, say) goes through the reference.
    """

    def __init__(self, prepare: Func, params: ParamStore) -> None:
        self.prepare = prepare
        self.params = params
        self.storages: dict[str, Array] = {}
        self.revisions: dict[str, int] = {}
        """How often each of the storages got new content."""
        self._seen: dict[str, int] = {}
        makers = definitions(prepare)
        self._roots = {
            name: _without_converts(value, makers)
            for name, value in zip(prepare.result_names, prepare.results, strict=True)
        }
        args = {a.name for a in prepare.args}
        # one function each: memory holds the operands of one at a time, an edit computes what depends on it
        self._makers = {
            root.name: _maker(prepare, root) for root in self._roots.values() if root.name not in args
        }
        self.update()
        release_free_memory()

    def update(self) -> None:
        """Prepare again what depends on parameters that have changed."""
        versions = self.params.refresh()
        changed = {name for name, version in versions.items() if self._seen.get(name) != version}
        if not changed and self.storages:
            return
        for name, value in zip(self.prepare.result_names, self.prepare.results, strict=True):
            root = self._roots[name].name
            maker = self._makers.get(root)
            if maker is None and root in changed:
                self._store(name, self.params.read(root), tensor_of(value.type).layout)
            elif maker is not None and (
                name not in self.storages or not changed.isdisjoint(a.name for a in maker.args)
            ):
                args = {a.name: self.params.read(a.name) for a in maker.args}
                self._store(name, run_func(maker, args)[root], tensor_of(value.type).layout)
        self._seen = dict(versions)

    def _store(self, name: str, array: Array, layout: Layout) -> None:
        known = self.storages.get(name)
        self.revisions[name] = self.revisions.get(name, 0) + 1
        if known is None:
            self.storages[name] = pack_aligned(array, layout, what=f"prepared parameter {name}")
        elif known.ctypes.data != array.ctypes.data:  # else it is the parameter itself
            known[...] = pack_aligned(array, layout, what=f"prepared parameter {name}")


PreparedCache = weakref.WeakValueDictionary[Func, PreparedParams]
"""Prepared parameters by their ``@prepare``: modules for several sizes mostly prepare alike."""


def _maker(prepare: Func, value: Value) -> Func:
    """The part of a function that computes one value."""
    func = replace(prepare, results=(value,), result_names=(value.name,))
    ops = tuple(ops_for(func, {value.name}))
    read = {v.name for op in walk(ops) for v in op.operands}
    read_args = [(a, r) for a, r in zip(prepare.args, prepare.roles, strict=True) if a.name in read]
    return replace(func, args=tuple(a for a, _ in read_args), roles=tuple(r for _, r in read_args), ops=ops)


def _without_converts(value: Value, makers: Mapping[str, Op]) -> Value:
    """The value before changes of layout: the same elements."""
    while (op := makers.get(value.name)) is not None and op.name == "layout.convert":
        value = op.operands[0]
    return value
