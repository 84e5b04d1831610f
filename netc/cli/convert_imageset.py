"""``netc convert-imageset``: Caffe's convert_imageset; a database of the images in a list."""

from __future__ import annotations

from pathlib import Path

from netc.cli.output import progress, put, put_json, say
from netc.ir.diagnostics import NetcError
from netc.runtime.data.convert_images import ImageOptions, convert_images

MAX_PIXELS = 2**27


def command(
    root: str,
    listed: str,
    database: str,
    gray: bool,
    shuffle: bool,
    backend: str,
    resize_width: int,
    resize_height: int,
    check_size: bool,
    encoded: bool,
    encode_type: str,
    as_json: bool,
) -> None:
    """``netc convert-imageset``."""
    if (resize_width == 0) != (resize_height == 0):
        raise NetcError("--resize_width and --resize_height must be given together")
    if resize_width * resize_height > MAX_PIXELS:
        raise NetcError(f"images of {resize_height}x{resize_width} are too large for a database")
    options = ImageOptions(
        color=not gray,
        size=(resize_height, resize_width),
        encoding=encode_type.lower() if encoded or encode_type else None,
        check_size=check_size,
    )
    skipped: list[str] = []

    def skip(reason: str) -> None:
        skipped.append(reason)
        say(f"warning: left out: {reason}")

    with progress("converting") as update:
        count = convert_images(
            root,
            Path(listed),
            Path(database),
            options,
            backend=backend,
            shuffle=shuffle,
            on_skip=skip,
            on_progress=update,
        )
    if as_json:
        put_json({"database": database, "images": count, "skipped": skipped})
    else:
        put(f"{database}: {count} images" + (f", {len(skipped)} left out" if skipped else ""))
