"""Writes a net in the ``.net`` language: a line a layer, no loops. Reading it gives an equal net."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netc.frontend.dsl.evaluate import enum_names
from netc.frontend.dsl.net_writer import WITHOUT_TOPS
from netc.frontend.dsl.syntax import keywords
from netc.frontend.dsl.values import show_number
from netc.frontend.layer_fields import find_field, known_types, own_messages
from netc.frontend.message import Message, UnknownField, Value
from netc.frontend.schema import FieldType
from netc.frontend.text_print import quoted
from netc.frontend.text_values import ValueTextError, unescape
from netc.ir.diagnostics import NetcError

LINE_LENGTH = 100
_INDENT = "    "
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\Z")
_SPECIAL = ("name", "type", "bottom", "top")


def to_dsl(net: Message) -> str:
    """The text of a net whose layers are of the current generation."""
    if net.has("layers"):
        raise NetcError("the net is of an older generation", location=net.where("layers"))
    writer = _Writer()
    lines = [*_net_lines(net), *(writer.layer(layer) for layer in net.messages("layer"))]
    return "".join(f"{line}\n" for line in lines)


class _Writer:
    """Knows which variable holds which blob at the line that is written."""

    def __init__(self) -> None:
        self._blob_of: dict[str, str] = {}
        self._variable_of: dict[str, str] = {}
        self._names: set[str] = set()

    def layer(self, layer: Message) -> str:
        """The statement that makes a layer."""
        kind = layer.text("type") if layer.has("type") else None
        bottoms, tops = layer.texts("bottom"), layer.texts("top")
        in_place = len(tops) == 1 and bottoms[:1] == tops
        args = [self._reference(bottom) for bottom in bottoms]
        if kind is None or kind not in known_types() or not _NAME.match(kind):
            args.insert(0, "none" if kind is None else _string(kind))
            callee = "layer"
        else:
            callee = kind
        targets, naming = self._targets(layer, kind, tops, in_place)
        args += naming
        args += _settings(layer, kind or "")
        if layer.has("name"):
            self._names.add(layer.text("name"))
        for target, top in zip(targets, tops, strict=False):
            self._bind(target, top)
        left = f"{', '.join(targets)} = " if targets else ""
        return _wrapped(f"{left}{callee}{'!' if in_place else ''}(", args)

    def _targets(
        self, layer: Message, kind: str | None, tops: tuple[str, ...], in_place: bool
    ) -> tuple[list[str], list[str]]:
        """The variables that a layer is assigned to, and the arguments for names that differ from them."""
        name = layer.text("name") if layer.has("name") else None
        named = f"name={'none' if name is None else _string(name)}"
        may_repeat = layer.has("include") or layer.has("exclude")
        is_free = name is not None and (may_repeat or name not in self._names)
        if in_place:
            if name is not None and is_free and _variable(name) == name and name not in self._blob_of:
                return [name], []
            return [], [named]
        if not tops:
            return [], [named] if kind in WITHOUT_TOPS else [named, "top=[]"]
        targets = [_variable(top) for top in tops]
        plain = targets == list(tops)
        shown_tops = [_string(top) for top in tops]
        if len(tops) == 1:
            if name == tops[0]:
                return targets, [] if plain and is_free else [named]
            return targets, [named, f"top={shown_tops[0]}"]
        if len(set(targets)) < len(targets):
            return [], [named, f"top=[{', '.join(shown_tops)}]"]
        arguments = [] if name == tops[0] and plain and is_free else [named]
        return targets, arguments if plain else [*arguments, f"top=[{', '.join(shown_tops)}]"]

    def _reference(self, blob: str) -> str:
        return self._variable_of.get(blob) or _string(blob)

    def _bind(self, variable: str, blob: str) -> None:
        before = self._blob_of.get(variable)
        if before is not None and self._variable_of.get(before) == variable:
            del self._variable_of[before]
        self._blob_of[variable] = blob
        self._variable_of.setdefault(blob, variable)


def _net_lines(net: Message) -> Iterator[str]:
    args = []
    for field, values in _fields(net):
        if field.name != "layer":
            args.append(f"{field.name}={_values(field, values)}")
    args += _unknown_arguments(net)
    if args:
        yield _wrapped("net(", args)


def _settings(layer: Message, kind: str) -> Iterator[str]:
    """The arguments for all fields of a layer but its names and blobs."""
    for field, values in _fields(layer):
        if field.name in _SPECIAL:
            continue
        value = values[0]
        is_own = field.name in own_messages(kind)
        if is_own and isinstance(value, Message) and _is_flat(value, kind, field.name):
            for inner, inner_values in _fields(value):
                yield f"{inner.name}={_values(inner, inner_values)}"
        else:
            shadowed = _is_shadowed(kind, field)
            name = _string(field.name) if shadowed else field.name
            yield f"{name}={_values(field, values)}"
    yield from _unknown_arguments(layer)


def _is_shadowed(kind: str, field: FieldType) -> bool:
    """Whether a layer's own message has a field of the same name."""
    found = find_field(kind, field.name)
    return found is None or found[1] is not field


