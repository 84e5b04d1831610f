"""The ``param`` messages of a layer: the multipliers of its parameters, and the names that share them."""

from __future__ import annotations

from collections.abc import Sequence

from netc.frontend.imported_net import ParamInfo
from netc.frontend.layers.shapes import show_shape
from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.ir.dim import product
from netc.ir.types import TensorType


def multipliers(layer: Message, index: int) -> tuple[float | None, float | None]:
    """``lr_mult`` and ``decay_mult`` of parameter ``index`` as stated."""
    specs = layer.messages("param")[index : index + 1]
    rate, decay = (
        next((spec.number(name) for spec in specs if spec.has(name)), None)
        for name in ("lr_mult", "decay_mult")
    )
    return rate, decay


def share_name(layer: Message, index: int) -> str:
    """The name under which layers share parameter ``index``; empty where they do not."""
    specs = layer.messages("param")
    return specs[index].text("name") if index < len(specs) else ""


def check_sharing(
    layer: Message, label: str, index: int, shape: tuple[int, ...], uses: Sequence[ParamInfo]
) -> None:
    """Refuse a parameter whose shape or multipliers contradict its ``uses`` by the layers before."""
    first = uses[0]
    spec = layer.messages("param")[index]
    name = spec.text("name")
    _check_multipliers(spec, label, uses)
    have = first.value.type
    assert isinstance(have, TensorType)
    permissive = spec.text("share_mode") == "PERMISSIVE"
    if have.elements == product(shape) if permissive else have.static_shape == shape:
        return
    wanted, got = show_shape(have.static_shape), show_shape(shape)
    raise NetcError(
        f"parameter '{name}' is {wanted} in layer '{first.layer}', but {got} here; they cannot be shared",
        location=spec.where("name"),
        layer=label,
        remedy=None if permissive else "share_mode: PERMISSIVE allows another shape of the same size",
    )


def _check_multipliers(spec: Message, label: str, uses: Sequence[ParamInfo]) -> None:
    """Layers that share a parameter may leave its multipliers to each other, but not contradict."""
    for field_name in ("lr_mult", "decay_mult"):
        known = next((m for info in uses if (m := getattr(info, field_name)) is not None), None)
        if spec.has(field_name) and known is not None and spec.number(field_name) != known:
            raise NetcError(
                f"parameter '{spec.text('name')}' has {field_name} {known:g} in layer '{uses[0].layer}', but "
                f"{spec.number(field_name):g} here; it is one parameter",
                location=spec.where(field_name),
                layer=label,
            )
