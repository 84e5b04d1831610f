"""Read a V2 prototxt without netc, so that what is built from it is independent of netc's own reader."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<string>"[^"]*"|'[^']*')|(?P<mark>[{}:;,\[\]])|(?P<word>[^\s{}:;,\[\]"'#]+)"""
)


class Message:
    """One protobuf message: field name -> the values given for it, in order."""

    def __init__(self) -> None:
        self.fields: dict[str, list[Any]] = {}

    def all(self, name: str) -> list[Any]:
        """Every value of a repeated field."""
        return self.fields.get(name, [])

    def get(self, name: str, default: Any = None) -> Any:
        """The last value of a field, as protobuf merges scalars."""
        return self.fields[name][-1] if name in self.fields else default

    def sub(self, name: str) -> "Message":
        """A nested message, empty when absent."""
        value = self.get(name, EMPTY)
        assert isinstance(value, Message)
        return value


EMPTY = Message()


def parse(text: str) -> Message:
    """Parse protobuf text format: messages, scalars and bracketed lists."""
    return _message(_tokens(text), closing="")


def read_layers(path: Path) -> list[Message]:
    """Return the layers of a V2 net that take part in phase TEST, Input layers included."""
    net = parse(path.read_text())
    return [layer for layer in net.all("layer") if _runs_in_test(layer)]


def _runs_in_test(layer: Message) -> bool:
    included = [rule.get("phase", "TEST") for rule in layer.all("include")]
    excluded = [rule.get("phase", "TEST") for rule in layer.all("exclude")]
    return "TEST" in included if included else "TEST" not in excluded


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text[position : position + 40]!r}")
        position = match.end()
        if match.lastgroup is not None:
            yield match.group(match.lastgroup)


def _message(tokens: Iterator[str], closing: str) -> Message:
    message = Message()
    for name in tokens:
        if name == closing:
            return message
        if name in ";,":
            continue
        token = next(tokens)
        if token == ":":
            token = next(tokens)
        values = message.fields.setdefault(name, [])
        if token == "{":
            values.append(_message(tokens, closing="}"))
        elif token == "[":
            values.extend(_scalar(item) for item in iter(lambda: next(tokens), "]") if item != ",")
        else:
            values.append(_scalar(token))
    if closing:
        raise ValueError(f"missing {closing!r} at the end of the text")
    return message


def _scalar(token: str) -> str | bool | int | float:
    if token[0] in "\"'":
        return token[1:-1]
    if token in ("true", "false"):
        return token == "true"
    for convert in (int, float):
        try:
            return convert(token)
        except ValueError:
            continue
    return token
