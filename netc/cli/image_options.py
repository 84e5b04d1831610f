"""The options that say how pixels become input, for every command that takes images."""

from __future__ import annotations

import click

IMAGE_SCALING = (
    click.option("--raw-scale", type=float, default=255.0, show_default=True, help="Multiplies 0..1 pixels."),
    click.option(
        "--input-scale", type=float, default=1.0, show_default=True, help="Multiplies, after the mean."
    ),
    click.option(
        "--channel-order",
        type=click.Choice(["bgr", "rgb"]),
        default="bgr",
        show_default=True,
        help="Of the net.",
    ),
)
