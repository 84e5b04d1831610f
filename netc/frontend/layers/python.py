"""Python: layers written in Python. Known classes have rules; others are run, where that is allowed.

A rule for a class is registered as layer type ``Python:module.Class``, by this package or by a plug-in.
"""

from __future__ import annotations

import re

from netc.frontend.layers.context import LayerContext
from netc.frontend.layers.registry import ANY, check_blob_counts, layer, layer_type
from netc.frontend.python_layers.classes import registered_class
from netc.frontend.python_layers.layer import LayerFacts
from netc.ir.dim import symbols
from netc.ir.ops.python_layer import PythonLayerAttrs
from netc.ir.types import TensorType

_P = "python_param"
_PERMISSION = "allow the net's own code with --allow-python-layers (allow_python_layers=True)"
# what py-faster-rcnn and its kin use while training
_TRAINING_CLASSES = frozenset({"AnchorTargetLayer", "ProposalTargetLayer"})
# `'feat_stride': 16`, `"scales": [4, 8]`, `ratios: !!python/tuple (1, 2)`
_SETTING = re.compile(r"""["']?(\w+)["']?\s*:\s*(?:!!\S+\s*)?(\[[^\]]*\]|\([^)]*\)|[-+.\w]+)""")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@layer("Python", bottoms=ANY, tops=ANY)
def import_python(ctx: LayerContext) -> None:
    """What the class ``layer`` of ``module`` does: by a rule for it, or by running it where that is allowed.

    Elsewhere a layer without bottoms reads data: its tops are inputs, whose shapes the caller must state.
    """
    param = ctx.param(_P)
    module, cls = param.text("module"), param.text("layer")
    name = f"{module}.{cls}"
    known = layer_type(f"Python:{name}")
    if known is not None and registered_class(module, cls) is None:
        check_blob_counts(ctx, known)
        known.rule(ctx)
    elif ctx.net.python_layers.may_run(module, cls):
        _import_class(ctx, module, cls)
    elif not ctx.bottoms:
        for index in range(len(ctx.top_names)):
            ctx.input(index, None, remedy=f"{_PERMISSION}, use the net's deploy prototxt, or ")
    elif cls in _TRAINING_CLASSES:
        raise ctx.error(
            f"the Python layer {name} makes targets for training, which is not supported",
            f"{_P}.layer",
            remedy=f"use the net's test prototxt, or {_PERMISSION}",
        )
    else:
        raise ctx.error(
            f"the Python layer {name} is unknown: netc does not run a net's own code",
            f"{_P}.layer",
            remedy=f"if you trust it, {_PERMISSION}; or a plug-in can supply it: "
            f"netc.register_layer('Python:{name}', rule), see docs/plugins.md",
        )


def _import_class(ctx: LayerContext, module: str, cls: str) -> None:
    """A call of the class's methods in the run. Its sizes are those that its ``reshape`` gives now."""
    facts = LayerFacts(
        f"{module}.{cls}",
        ctx.label,
        ctx.location,
        ctx.param(_P).text("param_str"),
        ctx.phase,
        ctx.bottom_names,
        ctx.top_names,
    )
    shapes = [_static(ctx, index) for index in range(len(ctx.bottoms))]
    key, code = ctx.net.python_layers.find(module, cls, facts)
    tops = code.shapes(shapes)
    for name, shape in zip(ctx.top_names, tops, strict=True):
        ctx.check_size(shape, f"blob '{name}'")
    params = [
        ctx.param_value(f"blob{index}", array.shape, index, initial=array)
        for index, array in enumerate(code.params)
    ]
    inputs = (*ctx.bottoms, *params)
    types = tuple(value.type for value in inputs if isinstance(value.type, TensorType))
    attrs = PythonLayerAttrs(key, types, tuple(TensorType("f32", shape) for shape in tops))
    results = ctx.call_python(inputs, attrs)
    for index, value in enumerate(results):
        ctx.top(index, value)
    ctx.net.code[key] = code


def _static(ctx: LayerContext, bottom: int) -> tuple[int, ...]:
    shape = ctx.shape(bottom)
    name = ctx.bottom_names[bottom]
    free = sorted({symbol for extent in shape for symbol in symbols(extent)})
    if free:
        raise ctx.error(
            f"the size of its bottom '{name}' depends on {', '.join(free)}, which is not fixed",
            remedy=f"a Python layer has one size: give the input's shape with a number for {free[0]}",
        )
    return tuple(d for d in shape if isinstance(d, int))


def read_param_str(ctx: LayerContext) -> dict[str, tuple[float, ...]]:
    """The numbers in ``param_str`` by name: the part of YAML, JSON and Python that such strings use."""
    text = ctx.param(_P).text("param_str")
    found = {name: tuple(map(float, _NUMBER.findall(value))) for name, value in _SETTING.findall(text)}
    return {name: numbers for name, numbers in found.items() if numbers}
