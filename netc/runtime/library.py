"""Writes a net as a library without dependencies: object files, a C header, an example.

====================  ====================================================================
``NAME.o``            the kernels and the functions that the header declares
``NAME_weights.o``    the prepared parameters, as the kernels read them: read-only data
``NAME.h``            the interface, documented
``main.c``            an example that reads arrays and prints classes
====================  ====================================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netc.backends.cuda.target import is_cuda
from netc.backends.launch_body import split_body
from netc.backends.llvm import library_api as api
from netc.backends.llvm.backend import REFERENCE_KERNEL, kernel_text, launches, name_kernels
from netc.backends.llvm.data_object import ALIGNMENT as DATA_ALIGNMENT
from netc.backends.llvm.data_object import MACHINES, write_data_object
from netc.backends.llvm.engine import link_to_object
from netc.backends.llvm.lock_step import runtime_text
from netc.backends.llvm.lower.scalar_ops import ELEMENTWISE
from netc.backends.llvm.lower.table import LOWERINGS, scratch_bytes
from netc.backends.llvm.target import Target, parse_target
from netc.frontend.atomic_file import atomic_file
from netc.frontend.imported_net import ImportedNet
from netc.ir.arena import aligned, arena_bytes
from netc.ir.core import Func, Module, Op, definitions
from netc.ir.diagnostics import NetcError
from netc.runtime.api import NetSource, WeightSource, filled_params, read_message
from netc.runtime.c_interface import Interface, Tensor, example_text, header_text
from netc.runtime.compiler import import_message
from netc.runtime.lower_net import OnStage, llvm_level, lower_net
from netc.runtime.memory import Array
from netc.runtime.options import NUMPY_TARGET, CompileOptions
from netc.runtime.params import PreparedParams
from netc.runtime.program import buffer_address
from netc.runtime.shapes import symbol_names, tensor_of

MAX_NAME = 48


@dataclass(frozen=True)
class Library:
    """What was written: ``files`` in ``folder``, ``interface`` as the header states it."""

    folder: Path
    files: tuple[Path, ...]
    interface: Interface
    kernels: int
    warnings: tuple[str, ...]


def write_library(
    net: NetSource,
    weights: WeightSource,
    folder: str | os.PathLike[str],
    options: CompileOptions,
    *,
    on_stage: OnStage | None = None,
) -> Library:
    """Write the library of a net into a folder, which is made where it does not exist.

    NetcError for what a library cannot hold: sizes that are symbols, states, ops without a kernel.
    """
    target = _target(options)
    net_ = import_message(read_message(net, options), options)
    _check_net(net_, options)
    if on_stage is not None:
        on_stage("import", net_.module)
    lowered = lower_net(net_.module, options, on_stage=on_stage)
    module = name_kernels(lowered.buffer)
    _check_launches(module, net_)
    store, warnings = filled_params(net_, weights)
    prepared = PreparedParams(lowered.tensor.func("prepare"), store).storages
    params = {v.name: prepared[v.name] for v in module.func("main").params}
    prefix = c_name(net_.module.name)
    plan = _plan(prefix, module, params, target)
    main = lowered.tensor.func("main")
    interface = Interface(
        prefix,
        target.name,
        target.triple,
        tuple(Tensor(v.name, tensor_of(v.type).static_shape) for v in main.inputs),
        tuple(
            Tensor(name, tensor_of(v.type).static_shape)
            for name, v in zip(main.result_names, main.results, strict=True)
        ),
        plan.fixed_bytes,
        plan.scratch_bytes,
        sum(a.nbytes for a in params.values()),
    )
    code = _code(plan, module, target, llvm_level(options))
    files = _write(Path(folder), interface, plan, code, params, target)
    return Library(Path(folder), files, interface, len(launches(module)), net_.warnings + warnings)


def c_name(name: str) -> str:
    """The name of a net as the beginning of names in C: letters, digits, and a letter in front."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:MAX_NAME]
    return plain if plain[:1].isalpha() else f"net_{plain}".rstrip("_")


# --- what a library cannot hold


def _target(options: CompileOptions) -> Target:
    if options.target == NUMPY_TARGET or is_cuda(options.target):
        raise NetcError(
            f"a library holds machine code of a CPU, not of the target {options.target}",
            remedy="choose a target such as cpu or cpu:aarch64-linux",
        )
    target = parse_target(options.target)
    if target.architecture not in MACHINES or "linux" not in target.triple:
        raise NetcError(
            f"libraries are written for Linux on {' and '.join(MACHINES)}, not for {target.triple}",
            remedy="choose a target such as cpu:aarch64-linux",
        )
    return target


