"""``netc compile``: writes a compiled net or a library, and a short report, or shows the code at a stage."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from netc.cli.output import progress, put, put_json, say, say_warnings, show_count
from netc.cli.request import NetRequest
from netc.cli.tuning import tuning
from netc.ir.core import Module as IrModule
from netc.ir.diagnostics import NetcError
from netc.ir.printer import print_module
from netc.runtime.api import build, read_message
from netc.runtime.c_interface import build_lines
from netc.runtime.compiler import import_message
from netc.runtime.emit import emit
from netc.runtime.library import write_library
from netc.runtime.lower_net import OnStage
from netc.runtime.memory import Memory, show_bytes
from netc.runtime.module import Module
from netc.runtime.report import Report, make_report
from netc.runtime.shapes import symbol_names


def command(
    request: NetRequest,
    output: str | None,
    stage: str | None,
    folder: str | None,
    print_after: tuple[str, ...],
    as_json: bool,
) -> None:
    """``netc compile``."""
    if request.is_compiled:
        raise NetcError(f"{request.model} is compiled already")
    printer = _Printer(print_after)
    if folder is not None:
        if stage is not None or output is not None:
            raise NetcError(f"--emit-lib writes to a folder, so {'--emit' if stage else '-o'} has no meaning")
        _write_library(request, folder, printer, as_json)
        return
    if stage is not None:
        message = read_message(request.model, request.options)
        net = import_message(message, request.options)
        say_warnings(net.warnings)
        with tuning(request.options.tuner):
            text = emit(net, request.options, stage, on_stage=printer.on_stage)
        printer.check_all_found()
        _write(text, output)
        return
    start = time.perf_counter()
    with tuning(request.options.tuner), progress("compiling kernels") as on_kernel:
        module = build(
            request.model, request.weights, request.options, on_stage=printer.on_stage, on_kernel=on_kernel
        )
    printer.check_all_found()
    path = Path(output) if output else Path(Path(request.model).stem + ".netc")
    module.save(path)
    seconds = time.perf_counter() - start
    report = make_report(module.compiled, _memory(module), module.warnings)
    if as_json:
        put_json({**asdict(report), "file": str(path), "file_bytes": path.stat().st_size, "seconds": seconds})
        return
    say_warnings(report.warnings)
    _put_report(report)
    put(f"  written      {path} ({show_bytes(path.stat().st_size)}) in {seconds:.2f} s")


def _write_library(request: NetRequest, folder: str, printer: _Printer, as_json: bool) -> None:
    start = time.perf_counter()
    library = write_library(
        request.model, request.weights, folder, request.options, on_stage=printer.on_stage
    )
    printer.check_all_found()
    seconds = time.perf_counter() - start
    interface = library.interface
    files = [str(path) for path in library.files]
    if as_json:
        report = {"kernels": library.kernels, "warnings": library.warnings, "files": files}
        put_json({**asdict(interface), **report, "seconds": seconds})
        return
    say_warnings(library.warnings)
    put(f"{interface.prefix} for {interface.target}")
    put(f"  kernels      {library.kernels}")
    put(f"  weights      {show_bytes(interface.weight_bytes)}")
    scratch = show_bytes(interface.scratch_bytes)
    put(f"  memory       {show_bytes(interface.memory_bytes)}, and {scratch} for each thread")
    put(f"  build        {build_lines(interface)[0]}")
    size = sum(path.stat().st_size for path in library.files)
    names = ", ".join(path.name for path in library.files)
    put(f"  written      {names} in {library.folder} ({show_bytes(size)}) in {seconds:.2f} s")


class _Printer:
    """Prints the modules after the passes asked for."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._seen: list[str] = []
        self.on_stage: OnStage | None = self._print if names else None

    def check_all_found(self) -> None:
        unknown = [name for name in self._names if name not in self._seen]
        if unknown:
            raise NetcError(
                f"no pass '{unknown[0]}' ran", remedy=f"the passes here are {', '.join(self._seen)}"
            )

    def _print(self, name: str, module: IrModule) -> None:
        if name not in self._seen:
            self._seen.append(name)
        if name in self._names:
            say(f"# after {name}\n{print_module(module)}")


def _memory(module: Module) -> Memory | None:
    return None if symbol_names(module.compiled.inputs) else module.memory


def _put_report(report: Report) -> None:
    put(f"{report.name} for {report.target}")
    put(f"  ops          {report.ops_before} before the passes, {report.ops_after} after")
    if report.kernels:
        put(f"  kernels      {report.kernels}, launched {report.launches} times")
    put(f"  flops        {show_count(report.flops)}")
    put(f"  parameters   {show_bytes(report.param_bytes)}")
    if report.narrow:
        put(
            f"  {report.precision:12} {report.narrow} of {report.products} convolutions and inner products; "
            f"weights in memory {show_bytes(report.prepared_bytes)}"
        )
    if report.memory is None:
        put("  activations  depend on the input's size")
    else:
        shared, alone = report.memory.activations, report.memory.unshared
        put(f"  activations  {show_bytes(shared)}, without sharing {show_bytes(alone)}")


def _write(content: str | bytes, output: str | None) -> None:
    if output is None:
        if isinstance(content, bytes):
            raise NetcError("machine code is not shown on a terminal", remedy="write it to a file: -o FILE")
        put(content.rstrip("\n"))
        return
    try:
        Path(output).write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise NetcError(f"{output}: {error.strerror or error}") from None
