"""Makes damaged inputs from good ones: bytes, tokens and lines are changed, moved, repeated and mixed.

Every input is a function of the seeds and of a random generator, so a number finds it again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

MAX_BYTES = 6000  # of one input: more digits than Python reads as a number, and short enough to be quick
MAX_REPEATS = 300  # of a piece, to make nesting deeper than any stack
CHANGES = (1, 1, 1, 2, 2, 3, 4)  # of one input; after many, little is left to read

_TOKEN = re.compile(rb"[A-Za-z_]\w*|-?\d[\d.eE+-]*|\"[^\"\n]*\"|\s+|.", re.DOTALL)
_NUMBERS = (
    b"0 1 -1 2 3 7 -0 127 128 255 256 65536 1000000 2147483647 -2147483648 2147483648 4294967295 4294967296 "
    b"9223372036854775807 -9223372036854775808 18446744073709551615 99999999999999999999999 0.5 1e-50 1e30 "
    b"1e38 1e39 1e308 1e999 inf -inf nan 0x7fffffff 0xffffffffffffffffff 0777 1. .5 1e 1.5f"
).split()
_BYTES = (
    b"\0", b"\xff", b"\x80", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80",
    b"\r", b"\r\n", b"\t", b"\v", b"\x0c", b"\x1c", b"\xc2\x85", b"\\", b"\xd9\xa3",
)  # fmt: skip

Mutator = Callable[[bytes, "Pieces", Random], bytes]


class Pieces:
    """What a mutation may put in: the seeds, and words of the format."""

    def __init__(self, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
        self.seeds = seeds
        self.words = words


def mutated(pieces: Pieces, mutators: Sequence[Mutator], random: Random) -> bytes:
    """One of the seeds after some changes."""
    data = random.choice(pieces.seeds)
    for _ in range(random.choice(CHANGES)):
        data = random.choice(mutators)(data, pieces, random)
    return data[:MAX_BYTES]


# ---- bytes


def flip_bit(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Change one bit."""
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def replace_byte(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Put another byte, or bytes that are hard to read, in the place of one."""
    at = random.randrange(len(data) + 1)
    new = random.choice(_BYTES) if random.random() < 0.5 else bytes([random.randrange(256)])
    return data[:at] + new + data[at + random.randint(0, 1) :]


def delete(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Take some bytes out."""
    start, end = _span(data, random)
    return data[:start] + data[end:]


def duplicate(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Say some bytes twice."""
    start, end = _span(data, random)
    return data[:end] + data[start:]


def truncate(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """End early."""
    return data[: random.randrange(len(data) + 1)]


def splice(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Put a part of another seed somewhere."""
    other = random.choice(pieces.seeds)
    start, end = _span(other, random)
    at = random.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at:]


def repeat(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Say a few bytes very often, as nesting does."""
    start = random.randrange(len(data) + 1)
    piece = data[start : start + random.randint(1, 12)]
    count = min(random.randint(2, MAX_REPEATS), MAX_BYTES // (len(piece) + 1))
    return data[:start] + piece * count + data[start + len(piece) :]


def _span(data: bytes, random: Random) -> tuple[int, int]:
    """A part of the bytes: most are short."""
    start = random.randrange(len(data) + 1)
    longest = random.choice((2, 16, 256))
    return start, min(len(data), start + random.randint(1, longest))


# ---- tokens and lines


def insert_word(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Put a word of the format between two tokens, or in the place of one."""
    tokens = _TOKEN.findall(data)
    at = random.randrange(len(tokens) + 1)
    tokens[at : at + random.randint(0, 1)] = [random.choice(pieces.words)]
    return b"".join(tokens)


def exchange_word(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Put another word in the place of a word: what follows still reads well."""
    return _exchange(data, random, lambda token: token[:1].isalpha(), pieces.words)


def exchange_string(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Put another of the strings in the place of a string."""
    strings = [token for token in _TOKEN.findall(data) if token[:1] == b'"']
    return _exchange(data, random, lambda token: token[:1] == b'"', strings or [b'""'])


def exchange_number(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Put another number in the place of a number."""
    return _exchange(data, random, lambda token: token[-1:].isdigit(), _NUMBERS)


def move_token(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Delete a token, repeat it, or exchange it for another one."""
    tokens = _TOKEN.findall(data)
    if not tokens:
        return data
    at, to = random.randrange(len(tokens)), random.randrange(len(tokens))
    kind = random.randrange(3)
    if kind == 0:
        del tokens[at]
    elif kind == 1:
        tokens.insert(to, tokens[at])
    else:
        tokens[at], tokens[to] = tokens[to], tokens[at]
    return b"".join(tokens)


def move_line(data: bytes, pieces: Pieces, random: Random) -> bytes:
    """Delete a line, repeat it elsewhere, or take a line of another seed."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    at, to = random.randrange(len(lines)), random.randrange(len(lines) + 1)
    kind = random.randrange(3)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(to, lines[at])
    else:
        lines.insert(to, random.choice(random.choice(pieces.seeds).splitlines(keepends=True) or [b""]))
    return b"".join(lines)


def _exchange(data: bytes, random: Random, chosen: Callable[[bytes], bool], new: Sequence[bytes]) -> bytes:
    tokens = _TOKEN.findall(data)
    places = [at for at, token in enumerate(tokens) if chosen(token)]
    if places:
        tokens[random.choice(places)] = random.choice(new)
    return b"".join(tokens)


BYTE_MUTATORS: tuple[Mutator, ...] = (
    flip_bit, replace_byte, delete, duplicate, truncate, splice, repeat,
)  # fmt: skip
# what keeps texts readable comes more often: it reaches what lies behind the syntax
TEXT_MUTATORS: tuple[Mutator, ...] = (
    *BYTE_MUTATORS, insert_word, move_token, *[move_line] * 3,
    *[exchange_number] * 6, *[exchange_word] * 5, *[exchange_string] * 2,
)  # fmt: skip