def _check_net(net: ImportedNet, options: CompileOptions) -> None:
    if options.threads is not None:
        raise NetcError(
            "a library is not compiled for a number of threads",
            remedy=f"give it to {c_name(net.module.name)}_create",
        )
    if options.phase == "TRAIN":
        raise NetcError(
            "a library runs nets of phase TEST: nothing in it learns", remedy="leave --phase TRAIN out"
        )
    free = symbol_names(net.module.func("main").inputs)
    if free:
        raise NetcError(
            f"a library is made for one size of input, and {', '.join(free)} may be any",
            remedy="give numbers with --input-shape",
        )
    if net.states:
        main = net.module.func("main")
        results = dict(zip(main.result_names, main.results, strict=True))
        maker = definitions(main).get(results[net.states[0].next].name)
        raise NetcError(
            "the net keeps states from run to run, which a library does not",
            location=maker.location if maker else None,
            layer=_layer_of(maker, net) if maker else None,
            remedy="compile it to a .netc file, or make the states its inputs and outputs",
        )
    if net.files:
        raise NetcError(
            "a library writes no files",
            location=net.files[0].location,
            layer=net.files[0].layer,
            remedy="leave the layer out; its bottoms are outputs then",
        )
    for name in net.counted:
        layer = next(layer for layer in reversed(net.layers) if name in layer.tops)
        raise NetcError(
            f"only a run decides how many rows '{name}' has, which a library cannot say",
            location=layer.location,
            layer=layer.name,
            remedy="end the net in front of this layer, and do its work in your program",
        )


def _check_launches(module: Module, net: ImportedNet) -> None:
    for launch in module.func("main").ops:
        if launch.name != "buffer.launch" or launch.attrs.kernel != REFERENCE_KERNEL:
            continue
        assert launch.body is not None
        unknown = [op for op in launch.body.ops if op.name not in LOWERINGS and op.name not in ELEMENTWISE]
        op = (*unknown, split_body(launch)[0])[0]
        raise NetcError(
            f"the CPU backend has no kernel for {op.name}, and a library has no Python to run it in",
            location=op.location,
            layer=_layer_of(op, net),
            remedy="end the net in front of this layer, and do its work in your program",
        )


def _layer_of(op: Op, net: ImportedNet) -> str | None:
    """The name of the layer that an op comes from."""
    places = (layer.name for layer in net.layers if layer.location == op.location)
    return next(places, None) if op.location is not None else None


# --- memory and code


def _plan(prefix: str, module: Module, params: Mapping[str, Array], target: Target) -> api.LibraryPlan:
    """Where everything lies: inputs, outputs, arena and scratch behind the tables of the interface."""
    main = module.func("main")
    ops = [op for op in main.ops if op.name == "buffer.launch"]
    scratch = max((scratch_bytes(op, target) for op in ops), default=0)
    end = aligned(
        api.TABLES + api.tables_bytes(len(op.operands) + bool(scratch_bytes(op, target)) for op in ops)
    )
    addresses: dict[str, int] = {}
    for value, place in zip(main.params, _places(params), strict=True):
        addresses[value.name] = api.WEIGHTS + place
    for value in (*main.inputs, *main.outputs):
        type_ = tensor_of(value.type)
        if type_.dtype != "f32" or type_.layout is not None:
            raise NetcError(f"a library takes and gives arrays of float32, and '{value.name}' is {type_}")
        size = type_.storage_bytes
        assert isinstance(size, int)
        addresses[value.name] = end
        end += aligned(size)
    arena = end
    end += arena_bytes(module)
    end += -end % api.ALIGNMENT
    return api.LibraryPlan(
        prefix,
        _steps(main, addresses, arena, end, target),
        tuple(addresses[v.name] for v in main.inputs),
        tuple(addresses[v.name] for v in main.outputs),
        end,
        scratch,
    )


def _steps(
    main: Func, addresses: dict[str, int], arena: int, scratch: int, target: Target
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    steps = []
    for op in main.ops:
        if op.name != "buffer.launch":
            addresses[op.result.name] = buffer_address(op, addresses, arena)
            continue
        words = [addresses[v.name] for v in op.operands]
        if scratch_bytes(op, target):
            words.append(scratch)
        steps.append((str(op.attrs.kernel), tuple(words)))
    return tuple(steps)


def _places(params: Mapping[str, Array]) -> list[int]:
    """Where each parameter begins in the data object."""
    places, end = [], 0
    for array in params.values():
        places.append(end)
        end += array.nbytes + -array.nbytes % DATA_ALIGNMENT
    return places


def _code(plan: api.LibraryPlan, module: Module, target: Target, level: int) -> bytes:
    texts = [api.api_text(plan, target.architecture), runtime_text(target.triple)]
    texts += [kernel_text(name, op, target) for name, op in launches(module).items()]
    return link_to_object(texts, plan.exported, target, level)


# --- files


def _write(
    folder: Path,
    interface: Interface,
    plan: api.LibraryPlan,
    code: bytes,
    params: Mapping[str, Array],
    target: Target,
) -> tuple[Path, ...]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NetcError(f"{folder}: {error.strerror or error}") from None
    prefix = interface.prefix
    pieces = [
        piece
        for array in params.values()
        for piece in (array.reshape(-1).view(np.uint8).data, bytes(-array.nbytes % DATA_ALIGNMENT))
    ]
    data = folder / f"{prefix}_weights.o"
    with atomic_file(data) as file:
        write_data_object(file, plan.weights_symbol, pieces, sum(map(len, pieces)), target)
    contents = {
        f"{prefix}.o": code,
        f"{prefix}.h": header_text(interface).encode(),
        "main.c": example_text(interface).encode(),
    }
    for name, content in contents.items():
        with atomic_file(folder / name) as file:
            file.write(content)
    return (*(folder / name for name in contents), data)
