"""Builds nets in Python, spelled as the original's NetSpec.

>>> n = NetSpec()
>>> n.data = layers.Input(shape=dict(dim=[1, 1, 28, 28]))
>>> n.conv1 = layers.Convolution(n.data, num_output=20, kernel_size=5, weight_filler=dict(type="xavier"))
>>> n.relu1 = layers.ReLU(n.conv1, in_place=True)
>>> print(str(n.to_proto()).splitlines()[-2])
  top: "conv1"

A layer's name is that of its first top; tops that no variable names are numbered by type: ``Pooling1``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from netc.frontend.field_values import check_scalar, shown
from netc.frontend.layer_fields import find_field, setting_names
from netc.frontend.message import Message
from netc.frontend.schema import FieldType, schema
from netc.frontend.suggest import did_you_mean
from netc.frontend.text_print import to_text
from netc.frontend.text_values import ValueTextError
from netc.ir.diagnostics import NetcError

__all__ = ["Function", "NetProto", "NetSpec", "Top", "layers", "params", "to_proto"]

MAX_DEPTH = 50  # of messages and lists inside each other


class NetProto(Message):
    """A net whose ``str`` is its prototxt."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("NetParameter")

    def __str__(self) -> str:
        return to_text(self)


class Top:
    """One result of a layer."""

    def __init__(self, function: Function, index: int) -> None:
        self.fn = function
        self.n = index

    def to_proto(self) -> NetProto:
        """The net that computes this top, with numbered names."""
        return to_proto(self)


class Function:
    """A layer that is called, but has no names yet.

    ``ntop`` is the number of its tops; ``in_place``: they are its bottoms.
    """

    def __init__(
        self, type_name: str, inputs: tuple[Any, ...], settings: dict[str, Any], *, ntop: int, in_place: bool
    ) -> None:
        for index, each in enumerate(inputs):
            if not isinstance(each, Top):
                kind = type(each).__name__
                raise TypeError(
                    f"{type_name}: bottom {index} is a {kind}, where the top of a layer is expected"
                )
        if in_place and (ntop != len(inputs) or not inputs):
            raise TypeError(f"{type_name}: in place there are as many tops as bottoms, one or more")
        self.type_name = type_name
        self.inputs: tuple[Top, ...] = inputs
        self.settings = settings
        self.in_place = in_place
        self.tops = tuple(Top(self, index) for index in range(ntop))


class NetSpec:
    """A net in the making: attributes are tops, in the order of their assignment."""

    tops: dict[str, Top | Function]

    def __init__(self) -> None:
        super().__setattr__("tops", {})

    def __setattr__(self, name: str, value: Top | Function) -> None:
        if not isinstance(value, Top | Function):
            raise TypeError(f"'{name}' is a {type(value).__name__}, where the top of a layer is expected")
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return self.tops[name]
        except KeyError:
            raise AttributeError(f"the net has no top '{name}'") from None

    def __delattr__(self, name: str) -> None:
        if self.tops.pop(name, None) is None:
            raise AttributeError(f"the net has no top '{name}'")

    __setitem__ = __setattr__
    __delitem__ = __delattr__

    def __getitem__(self, name: str) -> Any:
        return self.tops[name]

    def to_proto(self) -> NetProto:
        """The net: every layer that a named top needs."""
        return _Writer({value: name for name, value in self.tops.items()}).net(self.tops.values())


def to_proto(*tops: Top | Function) -> NetProto:
    """The net that computes the tops, with numbered names."""
    return _Writer({}).net(tops)


