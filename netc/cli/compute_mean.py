"""``netc compute-mean``: Caffe's compute_image_mean; the mean image of a database."""

from __future__ import annotations

import os
from pathlib import Path

from netc.cli.output import progress, put, put_json
from netc.ir.diagnostics import NetcError
from netc.runtime.data.mean_image import mean_image, write_binaryproto


def command(database: str, output: str | None, backend: str | None, as_json: bool) -> None:
    """``netc compute-mean``."""
    path = Path(database)
    if not os.path.exists(path):
        raise NetcError(f"{database}: does not exist")
    with progress("reading") as update:
        found = mean_image(path, backend and backend.upper(), update)
    if output is not None:
        write_binaryproto(Path(output), found.mean)
    values = [float(value) for value in found.mean.mean(axis=(1, 2), dtype=float)]
    if as_json:
        put_json(
            {"images": found.count, "shape": list(found.mean.shape), "mean_value": values, "file": output}
        )
        return
    put(f"{found.count} images")
    for channel, value in enumerate(values):
        put(f"mean_value channel [{channel}]: {value:.7g}")
    if output is not None:
        put(f"{output}: written")
