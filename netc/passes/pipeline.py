"""The order of the passes: one table, a line a stage, each with why it stands there.

======  =====================================================================================
level   what runs
======  =====================================================================================
``0``   what is needed to be correct: one kernel an op, no memory shared, every value kept
``1``   and the net made smaller: canonicalize, cse, fold_affine, deconv_to_conv, dce
``2``   and kernels fused, buffers shared
``3``   and blocked layouts
======  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from netc.ir.core import Module
from netc.ir.dim import Dim
from netc.ir.rewrite import bind_symbols
from netc.ir.types import type_symbols
from netc.ir.verify import verify
from netc.passes.assign_layouts import assign_layouts
from netc.passes.bufferize import bufferize
from netc.passes.canonicalize import canonicalize
from netc.passes.conv_to_inner_product import conv_to_inner_product
from netc.passes.cse import cse
from netc.passes.dce import dce
from netc.passes.deconv_to_conv import deconv_to_conv
from netc.passes.eliminate_dropout import eliminate_dropout
from netc.passes.fold_affine import fold_affine
from netc.passes.forward_first import forward_first
from netc.passes.fuse import fuse
from netc.passes.group_updates import group_updates
from netc.passes.hoist_prepare import hoist_prepare
from netc.passes.inner_product_to_conv import inner_product_to_conv
from netc.passes.join_pads import join_pads
from netc.passes.lower_precision import IsWide, NarrowPrecision, Ranges, lower_precision
from netc.passes.recompute import recompute
from netc.passes.share_buffers import share_buffers
from netc.passes.split_batch import ChooseSegments, split_batch
from netc.passes.use_winograd import ChooseTile, use_winograd
from netc.passes.widen_groups import widen_groups

OptLevel = Literal[0, 1, 2, 3]
FEW_OPS_A_KERNEL = 32


@dataclass(frozen=True, slots=True)
class Stage:
    """One run of one pass. A pass may run twice; ``name`` is the pass's, ``why_here`` the reason."""

    name: str
    run: Callable[[Module], Module]
    why_here: str


@dataclass(frozen=True, slots=True)
class Narrow:
    """The numbers that products are computed in; for ``int8`` with the ranges of tensors.

    ``wide`` picks the convolutions that are quicker in f32.
    """

    precision: NarrowPrecision
    ranges: Ranges | None = None
    wide: IsWide | None = None


@dataclass(frozen=True, slots=True)
class Lowered:
    """``tensor`` is the last tensor-level module (its ``@prepare`` makes the params of ``buffer``)."""

    tensor: Module
    buffer: Module


OnStage = Callable[[str, Module], None]


