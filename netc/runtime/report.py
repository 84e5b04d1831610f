"""What a compilation made of a net, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

from netc.frontend.imported_net import ImportedNet
from netc.ir.core import Value, walk
from netc.ir.cost import func_cost, macs
from netc.ir.dim import Dim
from netc.runtime.compiler import Compiled
from netc.runtime.memory import Memory
from netc.runtime.shapes import tensor_of

NARROW_OPS = ("nn.bf16_", "nn.int8_")


@dataclass(frozen=True, slots=True)
class Report:
    """``ops_before`` and ``ops_after`` count tensor ops; ``flops`` are those of a run, an fma being two.

    Counts that depend on a symbol are texts; ``memory`` is None then. ``precision`` is that of ``narrow`` of
    the ``products`` (convolutions and inner products); ``prepared_bytes`` are those of the weights as kernels
    read them.
    """

    name: str
    target: str
    ops_before: int
    ops_after: int
    launches: int
    kernels: int
    flops: int | str
    param_bytes: int
    precision: str
    products: int
    narrow: int
    prepared_bytes: int
    memory: Memory | None
    warnings: tuple[str, ...]


def make_report(compiled: Compiled, memory: Memory | None, warnings: tuple[str, ...]) -> Report:
    """The report of a compiled net."""
    after = func_cost(compiled.main)
    products = [op for op in walk(compiled.main.ops) if op.name != "fusion" and macs(op) != 0]
    launches = 0
    if compiled.buffer is not None:
        launches = sum(1 for op in compiled.buffer.func("main").ops if op.name == "buffer.launch")
    return Report(
        name=compiled.tensor.name,
        target=compiled.options.target,
        ops_before=func_cost(compiled.net.module.func("main")).ops,
        ops_after=after.ops,
        launches=launches,
        kernels=len(compiled.cuda.main_code.kernels if compiled.cuda else compiled.objects or {}),
        flops=shown_count(after.flops),
        param_bytes=4 * total_params(compiled.net),
        precision=compiled.options.precision,
        products=len(products),
        narrow=sum(1 for op in products if op.name.startswith(NARROW_OPS)),
        prepared_bytes=sum(_bytes(p) for p in compiled.main.params),
        memory=memory,
        warnings=warnings,
    )


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer of a net, for a table."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    shapes: tuple[tuple[int | str, ...], ...]
    params: int
    flops: int | str


def layer_rows(net: ImportedNet) -> list[LayerRow]:
    """The layers in order; parameters that are shared count for each layer that has them."""
    rows = []
    for layer in net.layers:
        params = sum(_count(info.shape) for info in layer.params if info.learnable)
        shapes = tuple(tuple(shown_count(d) for d in shape) for shape in layer.top_shapes)
        rows.append(
            LayerRow(
                layer.name, layer.type, layer.bottoms, layer.tops, shapes, params, shown_count(layer.macs * 2)
            )
        )
    return rows


def total_params(net: ImportedNet) -> int:
    """How many numbers the net learned, shared ones counted once."""
    return sum(_count(shape) for shape in {i.value.name: i.shape for i in net.params if i.learnable}.values())


def shown_count(dim: Dim) -> int | str:
    """A count as a number; as a text where it depends on a symbol."""
    return dim if isinstance(dim, int) else str(dim)


def _bytes(value: Value) -> int:
    size = tensor_of(value.type).storage_bytes
    assert isinstance(size, int)  # weights are of known sizes
    return size


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total
