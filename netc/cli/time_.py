"""``netc time``: what each kernel takes, and how near it comes to the machine's limits."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict

import numpy as np

from netc.backends.llvm.machine_peak import Peaks, measure_peaks
from netc.backends.llvm.target import available_cores, parse_target
from netc.cli.output import progress, put, put_json, say_warnings, table
from netc.cli.request import NetRequest
from netc.ir.diagnostics import NetcError
from netc.ir.dim import evaluate
from netc.runtime.memory import Array, check_available
from netc.runtime.module import Module
from netc.runtime.options import NUMPY_TARGET
from netc.runtime.profile import KernelTime, profile
from netc.runtime.shapes import show_shape, symbol_names, tensor_of

WARM_UP = 3


def command(request: NetRequest, repeats: int, size: tuple[str, ...], as_json: bool) -> None:
    """``netc time``."""
    module = request.module()
    if module.compiled.options.target == NUMPY_TARGET:
        raise NetcError("the target numpy has no kernels to time", remedy="use the target cpu")
    arrays = _random_inputs(module, size)
    seconds = _whole_runs(module, arrays, repeats)
    kernels = profile(*module.specialise(**arrays), repeats=repeats)
    machine, peaks = _machine(module)
    if as_json:
        put_json(_as_data(module, seconds, kernels, peaks))
        return
    say_warnings(module.warnings)
    inputs = ", ".join(f"{name} {show_shape(array.shape)}" for name, array in arrays.items())
    put(f"{module.name}, {inputs}, {machine}, median of {repeats} runs")
    put(f"machine: {peaks.gflops:.0f} GFLOP/s, {peaks.gbytes_per_s:.1f} GB/s")
    put(f"a run takes {1e3 * seconds:.3f} ms\n")
    put(_kernel_table(kernels, peaks))


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


def _whole_runs(module: Module, arrays: dict[str, Array], repeats: int) -> float:
    """The median of a run as a caller sees it."""
    samples = []
    with progress("timing") as on_run:
        for index in range(WARM_UP + repeats):
            start = time.perf_counter()
            module.run(**arrays)
            samples.append(time.perf_counter() - start)
            if on_run is not None:
                on_run(index + 1, WARM_UP + repeats)
    return statistics.median(samples[WARM_UP:])


def _kernel_table(kernels: list[KernelTime], peaks: Peaks) -> str:
    total = sum(k.seconds for k in kernels) or 1.0
    rows = [
        (
            k.layers[0] if k.layers else k.value,
            " ".join(op.rpartition(".")[2] for op in k.ops),
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
    needed = sum(k.fraction_of_peak(peaks) * k.seconds for k in kernels)
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
        "peaks": asdict(peaks),
        "kernels": [
            {
                **asdict(k),
                "gflops_per_s": k.gflops_per_s,
                "gbytes_per_s": k.gbytes_per_s,
                "fraction_of_peak": k.fraction_of_peak(peaks),
            }
            for k in kernels
        ],
    }
