"""``netc classify``: Caffe's classify.py, flag by flag; without an output file it shows the best classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from netc.cli.inputs import read_labels
from netc.cli.output import put, put_json, say
from netc.ir.diagnostics import NetcError
from netc.pycaffe.classifier import Classifier
from netc.pycaffe.image import load_image
from netc.runtime.images import read_mean, read_npy
from netc.runtime.memory import Array
from netc.runtime.precision import Precision
from netc.runtime.shapes import show_shape


def command(
    input_file: str,
    output_file: str | None,
    model_def: str,
    pretrained_model: str | None,
    gpu: bool,
    center_only: bool,
    images_dim: str,
    mean_file: str | None,
    input_scale: float | None,
    raw_scale: float,
    channel_swap: str,
    precision: Precision,
    ranges: str | None,
    ext: str,
    labels: str | None,
    top: int,
    as_json: bool,
) -> None:
    """``netc classify``."""
    if gpu:
        raise NetcError(
            "classify runs on the CPU only", remedy="leave --gpu out, or use netc run --target cuda"
        )
    names = read_labels(labels) if labels else ()
    size = _numbers("--images_dim", images_dim)
    if len(size) != 2:
        raise NetcError(f"--images_dim is '{images_dim}'; expected height,width")
    classifier = Classifier(
        model_def,
        pretrained_model,
        image_dims=size,
        mean=None if not mean_file else read_mean(mean_file),
        input_scale=input_scale,
        raw_scale=raw_scale,
        channel_swap=_numbers("--channel_swap", channel_swap) if channel_swap else None,
        precision=precision,
        ranges=ranges,
    )
    color = classifier.blobs[classifier.inputs[0]].channels != 1
    files, images = _read_images(Path(input_file).expanduser(), ext, color)
    say(f"classifying {len(images)} image{'' if len(images) == 1 else 's'}")
    predictions = classifier.predict(images, oversample=not center_only)
    if output_file is not None:
        _write(output_file, predictions)
    else:
        _show(files, predictions.reshape(len(predictions), -1), names, top, as_json)


def _read_images(path: Path, suffix: str, color: bool) -> tuple[list[str], list[Array]]:
    """The images in a file or a folder, and what to call them."""
    if path.suffix.lower() == ".npy":
        array = read_npy(str(path))
        if array.ndim != 4:
            raise NetcError(f"{path}: {show_shape(array.shape)}; expected images x height x width x channels")
        return [f"{path}[{i}]" for i in range(len(array))], list(array)
    files = sorted(path.glob(f"*.{suffix.lstrip('.')}")) if path.is_dir() else [path]
    if not files:
        raise NetcError(f"{path}: no files *.{suffix.lstrip('.')} in this folder", remedy="give --ext")
    return [str(file) for file in files], [load_image(file, color) for file in files]


def _show(files: Sequence[str], rows: Array, labels: Sequence[str], top: int, as_json: bool) -> None:
    data = []
    for file, row in zip(files, rows, strict=True):
        best = [int(i) for i in np.argsort(-row, kind="stable")[:top]]
        ranked = [(i, labels[i] if i < len(labels) else "", float(row[i])) for i in best]
        if as_json:
            data.append(
                {"file": file, "classes": [{"class": i, "label": n, "score": s} for i, n, s in ranked]}
            )
            continue
        put(file)
        for number, label, score in ranked:
            put(f"  {score:8.4f}  {f'{number} {label}'.rstrip()}")
    if as_json:
        put_json(data)


def _write(path: str, array: Array) -> None:
    try:
        with open(path, "wb") as file:
            np.save(file, array, allow_pickle=False)
    except OSError as error:
        raise NetcError(f"{path}: {error.strerror or error}") from None


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise NetcError(f"{option} is '{text}'; expected numbers with commas between") from None
