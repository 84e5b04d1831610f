"""Reads files of compiled nets, and believes nothing in them before it is checked. See `artifact`."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, BinaryIO, TypeVar

import numpy as np

from netc import __version__
from netc.backends.cuda.target import is_cuda
from netc.backends.llvm.backend import REFERENCE_KERNEL
from netc.backends.llvm.target import Target, parse_target
from netc.frontend.imported_net import ImportedNet
from netc.frontend.net_file import load_net
from netc.ir.core import Module
from netc.ir.diagnostics import NetcError
from netc.ir.dim import parse_dim
from netc.ir.location import Location
from netc.ir.opdef import numpy_dtype
from netc.ir.parser import parse_module
from netc.ir.types import TensorType
from netc.runtime.artifact import (
    BUFFER,
    CUDA_KERNEL,
    FORMAT,
    KERNEL,
    MANIFEST,
    NET,
    PARAM,
    SAVED_OPTIONS,
    STATE,
    TENSOR,
    Artifact,
)
from netc.runtime.compiler import Compiled, compile_imported, compile_message, import_message
from netc.runtime.filed_params import FiledParams, Place
from netc.runtime.memory import Array, aligned_zeros
from netc.runtime.options import CompileOptions
from netc.runtime.params import ParamEntry, param_entries
from netc.runtime.pass_settings import cuda_target
from netc.runtime.ranges import ActivationRanges
from netc.runtime.shapes import show_shape, tensor_of

MAX_MANIFEST_BYTES = 16 << 20
_ZIP_HEADER_BYTES = 30  # of a member, before its name

T = TypeVar("T")


def read_artifact(path: str | os.PathLike[str]) -> Artifact:
    """What a file holds; NetcError for anything that is not a whole, sound artefact.

    Code for a machine unlike this one, or of another version of netc, is compiled anew.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file, zipfile.ZipFile(file) as archive:
            return _Reader(name, file, archive).artifact()
    except OSError as error:
        raise NetcError(f"{name}: {error.strerror or error}") from None
    # whatever a damaged zip or member may raise on its way through zipfile, json and numpy
    except (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, KeyError, TypeError) as error:
        raise NetcError(f"{name}: not a compiled net, or damaged: {error}") from None


