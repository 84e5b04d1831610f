"""Inner products: a warp for each output where samples are few, else tiles of a matrix product."""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.lower.product import Matrix, Product
from netc.backends.cuda.text import c_dim, linear
from netc.ir.core import Op
from netc.ir.dim import ceildiv, exact_quotient
from netc.ir.types import TensorType

FEW_SAMPLES = 8
BLOCK = 256
WARP = 32


def has_few_samples(anchor: Op) -> bool:
    """Whether the weights' rows [N, K] are read for a handful of samples: bound by memory."""
    x = anchor.operands[0].type
    assert isinstance(x, TensorType)
    return not anchor.attrs.transpose and isinstance(x.shape[0], int) and x.shape[0] <= FEW_SAMPLES


def as_product(kernel: Kernel, anchor: Op) -> Product:
    """Samples x outputs."""
    x, w = (kernel.operand(v) for v in anchor.operands[:2])
    samples, outputs = kernel.writes[0].type.shape
    depth = x.type.shape[1]
    own, along = (w.strides[1], w.strides[0]) if anchor.attrs.transpose else w.strides
    a = Matrix(x, x.strides[0], ((depth, x.strides[1]),))
    b = Matrix(w, own, ((depth, along),))

    def place(group: str, m: str, columns: Sequence[str]) -> list[str]:
        del group
        return [m, *columns]

    return Product(samples, outputs, depth, 1, a, b, (outputs,), place, kernel.bias(anchor))


def lower_rows(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel for few samples: every weight is read once, by a warp, in order."""
    x, w = (kernel.operand(v) for v in anchor.operands[:2])
    bias = kernel.bias(anchor)
    outputs, depth = w.type.shape
    samples = x.type.static_shape[0]
    run = 1
    dims = (depth, x.strides[0], w.strides[0])
    if x.aligned and w.aligned and x.strides[1] == w.strides[1] == 1:
        run = 4 if all(exact_quotient(d, 4) is not None for d in dims) else 1
    with kernel.function((ceildiv(outputs, BLOCK // WARP), 1, 1), BLOCK):
        kernel.line(f"const int n = blockIdx.x * {BLOCK // WARP} + threadIdx.x / {WARP};")
        kernel.line(f"if (n >= {c_dim(outputs)}) return;")
        kernel.line(f"const int lane = threadIdx.x % {WARP};")
        kernel.line(f"Sum sum[{samples}];")
        step = WARP * run
        with kernel.block(f"for (int k = lane * {run}; k < {c_dim(depth)}; k += {step})"):
            at = linear(["n", "k"], w.strides)
            seen = linear(["m", "k"], x.strides)
            if run == 4:
                kernel.line("float w_value[4], x_value[4];")
                kernel.line(f"unpack(w_value, load4({w.pointer} + {at}));")
                with kernel.unrolled("m", samples):
                    kernel.line(f"unpack(x_value, load4({x.pointer} + {seen}));")
                    with kernel.unrolled("i", 4):
                        kernel.line("sum[m].total = fmaf(w_value[i], x_value[i], sum[m].total);")
            else:
                kernel.line(f"const float w_value = {w.pointer}[{at}];")
                with kernel.unrolled("m", samples):
                    kernel.line(f"sum[m].total = fmaf(w_value, {x.pointer}[{seen}], sum[m].total);")
        with kernel.unrolled("m", samples):
            kernel.line("reduce_warp(sum[m]);")
        with kernel.unrolled("m", samples), kernel.block("if (lane == m)"):
            value = f"sum[m].total + {bias.element(['n'])}" if bias is not None else "sum[m].total"
            kernel.line(f"const float value = {value};")
            finish_at(kernel, {anchor.result.name: "value"}, tail, ["m", "n"])
