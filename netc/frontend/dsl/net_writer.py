"""Makes the layers of a net from calls of the ``.net`` language, and finds the names that are not given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netc.frontend.dsl.fields import no_field, put_field, put_unknown, put_value
from netc.frontend.dsl.values import Blob, FieldItem, Item, ListValue, Value, describe
from netc.frontend.layer_fields import find_field, known_types, setting_names
from netc.frontend.message import Message
from netc.frontend.schema import FieldType, message_type
from netc.frontend.suggest import did_you_mean
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location

WITHOUT_TOPS = frozenset({"HDF5Output", "Silence"})
_SPECIAL = ("type", "bottom", "top", "name")


@dataclass(frozen=True, slots=True)
class LayerCall:
    """A call that makes a layer.

    ``targets`` are the names that it is assigned to, with the function's prefix; without any the layer
    gets a name of its own.
    """

    type: str | None
    location: Location
    args: Sequence[Item]
    fields: Mapping[str, FieldItem]
    in_place: bool
    targets: Sequence[str]
    prefix: str


class NetWriter:
    """The net so far."""

    def __init__(self, location: Location) -> None:
        self.net = Message("NetParameter", location)
        self._names: dict[str, Location] = {}
        self._counts: dict[str, int] = {}

    def set_net(self, fields: Mapping[str, FieldItem]) -> None:
        """Settings of the whole net."""
        for item in fields.values():
            if item.name in ("layer", "layers"):
                raise NetcError("layers are made by calls", location=item.location, span=len(item.name))
            put_field(self.net, item)

    def free_name(self, kind: str, prefix: str) -> str:
        """A name that is not taken: ``ReLU1``, ``ReLU2``, …"""
        while True:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            name = f"{prefix}{kind}{number}"
            if name not in self._names:
                return name

    def add(self, call: LayerCall) -> Value:
        """Append a layer; the result is its top, or a list of them, or nothing where it has none."""
        made = Message("LayerParameter", call.location)
        bottoms = _bottoms(call)
        name = self._name(call)
        if name is not None:
            made.set("name", name.value, name.location)
        if call.type is not None:
            made.set("type", call.type, call.location)
        for bottom in bottoms:
            made.add("bottom", bottom.value, bottom.location)
        tops = self._tops(call, bottoms, name)
        for top in tops:
            made.add("top", top.value, top.location)
        self._put_settings(made, call)
        self.net.add("layer", made, call.location)
        blobs = tuple(Item(Blob(top.value), top.location) for top in tops)
        if not blobs:
            return None
        return blobs[0].value if len(blobs) == 1 else ListValue.of(blobs)

    def _name(self, call: LayerCall) -> _Text | None:
        given = call.fields.get("name")
        if given is not None:
            if given.item.value is None:
                return None
            name = _text(given.item, "a layer's name")
            self._names.setdefault(name.value, name.location)
            return name
        if not call.targets:
            name = _Text(self.free_name(call.type or "layer", call.prefix), call.location)
        else:
            name = _Text(call.targets[0], call.location)
            first = self._names.get(name.value)
            if first is not None and not {"include", "exclude"} & call.fields.keys():
                raise NetcError(
                    f"there is a layer '{name.value}' already",
                    location=call.location,
                    span=len(call.type or "layer"),
                    notes=(f"the first one is at {first}",),
                    remedy='give this one a name of its own: name="..."',
                )
        self._names.setdefault(name.value, name.location)
        return name

    def _tops(self, call: LayerCall, bottoms: Sequence[_Text], name: _Text | None) -> Sequence[_Text]:
        given = call.fields.get("top")
        if given is not None and given.item.value is not None:
            if call.in_place:
                message = "a layer that works in place has its bottom as top"
                raise NetcError(message, location=given.location, span=len("top"))
            value = given.item.value
            items = value.items if isinstance(value, ListValue) else (given.item,)
            return [_text(item, "a top") for item in items]
        if call.in_place:
            if not bottoms:
                message = f"{call.type} has no bottom to work on in place"
                raise NetcError(message, location=call.location, span=len(call.type or "layer"))
            return bottoms[:1]
        if len(call.targets) > 1:
            return [_Text(target, call.location) for target in call.targets]
        if call.type in WITHOUT_TOPS and not call.targets:
            return []
        if name is not None:
            return [name]
        if call.targets:
            return [_Text(call.targets[0], call.location)]
        raise NetcError(
            "a layer without a name needs its tops named", location=call.location, remedy='write top="..."'
        )

    def _put_settings(self, layer: Message, call: LayerCall) -> None:
        for key, item in call.fields.items():
            if key in _SPECIAL:
                continue
            if item.unknown:
                put_unknown(layer, item)
                continue
            found = _find(call, item)
            if found is None:
                raise _no_setting(call, item)
            own, field = found
            if item.item.value is None:
                continue
            put_value(layer if own is None else layer.ensure(own, item.location), field, item.item)


def _find(call: LayerCall, item: FieldItem) -> tuple[str | None, FieldType] | None:
    """Where a field goes; one whose name is quoted goes to the layer itself."""
    if item.quoted:
        field = message_type("LayerParameter").fields.get(item.name)
        return None if field is None else (None, field)
    return find_field(call.type or "", item.name)


@dataclass(frozen=True, slots=True)
class _Text:
    value: str
    location: Location


def check_type(name: str, location: Location, functions: Sequence[str]) -> None:
    """Raise NetcError where no layer type has this name."""
    types = known_types()
    if name not in types:
        what = "layer type" if name[:1].isupper() else "function"
        raise NetcError(
            f"unknown {what} '{name}'",
            location=location,
            span=len(name),
            remedy=did_you_mean(name, (*functions, *sorted(types)))
            or f'a type that netc does not know is written layer("{name}", ...)',
        )


def _bottoms(call: LayerCall) -> list[_Text]:
    given = call.fields.get("bottom")
    items = list(call.args)
    if given is not None:
        if items:
            message = "bottoms are given by their places or as 'bottom', not both"
            raise NetcError(message, location=given.location, span=len("bottom"))
        items = [given.item]
    bottoms: list[_Text] = []
    for item in items:
        if isinstance(item.value, ListValue):
            # a list in a call is where its bottoms were written together
            bottoms += [_text(each, "a bottom") for each in item.value.items]
        else:
            bottoms.append(_text(item, "a bottom"))
    return bottoms


def _text(item: Item, what: str) -> _Text:
    if isinstance(item.value, Blob):
        return _Text(item.value.name, item.location)
    if isinstance(item.value, str):
        return _Text(item.value, item.location)
    raise NetcError(f"{what} is a blob or a string, got {describe(item.value)}", location=item.location)


def _no_setting(call: LayerCall, item: FieldItem) -> NetcError:
    error = no_field(call.type or "the layer", item, setting_names(call.type or ""))
    if item.name == "in_place":
        error.remedy = f"write {call.type}!(...)"
    elif (found := _field_elsewhere(item.name)) is not None and not (error.remedy or "").startswith("did"):
        error.remedy = f"'{item.name}' is a field of {found}"
    return error


def _field_elsewhere(name: str) -> str | None:
    fields = message_type("LayerParameter").fields.values()
    return next((f.name for f in fields if f.message is not None and name in f.message.fields), None)