class _Reader:
    def __init__(self, name: str, file: BinaryIO, archive: zipfile.ZipFile) -> None:
        self._name = name
        self._file = file
        self._archive = archive
        self._infos = self._checked_infos()
        self._manifest = self._read_manifest()
        self._members = self._get(self._manifest, "members", dict)

    def artifact(self) -> Artifact:
        options = self._options()
        # a line break makes it a text, not a path
        text = self._text(NET) + "\n"
        message = load_net(text, phase=options.phase, level=options.level, stages=options.stages)
        net = import_message(message, options)
        machine = self._machine()
        if is_cuda(options.target):
            compiled = self._cuda(net, options)
        elif machine is None:
            compiled = Compiled(options, self._with_places(net), self._module(TENSOR, "tensor"))
        elif self._manifest["netc"] != __version__ or not _runs_here(machine, options):
            compiled = compile_message(message, options)
        else:
            tensor, buffer = self._module(TENSOR, "tensor"), self._module(BUFFER, "buffer")
            compiled = Compiled(
                options,
                self._with_places(net),
                tensor,
                buffer,
                self._objects(buffer),
                machine,
            )
        params = self._params(param_entries(net), stay=compiled.objects is not None)
        seed = self._get(self._manifest, "seed", int)
        return Artifact(message, compiled, params, seed, self._states(net))

    def _cuda(self, net: ImportedNet, options: CompileOptions) -> Compiled:
        """Code for GPUs, which may be others than this machine's: what fits is chosen when it is run."""
        from netc.backends.cuda.backend import lower_for
        from netc.runtime.cuda_build import CudaBuild

        if self._manifest["netc"] != __version__:
            return compile_imported(net, options)
        target = cuda_target(options)
        images = [str(image) for image in self._get(self._manifest, "images", list)]
        code = lower_for(self._module(BUFFER, "buffer"), target)
        build = CudaBuild(target, code, {})
        for image in images:
            if image.replace("compute_", "sm_") not in {a.name for a in target.architectures}:
                raise self._damaged(f"it holds code for {image}, which is not in its target {target.name}")
            names = build.code_for(image).kernels
            build.images[image] = {name: self._data(CUDA_KERNEL.format(image, name)) for name in names}
        tensor = self._module(TENSOR, "tensor")
        return Compiled(options, self._with_places(net), tensor, build.module, cuda=build)

    # --- members

    def _checked_infos(self) -> Mapping[str, zipfile.ZipInfo]:
        """The members by name. None is compressed, so none can be larger than the file."""
        infos: dict[str, zipfile.ZipInfo] = {}
        for info in self._archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                raise self._damaged(f"'{info.filename}' is compressed")
            if info.filename in infos:
                raise self._damaged(f"'{info.filename}' is there twice")
            infos[info.filename] = info
        return infos

    def _read_manifest(self) -> Mapping[str, Any]:
        info = self._infos.get(MANIFEST)
        if info is None:
            raise NetcError(f"{self._name}: a zip file, but not a compiled net: it has no {MANIFEST}")
        if info.file_size > MAX_MANIFEST_BYTES:
            raise self._damaged(f"{MANIFEST} is too large")
        try:
            manifest = json.loads(self._archive.read(info))
        except RecursionError:
            raise self._damaged(f"{MANIFEST} nests too deep") from None
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            found = manifest.get("format") if isinstance(manifest, dict) else None
            raise NetcError(
                f"{self._name}: a compiled net of format {found}; this netc reads format {FORMAT}",
                remedy="compile the net again",
            )
        self._get(manifest, "netc", str)
        return manifest

    def _data(self, member: str) -> bytes:
        stated = self._get(self._members, member, dict)
        info = self._infos.get(member)
        if info is None:
            raise self._damaged(f"{member} is missing")
        if info.file_size != stated.get("bytes"):
            raise self._damaged(f"{member} has {info.file_size} bytes, not {stated.get('bytes')}")
        data = self._archive.read(info)
        if hashlib.sha256(data).hexdigest() != stated.get("sha256"):
            raise self._damaged(f"the content of {member} has changed")
        return data

    def _text(self, member: str) -> str:
        return self._data(member).decode()

    def _module(self, member: str, level: str) -> Module:
        module = parse_module(self._text(member), f"{self._name}/{member}")
        if module.level != level or all(f.name != "main" for f in module.funcs):
            raise self._damaged(f"{member} is no {level} module with @main")
        return module

    def _objects(self, buffer: Module) -> dict[str, bytes]:
        kernels = {op.attrs.kernel for op in buffer.func("main").ops if op.name == "buffer.launch"}
        if None in kernels:
            raise self._damaged("a launch has no kernel")
        return {kernel: self._data(KERNEL.format(kernel)) for kernel in sorted(kernels - {REFERENCE_KERNEL})}

    def _with_places(self, net: ImportedNet) -> ImportedNet:
        """The net with its layers where they stood in the text that was compiled: as in the IR."""
        stated = self._get(self._manifest, "places", list)
        if len(stated) != len(net.layers):
            raise self._damaged("the places are not those of its layers")
        layers = zip(net.layers, stated, strict=True)
        return replace(net, layers=tuple(replace(x, location=self._place(p)) for x, p in layers))

    def _place(self, stated: object) -> Location | None:
        match stated:
            case None:
                return None
            case [str(file), int(line), int(column)]:
                return Location(file, line, column)
        raise self._damaged(f"{stated} is no place in a text")

    # --- parameters

    def _params(self, entries: tuple[ParamEntry, ...], *, stay: bool) -> Mapping[str, Array]:
        """With ``stay`` they are left in the file, where the system can read at a place."""
        stated = self._get(self._manifest, "params", list)
        if [(p.get("value"), p.get("shape")) for p in stated] != [(e.value, list(e.shape)) for e in entries]:
            raise self._damaged("its parameters are not those of its net")
        if stay and hasattr(os, "preadv"):
            places = {e.value: self._place_of(PARAM.format(i), e.shape) for i, e in enumerate(entries)}
            return FiledParams(self._name, os.dup(self._file.fileno()), places)
        return {
            entry.value: self._array(
                PARAM.format(i), entry.shape, np.dtype(np.float32), f"parameter {entry.value}"
            )
            for i, entry in enumerate(entries)
        }

    def _states(self, net: ImportedNet) -> dict[str, Array]:
        """What the last run left; a state whose size was free then has that run's."""
        types = {state.value.name: tensor_of(state.value.type) for state in net.carried}
        found: dict[str, Array] = {}
        for index, stated in enumerate(self._get(self._manifest, "states", list)):
            name, shape = stated.get("value"), stated.get("shape")
            type_ = types.get(name)
            if type_ is None or name in found or not _fits(shape, type_):
                raise self._damaged("its states are not those of its net")
            what = f"state {name}"
            found[name] = self._array(STATE.format(index), tuple(shape), numpy_dtype(type_.dtype), what)
        return found

    def _array(self, member: str, wanted: tuple[int, ...], kind: np.dtype[Any], what: str) -> Array:
        """Read straight into aligned memory; the zip's checksum is compared at the end of the member."""
        with self._opened(member, wanted, kind) as file:
            array = aligned_zeros(wanted, kind, what=what)
            target = array.reshape(-1).view(np.uint8).data
            done = 0
            while done < len(target):
                got = file.readinto(target[done:])
                if not got:
                    raise self._damaged(f"{member} ends early")
                done += got
            if file.read(1):
                raise self._damaged(f"{member} is longer than its array")
        return array

    def _place_of(self, member: str, wanted: tuple[int, ...]) -> Place:
        """Where a parameter lies in the file; its content is compared with the checksum when it is read."""
        kind = np.dtype(np.float32)
        with self._opened(member, wanted, kind) as file:
            header_bytes = file.tell()
        info = self._infos[member]
        if info.file_size != header_bytes + math.prod(wanted) * kind.itemsize:
            raise self._damaged(f"{member} is longer than its array")
        handle = self._file.fileno()
        names = struct.unpack_from("<HH", os.pread(handle, _ZIP_HEADER_BYTES, info.header_offset), 26)
        start = info.header_offset + _ZIP_HEADER_BYTES + sum(names)
        crc = zlib.crc32(os.pread(handle, header_bytes, start))
        return Place(start + header_bytes, wanted, crc, info.CRC)

    def _opened(self, member: str, wanted: tuple[int, ...], kind: np.dtype[Any]) -> zipfile.ZipExtFile:
        """A member that holds such an array, read up to its first element."""
        info = self._infos.get(member)
        if info is None:
            raise self._damaged(f"{member} is missing")
        file = self._archive.open(info)
        assert isinstance(file, zipfile.ZipExtFile)
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise self._damaged(f"{member} is of version {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if shape != wanted or fortran or dtype != kind.newbyteorder("<"):
            raise self._damaged(f"{member} is {dtype} {show_shape(shape)}, not {kind} {show_shape(wanted)}")
        if info.file_size < math.prod(wanted) * kind.itemsize:
            raise self._damaged(f"{member} ends early")
        return file

    # --- manifest

    def _options(self) -> CompileOptions:
        given = self._get(self._manifest, "options", dict)
        if set(given) != SAVED_OPTIONS:
            raise self._damaged(f"the options are {', '.join(given)}")
        shapes = self._get(given, "input_shapes", dict)
        return CompileOptions(
            target=self._get(given, "target", str),
            phase=self._get(given, "phase", str),  # type: ignore[arg-type]  # checked by CompileOptions
            level=self._get(given, "level", int),
            stages=tuple(map(str, self._get(given, "stages", list))),
            input_shapes=tuple((n, tuple(parse_dim(str(d)) for d in dims)) for n, dims in shapes.items()),
            opt_level=self._get(given, "opt_level", int),
            threads=None if given["threads"] is None else self._get(given, "threads", int),
            keep=tuple(map(str, self._get(given, "keep", list))),
            fully_convolutional=self._get(given, "fully_convolutional", bool),
            exact=self._get(given, "exact", bool),
            precision=self._get(given, "precision", str),  # type: ignore[arg-type]  # as the phase
            ranges=self._ranges(given["ranges"]),
        )

    def _ranges(self, given: object) -> ActivationRanges | None:
        return None if given is None else ActivationRanges.from_json(given, self._name)

    def _machine(self) -> Target | None:
        given = self._manifest.get("machine")
        if given is None:
            return None
        if not isinstance(given, dict) or set(given) != {f.name for f in fields(Target)}:
            raise self._damaged("the machine is not described")
        return Target(**given)

    def _get(self, where: Mapping[str, Any], key: str, kind: type[T]) -> T:
        value = where.get(key)
        if not isinstance(value, kind):
            raise self._damaged(f"{key} is missing or no {kind.__name__}")
        return value

    def _damaged(self, message: str) -> NetcError:
        return NetcError(f"{self._name}: damaged: {message}", remedy="compile the net again")


def _fits(shape: object, type_: TensorType) -> bool:
    """Whether a shape from a file is one that the type may have."""
    if not isinstance(shape, list) or len(shape) != type_.rank:
        return False
    pairs = zip(shape, type_.shape, strict=True)
    return all(type(n) is int and n >= 1 and (n == d or not isinstance(d, int)) for n, d in pairs)


def _runs_here(machine: Target, options: CompileOptions) -> bool:
    """Whether code for that machine is what would be compiled here, and today."""
    here = parse_target(options.target)
    return (here.triple, here.cpu, here.features) == (machine.triple, machine.cpu, machine.features)
