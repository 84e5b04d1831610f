"""``netc inspect``: the layers of a net with shapes, parameters and flops."""

from __future__ import annotations

from dataclasses import asdict

from netc.backends.cuda.target import is_cuda
from netc.cli.output import put, put_json, say_warnings, show_count, table
from netc.cli.request import NetRequest
from netc.frontend.imported_net import ImportedNet
from netc.ir.dim import Dim
from netc.runtime.api import read_message
from netc.runtime.compiler import import_message, unread_blobs
from netc.runtime.cuda_cost import NetCost, net_cost
from netc.runtime.memory import show_bytes
from netc.runtime.read_artifact import read_artifact
from netc.runtime.report import LayerRow, layer_rows, shown_count, total_params
from netc.runtime.shapes import show_shape, tensor_of

SHOWN_TOPS = 3


def command(request: NetRequest, as_json: bool) -> None:
    """``netc inspect``; for a GPU its kernels with what they would cost."""
    net = _net(request)
    if is_cuda(request.options.target):
        _put_cost(net.module.name, net_cost(net, request.options), as_json)
        return
    rows = layer_rows(net)
    macs: Dim = 0
    for layer in net.layers:
        macs = macs + layer.macs
    total = {"params": total_params(net), "flops": shown_count(macs * 2)}
    main = net.module.func("main")
    unread = unread_blobs(net.layers)
    inputs = {v.name: tuple(map(shown_count, tensor_of(v.type).shape)) for v in net.inputs}
    outputs = [name for name in main.result_names if name in unread]
    if as_json:
        layers = [asdict(row) for row in rows]
        facts = {"name": net.module.name, "inputs": inputs, "outputs": outputs}
        put_json({**facts, "layers": layers, **total, "warnings": net.warnings})
        return
    say_warnings(net.warnings)
    put(f"{net.module.name}: {len(rows)} layers, {show_count(total['params'])} parameters, "
        f"{show_count(total['flops'])} flops")  # fmt: skip
    for name, shape in inputs.items():
        put(f"input   {name}  {'x'.join(map(str, shape))}")
    put(f"output  {', '.join(outputs)}\n")
    header = ("layer", "type", "output", "params", "flops")
    put(table(header, [_cells(row) for row in rows], right=(3, 4)))


def _put_cost(name: str, cost: NetCost, as_json: bool) -> None:
    chip, precision = cost.architecture, cost.precision
    if as_json:
        kernels = [{**asdict(k.what), "functions": k.functions, "limit": k.limit} for k in cost.kernels]
        facts = {"architecture": asdict(chip), "precision": precision, "functions": cost.functions}
        put_json({"name": name, **facts, "seconds": cost.seconds, "kernels": kernels})
        return
    put(f"{name} on {chip.name} ({chip.chip}, {precision}): {len(cost.kernels)} kernels, "
        f"{cost.functions} functions, "
        f"at least {1e6 * cost.seconds:.0f} us (predicted, not measured)\n")  # fmt: skip
    rows = [
        (
            k.what.layers[0] if k.what.layers else k.what.value,
            " ".join(op.rpartition(".")[2] for op in k.what.ops),
            k.what.shape,
            str(k.functions),
            show_count(k.what.flops),
            show_bytes(k.what.bytes),
            f"{1e6 * k.what.seconds:.1f}",
            k.limit,
        )
        for k in cost.kernels
    ]
    header = ("layer", "ops", "result", "functions", "flops", "moved", "us", "limit")
    put(table(header, rows, right=(3, 4, 5, 6)))


def _net(request: NetRequest) -> ImportedNet:
    if request.is_compiled:
        return read_artifact(request.model).compiled.net
    return import_message(read_message(request.model, request.options), request.options)


def _cells(row: LayerRow) -> tuple[str, ...]:
    tops = [f"{top} {show_shape(shape)}" for top, shape in zip(row.tops, row.shapes, strict=True)]
    shown = ", ".join(tops[:SHOWN_TOPS]) + (", …" if len(tops) > SHOWN_TOPS else "")
    params = show_count(row.params) if row.params else ""
    return row.name, row.type, shown, params, show_count(row.flops) if row.flops else ""
