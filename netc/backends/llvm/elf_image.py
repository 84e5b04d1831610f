"""Links ELF object files of x86-64 into this process, without LLVM.

The objects that the backend makes are simple: code, constants, and the distances between them. This linker
knows just that, and refuses everything else, which is then `jit_image`'s to do or to complain about. Running
known code so needs no LLVM in memory.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_HEADER_BYTES, _SECTION_BYTES, _SYMBOL_BYTES, _RELOCATION_BYTES = 64, 64, 24, 24
_IDENTITY = b"\x7fELF\x02\x01\x01"  # 64 bits, little endian, version 1
_RELOCATABLE, _X86_64 = 1, 62
_PROGBITS, _SYMTAB, _RELA, _NOBITS, _REL = 1, 2, 4, 8, 9
_UNWIND = 0x70000001  # tables for exceptions and debuggers, which nothing here throws or starts
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_UNDEFINED, _FIRST_RESERVED = 0, 0xFF00
_LOCAL = 0
_R_64, _R_PC32, _R_PLT32 = 1, 2, 4
_JUMP = b"\xff\x25\x00\x00\x00\x00"  # jmp *0(%rip): to the address that follows
_STUB_BYTES = 16
_MOST_ALIGNMENT = 4096
_MAX_BYTES = 1 << 30  # distances between any two of its bytes fit 32 bits
_PAGE = mmap.PAGESIZE
_FAILED = ctypes.c_void_p(-1).value


class CannotLinkError(Exception):
    """An object is damaged, or holds what this linker does not know."""


@dataclass(slots=True)
class _Section:
    kind: int
    flags: int
    data: bytes
    nbytes: int
    alignment: int
    link: int
    info: int
    at: int | None = None
    """Where it lies in the image, if it does."""


@dataclass(frozen=True, slots=True)
class _Symbol:
    name: str
    binding: int
    section: int
    value: int


@dataclass(slots=True)
class _Object:
    sections: list[_Section]
    symbols: list[_Symbol] = field(default_factory=list)


class ElfImage:
    """Object files in memory that may be executed; ``imports`` are the addresses of what they may call.

    `CannotLinkError` for anything but sound objects of x86-64 under Linux.
    """

    def __init__(self, objects: Sequence[bytes], imports: Mapping[str, int]) -> None:
        if sys.platform != "linux":
            raise CannotLinkError("not Linux")
        parsed = [_parse(data) for data in objects]
        groups = [
            [
                s
                for o in parsed
                for s in o.sections
                if s.flags & _ALLOC and s.flags & (_EXECUTE | _WRITE) == kind
            ]
            for kind in (_EXECUTE, 0, _WRITE)
        ]
        called = _called(parsed)
        if missing := called - imports.keys():
            raise CannotLinkError(f"nothing defines {', '.join(sorted(missing))}")
        # code, then stubs, then constants, then data; what is protected alike shares pages
        code_end = _place(groups[0], 0)
        stubs = {name: code_end + index * _STUB_BYTES for index, name in enumerate(sorted(called))}
        constants = _round_up(code_end + len(stubs) * _STUB_BYTES, _PAGE)
        variables = _round_up(_place(groups[1], constants), _PAGE)
        end = _place(groups[2], variables)
        self._base, finalizer = _allocate(self, max(_PAGE, end))
        self._close = finalizer
        memory = memoryview((ctypes.c_char * end).from_address(self._base)).cast("B")
        try:
            self._offsets = _globals(parsed)
            for section in (s for group in groups for s in group):
                assert section.at is not None
                memory[section.at : section.at + len(section.data)] = section.data
            for name, at in stubs.items():
                memory[at : at + len(_JUMP) + 8] = _JUMP + struct.pack("<Q", imports[name])
            for one in parsed:
                self._relocate(memory, one, stubs)
            _protect(self._base, constants, mmap.PROT_READ | mmap.PROT_EXEC)
            _protect(self._base + constants, variables - constants, mmap.PROT_READ)
        except BaseException:
            self.close()
            raise

    def address(self, name: str) -> int:
        """Of a symbol that is seen outside its object; `KeyError` where none defines it."""
        return self._base + self._offsets[name]

    def close(self) -> None:
        """Give the memory back. Nothing may run the code, now or later."""
        self._close()

    def _relocate(self, memory: memoryview, one: _Object, stubs: Mapping[str, int]) -> None:
        for section, where, symbol, kind, addend in _relocations(one):
            assert section.at is not None
            place = section.at + where
            if symbol.section != _UNDEFINED:
                target = _offset(one, symbol)
            elif symbol.name in self._offsets:
                target = self._offsets[symbol.name]
            elif kind == _R_PLT32:
                target = stubs[symbol.name]
            else:
                raise CannotLinkError(f"the address of {symbol.name} is taken")
            if kind == _R_64:
                struct.pack_into("<Q", memory, place, (self._base + target + addend) % (1 << 64))
            else:
                struct.pack_into("<i", memory, place, target + addend - place)


def _parse(data: bytes) -> _Object:
    try:
        return _parse_sound(data)
    except (struct.error, UnicodeDecodeError, ValueError, IndexError, OverflowError) as error:
        raise CannotLinkError(f"a damaged object: {error}") from None


def _parse_sound(data: bytes) -> _Object:
    kind, machine = struct.unpack_from("<HH", data, 16)
    if data[: len(_IDENTITY)] != _IDENTITY or (kind, machine) != (_RELOCATABLE, _X86_64):
        raise CannotLinkError("not an object for x86-64")
    (table,) = struct.unpack_from("<Q", data, 40)
    entry_bytes, count, _ = struct.unpack_from("<HHH", data, 58)
    if entry_bytes != _SECTION_BYTES:
        raise CannotLinkError("sections of another size")
    one = _Object([_section(data, table + index * _SECTION_BYTES) for index in range(count)])
    tables = [section for section in one.sections if section.kind == _SYMTAB]
    if len(tables) != 1:
        raise CannotLinkError(f"{len(tables)} tables of symbols")
    (table_section,) = tables
    names = one.sections[table_section.link].data
    one.symbols = [
        _symbol(table_section.data, at, names)
        for at in range(0, table_section.nbytes - _SYMBOL_BYTES + 1, _SYMBOL_BYTES)
    ]
    return one


def _section(data: bytes, at: int) -> _Section:
    _, kind, flags, _, start, nbytes, link, info, alignment, _ = struct.unpack_from("<IIQQQQIIQQ", data, at)
    content = b"" if kind == _NOBITS else data[start : start + nbytes]
    if (kind != _NOBITS and len(content) != nbytes) or nbytes > _MAX_BYTES:
        raise CannotLinkError("a section ends early")
    if kind == _UNWIND:
        flags &= ~_ALLOC
    if flags & _ALLOC and kind not in (_PROGBITS, _NOBITS):
        raise CannotLinkError(f"a section of kind {kind}")
    alignment = max(1, alignment)
    if alignment & (alignment - 1) or alignment > _MOST_ALIGNMENT or (flags & _WRITE and flags & _EXECUTE):
        raise CannotLinkError("a section that is not laid out as usual")
    return _Section(kind, flags, content, nbytes, alignment, link, info)


def _symbol(table: bytes, at: int, names: bytes) -> _Symbol:
    name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", table, at)
    if section >= _FIRST_RESERVED:
        section = _UNDEFINED  # absolute or common: nothing here uses one, and a use is refused
    return _Symbol(names[name : names.index(b"\0", name)].decode(), info >> 4, section, value)


def _relocations(one: _Object) -> Iterator[tuple[_Section, int, _Symbol, int, int]]:
    """For each: the section that is patched, where, the symbol it wants, how, and what is added."""
    for table in one.sections:
        if table.kind not in (_RELA, _REL):
            continue
        try:
            section = one.sections[table.info]
            if not section.flags & _ALLOC:
                continue
            if table.kind == _REL or section.kind == _NOBITS:
                raise CannotLinkError("relocations of another form")
            for at in range(0, table.nbytes, _RELOCATION_BYTES):
                where, info, addend = struct.unpack_from("<QQq", table.data, at)
                kind = info & 0xFFFFFFFF
                if kind not in (_R_64, _R_PC32, _R_PLT32):
                    raise CannotLinkError(f"a relocation of kind {kind}")
                if where + (8 if kind == _R_64 else 4) > section.nbytes or abs(addend) > _MAX_BYTES:
                    raise CannotLinkError("a relocation that lies outside")
                yield section, where, one.symbols[info >> 32], kind, addend
        except (IndexError, struct.error):
            raise CannotLinkError("a relocation of nothing") from None


def _called(objects: Sequence[_Object]) -> set[str]:
    """Names that no object defines."""
    defined = _defined(objects)
    wanted = {
        symbol.name
        for one in objects
        for _, _, symbol, _, _ in _relocations(one)
        if symbol.section == _UNDEFINED
    }
    return wanted - defined


def _defined(objects: Sequence[_Object]) -> set[str]:
    found: set[str] = set()
    for symbol in (s for one in objects for s in one.symbols):
        if symbol.section == _UNDEFINED or symbol.binding == _LOCAL:
            continue
        if symbol.name in found:
            raise CannotLinkError(f"{symbol.name} is defined twice")
        found.add(symbol.name)
    return found


def _globals(objects: Sequence[_Object]) -> dict[str, int]:
    """Offsets of all symbols that are seen outside their objects, once sections have their places."""
    return {
        symbol.name: _offset(one, symbol)
        for one in objects
        for symbol in one.symbols
        if symbol.section != _UNDEFINED and symbol.binding != _LOCAL
    }


def _offset(one: _Object, symbol: _Symbol) -> int:
    if symbol.section >= len(one.sections):
        raise CannotLinkError("a symbol in no section")
    section = one.sections[symbol.section]
    if section.at is None or symbol.value > section.nbytes:
        raise CannotLinkError("a symbol that lies outside")
    return section.at + symbol.value


def _place(sections: Sequence[_Section], at: int) -> int:
    """Give each section its place, the first at ``at``; where the last ends."""
    for section in sections:
        section.at = _round_up(at, section.alignment)
        at = section.at + section.nbytes
        if at > _MAX_BYTES:
            raise CannotLinkError("too much code")
    return at


def _allocate(owner: object, nbytes: int) -> tuple[int, weakref.finalize[..., object]]:
    """Fresh memory that goes with its owner, but not at the end of the process: threads may be in it."""
    map_memory = ctypes.CDLL(None, use_errno=True).mmap
    map_memory.restype = ctypes.c_void_p
    map_memory.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    flags, protection = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE
    address = map_memory(None, nbytes, protection, flags, -1, 0)
    if address in (None, _FAILED):
        raise CannotLinkError("no memory for code")
    finalizer = weakref.finalize(owner, _release, address, nbytes)
    finalizer.atexit = False
    return address, finalizer


def _release(address: int, nbytes: int) -> None:
    ctypes.CDLL(None).munmap(ctypes.c_void_p(address), ctypes.c_size_t(nbytes))


def _protect(address: int, nbytes: int, how: int) -> None:
    if nbytes and ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(nbytes), how):
        raise CannotLinkError("the system does not let memory be executed")


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
