"""Where values go: HDF5Output."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext, show_shape
from netc.frontend.layers.registry import layer


@layer("HDF5Output", bottoms=(2, 2), tops=(0, 0))
def import_hdf5_output(ctx: LayerContext) -> None:
    """Every run writes both inputs to ``file_name``, as the data sets ``data`` and ``label``.

    A run replaces what the one before wrote. The original keeps the file open, and fails in its second pass.
    """
    path = ctx.param("hdf5_output_param").text("file_name")
    if not path:
        raise ctx.error("file_name is missing", "hdf5_output_param")
    if ctx.shape()[:1] != ctx.shape(1)[:1]:
        both = f"{show_shape(ctx.shape())} and {show_shape(ctx.shape(1))}"
        raise ctx.error(f"data and labels must have one batch: {both}", "bottom", 1)
    ctx.net.files.append((path, (("data", ctx.bottoms[0]), ("label", ctx.bottoms[1])), ctx))
