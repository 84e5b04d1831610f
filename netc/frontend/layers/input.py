"""Where values come from: Input, DummyData, Parameter; data layers, whose tops the caller feeds instead."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext, Shape
from netc.frontend.layers.drawn import draw
from netc.frontend.layers.registry import ANY, layer
from netc.frontend.message import Message
from netc.ir.ops.shape import FillAttrs
from netc.ir.types import TensorType

NONE = (0, 0)
SOME = (1, None)


@layer("Input", bottoms=NONE, tops=SOME)
def import_input(ctx: LayerContext) -> None:
    """Blobs that the caller fills. One ``shape`` for all tops, one each, or none: then the caller says."""
    shapes = ctx.param("input_param").messages("shape")
    if len(shapes) not in (0, 1, len(ctx.top_names)):
        raise ctx.error(
            f"expected no shape, {_one_or(len(ctx.top_names))}, got {len(shapes)}", "input_param.shape"
        )
    for index in range(len(ctx.top_names)):
        declared = None if not shapes else shapes[index if len(shapes) > 1 else 0]
        ctx.input(index, None if declared is None else _extents(ctx, declared, "input_param.shape"))


@layer("DummyData", bottoms=NONE, tops=SOME)
def import_dummy_data(ctx: LayerContext) -> None:
    """Tops made by fillers: a constant, or values that every run draws anew.

    Shapes and fillers: one for all tops or one each; a missing filler is the constant 0.
    """
    param = ctx.param("dummy_data_param")
    tops = len(ctx.top_names)
    fillers = param.messages("data_filler")
    if len(fillers) not in (0, 1, tops):
        path = "dummy_data_param.data_filler"
        raise ctx.error(f"expected no filler, {_one_or(tops)}, got {len(fillers)}", path)
    shapes = _dummy_shapes(ctx, param)
    for index in range(tops):
        filler = fillers[index if len(fillers) > 1 else 0] if fillers else Message("FillerParameter")
        shape = ctx.net.input_shapes.get(ctx.top_names[index], shapes[index if len(shapes) > 1 else 0])
        ctx.check_size(shape, f"blob '{ctx.top_names[index]}'")
        if filler.text("type") == "constant":
            fill = FillAttrs(TensorType("f32", shape), filler.number("value"))
            ctx.top(index, ctx.emit("tensor.fill", (), fill, top=index))
            continue
        drawn = draw(ctx, index, shape, filler)
        if drawn is None:  # the same in every run
            drawn = ctx.param_value("data", shape, index, filler, learnable=False)
        ctx.top(index, drawn)


def _dummy_shapes(ctx: LayerContext, param: Message) -> list[Shape]:
    path = "dummy_data_param"
    tops = len(ctx.top_names)
    modern = [_extents(ctx, shape, f"{path}.shape") for shape in param.messages("shape")]
    legacy = [param.integers(name) for name in ("num", "channels", "height", "width")]
    if modern and any(legacy):
        message = "either shape or num, channels, height, width can be given, not both"
        raise ctx.error(message, f"{path}.shape")
    if modern:
        shapes = modern
    else:
        if len({len(values) for values in legacy}) != 1:
            raise ctx.error("num, channels, height and width must be given equally often", path)
        shapes = [tuple(extents) for extents in zip(*legacy, strict=True)]
    if len(shapes) not in (1, tops):
        raise ctx.error(f"expected {_one_or(tops)} of shape, got {len(shapes)}", path)
    return shapes


@layer("Parameter", bottoms=NONE)
def import_parameter(ctx: LayerContext) -> None:
    """A learned blob of the given ``shape``; without weights it is zeros."""
    param = ctx.param("parameter_param")
    if not param.has("shape"):
        raise ctx.error("the shape is missing", "parameter_param")
    ctx.top(0, ctx.param_value("blob", _extents(ctx, param.message("shape"), "parameter_param.shape"), 0))


@layer("AnnotatedData", "VideoData", bottoms=ANY, tops=SOME, source="SSD")
@layer("ImageLabelmapData", bottoms=ANY, tops=SOME, source="HED")
@layer("Data", "HDF5Data", "ImageData", "WindowData", bottoms=ANY, tops=SOME)
def import_data(ctx: LayerContext) -> None:
    """Reads files while training. Here its tops are inputs, whose shapes the caller must state."""
    for index in range(len(ctx.top_names)):
        ctx.input(index, None, remedy="use the net's deploy prototxt, or ")


@layer("MemoryData", bottoms=NONE, tops=(2, 2))
def import_memory_data(ctx: LayerContext) -> None:
    """Images and labels that the caller hands over: (batch, channels, height, width) and (batch)."""
    param = ctx.param("memory_data_param")
    extents = tuple(param.integer(name) for name in ("batch_size", "channels", "height", "width"))
    ctx.input(0, extents)
    ctx.input(1, extents[:1])


def _extents(ctx: LayerContext, shape: Message, path: str) -> Shape:
    extents = shape.integers("dim")
    for index, extent in enumerate(extents):
        if extent < 1:
            error = ctx.error(f"every extent must be at least 1, got {extent}", path)
            error.location = shape.where("dim", index)
            raise error
    return extents


def _one_or(tops: int) -> str:
    return "one" if tops == 1 else f"one or {tops}"
