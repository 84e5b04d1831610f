"""Upgrades nets and solvers of every generation to the current one, in the original's order."""

from __future__ import annotations

from collections.abc import Mapping

from netc.frontend.message import Message
from netc.frontend.upgrade_v0 import is_v0, upgrade_v0_net
from netc.frontend.upgrade_v1 import move_data_transforms, upgrade_v1_net
from netc.ir.diagnostics import NetcError

INPUT_LAYER_NAME = "input"
LEGACY_AXES = 4  # input_dim describes each input by num, channels, height, width
BATCH_NORM_BLOBS = 3

SOLVER_TYPES: Mapping[str, str] = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}
"""The names of ``solver_type`` with those of ``type``."""


def upgrade_net(net: Message) -> Message:
    """A ``NetParameter`` that means the same and has V2 layers only; the argument is left as it is."""
    made = net.copy()
    if is_v0(made):
        made = upgrade_v0_net(made)
    if made.has("layers"):
        made = upgrade_v1_net(move_data_transforms(made))
    if made.has("input"):
        made = replace_inputs(made)
    _freeze_batch_norms(made)
    return made


def upgrade_solver(solver: Message) -> Message:
    """A ``SolverParameter`` with ``type`` for ``solver_type``, and its inline nets upgraded."""
    made = solver.copy()
    if made.has("solver_type"):
        if made.has("type"):
            raise NetcError(
                "a solver has 'solver_type' (old) or 'type', and this one has both",
                location=made.where("solver_type"),
            )
        made.set("type", SOLVER_TYPES[made.text("solver_type")], made.where("solver_type"))
        made.clear("solver_type")
    for name in ("net_param", "train_net_param", "test_net_param"):
        for index, net in enumerate(made.messages(name)):
            made.replace(name, index, upgrade_net(net), made.where(name, index))
    return made


def replace_inputs(net: Message) -> Message:
    """The net with an Input layer in front for its ``input`` fields; without shapes if it gives none."""
    made = net.copy()
    location = net.where("input")
    layer = Message("LayerParameter", location)
    layer.set("name", INPUT_LAYER_NAME, location)
    layer.set("type", "Input", location)
    layer.take("top", net, "input")
    if net.has("input_shape") or net.has("input_dim"):
        param = layer.ensure("input_param", location)
        for shape in _input_shapes(net):
            param.add("shape", shape, shape.location)
    for name in ("input", "input_shape", "input_dim", "layer"):
        made.clear(name)
    made.add("layer", layer, location)
    made.take("layer", net)
    return made


def _input_shapes(net: Message) -> list[Message]:
    """One shape per input, from ``input_shape`` or from ``input_dim`` by fours."""
    count = len(net.list("input"))
    shapes = list(net.messages("input_shape"))
    if shapes:
        if len(shapes) != count:
            message = f"{count} 'input' and {len(shapes)} 'input_shape': each input needs one"
            raise NetcError(message, location=net.where("input_shape"))
        return shapes
    dims = net.list("input_dim")
    if len(dims) != LEGACY_AXES * count:
        wanted = f"{LEGACY_AXES * count} 'input_dim' ({LEGACY_AXES} each)"
        message = f"{count} 'input' need {wanted}, got {len(dims)}"
        raise NetcError(message, location=net.where("input_dim"))
    for start in range(0, len(dims), LEGACY_AXES):
        shape = Message("BlobShape", net.where("input_dim", start))
        for index in range(start, start + LEGACY_AXES):
            shape.add("dim", dims[index], net.where("input_dim", index))
        shapes.append(shape)
    return shapes


def _freeze_batch_norms(net: Message) -> None:
    """The three blobs of a BatchNorm are statistics: no rate that a file gives may change them."""
    for layer in net.messages("layer"):
        params = layer.messages("param")
        if layer.text("type") == "BatchNorm" and len(params) == BATCH_NORM_BLOBS:
            for param in params:
                param.set("lr_mult", 0.0, param.where("lr_mult"))
                param.set("decay_mult", 0.0, param.where("decay_mult"))
