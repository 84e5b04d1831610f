"""Translates a net, as the reader gives it, to tensor IR.

Every layer's type has a rule in :mod:`netc.frontend.layers`; this file connects them. A top that names
its layer's bottom (Caffe's in-place) becomes a new value, so values never change.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import netc.frontend.layers
import netc.ir.ops  # noqa: F401  # fills the table
from netc.frontend.counted_rows import counted_results
from netc.frontend.imported_net import FileOutput, ImportedNet, LayerInfo, LossTerm, ParamInfo, StateInfo
from netc.frontend.known_layers import plug_in_remedy, why_unsupported
from netc.frontend.layers.context import LayerContext, Shape
from netc.frontend.layers.net_under_construction import NetUnderConstruction
from netc.frontend.layers.registry import LayerType, check_blob_counts, layer_type, layer_type_names
from netc.frontend.message import Message
from netc.frontend.python_layers.layers import PythonLayers
from netc.frontend.suggest import MAX_COMPARED, did_you_mean
from netc.frontend.unknown_fields import check_unknown_fields
from netc.ir.builder import FuncBuilder
from netc.ir.core import Module, Op, Value, fresh_name
from netc.ir.cost import macs
from netc.ir.diagnostics import NetcError
from netc.ir.dim import Dim
from netc.ir.types import TensorType

__all__ = ["ImportedNet", "LayerInfo", "ParamInfo", "import_net"]

DEFAULT_NAME = "net"
_DATA = "Data"  # what the types of layers that read files end with
SHOWN_BLOBS = 3


def import_net(
    net: Message,
    *,
    phase: str = "TEST",
    input_shapes: Mapping[str, Shape] | None = None,
    keep: Iterable[str] = (),
    python_layers: PythonLayers | None = None,
) -> ImportedNet:
    """The tensor IR of a current-generation net whose layers were selected for ``phase``.

    ``input_shapes`` replaces or states the shapes of inputs by name. Results are the blobs that no layer
    reads, in the order they are made, and those in ``keep``. ``python_layers`` says which classes may be run
    as layers, and remembers their objects. Raises NetcError, located, for any net that
    cannot be translated.
    """
    if net.has("layers"):
        raise NetcError("the net is of an older generation", location=net.where("layers"))
    layers = net.messages("layer")
    if not layers:
        where = next((field.location for field in net.unknown), net.location)
        raise NetcError("no layers: this is not the definition of a net", location=where)
    read = frozenset(bottom for layer in layers for bottom in layer.texts("bottom"))
    # an input must keep its name, whatever the layers before it call their values
    reserved = (top for layer in layers if not layer.has("bottom") for top in layer.texts("top"))
    builder = FuncBuilder("main", reserved)
    under_construction = NetUnderConstruction(
        builder, phase, dict(input_shapes or {}), read, python_layers=python_layers or PythonLayers()
    )
    importer = _Importer(under_construction)
    importer.warn_unknown(net)
    for position, layer in enumerate(layers):
        try:
            importer.add(layer, position)
        except NetcError as error:
            error.within(layer.location)
            raise
    return importer.finish(net.text("name") or DEFAULT_NAME, tuple(keep))


class _Importer:
    """The blobs so far, and which of them nobody has read."""

    def __init__(self, net: NetUnderConstruction) -> None:
        self.net = net
        self.blobs: dict[str, Value] = {}
        self.makers: dict[str, Message] = {}
        self.unread: dict[str, None] = {}
        self.layers: list[LayerInfo] = []
        self.losses: list[LossTerm] = []

    def warn_unknown(self, net: Message) -> None:
        """Note fields of the net itself that the schema lacks; none of them reaches a layer."""
        for field in {field.name: field for field in reversed(net.unknown)}.values():
            where = f"{field.location}: " if field.location else ""
            self.net.warnings.append(f"{where}warning: ignored unknown field {field.name}")

    def add(self, message: Message, position: int) -> None:
        """Translate one layer."""
        entry = _find_type(message)
        bottoms = [self._bottom(message, index) for index in range(len(message.list("bottom")))]
        bottoms = [self._propagated(message, index, value) for index, value in enumerate(bottoms)]
        ctx = LayerContext(self.net, message, bottoms, position)
        check_blob_counts(ctx, entry)
        self._check_tops(ctx)
        first_op = len(self.net.builder.ops)
        if not bottoms:
            self.net.builder.taken.difference_update(ctx.top_names)
        entry.rule(ctx)
        check_unknown_fields(ctx)
        self._record_tops(ctx, entry)
        self._record_losses(ctx, entry)
        self.layers.append(_layer_info(ctx, self.net.builder.ops[first_op:]))

    def finish(self, name: str, keep: tuple[str, ...]) -> ImportedNet:
        """The module and all that is known of it."""
        self._check_input_shapes()
        for blob in keep:
            if blob not in self.blobs:
                raise NetcError(f"the net has no blob '{blob}' to keep", remedy=_nearest(blob, self.blobs))
        results = _Results({n: self.blobs[n] for n in (*self.unread, *keep)}, set(self.blobs))
        net = self.net
        if net.random is not None:
            after = net.builder.add1("random.next", (net.random,), hint=f"{net.random.name}.next")
            net.next_states[net.random] = after
        states = [
            StateInfo(arg, results.add(f"{arg.name}.next", value)) for arg, value in net.next_states.items()
        ]
        counted, counts = counted_results(net.builder.ops, results.values, net.counts)
        results.values.update(counts)
        files = []
        for path, datasets, ctx in net.files:
            added = tuple((data, results.add(f"{ctx.label}.{data}", value)) for data, value in datasets)
            files.append(FileOutput(path, added, ctx.location, ctx.label))
        func = net.builder.finish(list(results.values.values()), list(results.values))
        return ImportedNet(
            Module(name, "tensor", (func,)),
            tuple(net.params),
            tuple(self.layers),
            dict(self.blobs),
            tuple(net.warnings),
            counted,
            tuple(states),
            tuple(self.losses),
            tuple(files),
            net.code,
        )

    def _bottom(self, message: Message, index: int) -> Value:
        name = message.texts("bottom")[index]
        value = self.blobs.get(name)
        if value is None:
            raise NetcError(
                f"bottom '{name}' is made by no layer before",
                location=message.where("bottom", index),
                layer=message.text("name") or message.text("type"),
                remedy=_nearest(name, self.blobs),
            )
        self.unread.pop(name, None)
        return value

    def _propagated(self, message: Message, index: int, bottom: Value) -> Value:
        """A bottom, behind a stop where the layer is to give it no gradient."""
        stated = message.list("propagate_down")
        if stated and len(stated) != len(message.list("bottom")):
            raise NetcError(
                f"expected {len(message.list('bottom'))} propagate_down, one a bottom, got {len(stated)}",
                location=message.where("propagate_down"),
                layer=message.text("name") or message.text("type"),
            )
        if not stated or stated[index] or self.net.phase != "TRAIN":
            return bottom
        return self.net.builder.add1(
            "math.stop_gradient", (bottom,), hint=f"{bottom.name}.constant", location=message.location
        )

    def _check_tops(self, ctx: LayerContext) -> None:
        """A top is new, or names the bottom at the same position."""
        for index, name in enumerate(ctx.top_names):
            in_place = index < len(ctx.bottom_names) and ctx.bottom_names[index] == name
            if name in ctx.top_names[:index] or (name in self.blobs and not in_place):
                maker = self.makers.get(name, ctx.message)
                error = ctx.error(f"top blob '{name}' is produced by multiple sources", "top", index)
                error.notes += (f"layer '{maker.text('name')}' makes it too ({maker.location})",)
                raise error

    def _record_tops(self, ctx: LayerContext, entry: LayerType) -> None:
        for index, name in enumerate(ctx.top_names):
            value = ctx.tops.get(index)
            if value is None:
                if name in self.net.read:
                    raise ctx.error(f"the rule of layer type '{entry.name}' gave no value for top '{name}'")
                continue
            self.blobs[name] = value
            self.makers[name] = ctx.message
            self.unread.pop(name, None)
            self.unread[name] = None

    def _record_losses(self, ctx: LayerContext, entry: LayerType) -> None:
        """Every top with a weight; a loss layer's first top has weight 1 unless it says otherwise."""
        weights = ctx.message.numbers("loss_weight")
        tops = max(len(ctx.top_names), int(entry.loss))  # a loss may go without a name
        if weights and len(weights) != tops:
            raise ctx.error(
                f"expected one loss_weight for each top, {tops}, got {len(weights)}", "loss_weight"
            )
        for index, value in sorted(ctx.tops.items()):
            default = 1.0 if entry.loss and index == 0 else 0.0
            weight = weights[index] if weights else default
            if weight:
                self.losses.append(LossTerm(value, weight))

    def _check_input_shapes(self) -> None:
        builder = self.net.builder
        inputs = [a.name for a, role in zip(builder.args, builder.roles, strict=True) if role == "input"]
        dummies = [t for info in self.layers if info.type == "DummyData" for t in info.tops]
        for name in self.net.input_shapes:
            if name not in (*inputs, *dummies):
                known = f"its inputs are {', '.join(inputs)}" if inputs else "it has no inputs"
                raise NetcError(f"a shape is given for '{name}', which is no input of the net; {known}")


