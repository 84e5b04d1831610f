"""Settings in a message that Caffe's schema lacks: ``layer { … my_param { gain: 2 } }`` of a plug-in."""

from __future__ import annotations

from netc.frontend.message import UnknownField
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location


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
        """All values of a scalar field, as strings without their quotes."""
        return tuple(f.value.strip("\"'") for f in self.fields if f.name == name and isinstance(f.value, str))

    def text(self, name: str, default: str) -> str:
        """The value of a string or an enum."""
        return next(iter(self.texts(name)), default)

    def numbers(self, name: str) -> tuple[float, ...]:
        """All values of a number."""
        return tuple(self._number(name, text) for text in self.texts(name))

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

    def _number(self, name: str, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise self._error(name, f"expected a number, got '{text}'") from None

    def _error(self, name: str, message: str) -> NetcError:
        found = next((f.location for f in self.fields if f.name == name and f.location), self.location)
        return NetcError(f"{self.name}.{name}: {message}", location=found, layer=self.layer)
