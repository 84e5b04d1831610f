"""What is fuzzed: the readers of each format, as users reach them, with words that the format knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from netc.frontend.dsl.builtins import BUILTINS
from netc.frontend.dsl.syntax import keywords
from netc.frontend.dsl.write import to_dsl
from netc.frontend.importer import import_net
from netc.frontend.layers.registry import layer_type_names
from netc.frontend.message import collect_unknown
from netc.frontend.net_file import load_net, load_solver, read_net
from netc.frontend.phases import NetState, filter_net
from netc.frontend.schema import schema
from netc.frontend.text_print import to_text
from netc.frontend.upgrade_caffemodel import upgrade_caffemodel
from netc.frontend.weights import load_blob, load_weights
from netc.ir.attrs import attr_types
from netc.ir.diagnostics import NetcError
from netc.ir.opdef import all_opdefs
from netc.ir.parser import parse_module
from netc.ir.printer import print_module
from netc.ir.verify import verify

from .judge import check_error
from .mutation import TEXT_MUTATORS, Mutator, Pieces
from .wire_mutation import WIRE_MUTATORS

CORPUS = Path(__file__).parent / "corpus"
GOLDENS = Path(__file__).parents[1] / "goldens"

Reader = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """A format: ``reader`` makes what reads an input, given a folder for the files that it needs."""

    name: str
    reader: Callable[[Path], Reader]
    mutators: Sequence[Mutator]
    words: Callable[[], Sequence[str | bytes]]

    @property
    def paths(self) -> list[Path]:
        """The committed inputs, in the order of their names."""
        shared = sorted(GOLDENS.glob("*.prototxt")) if self.name == "net" else []
        return [*sorted((CORPUS / self.name).iterdir()), *shared]

    @cached_property
    def pieces(self) -> Pieces:
        """The committed inputs and the words."""
        seeds = [path.read_bytes() for path in self.paths]
        words = [word.encode() if isinstance(word, str) else word for word in self.words()]
        return Pieces(seeds, words)


# ---- readers


def _text_reader(folder: Path) -> Reader:
    """Prototxt of nets of all generations and of solvers; what is read is printed, and read again as the same."""
    path = folder / "case.prototxt"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        if b"solver" in data:
            load_solver(path)
            return
        net = read_net(path)
        filter_net(net, NetState("TEST", 0, frozenset()))
        path.write_text(to_text(net), encoding="utf-8")
        again = read_net(path)
        # a field that an older generation lacks may be one of the current
        assert to_text(again) == to_text(net) or collect_unknown(net)

    return read


def _net_reader(folder: Path) -> Reader:
    """Prototxt, and what it becomes: tensor IR that is valid."""
    path = folder / "case.prototxt"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        verify(import_net(load_net(path)).module)

    return read


def _dsl_reader(folder: Path) -> Reader:
    """The ``.net`` language; what is read is written, and read again as the same."""
    path = folder / "case.net"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        net = read_net(path)
        path.write_text(to_dsl(net), encoding="utf-8")
        assert to_text(read_net(path)) == to_text(net)

    return read


def _binary_reader(folder: Path) -> Reader:
    """Binary nets of all generations, and binary arrays: definitions, weights, upgrades."""
    path, target = folder / "case.caffemodel", folder / "case.upgraded.caffemodel"
    readers = (load_weights, read_net, load_blob, lambda path: upgrade_caffemodel(path, target))

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for reader in readers:
            try:
                reader(path)
            except NetcError as error:
                check_error(error)

    return read


def _ir_reader(folder: Path) -> Reader:
    """IR text of the three levels; what is read is verified, printed, and read again as the same."""

    def read(data: bytes) -> None:
        module = parse_module(data.decode("utf-8", "replace"), "case.ir")
        text = print_module(module)
        assert print_module(parse_module(text)) == text
        verify(module)

    return read


# ---- words


def _schema_words() -> list[str]:
    whole = schema()
    fields = {name for kind in whole.messages.values() for name in kind.fields}
    enums = [*whole.enums.values(), *(e for kind in whole.messages.values() for e in kind.enums.values())]
    names = {value for enum in enums for value in enum.values}
    return sorted(fields | names)


def _text_words() -> list[str]:
    types = [f'"{name}"' for name in layer_type_names()]
    signs = [*"{}<>[]:,;#-", "[a.b/c]"]
    openings = ["layer {", "layers {", "param {", "{ a " * 120, "x: [" * 120, "layer { " * 120]
    return [*_schema_words(), *types, *signs, *openings, '"' + "\\" * 9]


def _dsl_words() -> list[str]:
    signs = [*"+-*/%!=()[]{}<", "//", "**", "..", "==", "!=", "<=", "?="]
    strings = ['"{x}"', '"{', '}"', '"{{', "'"]
    lines = ["\n    ", "\n", "  ", "for i in 0..99999:\n  ", "x = x + x\n", "f(f("]
    deep = ["(" * 70, "[" * 70, "-" * 200, "not " * 200, "1 + " * 200, "x if x else " * 200, "2 ** " * 200]
    names = [*_schema_words(), *layer_type_names(), *keywords(), *BUILTINS]
    return [*names, *signs, *strings, *lines, *deep]


def _ir_words() -> list[str]:
    ops = all_opdefs()
    attrs = {name for op in ops for name in attr_types(op.attrs)}
    types = ["f32", "i64", "i1", "u8", "f32x16", "ptr<f32>", "buffer", "f32[2,16,4]{1:8}", "<f32[1,2]>"]
    dims = ["<N>", "<2*N+1>", "floordiv(N, 2)", "min(N, H)", "strides(16,1)", "(" * 60, "[" * 60]
    signs = [*"%{}@-=", "none", "true", "%x", "->", "yield", "param", "state", "output", "func @f"]
    return [*(op.name for op in ops), *sorted(attrs), *types, *dims, *signs]


def _binary_words() -> list[bytes]:
    types = [name.encode() for name in layer_type_names()]
    # varints too long, tags, a number with its tag, a length
    return [
        *types,
        b"\xff" * 12,
        b"\x80" * 9 + b"\x01",
        b"\xa2\x06",
        b"\x12",
        b"\x2a\0\0\x80\x3f",
        b"\x42\x08",
    ]


TARGETS = {
    target.name: target
    for target in (
        Target("text", _text_reader, TEXT_MUTATORS, _text_words),
        Target("net", _net_reader, TEXT_MUTATORS, _text_words),
        Target("binary", _binary_reader, WIRE_MUTATORS, _binary_words),
        Target("dsl", _dsl_reader, TEXT_MUTATORS, _dsl_words),
        Target("ir", _ir_reader, TEXT_MUTATORS, _ir_words),
    )
}
