"""Runs the passes on a net, with the schedules that cost models choose or that were measured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from netc.backends.cuda.target import is_cuda
from netc.backends.llvm.batch_segments import choose_segments
from netc.backends.llvm.engine import DEFAULT_OPT_LEVEL
from netc.backends.llvm.lower.winograd_schedule import (
    choose_winograd_tile,
    choose_winograd_tile_each_run,
    winograd_costs,
    winograd_keeps_weights,
)
from netc.backends.llvm.target import available_cores, parse_target
from netc.ir.batch import Batch, Segment
from netc.ir.core import Module, Op
from netc.passes.lower_precision import NarrowPrecision
from netc.passes.pipeline import Lowered, Narrow, run_pipeline
from netc.passes.use_winograd import ChooseTile, winograd_taps
from netc.runtime.options import CompileOptions
from netc.runtime.pass_settings import cuda_target, pass_settings
from netc.runtime.precision import NARROW
from netc.runtime.shapes import tensor_of

LEVEL_OF_WINOGRAD = 3
LEVEL_OF_SPLITS = 3
# how many times quicker than in f32 the direct convolution is in narrow numbers
SPEEDUP: Mapping[NarrowPrecision, float] = {"bf16": 2.0, "int8": 4.0}
# a pass's name and its outcome
OnStage = Callable[[str, Module], None]


def lower_net(
    module: Module,
    options: CompileOptions,
    *,
    forward: Collection[str] = (),
    segments: int = 1,
    on_stage: OnStage | None = None,
) -> Lowered:
    """The module after all passes; ``forward`` and ``segments`` as in `netc.passes.pipeline`."""
    level, block = pass_settings(options)

    narrow: Narrow | None = None
    main = module.func("main")
    # an iteration keeps its activations for the backward pass, hence for the whole batch
    splits = level >= LEVEL_OF_SPLITS and not is_cuda(options.target) and not forward and not main.states

    def run(winograd: ChooseTile | None, on_stage: OnStage | None = None) -> Lowered:
        return run_pipeline(
            module,
            opt_level=level,
            block=block,
            fully_convolutional=dict(options.input_shapes) if options.fully_convolutional else None,
            forward=forward,
            segments=segments,
            winograd=winograd,
            narrow=narrow,
            winograd_each_run=None if is_cuda(options.target) else cheapest_each_run,
            winograd_keeps_weights=None if is_cuda(options.target) else keeps_weights,
            one_update=is_cuda(options.target),
            batch_segments=choose_batch_segments if splits else None,
            on_stage=on_stage,
        )

    def choose_batch_segments(batch: Batch) -> Sequence[Segment]:
        return choose_segments(batch, target.l3_bytes)

    def keeps_weights(conv: Op, tile: int) -> bool:
        return winograd_keeps_weights(conv, tile, target)

    def cheapest_each_run(conv: Op) -> int | None:
        return choose_winograd_tile_each_run(conv, target, weight_bytes)

    if is_cuda(options.target):
        lowered = run(_cuda_winograd(options), on_stage)
        if options.tuner is None:
            return lowered
        from netc.runtime.tuning.cuda_setting import cuda_setting

        on_gpu = cuda_setting(lowered.buffer, cuda_target(options))
        return replace(lowered, buffer=options.tuner.with_schedules(lowered.buffer, on_gpu))
    target = parse_target(options.target)
    sizes = [tensor_of(param.type).storage_bytes for param in (*main.params, *main.states)]
    weight_bytes = sum(size for size in sizes if isinstance(size, int))

    def costs(conv: Op) -> dict[int | None, float]:
        return winograd_costs(conv, target, weight_bytes)

    if options.precision in NARROW:
        precision: NarrowPrecision = "int8" if options.precision == "int8" else "bf16"

        def is_wide(conv: Op) -> bool:
            if not winograd_taps(conv):
                return False
            found = costs(conv)
            others = [cost for tile, cost in found.items() if tile is not None]
            return bool(others) and min(others) * SPEEDUP[precision] < found[None]

        ranges = None if options.ranges is None else options.ranges.by_name
        narrow = Narrow(precision, ranges, is_wide)

    def cheapest(conv: Op) -> int | None:
        return choose_winograd_tile(conv, target, weight_bytes)

    if options.tuner is None:
        return run(None if options.exact or level < LEVEL_OF_WINOGRAD else cheapest, on_stage)
    target.check_runs_here()
    from netc.runtime.tuning.setting import Setting, cold_bytes

    threads = options.threads or available_cores()
    setting = Setting(target, threads, llvm_level(options), cold_bytes(module, target))
    choose: ChooseTile | None = None
    if not options.exact and level >= LEVEL_OF_WINOGRAD:
        convs: list[Op] = []
        run(lambda conv: convs.append(conv))
        choose = options.tuner.choose_algorithms(convs, costs, setting)
    lowered = run(choose, on_stage)
    return replace(lowered, buffer=options.tuner.with_schedules(lowered.buffer, setting))


def _cuda_winograd(options: CompileOptions) -> ChooseTile | None:
    """Where Winograd's convolution pays on the latest architecture of a target; None: it is not allowed."""
    if options.exact or options.opt_level < LEVEL_OF_WINOGRAD:
        return None
    from netc.backends.cuda.lower.winograd_cost import choose_winograd_tile as choose_cuda_tile

    target = cuda_target(options)
    architecture = target.architectures[-1]
    precision = architecture.units(target.precision).precision
    return lambda conv: choose_cuda_tile(conv, architecture, precision)


def llvm_level(options: CompileOptions) -> int:
    """LLVM's own level: our kernels are scheduled before LLVM sees them, so it has little left to do."""
    return DEFAULT_OPT_LEVEL if options.opt_level else 0
