"""An ELF object file that holds data under one symbol, written piece by piece.

LLVM would want the data as text; this way 550 MB of weights go from arrays to the file and nowhere else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO

from netc.backends.llvm.target import Target
from netc.ir.diagnostics import NetcError

ALIGNMENT = 64
# the small code model reaches 2 GiB in both directions, and code and other data want their part
MAX_BYTES = 3 << 29
MACHINES = {"x86_64": 62, "aarch64": 183}
"""Architecture -> ``e_machine``."""

_HEADER_BYTES, _SECTION_BYTES, _SYMBOL_BYTES = 64, 64, 24
_PROGBITS, _SYMTAB, _STRTAB = 1, 2, 3
_ALLOC = 2
_RELOCATABLE = 1
_GLOBAL_OBJECT = 1 << 4 | 1
_HIDDEN = 2
_SECTIONS = ("", ".rodata", ".symtab", ".strtab", ".note.GNU-stack")


def write_data_object(
    file: BinaryIO, symbol: str, pieces: Iterable[memoryview | bytes], nbytes: int, target: Target
) -> None:
    """Write the object: ``pieces``, ``nbytes`` in all, become read-only data at the hidden ``symbol``.

    The data is aligned to :data:`ALIGNMENT`.
    """
    if nbytes > MAX_BYTES:
        raise NetcError(
            f"the parameters are {nbytes} bytes; a library takes {MAX_BYTES} at most",
            remedy="save the net as a .netc file, which holds parameters of any size",
        )
    names = b"".join(name.encode() + b"\0" for name in _SECTIONS)
    strings = names + symbol.encode() + b"\0"
    symbols = bytes(_SYMBOL_BYTES) + struct.pack(
        "<IBBHQQ", len(names), _GLOBAL_OBJECT, _HIDDEN, _SECTIONS.index(".rodata"), 0, nbytes
    )
    # the symbols are aligned to 8 bytes, the data stands first
    symbols_at = _HEADER_BYTES + nbytes + -nbytes % 8
    strings_at = symbols_at + len(symbols)
    sections_at = strings_at + len(strings) + -len(strings) % 8
    file.write(_header(target, sections_at))
    written = 0
    for piece in pieces:
        written += file.write(piece)
    if written != nbytes:
        raise ValueError(f"{written} bytes of data, not {nbytes}")
    file.write(bytes(-nbytes % 8) + symbols + strings + bytes(-len(strings) % 8))
    rows = {
        "": (0, 0, 0, 0, 0, 0, 0, 0),
        ".rodata": (_PROGBITS, _ALLOC, _HEADER_BYTES, nbytes, 0, 0, ALIGNMENT, 0),
        # the first global symbol is number 1
        ".symtab": (_SYMTAB, 0, symbols_at, len(symbols), _SECTIONS.index(".strtab"), 1, 8, _SYMBOL_BYTES),
        ".strtab": (_STRTAB, 0, strings_at, len(strings), 0, 0, 1, 0),
        # an object without this section asks for a stack that can be executed
        ".note.GNU-stack": (_PROGBITS, 0, strings_at, 0, 0, 0, 1, 0),
    }
    for name in _SECTIONS:
        kind, flags, at, size, link, info, align, entry = rows[name]
        named = names.index(name.encode() + b"\0")
        file.write(struct.pack("<IIQQQQIIQQ", named, kind, flags, 0, at, size, link, info, align, entry))


def _header(target: Target, sections_at: int) -> bytes:
    identity = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)  # 64 bits, little endian, version 1
    machine = MACHINES[target.architecture]
    return identity + struct.pack(
        "<HHIQQQIHHHHHH",
        _RELOCATABLE, machine, 1, 0, 0, sections_at, 0, _HEADER_BYTES, 0, 0,
        _SECTION_BYTES, len(_SECTIONS), _SECTIONS.index(".strtab"),
    )  # fmt: skip
