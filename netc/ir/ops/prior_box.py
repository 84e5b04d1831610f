"""The default boxes of SSD's feature maps: constants that follow from sizes alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim, evaluate
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class PriorBoxAttrs:
    """Pairs are (height, width), but for ``sizes``.

    ``sizes`` are the (width, height) of the boxes of one cell, in pixels of the image. ``feature`` and
    ``image`` are extents, ``step`` is how far cells lie apart in pixels (0: image / feature), ``offset``
    where in its cell a box is centred, in cells. ``variance`` has one number, or one for each coordinate.
    ``y_first`` gives corners as (y1, x1, y2, x2).
    """

    sizes: tuple[tuple[float, float], ...]
    feature: tuple[Dim, Dim]
    image: tuple[Dim, Dim]
    step: tuple[float, float]
    offset: float
    clip: bool
    variance: tuple[float, ...]
    y_first: bool = False


def _infer(operands: tuple[TensorType, ...], attrs: PriorBoxAttrs) -> tuple[TensorType, ...]:
    del operands
    if not attrs.sizes:
        raise OpError("one or more sizes expected", attr="sizes")
    for name in ("feature", "image"):
        for extent in getattr(attrs, name):
            if isinstance(extent, int) and extent < 1:
                raise OpError(f"{name} must be >= 1, got {extent}", attr=name)
    if len(attrs.variance) not in (1, 4):
        raise OpError(f"one variance or four expected, got {len(attrs.variance)}", attr="variance")
    if len({step == 0 for step in attrs.step}) != 1 or min(attrs.step) < 0:
        raise OpError(f"both steps must be positive, or both 0, got {list(attrs.step)}", attr="step")
    height, width = attrs.feature
    return (TensorType("f32", (1, 2, height * width * (4 * len(attrs.sizes)))),)


def _reference(operands: tuple[Array, ...], attrs: PriorBoxAttrs) -> tuple[Array, ...]:
    del operands
    (rows, columns), image = ([evaluate(d, {}) for d in pair] for pair in (attrs.feature, attrs.image))
    centres = [
        ((np.arange(cells) + attrs.offset) * (step or size / cells)).astype(np.float32)
        for cells, size, step in zip((rows, columns), image, attrs.step, strict=True)
    ]
    sizes = np.array(attrs.sizes, np.float32)
    y, x = np.meshgrid(*centres, indexing="ij")
    middle = np.stack([x, y], axis=-1)[:, :, np.newaxis].astype(np.float64)  # (rows, columns, 1, 2)
    extents = np.array([image[1], image[0]], np.float64)
    boxes = np.concatenate([(middle - sizes / 2.0) / extents, (middle + sizes / 2.0) / extents], axis=-1)
    if attrs.y_first:
        boxes = boxes[..., [1, 0, 3, 2]]
    if attrs.clip:
        boxes = boxes.clip(0, 1)
    variances = np.broadcast_to(np.array(attrs.variance), boxes.shape)
    return (np.stack([boxes.reshape(-1), variances.reshape(-1)])[np.newaxis].astype(np.float32),)


PRIOR_BOX = define(
    OpDef(
        "detect.prior_box",
        "tensor",
        "SSD's default boxes [1,2,4*H*W*P]: for cell (y, x) of the feature map and size p of P, the "
        "corners (x1, y1, x2, y2) of a box of that size around ((x + offset) step_w, (y + offset) "
        "step_h), as shares of the image; then the variances that go with each coordinate. Liu et al., "
        "SSD, 2016, section 2.2.",
        (),
        PriorBoxAttrs,
        infer=_infer,
        reference=_reference,
        vjp=NOT_DIFFERENTIABLE,
    )
)
