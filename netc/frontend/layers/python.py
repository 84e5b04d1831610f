"""Python: layers written in Python. Sources of data become inputs, known classes their own rules.

A rule for a class is registered as layer type ``Python:module.Class``, by this package or by a plug-in.
"""

from __future__ import annotations

import re

from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.registry import ANY, check_blob_counts, layer, layer_type

_P = "python_param"
# what py-faster-rcnn and its kin use while training
_TRAINING_CLASSES = frozenset({"AnchorTargetLayer", "ProposalTargetLayer"})
# `'feat_stride': 16`, `"scales": [4, 8]`, `ratios: !!python/tuple (1, 2)`
_SETTING = re.compile(r"""["']?(\w+)["']?\s*:\s*(?:!!\S+\s*)?(\[[^\]]*\]|\([^)]*\)|[-+.\w]+)""")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@layer("Python", bottoms=ANY, tops=ANY)
def import_python(ctx: LayerContext) -> None:
    """What the class ``layer`` of ``module`` does, where a rule for it is registered.

    A layer without bottoms reads data: its tops are inputs, whose shapes the caller must state.
    """
    param = ctx.param(_P)
    name = f"{param.text('module')}.{param.text('layer')}"
    known = layer_type(f"Python:{name}")
    if known is not None:
        check_blob_counts(ctx, known)
        known.rule(ctx)
        return
    if not ctx.bottoms:
        for index in range(len(ctx.top_names)):
            ctx.input(index, None, remedy="use the net's deploy prototxt, or ")
        return
    if param.text("layer") in _TRAINING_CLASSES:
        raise ctx.error(
            f"the Python layer {name} makes targets for training, which is not supported",
            f"{_P}.layer",
            remedy="use the net's test prototxt",
        )
    raise ctx.error(
        f"the Python layer {name} is unknown: netc does not run a net's own code",
        f"{_P}.layer",
        remedy=f"a plug-in can supply it: netc.register_layer('Python:{name}', rule), see docs/plugins.md",
    )


def read_param_str(ctx: LayerContext) -> dict[str, tuple[float, ...]]:
    """The numbers in ``param_str`` by name: the part of YAML, JSON and Python that such strings use."""
    text = ctx.param(_P).text("param_str")
    found = {name: tuple(map(float, _NUMBER.findall(value))) for name, value in _SETTING.findall(text)}
    return {name: numbers for name, numbers in found.items() if numbers}
