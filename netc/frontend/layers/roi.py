"""Regions of interest: ROIPooling and PSROIPooling (Fast R-CNN's and R-FCN's forks)."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.registry import layer
from netc.ir.core import Value
from netc.ir.dim import product
from netc.ir.ops.roi import ROI_NUMBERS, PsRoiPoolAttrs, RoiPoolAttrs


@layer("ROIPooling", bottoms=(2, 2), source="Fast R-CNN")
def import_roi_pooling(ctx: LayerContext) -> None:
    """The maximum of each of ``pooled_h x pooled_w`` bins of each region; see ``nn.roi_pool``.

    A region is (sample, x1, y1, x2, y2) in pixels of the image, which ``spatial_scale`` leads to elements.
    """
    path = "roi_pooling_param"
    param = ctx.param(path)
    for field in ("pooled_h", "pooled_w"):
        if param.integer(field) < 1:
            raise ctx.error(f"{field} must be at least 1, got {param.integer(field)}", f"{path}.{field}")
    attrs = RoiPoolAttrs(
        (param.integer("pooled_h"), param.integer("pooled_w")), param.number("spatial_scale")
    )
    ctx.top(0, ctx.emit("nn.roi_pool", (ctx.bottoms[0], _regions(ctx)), attrs))


@layer("PSROIPooling", bottoms=(2, 2), source="R-FCN")
def import_ps_roi_pooling(ctx: LayerContext) -> None:
    """The average of each of ``group_size^2`` bins of each region, each bin from channels of its own.

    The input has ``output_dim group_size^2`` channels; see ``nn.ps_roi_pool``.
    """
    path = "psroi_pooling_param"
    param = ctx.param(path)
    for field in ("spatial_scale", "output_dim", "group_size"):
        if not param.has(field) or param.number(field) <= 0:
            got = f"got {param.number(field):g}" if param.has(field) else "it is missing"
            raise ctx.error(f"{field} must be positive; {got}", f"{path}.{field}")
    attrs = PsRoiPoolAttrs(
        param.integer("output_dim"), param.integer("group_size"), param.number("spatial_scale")
    )
    fields = {"channels": f"{path}.output_dim", "group": f"{path}.group_size"}
    ctx.top(0, ctx.emit("nn.ps_roi_pool", (ctx.bottoms[0], _regions(ctx)), attrs, fields=fields))


def _regions(ctx: LayerContext) -> Value:
    """The second bottom as (R, 5); files give it as (R, 5, 1, 1) too."""
    shape = ctx.shape(1)
    if not shape or product(shape[1:]) != ROI_NUMBERS:
        raise ctx.error("the second bottom must have 5 numbers a region: sample, x1, y1, x2, y2", "bottom", 1)
    return ctx.reshape(ctx.bottoms[1], (shape[0], ROI_NUMBERS), part="rois")