class _Writer:
    """Gives names to tops and layers, and writes each layer once, after those it needs."""

    def __init__(self, names: dict[Top | Function, str]) -> None:
        self._names = names
        self._counts: Counter[str] = Counter()
        self._layers: dict[Function, Message] = {}

    def net(self, tops: Iterable[Top | Function]) -> NetProto:
        for top in tops:
            self._add(top.fn if isinstance(top, Top) else top)
        net = NetProto()
        for layer in self._layers.values():
            net.add("layer", layer)
        return net

    def _add(self, last: Function) -> None:
        """Write a layer and what it needs; without recursion, since nets are deep."""
        pending = [last]
        while pending:
            function = pending[-1]
            missing = [top.fn for top in function.inputs if top.fn not in self._layers]
            if function in self._layers:
                pending.pop()
            elif missing:
                pending.append(missing[0])
            else:
                self._layers[pending.pop()] = self._layer(function)

    def _layer(self, function: Function) -> Message:
        layer = Message("LayerParameter")
        layer.set("type", function.type_name)
        bottoms = [self._layers[top.fn].texts("top")[top.n] for top in function.inputs]
        for bottom in bottoms:
            layer.add("bottom", bottom)
        for top in bottoms if function.in_place else map(self._name, function.tops):
            layer.add("top", top)
        given = function.settings.get("name")
        name = given if given is not None else self._name(function.tops[0] if function.tops else function)
        for setting, value in {**function.settings, "name": name}.items():
            try:
                _put_setting(layer, function.type_name, setting, value)
            except NetcError as error:
                raise error.at(None, str(name)) from None
        return layer

    def _name(self, value: Top | Function) -> str:
        if value not in self._names:
            kind = (value.fn if isinstance(value, Top) else value).type_name
            self._counts[kind] += 1
            self._names[value] = f"{kind}{self._counts[kind]}"
        return self._names[value]


def _put_setting(layer: Message, kind: str, name: str, value: Any) -> None:
    found = find_field(kind, name)
    if found is None:
        remedy = did_you_mean(name, setting_names(kind))
        raise NetcError(f"{kind} has no setting '{name}'", remedy=remedy)
    own, field = found
    if value is not None:
        _put(layer if own is None else layer.ensure(own), field, value, 0)


def _put(message: Message, field: FieldType, value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NetcError(f"'{field.name}' is nested more than {MAX_DEPTH} deep")
    if field.repeated:
        several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | Message)
        for each in value if several else (value,):
            message.add(field.name, _single(field, each, depth))
    else:
        if message.has(field.name):
            raise NetcError(f"'{field.name}' is given twice")
        message.set(field.name, _single(field, value, depth))


def _single(field: FieldType, value: Any, depth: int) -> Any:
    if field.message is not None:
        if isinstance(value, Message) and value.type_name == field.message.name:
            return value.copy()
        if not isinstance(value, Mapping):
            raise NetcError(f"'{field.name}' takes a dict, got {shown(value)}")
        made = Message(field.message)
        for name, each in value.items():
            inner = field.message.fields.get(name)
            if inner is None:
                remedy = did_you_mean(str(name), field.message.fields)
                raise NetcError(f"{field.message.name} has no field '{name}'", remedy=remedy)
            if each is not None:
                _put(made, inner, each, depth + 1)
        return made
    try:
        # a number of NumPy's becomes one of Python's
        return check_scalar(field, value.item() if hasattr(value, "item") else value)
    except ValueTextError as error:
        raise NetcError(str(error), remedy=error.remedy) from None


class _Layers:
    """``layers.Convolution(...)``: any attribute is a layer's type."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*inputs: Top, ntop: int = 1, in_place: bool = False, **settings: Any) -> Any:
            function = Function(name, inputs, settings, ntop=ntop, in_place=in_place)
            if ntop == 0:
                return function
            return function.tops[0] if ntop == 1 else function.tops

        call.__name__ = name
        return call


class _Enums:
    """``params.Pooling.MAX``: the number of an enum's value."""

    def __getattr__(self, name: str) -> Any:
        kind = schema().messages.get(f"{name}Parameter")
        if kind is None:
            raise AttributeError(f"there is no message '{name}Parameter'")
        values = {key: number for enum in kind.enums.values() for key, number in enum.values.items()}
        return _EnumValues(f"{name}Parameter", values)


class _EnumValues:
    def __init__(self, owner: str, values: Mapping[str, int]) -> None:
        self._owner = owner
        self._values = values

    def __getattr__(self, name: str) -> int:
        if name.startswith("_") or name not in self._values:
            hint = did_you_mean(name, self._values) or ""
            raise AttributeError(f"{self._owner} has no value '{name}'{': ' if hint else ''}{hint}")
        return self._values[name]

    def __dir__(self) -> list[str]:
        return sorted(self._values)


layers = _Layers()
params = _Enums()
