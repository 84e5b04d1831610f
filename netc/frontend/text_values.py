"""Scalars of the text format: from the text of a value to the value that a field's type asks for."""

from __future__ import annotations

import re
import struct

from netc.frontend.schema import INTEGER_RANGES, FieldType, Scalar
from netc.frontend.suggest import did_you_mean

_INTEGER = re.compile(r"(-?)\s*(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\Z", re.ASCII)
_FLOAT = re.compile(r"(-?)\s*((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[fF]?\Z", re.ASCII)
_NAMED_FLOAT = re.compile(r"(-?)\s*(inf(?:inity)?|nan)f?\Z", re.IGNORECASE | re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
_BOOLS = {
    "true": True,
    "True": True,
    "t": True,
    "1": True,
    "false": False,
    "False": False,
    "f": False,
    "0": False,
}
_ESCAPE = re.compile(
    rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([abfnrtv\\'\"?])|(.?))",
    re.DOTALL,
)
_SIMPLE = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
    b"\\": b"\\", b"'": b"'", b'"': b'"', b"?": b"?",
}  # fmt: skip
MAX_INTEGER_DIGITS = 40  # far beyond 64 bits, and far below where int() becomes slow
FLOAT_SAFE_DIGITS = 6  # decimals of so many digits survive the way through a 32-bit float


class ValueTextError(ValueError):
    """A text is no value of its field. ``remedy`` as in ``NetcError``."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy


def parse_value(field: FieldType, text: str) -> Scalar:
    """The value of a scalar field from its text; ``text`` of strings has its quotes."""
    kind = field.kind
    if kind in ("string", "bytes"):
        return _string(field, text)
    if text[0] in "\"'":
        remedy = "write it without quotes" if kind != "enum" else _quoted_enum_remedy(field, text)
        raise ValueTextError(f"'{field.name}' takes {_wanted(field)}, got the string {_short(text)}", remedy)
    if kind == "float":
        return _float32(_float(field, text), text)
    if kind == "double":
        return _float(field, text)
    if kind == "enum":
        return _enum(field, text)
    if kind == "bool":
        if text in _BOOLS:
            return _BOOLS[text]
        raise ValueTextError(f"'{field.name}' takes true or false, got {_short(text)}")
    return _integer(field, text)


def join_strings(parts: list[str]) -> str:
    """The text of one string that equals several adjacent ones."""
    return '"' + "".join(_requoted(part) for part in parts) + '"'


def unescape(text: str) -> bytes:
    """The bytes of a quoted string."""
    inner = text[1:-1].encode("utf-8")
    return _ESCAPE.sub(_unescaped, inner) if b"\\" in inner else inner


def nearest_float32(value: float) -> float:
    """The shortest decimal that means the same 32-bit float, as a Python float."""
    if value != value or value in (float("inf"), float("-inf")):
        return value
    try:
        single = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    for digits in range(FLOAT_SAFE_DIGITS, 10):
        short = float(f"{single:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", short))[0] == single:
            return short
    return float(single)


def _float32(value: float, text: str) -> float:
    if len(text) <= FLOAT_SAFE_DIGITS and "e" not in text.lower():
        return value
    return nearest_float32(value)


def _string(field: FieldType, text: str) -> str | bytes:
    if text[0] not in "\"'":
        raise ValueTextError(
            f"'{field.name}' takes a quoted string, got {_short(text)}", f'write {field.name}: "{text}"'
        )
    if field.kind == "bytes":
        return unescape(text)
    if "\\" not in text:
        return text[1:-1]
    try:
        return unescape(text).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueTextError(f"the string of '{field.name}' is not UTF-8 after its escapes") from None


def _float(field: FieldType, text: str) -> float:
    try:
        # the usual forms; float() also takes underscores and other digits, which are refused
        if text.isascii() and "_" not in text and text[-1] in "0123456789.":
            return float(text)
    except ValueError:
        pass
    if match := _FLOAT.match(text):
        return float(match[1] + match[2])
    if match := _NAMED_FLOAT.match(text):
        return float(match[1] + match[2])
    if _INTEGER.match(text):
        return float(_any_integer(text))
    raise ValueTextError(f"'{field.name}' takes a number, got {_short(text)}")


def _any_integer(text: str) -> int:
    match = _INTEGER.match(text)
    if match is None:
        raise ValueError(text)
    digits = match[2]
    if len(digits) > MAX_INTEGER_DIGITS:
        return -(2**127) if match[1] else 2**127  # out of every range
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" and digits != "0" else 10
    return int(match[1] + digits, base)


def _integer(field: FieldType, text: str) -> int:
    try:
        value = _any_integer(text)
    except ValueError:
        raise ValueTextError(f"'{field.name}' takes an integer, got {_short(text)}") from None
    low, high = INTEGER_RANGES[field.kind]
    if not low <= value <= high:
        raise ValueTextError(f"'{field.name}' takes an integer from {low} to {high}, got {_short(text)}")
    return value


def _enum(field: FieldType, text: str) -> str:
    assert field.enum is not None
    if text in field.enum.values:
        return text
    if _INTEGER.match(text):
        name = field.enum.name_of(_any_integer(text))
        if name is not None:
            return name
    names = ", ".join(field.enum.values)
    remedy = did_you_mean(text, field.enum.values)
    raise ValueTextError(f"'{field.name}' takes one of {names}; got {_short(text)}", remedy)


def _quoted_enum_remedy(field: FieldType, text: str) -> str | None:
    if field.type_name == "LayerType":
        return "a type in quotes belongs to 'layer { }'; 'layers { }' takes the old names without quotes"
    return did_you_mean(text[1:-1], field.enum.values) if field.enum else None


def _wanted(field: FieldType) -> str:
    return {"bool": "true or false", "float": "a number", "double": "a number", "enum": "a name"}.get(
        field.kind, "an integer"
    )


def _unescaped(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, short, long, simple, other = match.groups()
    if simple is not None:
        return _SIMPLE[simple]
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    if short is not None or long is not None:
        try:
            return chr(int(short or long, 16)).encode("utf-8")
        except (ValueError, UnicodeEncodeError):
            raise ValueTextError(f"{match[0].decode()} is no character") from None
    raise ValueTextError(f"unknown escape '\\{other.decode('utf-8', 'replace')}' in a string")


def _requoted(part: str) -> str:
    inner = part[1:-1]
    return inner if part[0] == '"' else inner.replace('"', '\\"')


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
