"""Loads nets and solvers from files or texts of any generation, prototxt or ``.net``."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterable

from netc.frontend.binary_file import has_control_characters, open_binary
from netc.frontend.caffemodel import cut_net
from netc.frontend.dsl.read import SUFFIX, looks_like_dsl, parse_dsl
from netc.frontend.message import Message
from netc.frontend.phases import NetState, filter_net
from netc.frontend.protobuf_messages import from_protobuf
from netc.frontend.text_format import parse_text
from netc.frontend.upgrade import upgrade_net, upgrade_solver
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source

MAX_TEXT_BYTES = 16 << 20
"""Definitions have some hundred kilobytes at most; a larger text is weights, or no net at all."""

BINARY_SUFFIXES = (".caffemodel", ".binaryproto", ".pb")
STRING_NAME = "<string>"
_SNIFFED_BYTES = 512
_BOM = "\ufeff"


def load_net(
    source: str | os.PathLike[str], *, phase: str = "TEST", level: int = 0, stages: Iterable[str] = ()
) -> Message:
    """The layers of a net that belong to a phase, as a ``NetParameter`` of the current generation.

    ``source`` is a path, or a text (a string with a line break or a brace). Stages in the net's own
    ``state`` count too; the result's ``state`` is what the layers were selected by.
    """
    if phase not in ("TRAIN", "TEST"):
        raise NetcError(f"phase is TRAIN or TEST, got {phase!r}")
    net = read_net(source)
    return select_layers(net, phase, level, net.message("state").texts("stage") + tuple(stages))


def select_layers(net: Message, phase: str, level: int, stages: Iterable[str]) -> Message:
    """The layers of a net that belong to a state, which the result's ``state`` is."""
    chosen = tuple(stages)
    filtered = filter_net(net, NetState(phase, level, frozenset(chosen)))
    filtered.set("state", _state_message(phase, level, chosen), net.where("state"))
    return filtered


def read_net(source: str | os.PathLike[str]) -> Message:
    """A net of any generation as one of the current generation, with the layers of all phases."""
    if not is_prototxt(source) and _is_binary(os.fspath(source)):
        return upgrade_net(_read_binary_net(os.fspath(source)))
    text = read_source(source)
    if text.name.lower().endswith(SUFFIX) or looks_like_dsl(text.text):
        return upgrade_net(parse_dsl(text))
    return upgrade_net(parse_text(text, "NetParameter"))


def load_solver(source: str | os.PathLike[str]) -> Message:
    """A solver of any generation as a current ``SolverParameter``; ``source`` as for ``load_net``."""
    return upgrade_solver(parse_text(read_source(source), "SolverParameter"))


def is_prototxt(source: str | os.PathLike[str]) -> bool:
    """Whether a source is a text itself rather than the path of one."""
    return isinstance(source, str) and ("\n" in source or "{" in source)


def read_source(source: str | os.PathLike[str]) -> Source:
    """The text of a source with the name that errors show."""
    if is_prototxt(source):
        return Source(STRING_NAME, str(source).removeprefix(_BOM))
    path = os.fspath(source)
    # line ends as every editor counts them; the text begins behind a byte order mark
    data = _read_bytes(path).removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, data, error.start) from None
    if not text.strip():
        raise NetcError(f"{path}: the file is empty")
    return Source(path, text)


def _read_bytes(path: str) -> bytes:
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise NetcError(f"{path}: is a directory", remedy="give the path of a prototxt file")
        if status.st_size > MAX_TEXT_BYTES:
            raise NetcError(
                f"too large for a definition: {status.st_size} bytes, the limit is {MAX_TEXT_BYTES}",
                location=Location(path, 1, 1),
                remedy="keep weights in a .caffemodel",
            )
        with open(path, "rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)  # a pipe has no size beforehand
    except OSError as error:
        raise NetcError(f"{path}: {error.strerror or error}") from None
    except ValueError:
        raise NetcError(f"{path!r}: is no path") from None
    if len(data) > MAX_TEXT_BYTES:
        raise NetcError(f"{path}: too large for a definition, the limit is {MAX_TEXT_BYTES} bytes")
    return data


def _not_utf8(path: str, data: bytes, offset: int) -> NetcError:
    before = data[:offset]
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
    source = Source(path, data[: offset + 200].decode("utf-8", "replace"))
    return NetcError(
        f"the byte 0x{data[offset]:02x} is not UTF-8 text",
        location=Location(path, line, column, source),
        remedy="save the file as UTF-8, or give the prototxt if this is a binary file",
    )


def _is_binary(path: str) -> bool:
    if path.lower().endswith(BINARY_SUFFIXES):
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(_SNIFFED_BYTES)
    except (OSError, ValueError):
        return False  # reading it as text reports what is wrong
    # a message begins with the tag of one of NetParameter's fields, and no text with control characters
    return has_control_characters(head) and head[:1] in (b"\x0a", b"\x12", b"\x1a", b"\xa2")


def _read_binary_net(path: str) -> Message:
    """The definition in a binary net, without its weights."""
    location = Location(path, 1, 1)
    with open_binary(path) as file:
        cut = cut_net(file)
        net = from_protobuf(cut.message, location)
        for layer in cut.layers:
            name = "layer" if layer.message.DESCRIPTOR.name == "LayerParameter" else "layers"
            net.add(name, from_protobuf(layer.message, location), location)
    return net


def _state_message(phase: str, level: int, stages: Iterable[str]) -> Message:
    state = Message("NetState")
    state.set("phase", phase)
    state.set("level", level)
    for stage in stages:
        state.add("stage", stage)
    return state
