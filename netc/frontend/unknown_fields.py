"""What to do about fields of a layer that the schema lacks: refuse them, or say once that they are ignored.

A field inside the settings that the layer's rule reads may change the numbers, and so may a message of
settings beside them; it is refused unless its name is known to be harmless. What concerns training,
fillers and data files changes nothing here.
"""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext
from netc.frontend.message import collect_unknown

# messages whose fields cannot change what a compiled net computes
_HARMLESS_MESSAGES = frozenset(
    {"param", "transform_param", "data_param", "loss_param", "include", "exclude", "blobs", "python_param"}
)
# fields that choose an implementation, name things, or steer training, wherever they stand
_HARMLESS_FIELDS = frozenset(
    {
        "blobs_lr", "bn_frozen", "cudnn_conv_algo", "cudnn_convolution_algo_seeker", "debug_info", "engine",
        "force_backward", "frozen", "lr_mult", "decay_mult", "momentum", "moving_average_fraction",
        "math_mode", "need_backward", "print_iter", "propagate_down", "var_eps", "weight_decay",
        "backward_math", "forward_math", "backward_type", "forward_type", "conv_algos_override",
        "conv_algorithm", "cudnn_math_override", "default_forward_type", "default_backward_type", "id",
        "comment", "visualize",
    }
)  # fmt: skip
# fields that mean nothing where they stand: the original's own CIFAR-10 files of 2014 have this one
_HARMLESS_PATHS = frozenset({("pooling_param", "norm_region")})
_FILLER_SUFFIX = "filler"


def check_unknown_fields(ctx: LayerContext) -> None:
    """Raise NetcError for a field that may change the numbers; note the others as a warning."""
    ignored: dict[str, None] = {}
    for path, location in collect_unknown(ctx.message):
        names = [part.partition("[")[0] for part in path.split(".")]
        if names[0] in ctx.params_read and len(names) == 1:
            continue  # a plug-in's settings
        if not _is_harmless(ctx, names):
            error = ctx.error(
                f"the field '{'.'.join(names)}' is unknown and may change the result",
                remedy="remove it if it does not",
            )
            error.location = location
            error.span = len(names[-1])
            raise error
        ignored.setdefault(".".join(names))
    if ignored:
        ctx.warn(f"ignored unknown {'field' if len(ignored) == 1 else 'fields'} {', '.join(ignored)}")


def _is_harmless(ctx: LayerContext, names: list[str]) -> bool:
    if ctx.fed and names[0] not in ctx.params_read:  # where the numbers come from is the caller's business
        return True
    if names[-1] in _HARMLESS_FIELDS or names[0] in _HARMLESS_MESSAGES or tuple(names) in _HARMLESS_PATHS:
        return True
    if any(name.endswith(_FILLER_SUFFIX) for name in names[1:]):
        return True
    # settings of other layers' kinds are not read at all, here as in the original
    return len(names) > 1 and names[0] not in ctx.params_read
