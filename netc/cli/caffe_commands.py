"""Commands that take the arguments of Caffe's own tools, so that scripts which call those go on working."""

from __future__ import annotations

from typing import Any

import click

from netc.cli.commands import BACKENDS
from netc.cli.image_options import IMAGE_SCALING
from netc.cli.make_command import JSON, PRECISION, RANGES, Parameter, command


def _flag(name: str, **settings: Any) -> Parameter:
    """An option under the original's name, with underscores, and under one as netc's others have it."""
    return click.option(f"--{name}", f"--{name.replace('_', '-')}", **settings)


CLASSIFY = command(
    "classify",
    "Classify images, with the flags of Caffe's classify.py.",
    """Classify INPUT: an image, a folder of images, or images in a .npy file.

    The predictions are written to OUTPUT.npy, a row for each image; without it the best classes are shown.
    """,
    "netc.cli.classify",
    click.argument("input_file", metavar="INPUT"),
    click.argument("output_file", metavar="[OUTPUT.npy]", required=False),
    _flag("model_def", required=True, metavar="FILE", help="The net (.prototxt)."),
    _flag("pretrained_model", metavar="FILE", help="Its weights (.caffemodel)."),
    click.option("--gpu", is_flag=True, help="Refused: this command runs on the CPU."),
    _flag("center_only", is_flag=True, help="The centre alone, not 10 crops."),
    _flag("images_dim", default="256,256", show_default=True, help="Resize images to this."),
    _flag("mean_file", metavar="FILE", help="Subtracted: a .npy or .binaryproto file."),
    _flag("input_scale", type=float, help="Multiplies, after the mean."),
    _flag("raw_scale", type=float, default=255.0, show_default=True, help="Multiplies 0..1 pixels."),
    _flag("channel_swap", default="2,1,0", show_default=True, help="Order of the channels."),
    PRECISION,
    RANGES,
    click.option("--ext", default="jpg", show_default=True, help="Suffix of the images in a folder."),
    click.option("--labels", metavar="FILE", help="Names of the classes, one a line."),
    click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes to show."),
    JSON,
)

EXTRACT_FEATURES = command(
    "extract-features",
    "Write blobs of a net to files, batch by batch.",
    """Run BATCHES batches through the net MODEL and write each BLOB to its FILE.

    A FILE is .npz, .npy or .h5 (HDF5, which needs h5py), and has a row for each row of the input. With
    DB_TYPE lmdb it is a new LMDB database (which needs lmdb) of a Datum a row, as the original's. The input
    is --input, taken a batch at a time from its beginning; DummyData layers need none.
    """,
    "netc.cli.extract_features",
    click.argument("weights"),
    click.argument("model"),
    click.argument("blobs", metavar="BLOB,..."),
    click.argument("outputs", metavar="FILE,..."),
    click.argument("batches", metavar="BATCHES", type=click.IntRange(1)),
    click.argument("database", metavar="[DB_TYPE]", required=False),
    click.argument("device", metavar="[CPU]", required=False),
    click.argument("device_id", metavar="[ID]", type=int, required=False),
    click.option(
        "-i", "--input", "files", multiple=True, metavar="FILE", help="An image, x.npz, NAME=x.npy, or x.npy."
    ),
    click.option("--mean", metavar="VALUES|FILE", help="Of images: 104,117,123, or a .npy or .binaryproto."),
    *IMAGE_SCALING,
)

_MAX_EXTENT = 65_500  # what a JPEG can have

CONVERT_IMAGESET = command(
    "convert-imageset",
    "Put a list of images into a database.",
    """Write the images that LIST names, lines 'path label', to the new database DB.

    ROOT is put in front of the paths as it is, so a folder ends with '/'. Files that cannot be read are left
    out.
    """,
    "netc.cli.convert_imageset",
    click.argument("root"),
    click.argument("listed", metavar="LIST"),
    click.argument("database", metavar="DB"),
    click.option("--gray", is_flag=True, help="Grey images."),
    click.option("--shuffle", is_flag=True, help="In another order than the list's, the same each time."),
    click.option(
        "--backend", type=click.Choice(BACKENDS), default="lmdb", show_default=True, help="Kind of database."
    ),
    _flag(
        "resize_width", type=click.IntRange(0, _MAX_EXTENT), default=0, help="Resize images to this width."
    ),
    _flag(
        "resize_height", type=click.IntRange(0, _MAX_EXTENT), default=0, help="Resize images to this height."
    ),
    _flag("check_size", is_flag=True, help="Refuse images of different sizes."),
    click.option("--encoded", is_flag=True, help="Keep images encoded, as their files' names say."),
    _flag("encode_type", default="", metavar="TYPE", help="Keep images encoded, as png, jpg, …"),
    JSON,
)

COMPUTE_MEAN = command(
    "compute-mean",
    "Compute the mean image of a database.",
    "Print the mean of each channel of the images in DB, and write the mean image to OUT.binaryproto.",
    "netc.cli.compute_mean",
    click.argument("database", metavar="DB"),
    click.argument("output", metavar="[OUT.binaryproto]", required=False),
    click.option("--backend", type=click.Choice(BACKENDS), help="Kind of database: that of DB."),
    JSON,
)

CAFFE_COMMANDS = (CLASSIFY, EXTRACT_FEATURES, CONVERT_IMAGESET, COMPUTE_MEAN)
