"""SSD's layers: PriorBox and DetectionOutput."""

from __future__ import annotations

import math

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.registry import layer
from netc.frontend.message import Message
from netc.ir.dim import Dim
from netc.ir.ops.detection import BoxCode, SsdDetectionsAttrs
from netc.ir.ops.prior_box import PriorBoxAttrs

_PRIOR = "prior_box_param"
_OUTPUT = "detection_output_param"
_DEFAULT_VARIANCE = (0.1,)
_SAME_RATIO = 1e-6  # ratios closer than this are one
_CODES: dict[str, BoxCode] = {"CORNER": "corner", "CENTER_SIZE": "center_size", "CORNER_SIZE": "corner_size"}
_FINEST = 60  # the side of the boxes that TensorFlow's SSD makes smaller
LOWEST = -3.4028234663852886e38  # -FLT_MAX: every score is above


@layer("PriorBox", bottoms=(1, 2), source="SSD")
def import_prior_box(ctx: LayerContext) -> None:
    """Default boxes for every cell of the first bottom, as shares of the image, which is the second bottom.

    A cell has for each ``min_size`` a square of it, one of ``sqrt(min_size max_size)`` where there is a
    ``max_size``, and boxes of the first square's area for each ``aspect_ratio`` and, with ``flip``, its
    inverse. The top is (1, 2, 4 H W P): corners, then variances. As in the original, sizes lose what follows
    their decimal point. ``box_width`` and ``box_height`` state all sizes (OpenCV's fork), ``tf`` orders them
    as TensorFlow does and ``yx_order`` the corners (Synopsys' fork).
    """
    param = ctx.param(_PRIOR)
    feature = _plane(ctx, 0)
    attrs = PriorBoxAttrs(
        sizes=_sizes(ctx, param),
        feature=feature,
        image=_image(ctx, param),
        step=_step(ctx, param),
        offset=param.number("offset"),
        clip=param.flag("clip"),
        variance=_variance(ctx, param),
        y_first=param.flag("yx_order"),
    )
    ctx.top(0, ctx.emit("detect.prior_box", (), attrs))


def _plane(ctx: LayerContext, bottom: int) -> tuple[Dim, Dim]:
    shape = ctx.shape(bottom)
    if len(shape) != 4:
        raise ctx.error(f"needs inputs with 4 axes, got {show_shape(shape)}", "bottom", bottom)
    return shape[2], shape[3]


def _sizes(ctx: LayerContext, param: Message) -> tuple[tuple[float, float], ...]:
    """(width, height) of the boxes of a cell, in the order of the original."""
    if param.has("box_width") or param.has("box_height"):
        return _stated_sizes(ctx, param)
    least, most = param.numbers("min_size"), param.numbers("max_size")
    if not least:
        raise ctx.error("min_size is missing", _PRIOR)
    for index, size in enumerate(least):
        if size < 1:
            raise ctx.error(f"min_size must be at least 1, got {size:g}", f"{_PRIOR}.min_size", index)
    if most and len(most) != len(least):
        raise ctx.error(f"{len(least)} max_size expected, got {len(most)}", f"{_PRIOR}.max_size")
    for index, (low, high) in enumerate(zip(least, most, strict=False)):
        if high <= low:
            raise ctx.error(
                f"max_size must be above min_size {low:g}, got {high:g}", f"{_PRIOR}.max_size", index
            )
    ratios = _ratios(ctx, param)
    sizes: list[tuple[float, float]] = []
    for index, stated in enumerate(least):
        low = math.floor(stated)
        larger: list[tuple[float, float]] = []
        if most:
            larger = [(math.sqrt(low * math.floor(most[index])),) * 2]
        others = [(low * math.sqrt(ratio), low / math.sqrt(ratio)) for ratio in ratios]
        if param.flag("tf"):
            sizes += [_first_of_tensorflow(ctx, param, low), *others, *larger]
        else:
            sizes += [(low, low), *larger, *others]
    return tuple(sizes)


def _stated_sizes(ctx: LayerContext, param: Message) -> tuple[tuple[float, float], ...]:
    """Those of ``box_width`` and ``box_height``, which take the place of all other sizes."""
    widths, heights = param.numbers("box_width"), param.numbers("box_height")
    if len(widths) != len(heights):
        message = f"as many box_height as box_width expected, {len(widths)}, got {len(heights)}"
        raise ctx.error(message, f"{_PRIOR}.box_height")
    return tuple(zip(widths, heights, strict=True))


def _first_of_tensorflow(ctx: LayerContext, param: Message, side: float) -> tuple[float, float]:
    """The square of a cell; that of the finest map is a tenth of the image smaller."""
    if side != _FINEST:
        return side, side
    height, width = _image(ctx, param)
    if not isinstance(height, int) or not isinstance(width, int):
        raise ctx.error("tf needs an image of fixed size", f"{_PRIOR}.tf")
    return side - width / 10, side - height / 10


def _ratios(ctx: LayerContext, param: Message) -> list[float]:
    """The aspect ratios but 1, which comes by itself."""
    ratios = [1.0]
    for index, ratio in enumerate(param.numbers("aspect_ratio")):
        if ratio <= 0:
            message = f"aspect_ratio must be positive, got {ratio:g}"
            raise ctx.error(message, f"{_PRIOR}.aspect_ratio", index)
        if all(abs(ratio - known) >= _SAME_RATIO for known in ratios):
            ratios += [ratio, 1 / ratio] if param.flag("flip") else [ratio]
    return ratios[1:]