class _Results:
    """The results of the function by name; names of blobs are kept for blobs."""

    def __init__(self, blobs: dict[str, Value], taken: set[str]) -> None:
        self.values = dict(blobs)
        self._taken = taken

    def add(self, name: str, value: Value) -> str:
        """Add a result that is no blob; its name."""
        name = fresh_name(name, self._taken)
        self.values[name] = value
        return name


def _find_type(message: Message) -> LayerType:
    name = message.text("type")
    entry = layer_type(name)
    if entry is None and name.endswith(_DATA) and not message.list("bottom"):
        entry = layer_type(_DATA)  # a fork's: where it reads from does not matter
    if entry is not None:
        return entry
    layer = message.text("name") or None
    if not name:
        raise NetcError("the layer has no type", location=message.location, layer=layer)
    known = why_unsupported(name)
    if known is not None:
        text, remedy = known
        raise NetcError(text, location=message.where("type"), layer=layer, remedy=remedy)
    raise NetcError(
        f"unknown layer type '{name}'",
        location=message.where("type"),
        layer=layer,
        remedy=did_you_mean(name, layer_type_names()) or plug_in_remedy(name),
    )


def _layer_info(ctx: LayerContext, ops: list[Op]) -> LayerInfo:
    tops = {name: ctx.tops[i] for i, name in enumerate(ctx.top_names) if i in ctx.tops}
    total: Dim = 0
    for op in ops:
        total = total + macs(op)
    return LayerInfo(
        ctx.name,
        ctx.type,
        ctx.location,
        ctx.bottom_names,
        tuple(tops),
        tuple(_shape(v) for v in ctx.bottoms),
        tuple(_shape(v) for v in tops.values()),
        tuple(ctx.params),
        total,
    )


def _shape(value: Value) -> Shape:
    assert isinstance(value.type, TensorType)
    return value.type.shape


def _nearest(name: str, blobs: Iterable[str]) -> str:
    """The blobs most like ``name``, or else those made last."""
    known = list(blobs)
    if not known:
        return "no blob is made before this layer"
    near = difflib.get_close_matches(name[:MAX_COMPARED], known, n=SHOWN_BLOBS)
    if near:
        return f"the nearest blobs are {', '.join(near)}"
    return f"the last blobs made are {', '.join(known[-SHOWN_BLOBS:])}"
