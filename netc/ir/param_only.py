"""Which values follow from the parameters alone, and so need computing only when the weights change."""

from __future__ import annotations

from netc.ir.core import Func, Op
from netc.ir.opdef import opdef
from netc.ir.types import type_symbols

# Besides elementwise arithmetic. Convolutions and the like are left out on purpose: a net that is fed with
# constants (DummyData) would otherwise be run by the reference once and be gone.
_PREPARABLE = frozenset(
    {
        "detect.prior_box",
        "layout.convert",
        "nn.adjoint_weight",
        "nn.bf16_weight",
        "nn.int8_scale",
        "nn.int8_start",
        "nn.int8_weight",
        "nn.winograd_weight",
        "tensor.concat",
        "tensor.fill",
        "tensor.reduce",
        "tensor.reshape",
        "tensor.slice",
        "tensor.transpose",
    }
)


def param_only(func: Func, *, states: bool = False) -> frozenset[str]:
    """The names of the params and of all values made of params and constants by cheap arithmetic.

    Values whose shape has symbols are not among them: the weights are prepared before sizes are known.
    ``states``: of params and states; weights that are being trained, of the size of weights still.
    """
    found = {p.name for p in (*func.params, *(func.states if states else ()))}
    for op in func.ops:
        if _is_preparable(op) and all(v.name in found for v in op.operands):
            found.update(r.name for r in op.results)
    return frozenset(found)


def _is_preparable(op: Op) -> bool:
    cheap = op.name in _PREPARABLE or opdef(op.name).elementwise
    return cheap and not any(type_symbols(r.type) for r in op.results)