def _image(ctx: LayerContext, param: Message) -> tuple[Dim, Dim]:
    """Height and width."""
    if param.has("img_h") or param.has("img_w"):
        if param.has("img_size"):
            message = "either img_size or img_h and img_w can be given, not both"
            raise ctx.error(message, f"{_PRIOR}.img_size")
        for field in ("img_h", "img_w"):
            if param.integer(field) < 1:
                raise ctx.error(f"{field} must be at least 1", f"{_PRIOR}.{field}")
        return param.integer("img_h"), param.integer("img_w")
    if param.has("img_size"):
        if param.integer("img_size") < 1:
            raise ctx.error("img_size must be at least 1, got 0", f"{_PRIOR}.img_size")
        return (param.integer("img_size"),) * 2
    if len(ctx.bottoms) < 2:
        raise ctx.error("the size of the image is missing: give a second bottom, or img_size", "bottom")
    return _plane(ctx, 1)


def _step(ctx: LayerContext, param: Message) -> tuple[float, float]:
    """(vertical, horizontal); 0 for what image and feature map say."""
    if param.has("step_h") or param.has("step_w"):
        if param.has("step"):
            raise ctx.error("either step or step_h and step_w can be given, not both", f"{_PRIOR}.step")
        fields = ("step_h", "step_w")
    elif param.has("step"):
        fields = ("step", "step")
    else:
        return (0.0, 0.0)
    for field in fields:
        if param.number(field) <= 0:
            raise ctx.error(f"{field} must be positive, got {param.number(field):g}", f"{_PRIOR}.{field}")
    return param.number(fields[0]), param.number(fields[1])


def _variance(ctx: LayerContext, param: Message) -> tuple[float, ...]:
    variance = param.numbers("variance") or _DEFAULT_VARIANCE
    if len(variance) not in (1, 4):
        raise ctx.error(f"one variance or four expected, got {len(variance)}", f"{_PRIOR}.variance")
    for index, value in enumerate(variance):
        if value <= 0:
            raise ctx.error(f"variance must be positive, got {value:g}", f"{_PRIOR}.variance", index)
    return variance


@layer("DetectionOutput", bottoms=(3, 5), source="SSD, RefineDet")
def import_detection_output(ctx: LayerContext) -> None:
    """Detections (image, label, score, x1, y1, x2, y2) from locations, scores and default boxes.

    The top is (1, 1, K, 7), where a run decides K; see ``detect.ssd``. What ``save_output_param`` says about
    files is left to the caller. RefineDet's fourth and fifth bottoms are the scores (N, 2 P) and locations
    (N, 4 P) of the anchors; a fourth bottom with planes is the image that SSD's fork draws on, and not read.
    """
    param = ctx.param(_OUTPUT)
    if not param.has("num_classes"):
        raise ctx.error("num_classes is missing", _OUTPUT)
    nms = param.message("nms_param")
    nested = param.has("nms_param")
    threshold = nms if nms.has("nms_threshold") or not param.has("nms_threshold") else param
    top_k = nms if nms.has("top_k") or not param.has("top_k") else param
    attrs = SsdDetectionsAttrs(
        classes=param.integer("num_classes"),
        background=param.integer("background_label_id"),
        code=_CODES[param.text("code_type")],
        shared=param.flag("share_location"),
        scaled=param.flag("variance_encoded_in_target"),
        score_threshold=param.number("confidence_threshold") if param.has("confidence_threshold") else LOWEST,
        overlap_threshold=threshold.number("nms_threshold"),
        eta=nms.number("eta"),
        candidates=top_k.integer("top_k") if top_k.has("top_k") else -1,
        kept=param.integer("keep_top_k"),
        least_anchor_score=param.number("objectness_score"),
    )
    fields = {
        "classes": f"{_OUTPUT}.num_classes",
        "kept": f"{_OUTPUT}.keep_top_k",
        "eta": f"{_OUTPUT}.nms_param.eta" if nested else _OUTPUT,
        "overlap_threshold": f"{_OUTPUT}.nms_param.nms_threshold" if nested else f"{_OUTPUT}.nms_threshold",
        "candidates": f"{_OUTPUT}.nms_param.top_k" if nested else f"{_OUTPUT}.top_k",
    }
    operands = [
        ctx.reshape(ctx.bottoms[0], _rows(ctx, 0), part="locations"),
        ctx.reshape(ctx.bottoms[1], _rows(ctx, 1), part="scores"),
        ctx.bottoms[2],
    ]
    if not (len(ctx.bottoms) == 4 and any(d != 1 for d in ctx.shape(3)[2:])):
        operands += [
            ctx.reshape(ctx.bottoms[i], _rows(ctx, i), part=f"anchors{i}") for i in range(3, len(ctx.bottoms))
        ]
    rows, _count = ctx.emit_all("detect.ssd", operands, attrs, fields=fields)
    ctx.top(0, rows)


def _rows(ctx: LayerContext, bottom: int) -> Shape:
    """(N, numbers): the original reads what follows the channels as nothing, so there must be none."""
    shape = ctx.shape(bottom)
    if len(shape) < 2 or any(d != 1 for d in shape[2:]):
        raise ctx.error(f"expected (N, numbers), got {show_shape(shape)}", "bottom", bottom)
    return shape[:2]
