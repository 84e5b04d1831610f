"""InnerProduct: the fully connected layer."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.registry import layer
from netc.ir.dim import product
from netc.ir.ops.inner_product import InnerProductAttrs

_P = "inner_product_param"


@layer("InnerProduct")
def import_inner_product(ctx: LayerContext) -> None:
    """``y[m,n] = b[n] + sum_k x[m,k] w[n,k]``.

    All axes before ``axis`` are batch, all others one vector; the output keeps the batch axes. The weight
    is (N, K), or (K, N) with ``transpose``. Its size depends on the input's, which must be fixed.
    """
    param = ctx.param(_P)
    shape = ctx.shape()
    axis = ctx.axis(f"{_P}.axis", len(shape), param.integer("axis"))
    outputs = param.integer("num_output")
    if outputs < 1:
        got = f"got {outputs}" if param.has("num_output") else "it is missing"
        raise ctx.error(f"num_output must be at least 1; {got}", f"{_P}.num_output")
    rows, columns = product(shape[:axis]), product(shape[axis:])
    transpose = param.flag("transpose")
    weight_shape = (columns, outputs) if transpose else (outputs, columns)
    params = [ctx.param_value("weight", weight_shape, 0, param.message("weight_filler"))]
    if param.flag("bias_term"):
        params.append(ctx.param_value("bias", (outputs,), 1, param.message("bias_filler")))
    x = ctx.reshape(ctx.bottoms[0], (rows, columns), part="rows")
    whole = (*shape[:axis], outputs)
    part = None if len(whole) == 2 else "rows.out"
    y = ctx.emit("nn.inner_product", (x, *params), InnerProductAttrs(transpose), part=part)
    ctx.top(0, ctx.reshape(y, whole))