def tensor_pipeline(
    opt_level: OptLevel,
    *,
    block: int,
    fully_convolutional: Mapping[str, tuple[Dim, ...]] | None = None,
    forward: Collection[str] = (),
    segments: int = 1,
    winograd: ChooseTile | None = None,
    narrow: Narrow | None = None,
    winograd_each_run: ChooseTile | None = None,
    one_update: bool = False,
    batch_segments: ChooseSegments | None = None,
) -> tuple[Stage, ...]:
    """The stages that take an imported module to one that bufferize can take.

    What the results ``forward`` need is the forward pass, which is computed before all else; its activations
    are kept at the ends of ``segments`` runs and otherwise computed again. With ``one_update`` the small
    updates of states are few kernels.
    """
    stages = [Stage("eliminate_dropout", eliminate_dropout, "no kernel exists for an op that does nothing")]
    if fully_convolutional is not None:
        shapes = dict(fully_convolutional)
        stages.append(
            Stage(
                "inner_product_to_conv",
                lambda m: inner_product_to_conv(m, input_shapes=shapes),
                "before anything that relies on shapes; after dropout, which would only be carried along",
            )
        )
    if opt_level >= 1:
        stages += [
            Stage("canonicalize", canonicalize, "one spelling a meaning, so that later patterns are few"),
            Stage("cse", cse, "equal chains are one before fold_affine asks who reads them"),
            Stage("join_pads", join_pads, "before layouts: differentiation leaves a sum for every slice"),
            Stage("fold_affine", fold_affine, "row-major weights are easy to scale"),
            Stage(
                "conv_to_inner_product",
                conv_to_inner_product,
                "fold_affine is done with convolutions; layouts come later",
            ),
            Stage("canonicalize", canonicalize, "both leave reshapes and constants behind"),
            Stage(
                "deconv_to_conv",
                lambda m: deconv_to_conv(m, fractional=opt_level >= 3),
                "fold_affine knows deconvolutions; layouts come later",
            ),
            Stage("dce", dce, "what was replaced goes before layouts would convert it"),
        ]
    if segments > 1:
        stages.append(
            Stage(
                "recompute",
                lambda m: recompute(m, forward=forward, segments=segments),
                "behind cse, which would find that it computes twice; layouts follow the copies",
            )
        )
    if opt_level >= 3:
        stages.append(
            Stage("widen_groups", lambda m: widen_groups(m, block=block), "lets layouts block more")
        )
        if narrow is not None:
            wanted = narrow
            stages.append(
                Stage(
                    "lower_precision",
                    lambda m: lower_precision(
                        m,
                        precision=wanted.precision,
                        block=block,
                        ranges=wanted.ranges,
                        wide=wanted.wide,
                    ),
                    "groups are as wide as they get; Winograd's convolution is for what stays f32",
                )
            )
    if winograd is not None:
        choose = winograd
        stages.append(
            Stage(
                "use_winograd",
                lambda m: use_winograd(m, choose=choose, choose_each_run=winograd_each_run),
                "groups are as wide as they get",
            )
        )
    if opt_level >= 3:
        stages.append(
            Stage("assign_layouts", lambda m: assign_layouts(m, block=block), "while ops stand alone")
        )
    stages.append(
        Stage("hoist_prepare", hoist_prepare, "takes the conversion of weights along, hence after layouts")
    )
    max_ops = FEW_OPS_A_KERNEL if opt_level >= 2 else 1
    stages.append(
        Stage(
            "fuse",
            lambda m: fuse(m, max_ops=max_ops, forward=forward),
            "no pass changes what a kernel computes after this",
        )
    )
    if forward:
        stages.append(
            Stage(
                "forward_first", lambda m: forward_first(m, names=forward), "on kernels: what fuse made stays"
            )
        )
    if one_update and opt_level >= 2:
        stages.append(
            Stage(
                "group_updates",
                lambda m: group_updates(m, forward=forward),
                "on kernels in their final order",
            )
        )
    if batch_segments is not None:
        choose_segments = batch_segments
        stages.append(
            Stage(
                "split_batch",
                lambda m: split_batch(m, choose=choose_segments),
                "on kernels: what they leave between them is known",
            )
        )
    return tuple(stages)


def before_narrowing(
    module: Module, *, block: int, fully_convolutional: Mapping[str, tuple[Dim, ...]] | None = None
) -> Module:
    """The module as ``lower_precision`` gets it: its values have the names that ranges are known by."""
    stages = tensor_pipeline(3, block=block, fully_convolutional=fully_convolutional, narrow=Narrow("bf16"))
    for stage in stages:
        if stage.name == "lower_precision":
            break
        module = stage.run(module)
    return module


def run_pipeline(
    module: Module,
    *,
    opt_level: OptLevel,
    block: int,
    fully_convolutional: Mapping[str, tuple[Dim, ...]] | None = None,
    forward: Collection[str] = (),
    segments: int = 1,
    winograd: ChooseTile | None = None,
    narrow: Narrow | None = None,
    winograd_each_run: ChooseTile | None = None,
    one_update: bool = False,
    batch_segments: ChooseSegments | None = None,
    on_stage: OnStage | None = None,
    verify_each: bool = False,
) -> Lowered:
    """Run every stage. ``on_stage`` sees the name and the outcome of each, ``verify_each`` checks it.

    A module with symbols comes out without buffer offsets; :func:`place_buffers` adds them once the sizes
    are known.
    """

    def step(name: str, outcome: Module) -> Module:
        if verify_each:
            verify(outcome)
        if on_stage is not None:
            on_stage(name, outcome)
        return outcome

    stages = tensor_pipeline(
        opt_level,
        block=block,
        fully_convolutional=fully_convolutional,
        forward=forward,
        segments=segments,
        winograd=winograd,
        narrow=narrow,
        winograd_each_run=winograd_each_run,
        one_update=one_update,
        batch_segments=batch_segments,
    )
    for stage in stages:
        module = step(stage.name, stage.run(module))
    buffer = step("bufferize", bufferize(module, in_place=opt_level >= 2))
    if not _has_symbols(buffer):
        buffer = step("share_buffers", share_buffers(buffer, reuse=opt_level >= 2))
    return Lowered(module, buffer)


def place_buffers(buffer: Module, sizes: Mapping[str, int], *, opt_level: OptLevel) -> Module:
    """A buffer module with its symbols bound to sizes and its allocations placed in the arena."""
    return share_buffers(bind_symbols(buffer, sizes), reuse=opt_level >= 2)


def _has_symbols(module: Module) -> bool:
    return any(
        type_symbols(v.type)
        for func in module.funcs
        for v in (*func.args, *(r for op in func.ops for r in op.results))
    )
