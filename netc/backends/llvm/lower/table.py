"""Which lowering implements a launch: the one visible place where schedules are chosen.

Each family offers ``applies(anchor op)`` and ``lower(kernel, anchor, elementwise tail)``; the first in
the list that applies is taken. Adding a schedule adds a file and a row.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from netc.backends.launch_body import find_row, no_kernel, split_body
from netc.backends.llvm.lower import (
    adjoint_weight,
    arg_max,
    conv,
    conv_generic,
    conv_weight_gradient,
    conv_weight_gradient_generic,
    copy,
    deconv,
    depthwise,
    fractional_conv,
    inner_product,
    inner_product_rows,
    lrn,
    lrn_gradient,
    map,
    narrow_conv,
    narrow_inner_product,
    pad,
    pool,
    pool_generic,
    pool_gradient,
    pool_gradient_generic,
    random,
    reduce,
    softmax,
    softmax_loss,
    transpose,
    winograd,
    winograd_weight,
)
from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.scalar_ops import ELEMENTWISE, Emitter
from netc.backends.llvm.target import Target
from netc.ir.core import Func, Op
from netc.ir.schedule import Schedule, show_schedule


@dataclass(frozen=True, slots=True)
class Lowering:
    """One way to implement an op: when it fits, and how it is written.

    ``scratch_bytes``: how much memory of its own each thread needs meanwhile, with the launch's schedule.
    ``candidates``: what it may do instead, as the launch's schedule, the model's own choice first.
    """

    name: str
    applies: Callable[[Op], bool]
    lower: Callable[[Kernel, Op, Sequence[Op]], None]
    scratch_bytes: Callable[[Op, Target, str | None], int] | None = None
    candidates: Callable[[Kernel, Op, Sequence[Op]], Sequence[Schedule]] | None = None


def _always(_anchor: Op) -> bool:
    return True


MAP = Lowering("map", _always, map.lower)

LOWERINGS: dict[str, tuple[Lowering, ...]] = {
    "nn.conv": (
        Lowering("depthwise", depthwise.applies, depthwise.lower),
        Lowering("conv", conv.applies, conv.lower, candidates=conv.candidates),
        Lowering("conv_generic", conv_generic.applies, conv_generic.lower),
    ),
    "nn.bf16_conv": (
        Lowering("bf16_conv", narrow_conv.applies, narrow_conv.lower, candidates=narrow_conv.candidates),
    ),
    "nn.int8_conv": (
        Lowering("int8_conv", narrow_conv.applies, narrow_conv.lower, candidates=narrow_conv.candidates),
    ),
    "nn.adjoint_weight": (Lowering("adjoint_weight", _always, adjoint_weight.lower),),
    "nn.conv_weight_gradient": (
        Lowering("conv_weight_gradient", conv_weight_gradient.applies, conv_weight_gradient.lower),
        Lowering("conv_weight_gradient_generic", _always, conv_weight_gradient_generic.lower),
    ),
    "nn.deconv": (Lowering("deconv", deconv.applies, deconv.lower),),
    "nn.fractional_conv": (
        Lowering(
            "fractional_conv", conv.applies, fractional_conv.lower, candidates=fractional_conv.candidates
        ),
    ),
    "nn.inner_product": (
        Lowering(
            "inner_product", inner_product.applies, inner_product.lower, candidates=inner_product.candidates
        ),
        Lowering("inner_product_rows", inner_product_rows.applies, inner_product_rows.lower),
    ),
    "nn.bf16_inner_product": (
        Lowering(
            "bf16_inner_product",
            narrow_inner_product.applies,
            narrow_inner_product.lower,
            candidates=narrow_inner_product.candidates,
        ),
    ),
    "nn.int8_inner_product": (
        Lowering(
            "int8_inner_product",
            narrow_inner_product.applies,
            narrow_inner_product.lower,
            candidates=narrow_inner_product.candidates,
        ),
    ),
    "nn.pool": (
        Lowering("pool", pool.applies, pool.lower),
        Lowering("pool_generic", pool_generic.applies, pool_generic.lower),
    ),
    "nn.global_pool": (
        Lowering("global_pool", pool.applies, pool.lower_global),
        Lowering("global_pool_generic", pool_generic.applies, pool_generic.lower_global),
    ),
    "nn.max_pool_choice": (
        Lowering("pool", pool.applies, pool.lower),
        Lowering("pool_generic", pool_generic.applies, pool_generic.lower),
    ),
    "nn.max_pool_gradient": (
        Lowering("pool_gradient", pool_gradient.applies, pool_gradient.lower),
        Lowering("pool_gradient_generic", _always, pool_gradient_generic.lower),
    ),
    "nn.ave_pool_gradient": (
        Lowering("pool_gradient", pool_gradient.applies, pool_gradient.lower),
        Lowering("pool_gradient_generic", _always, pool_gradient_generic.lower),
    ),
    "nn.global_max_gradient": (
        Lowering("global_max_gradient", _always, pool_gradient_generic.lower_global_max),
    ),
    "nn.lrn_gradient": (Lowering("lrn_gradient", _always, lrn_gradient.lower),),
    "nn.lrn": (Lowering("lrn", _always, lrn.lower),),
    "nn.moments": (Lowering("moments", _always, reduce.lower),),
    "nn.softmax_loss": (Lowering("softmax_loss", _always, softmax_loss.lower_loss),),
    "nn.softmax_loss_gradient": (Lowering("softmax_loss_gradient", _always, softmax_loss.lower_gradient),),
    "nn.softmax": (Lowering("softmax", _always, softmax.lower),),
    "nn.winograd_conv": (
        Lowering("winograd", winograd.applies, winograd.lower, winograd.scratch_bytes, winograd.candidates),
    ),
    "nn.winograd_weight": (Lowering("winograd_weight", winograd_weight.applies, winograd_weight.lower),),
    "random.dropout": (Lowering("dropout", _always, random.lower_dropout),),
    "random.next": (Lowering("next", _always, random.lower_next),),
    "random.uniform": (Lowering("uniform", _always, random.lower_uniform),),
    "tensor.reduce": (Lowering("reduce", _always, reduce.lower),),
    "tensor.reshape": (Lowering("reshape", _always, copy.lower_reshape),),
    "tensor.transpose": (Lowering("transpose", _always, transpose.lower_transpose),),
    "tensor.concat": (Lowering("concat", _always, copy.lower_concat),),
    "tensor.tile": (Lowering("tile", _always, copy.lower_tile),),
    "tensor.top_k": (Lowering("arg_max", arg_max.applies, arg_max.lower),),
    "tensor.slice": (Lowering("slice", _always, copy.lower_slice),),
    "tensor.pad": (Lowering("pad", pad.applies, pad.lower),),
    "tensor.fill": (Lowering("fill", _always, copy.lower_fill),),
    "layout.convert": (Lowering("convert", _always, transpose.lower_convert),),
}


# op name -> digest of the code of a kernel that came from outside; see fingerprint()
_FOREIGN: dict[str, str] = {}


def register_lowering(op_name: str, lowering: Lowering) -> None:
    """Add a kernel for an op, tried before the ones known so far; how a plug-in brings its own."""
    _note_foreign(op_name, lowering.lower)
    LOWERINGS[op_name] = (lowering, *LOWERINGS.get(op_name, ()))


def register_elementwise(op_name: str, emitter: Emitter) -> None:
    """Add the register form of an elementwise op; it then fuses with its neighbours."""
    _note_foreign(op_name, emitter)
    ELEMENTWISE[op_name] = emitter


def _note_foreign(op_name: str, function: Callable[..., object]) -> None:
    _FOREIGN[op_name] = hashlib.sha256(marshal.dumps(function.__code__)).hexdigest()


def fingerprint(launch: Op) -> str:
    """What a launch's kernel depends on besides netc's own code: the code of plug-ins' lowerings.

    It sees the registered function itself, not what that calls: a plug-in whose helpers change renames its
    op or clears the cache.
    """
    assert launch.body is not None
    return " ".join(_FOREIGN[op.name] for op in launch.body.ops if op.name in _FOREIGN)


def has_kernel(launch: Op) -> bool:
    """Whether a lowering applies; else the runtime runs the launch by its reference."""
    assert launch.body is not None
    return not launch.body.ops or _find(launch) is not None


def scratch_bytes(launch: Op, target: Target) -> int:
    """How much memory of its own each thread needs for a launch."""
    assert launch.body is not None
    lowering = _find(launch) if launch.body.ops else None
    if lowering is None or lowering.scratch_bytes is None:
        return 0
    return lowering.scratch_bytes(split_body(launch)[0], target, launch.attrs.schedule)


def other_schedules(launch: Op, target: Target) -> list[str]:
    """What a launch's ``schedule`` may be besides the model's own choice, the most promising first."""
    assert launch.body is not None
    lowering = _find(launch) if launch.body.ops else None
    if lowering is None or lowering.candidates is None:
        return []
    plain = replace(launch, attrs=replace(launch.attrs, schedule=None))
    kernel = Kernel("candidates", plain, target, scratch_bytes(plain, target))
    own, *others = lowering.candidates(kernel, *split_body(plain))
    return [show_schedule(other) for other in others if other != own]


def lower_launch(name: str, launch: Op, target: Target) -> Func:
    """The loop-level kernel of a ``buffer.launch``."""
    assert launch.body is not None
    kernel = Kernel(name, launch, target, scratch_bytes(launch, target))
    if not launch.body.ops:
        copy.lower_copy(kernel)
        return kernel.finish()
    lowering = _find(launch)
    if lowering is None:
        raise no_kernel(launch, "CPU")
    lowering.lower(kernel, *split_body(launch))
    return kernel.finish()


def _find(launch: Op) -> Lowering | None:
    """The lowering of a launch whose body holds ops."""
    return find_row(launch, LOWERINGS, ELEMENTWISE, MAP)
