"""Settings in a message that Caffe's schema lacks: ``layer { … my_param { gain: 2 } }`` of a plug-in."""

from __future__ import annotations

from netc.frontend.message import UnknownField
from netc.frontend.schema import FieldType, Scalar
from netc.frontend.text_values import ValueTextError, parse_value
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location

_QUOTES = ('"', "'")


class CustomParam:
    """The fields of such a message, read as the type that the caller expects."""

    def __init__(self, name: str, field: UnknownField | None, location: Location | None, layer: str) -> None:
        self.name = name
        self.location = field.location if field is not None and field.location else location
        self.layer = layer
        inner = field.value if field is not None else ()
        if isinstance(inner, str):
            message = f"'{name}' must be a message: {name} {{ … }}"
            raise NetcError(message, location=self.location, layer=layer)
        self.fields = inner

    def has(self, name: str) -> bool:
        """Whether the field is set."""
        return any(f.name == name for f in self.fields)

    def texts(self, name: str) -> tuple[str, ...]:
        """All values of a scalar field: strings without quotes and escapes, others as written."""
        return tuple(self._text(name, value) for value in self._written(name))

    def text(self, name: str, default: str) -> str:
        """The value of a string or an enum."""
        return next(iter(self.texts(name)), default)

    def numbers(self, name: str) -> tuple[float, ...]:
        """All values of a number."""
        return tuple(float(self._parsed(name, "double", value)) for value in self._written(name))

    def number(self, name: str, default: float) -> float:
        """The value of a number."""
        return next(iter(self.numbers(name)), default)

    def integer(self, name: str, default: int) -> int:
        """The value of an integer."""
        value = self.number(name, default)
        if not float(value).is_integer():
            raise self._error(name, f"expected an integer, got {value}")
        return int(value)

    def flag(self, name: str, default: bool) -> bool:
        """The value of a bool."""
        text = self.text(name, str(default)).lower()
        if text not in ("true", "false", "1", "0"):
            raise self._error(name, f"expected true or false, got '{text}'")
        return text in ("true", "1")

    def _written(self, name: str) -> tuple[str, ...]:
        """The values of a field as they stand in the text; a message is none."""
        return tuple(f.value for f in self.fields if f.name == name and isinstance(f.value, str))

    def _text(self, name: str, written: str) -> str:
        return str(self._parsed(name, "string", written)) if written[:1] in _QUOTES else written

    def _parsed(self, name: str, kind: str, written: str) -> Scalar:
        """A value by the rules of the text format for fields of this kind."""
        try:
            return parse_value(FieldType(name, 0, kind, False, False, False, kind), written)
        except ValueTextError as error:
            if kind == "string":
                raise self._error(name, str(error)) from None
            shown = written.strip("\"'")
            raise self._error(name, f"expected a number, got '{shown}'") from None

    def _error(self, name: str, message: str) -> NetcError:
        found = next((f.location for f in self.fields if f.name == name and f.location), self.location)
        return NetcError(f"{self.name}.{name}: {message}", location=found, layer=self.layer)
