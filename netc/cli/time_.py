"""``netc time``: what each kernel takes, and how near it comes to the machine's limits."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict

import numpy as np

from netc.backends.llvm.machine_peak import Peaks, measure_peaks
from netc.backends.llvm.target import available_cores, parse_target
from netc.cli.output import progress, put, put_json, say, say_warnings, table
from netc.cli.picture_file import check_picture
from netc.cli.request import NetRequest
from netc.cli.roofline import layer_of, ops_of, roofline_data, roofline_table, total_seconds
from netc.cli.roofline_png import write_roofline
from netc.ir.diagnostics import NetcError
from netc.ir.dim import evaluate
from netc.runtime.memory import Array, check_available
from netc.runtime.module import Module
from netc.runtime.options import NUMPY_TARGET
from netc.runtime.profile import KernelTime, profile
from netc.runtime.shapes import Binding, show_shape, symbol_names, tensor_of
from netc.runtime.training_module import TrainingModule

WARM_UP = 3


def command(
    request: NetRequest,
    repeats: int,
    size: tuple[str, ...],
    roofline: bool,
    plot: str | None,
    backward: bool,
    as_json: bool,
) -> None:
    """``netc time``."""
    module = request.training_module() if backward else request.module()
    if module.compiled.options.target == NUMPY_TARGET:
        raise NetcError("the target numpy has no kernels to time", remedy="use the target cpu")
    picture = (plot or f"{module.name}.roofline.png") if plot is not None else None
    if picture is not None:
        check_picture(picture)
    arrays = _random_inputs(module, size)
    runner, binding, inputs = module.specialise(**arrays)
    gradients = _output_gradients(module, binding)
    seconds = _whole_runs(module, arrays, gradients, repeats)
    late = {module.compiled.late[blob]: array for blob, array in gradients.items()}
    kernels = profile(runner, binding, {**inputs, **late}, repeats=repeats)
    machine, peaks = _machine(module)
    shapes = ", ".join(f"{name} {show_shape(array.shape)}" for name, array in arrays.items())
    title = f"{module.name}, {shapes}, {machine}, median of {repeats} runs"
    if picture is not None:
        write_roofline(picture, title, kernels, peaks)
        say(f"wrote {picture}")
    if as_json:
        put_json(_as_data(module, seconds, kernels, peaks))
        return
    say_warnings(module.warnings)
    put(title)
    put(f"machine: {peaks.gflops:.0f} GFLOP/s, {peaks.gbytes_per_s:.1f} GB/s")
    what = "a run forward and backward" if backward else "a run"
    put(f"{what} takes {1e3 * seconds:.3f} ms, its kernels {1e3 * total_seconds(kernels):.3f} ms\n")
    put(roofline_table(kernels, peaks) if roofline else _kernel_table(kernels, peaks))


def _machine(module: Module) -> tuple[str, Peaks]:
    """What the kernels run on, and its limits: measured for a processor, a GPU's from its data sheet."""
    cuda = module.compiled.cuda
    if cuda is not None:
        chip = cuda.target.architectures[-1]
        gflops = chip.peak(cuda.target.precision) / 1e9
        peaks = Peaks(chip.processors, gflops, chip.bandwidth / 1e9)
        return f"{cuda.target.precision}, limits of {chip.chip}", peaks
    threads = module.compiled.options.threads or available_cores()
    return f"{threads} threads", measure_peaks(threads, parse_target(module.compiled.options.target))


def _random_inputs(module: Module, sizes: tuple[str, ...]) -> dict[str, Array]:
    values: dict[str, int] = {}
    for text in sizes:
        name, _, number = text.partition("=")
        if not number.isascii() or not number.isdecimal() or int(number) < 1:
            raise NetcError(f"'{text}' is no size", remedy="write it as N=4")
        values[name] = int(number)
    free = symbol_names(module.compiled.inputs)
    missing = [name for name in free if name not in values]
    if missing or set(values) - set(free):
        raise NetcError(
            f"the sizes of the inputs depend on {', '.join(free) or 'no symbols'}, "
            f"and --size is given for {', '.join(values) or 'none'}",
            remedy=f"give --size {missing[0]}=4" if missing else None,
        )
    check_available(module.memory_at(**values).total, "a run of the net")
    rng = np.random.default_rng(0)
    shapes = {
        v.name: tuple(evaluate(d, values) for d in tensor_of(v.type).shape) for v in module.compiled.inputs
    }
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}


def _output_gradients(module: Module, binding: Binding) -> dict[str, Array]:
    """Ones for each output that a backward pass begins with; nothing for a module without one."""
    types = {v.name: tensor_of(v.type) for v in module.compiled.main.inputs}
    values = dict(binding)
    return {
        blob: np.ones(tuple(evaluate(d, values) for d in types[late].shape), np.float32)
        for blob, late in module.compiled.late.items()
    }


def _whole_runs(module: Module, arrays: dict[str, Array], gradients: dict[str, Array], repeats: int) -> float:
    """The median of a run as a caller sees it; forward and backward where the module has both."""
    samples = []
    with progress("timing") as on_run:
        for index in range(WARM_UP + repeats):
            start = time.perf_counter()
            module.run(**arrays)
            if isinstance(module, TrainingModule):
                module.backward(**gradients)
            samples.append(time.perf_counter() - start)
            if on_run is not None:
                on_run(index + 1, WARM_UP + repeats)
    return statistics.median(samples[WARM_UP:])


def _kernel_table(kernels: list[KernelTime], peaks: Peaks) -> str:
    total = total_seconds(kernels)
    rows = [
        (
            layer_of(k),
            ops_of(k),
            k.shape,
            f"{1e3 * k.seconds:.3f}",
            f"{100 * k.seconds / total:.1f}",
            f"{k.gflops_per_s:.1f}",
            f"{k.gbytes_per_s:.1f}",
            f"{100 * k.fraction_of_peak(peaks):.0f} %",
        )
        for k in kernels
    ]
    flops, moved = sum(k.flops for k in kernels), sum(k.bytes for k in kernels)
    needed = sum(k.floor_seconds(peaks) for k in kernels)
    rows.append(
        (
            "all kernels", "", "", f"{1e3 * total:.3f}", "100.0", f"{flops / total / 1e9:.1f}",
            f"{moved / total / 1e9:.1f}", f"{100 * needed / total:.0f} %",
        )
    )  # fmt: skip
    header = ("layer", "ops", "shape", "ms", "%", "GFLOP/s", "GB/s", "peak")
    return table(header, rows, right=(3, 4, 5, 6, 7))


def _as_data(module: Module, seconds: float, kernels: list[KernelTime], peaks: Peaks) -> dict[str, object]:
    return {
        "name": module.name,
        "seconds": seconds,
        "kernel_seconds": sum(k.seconds for k in kernels),
        "floor_seconds": sum(k.floor_seconds(peaks) for k in kernels),
        "peaks": asdict(peaks),
        "kernels": roofline_data(kernels, peaks),
    }
