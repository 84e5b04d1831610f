"""The detections of the second and third YOLO: YoloDetectionOutput and Yolov3DetectionOutput."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.registry import layer
from netc.frontend.message import Message
from netc.ir.ops.yolo import YoloV2Attrs, YoloV3Attrs

_V2 = "yolo_detection_output_param"
_V3 = "yolov3_detection_output_param"


@layer("YoloDetectionOutput", bottoms=(1, 2), source="YOLO")
def import_yolo_detection_output(ctx: LayerContext) -> None:
    """Detections (0, label, score, x1, y1, x2, y2), labels from 1 on, of maps (N, boxes (5 + classes), H, W).

    The top is (1, 1, K, 7), where a run decides K; see ``detect.yolo_v2``. ``biases`` are the widths and
    heights of the anchors, in cells.
    """
    param = ctx.param(_V2)
    if param.integer("coords") != 4:
        raise ctx.refuse(f"{_V2}.coords")
    anchors = _pairs(ctx, param, _V2)
    if len(anchors) < param.integer("num_box"):
        raise ctx.error(f"{param.integer('num_box')} boxes need as many pairs of biases", f"{_V2}.biases")
    attrs = YoloV2Attrs(
        param.integer("num_classes"),
        anchors[: param.integer("num_box")],
        param.number("confidence_threshold"),
        param.number("nms_threshold"),
    )
    fields = {"classes": f"{_V2}.num_classes", "anchors": f"{_V2}.num_box"}
    rows, _count = ctx.emit_all("detect.yolo_v2", ctx.bottoms, attrs, fields=fields)
    ctx.top(0, rows)


@layer("Yolov3DetectionOutput", bottoms=(1, None), source="YOLO")
def import_yolov3_detection_output(ctx: LayerContext) -> None:
    """Detections as in YoloDetectionOutput; see ``detect.yolo_v3``.

    Bottom t takes ``num_box`` anchors from the part of ``mask`` that is its own, and its cells are
    ``anchors_scale[t]`` pixels wide; ``biases`` are in pixels.
    """
    param = ctx.param(_V3)
    anchors, mask = _pairs(ctx, param, _V3), param.integers("mask")
    groups, boxes = param.integer("mask_group_num"), param.integer("num_box")
    strides = param.integers("anchors_scale")
    if groups != len(ctx.bottoms):
        raise ctx.error(
            f"as many mask groups as bottoms expected, {len(ctx.bottoms)}, got {groups}",
            f"{_V3}.mask_group_num",
        )
    if len(strides) != groups:
        message = f"one anchors_scale for each of {groups} bottoms expected, got {len(strides)}"
        raise ctx.error(message, f"{_V3}.anchors_scale")
    each = len(mask) // groups
    if each < 1 or (groups - 1) * each + boxes > len(mask):
        raise ctx.error(f"{groups} groups of {boxes} boxes need more mask than {len(mask)}", f"{_V3}.mask")
    for index, number in enumerate(mask):
        if number >= len(anchors):
            raise ctx.error(f"mask {number} is not one of {len(anchors)} anchors", f"{_V3}.mask", index)
    attrs = YoloV3Attrs(
        param.integer("num_classes"),
        tuple(tuple(anchors[m] for m in mask[t * each : t * each + boxes]) for t in range(groups)),
        strides,
        param.number("confidence_threshold"),
        param.number("nms_threshold"),
    )
    fields = {"classes": f"{_V3}.num_classes", "anchors": f"{_V3}.num_box"}
    rows, _count = ctx.emit_all("detect.yolo_v3", ctx.bottoms, attrs, fields=fields)
    ctx.top(0, rows)


def _pairs(ctx: LayerContext, param: Message, path: str) -> tuple[tuple[float, float], ...]:
    """``biases`` as (width, height)."""
    numbers = param.numbers("biases")
    if not numbers or len(numbers) % 2:
        raise ctx.error(f"pairs of biases expected, got {len(numbers)} numbers", f"{path}.biases")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