def _is_flat(message: Message, kind: str, own: str) -> bool:
    """Whether the fields of a layer's own message can stand in the call themselves."""
    names = [name for name, _ in message.fields()]
    return (
        bool(names)
        and not message.unknown
        and all(name not in _SPECIAL and (find_field(kind, name) or ("",))[0] == own for name in names)
    )


def _unknown_arguments(message: Message) -> Iterator[str]:
    for unknown in message.unknown:
        yield f"{_key(unknown.name)}?={_unknown_value(unknown)}"


def _fields(message: Message) -> Iterator[tuple[FieldType, tuple[Value, ...]]]:
    values = dict(message.fields())
    for field in sorted((message.type.fields[name] for name in values), key=lambda each: each.number):
        yield field, values[field.name]


def _values(field: FieldType, values: tuple[Value, ...]) -> str:
    texts = [_message(value) if isinstance(value, Message) else _scalar(field, value) for value in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _message(message: Message) -> str:
    entries = [f"{field.name}: {_values(field, values)}" for field, values in _fields(message)]
    entries += [f"{_key(each.name)}?: {_unknown_value(each)}" for each in message.unknown]
    return f"{{{', '.join(entries)}}}"


def _scalar(field: FieldType, value: bool | int | float | str | bytes) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return _string(value.decode("utf-8", "replace"))  # no field of a layer holds bytes
    if isinstance(value, str):
        return value if field.enum is not None else _string(value)
    # without its point it would be the integer 0, which has no sign
    return "-0.0" if repr(value) == "-0.0" else show_number(value)


def _unknown_value(field: UnknownField) -> str:
    if isinstance(field.value, tuple):
        return f"{{{', '.join(f'{_key(each.name)}?: {_unknown_value(each)}' for each in field.value)}}}"
    text = field.value
    if text in ("true", "false") or _INTEGER.match(text):
        return text
    if text[:1] == '"':
        try:
            plain = unescape(text).decode("utf-8")
        except (ValueTextError, UnicodeDecodeError):
            plain = None
        if plain is not None and quoted(plain) == text:
            return _string(plain)
    return f"raw({_string(text)})"


def _key(name: str) -> str:
    return name if _NAME.match(name) and name not in keywords() else _string(name)


def _string(text: str) -> str:
    """A string without interpolation."""
    escaped = quoted(text)
    if "{" not in text and "}" not in text:
        return escaped
    if "'" not in text:
        return f"'{escaped[1:-1]}'"
    return escaped.replace("{", "{{").replace("}", "}}")


def _variable(name: str) -> str:
    """A variable's name that is like a blob's."""
    made = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if not made or made[0].isdigit():
        made = f"_{made}"
    if made in keywords() or made in enum_names() or made in ("inf", "nan"):
        made += "_"
    return made


def _wrapped(start: str, args: list[str]) -> str:
    """A call; one that is too long goes on in further lines."""
    whole = f"{start}{', '.join(args)})"
    if len(whole) <= LINE_LENGTH:
        return whole
    lines = [start]
    for position, arg in enumerate(args):
        piece = arg + (")" if position == len(args) - 1 else ",")
        space = "" if lines[-1].endswith("(") or lines[-1] == _INDENT else " "
        if len(lines[-1]) + len(space) + len(piece) > LINE_LENGTH and position:
            lines.append(_INDENT)
            space = ""
        lines[-1] += space + piece
    return "\n".join(lines)
