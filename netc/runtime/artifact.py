"""Files of compiled nets (``.netc``): a zip of plain members, read back without recompiling.

==================  ===============================================================================
member              content
==================  ===============================================================================
``manifest.json``   format, versions, options, the machine compiled for, and for every other member
                    its size and SHA-256 (parameters: shape alone, their checksum is the zip's own); and
                    where each layer stood in the text it was compiled from
``net.prototxt``    the net, its layers selected: code for other input shapes is made from it
``tensor.ir``       the last tensor-level module
``buffer.ir``       the module on memory, a kernel for each launch
``kernels/NAME.o``  machine code, an object file a kernel
``cuda/ARCH/NAME``  for GPUs instead: a cubin a kernel for each ``sm_NN``, PTX for ``compute_NN``
``params/N.npy``    the parameters, in the order of the manifest
``states/N.npy``    what the last run left for the next one: hidden states, the state of the random numbers
==================  ===============================================================================

Nothing is compressed and nothing is unpickled, so a damaged file gives an error, not a surprise. But the
machine code in it is run: **load only files from sources that you would run a program from.**
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import IO, Any

import numpy as np

from netc import __version__
from netc.frontend.message import Message
from netc.frontend.text_print import to_text
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location
from netc.ir.printer import print_module
from netc.runtime.compiler import Compiled
from netc.runtime.memory import Array
from netc.runtime.options import CompileOptions

FORMAT = 5
MANIFEST = "manifest.json"
NET, TENSOR, BUFFER = "net.prototxt", "tensor.ir", "buffer.ir"
KERNEL = "kernels/{}.o"
CUDA_KERNEL = "cuda/{}/{}"
PARAM = "params/{}.npy"
SAVED_OPTIONS = frozenset(f.name for f in fields(CompileOptions)) - {"pin_threads", "python_layers", "tuner"}
STATE = "states/{}.npy"
NEW_FILE_MODE = 0o666
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time: equal modules give equal files


@dataclass(frozen=True)
class Artifact:
    """What a file holds."""

    message: Message
    compiled: Compiled
    params: Mapping[str, Array]
    seed: int = 0
    states: Mapping[str, Array] = field(default_factory=dict)


def write_artifact(path: str | os.PathLike[str], artifact: Artifact) -> None:
    """Write the file; it appears under its name when it is whole."""
    name = os.fspath(path)
    if artifact.compiled.net.code:
        raise NetcError(
            f"{name}: a net with Python layers cannot be saved: their code is in this process only",
            remedy="compile the net where it runs",
        )
    try:
        handle, part = tempfile.mkstemp(dir=os.path.dirname(name) or ".", prefix=".netc-", suffix=".part")
    except OSError as error:
        raise NetcError(f"{name}: {error.strerror or error}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            _write(file, artifact)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(part, NEW_FILE_MODE & ~mask)
        os.replace(part, name)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(part)
        if isinstance(error, OSError):
            raise NetcError(f"{name}: {error.strerror or error}") from None
        raise


def is_artifact(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a zip does."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except (OSError, ValueError):
        return False


def _write(file: IO[bytes], artifact: Artifact) -> None:
    compiled = artifact.compiled
    texts = {NET: to_text(artifact.message), TENSOR: print_module(compiled.tensor)}
    if compiled.buffer is not None:
        texts[BUFFER] = print_module(compiled.buffer)
    members = {name: text.encode() for name, text in texts.items()}
    for symbol, code in (compiled.objects or {}).items():
        members[KERNEL.format(symbol)] = code
    images = compiled.cuda.images if compiled.cuda is not None else {}
    for image, codes in images.items():
        members |= {CUDA_KERNEL.format(image, symbol): code for symbol, code in codes.items()}
    manifest = {
        "format": FORMAT,
        "netc": __version__,
        "options": _options_to_json(compiled.options),
        "machine": None if compiled.machine is None else asdict(compiled.machine),
        "images": list(images),
        "members": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
        },
        "places": [_place(layer.location) for layer in compiled.net.layers],
        "params": [{"value": value, "shape": list(array.shape)} for value, array in artifact.params.items()],
        "seed": artifact.seed,
        "states": [{"value": value, "shape": list(array.shape)} for value, array in artifact.states.items()],
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_member(MANIFEST), json.dumps(manifest, indent=1))
        for name, data in members.items():
            archive.writestr(_member(name), data)
        for member, arrays in ((PARAM, artifact.params), (STATE, artifact.states)):
            for index, array in enumerate(arrays.values()):
                with archive.open(_member(member.format(index)), "w", force_zip64=True) as target:
                    np.lib.format.write_array(target, array, allow_pickle=False)


def _place(location: Location | None) -> list[str | int] | None:
    return None if location is None else [location.file, location.line, location.column]


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, _EPOCH)


def _options_to_json(options: CompileOptions) -> dict[str, Any]:
    shapes = {name: [str(d) for d in shape] for name, shape in options.input_shapes}
    plain = {f.name: getattr(options, f.name) for f in fields(options) if f.name in SAVED_OPTIONS}
    ranges = None if options.ranges is None else options.ranges.to_json()
    return {**plain, "input_shapes": shapes, "ranges": ranges}
