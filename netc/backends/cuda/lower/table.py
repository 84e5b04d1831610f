"""Which lowering implements a launch: the one visible place where schedules are chosen.

Each family offers ``applies(anchor op)`` and ``lower(kernel, anchor, elementwise tail)``; the first in
the list that applies is taken. All operands are row-major.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from netc.backends.cuda.kernel import CudaKernel, Kernel
from netc.backends.cuda.lower import (
    arg_max,
    conv,
    direct,
    inner_product,
    lrn,
    map,
    matrix_product,
    move,
    pool,
    pool_gradient,
    random,
    reduce,
    softmax,
    sweeps,
    transpose,
    winograd,
)
from netc.backends.cuda.lower.product import Product
from netc.backends.cuda.lower.scalar_ops import ELEMENTWISE
from netc.backends.cuda.target import Precision
from netc.backends.cuda.text import C_TYPES
from netc.backends.launch_body import find_row, no_kernel, split_body
from netc.ir.core import Op
from netc.ir.schedule import show_schedule
from netc.ir.types import BufferType


@dataclass(frozen=True, slots=True)
class Lowering:
    """One way to implement an op: when it fits, and how it is written, or which matrix product it is."""

    name: str
    applies: Callable[[Op], bool]
    lower: Callable[[Kernel, Op, Sequence[Op]], None] | None
    product: Callable[[Kernel, Op], Product] | None = None

    def emit(self, kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
        """Write the kernel's functions."""
        if self.product is not None:
            matrix_product.lower(kernel, anchor, tail, self.product(kernel, anchor))
        if self.lower is not None:
            self.lower(kernel, anchor, tail)


def _always(_anchor: Op) -> bool:
    return True


# ops that also read or write numbers that are no floats
_MIXED = ("nn.max_pool_choice", "nn.max_pool_gradient", "random.dropout", "random.next", "random.uniform")
MAP = Lowering("map", _always, map.lower)

LOWERINGS: dict[str, tuple[Lowering, ...]] = {
    "nn.adjoint_weight": (Lowering("adjoint_weight", _always, move.lower_adjoint_weight),),
    "nn.conv": (
        Lowering("direct", direct.applies, direct.lower),
        Lowering("product", _always, None, conv.conv_product),
    ),
    "nn.deconv": (
        Lowering("direct", direct.applies, direct.lower_deconv),
        Lowering("product", _always, None, conv.deconv_product),
    ),
    "nn.conv_weight_gradient": (
        Lowering("direct", direct.gradient_applies, direct.lower_weight_gradient),
        Lowering("product", _always, None, conv.weight_gradient_product),
    ),
    "nn.inner_product": (
        Lowering("rows", inner_product.has_few_samples, inner_product.lower_rows),
        Lowering("product", _always, None, inner_product.as_product),
    ),
    "nn.pool": (Lowering("pool", _always, pool.lower),),
    "nn.max_pool_choice": (Lowering("pool", _always, pool.lower),),
    "nn.global_pool": (Lowering("reduce", _always, reduce.lower_global_pool),),
    "nn.max_pool_gradient": (Lowering("pool_gradient", _always, pool_gradient.lower),),
    "nn.ave_pool_gradient": (Lowering("pool_gradient", _always, pool_gradient.lower),),
    "nn.global_max_gradient": (
        Lowering("largest", arg_max.has_few_places, arg_max.lower_global_max_gradient),
    ),
    "nn.lrn": (Lowering("lrn", _always, lrn.lower),),
    "nn.lrn_gradient": (Lowering("lrn_gradient", _always, lrn.lower_gradient),),
    "nn.moments": (Lowering("reduce", _always, reduce.lower),),
    "nn.softmax": (Lowering("softmax", _always, softmax.lower),),
    "nn.softmax_loss": (Lowering("softmax_loss", _always, softmax.lower_loss),),
    "nn.softmax_loss_gradient": (Lowering("softmax_loss", _always, softmax.lower_gradient),),
    "nn.winograd_conv": (Lowering("winograd", winograd.applies, winograd.lower),),
    "random.dropout": (Lowering("dropout", _always, random.lower_dropout),),
    "random.next": (Lowering("next", _always, random.lower_next),),
    "random.uniform": (Lowering("uniform", _always, random.lower_uniform),),
    "tensor.concat": (Lowering("concat", _always, move.lower_concat),),
    "tensor.fill": (Lowering("fill", _always, move.lower_fill),),
    "tensor.pad": (Lowering("pad", move.pads_with_constant, move.lower_pad),),
    "tensor.reduce": (Lowering("reduce", _always, reduce.lower),),
    "tensor.reshape": (Lowering("reshape", _always, move.lower_reshape),),
    "tensor.slice": (Lowering("slice", _always, move.lower_slice),),
    "tensor.tile": (Lowering("tile", _always, move.lower_tile),),
    "tensor.top_k": (Lowering("largest", arg_max.applies, arg_max.lower),),
    "tensor.transpose": (
        Lowering("tiles", transpose.applies, transpose.lower),
        Lowering("transpose", _always, move.lower_transpose),
    ),
}


def has_kernel(launch: Op) -> bool:
    """Whether a lowering applies; else the runtime runs the launch by its reference on the host."""
    assert launch.body is not None
    types = [v.type.tensor for v in launch.operands if isinstance(v.type, BufferType)]
    if any(t.layout is not None or t.dtype not in C_TYPES for t in types):
        return False
    return not launch.body.ops or _find(launch) is not None


def other_schedules(
    launch: Op, precision: Precision, aligned: Sequence[bool], *, warpgroups: bool = False
) -> list[str]:
    """What a launch's ``schedule`` may be besides the model's own choice, the most promising first."""
    assert launch.body is not None
    lowering = _find(launch) if launch.body.ops and has_kernel(launch) else None
    if lowering is None or lowering.product is None:
        return []
    plain = replace(launch, attrs=replace(launch.attrs, schedule=None))
    kernel = Kernel("candidates", plain, precision, aligned, warpgroups=warpgroups)
    _, *others = matrix_product.candidates(kernel, lowering.product(kernel, split_body(plain)[0]))
    return [show_schedule(other) for other in others]


def lower_launch(
    name: str, launch: Op, precision: Precision, aligned: Sequence[bool], *, warpgroups: bool = False
) -> CudaKernel:
    """The kernel of a ``buffer.launch``; ``aligned`` says which operands begin at multiples of 16 bytes.

    ``warpgroups``: for an architecture whose warpgroups multiply together.
    """
    assert launch.body is not None
    kernel = Kernel(name, launch, precision, aligned, warpgroups=warpgroups)
    if not launch.body.ops:
        map.lower_copy(kernel)
        return kernel.finish("copy")
    lowering = _find(launch)
    if lowering is None:
        raise no_kernel(launch, "CUDA")
    lowering.emit(kernel, *split_body(launch))
    return kernel.finish(lowering.name)


def _find(launch: Op) -> Lowering | None:
    """The lowering of a launch whose body holds ops."""
    anchor, _ = split_body(launch)
    if anchor.name not in _MIXED and not all(_is_float(v.type) for v in launch.operands):
        return None
    found = find_row(launch, LOWERINGS, ELEMENTWISE, MAP)
    return None if found is MAP and not sweeps.fit_one_kernel(launch) else found


def _is_float(type_: object) -> bool:
    return isinstance(type_, BufferType) and type_.tensor.dtype == "f32"
