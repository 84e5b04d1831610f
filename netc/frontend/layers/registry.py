"""The table of layer types: what each takes and gives, and the rule that writes it as tensor IR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netc.frontend.layers.context import LayerContext

Rule = Callable[[LayerContext], None]
# the least and the most number of blobs; None is no limit
Count = tuple[int, int | None]

ANY: Count = (0, None)
ORIGINAL = "BVLC"
PLUG_IN = "plug-in"


@dataclass(frozen=True, slots=True)
class LayerType:
    """An entry of the table. ``paired``: as many tops as bottoms. ``loss``: its first top is an objective.

    ``source``: whose layer it is, the original's (BVLC) or that of a fork or of the nets it came with.
    """

    name: str
    rule: Rule
    bottoms: Count
    tops: Count
    paired: bool = False
    loss: bool = False
    source: str = PLUG_IN


_TABLE: dict[str, LayerType] = {}


def layer(
    *names: str,
    bottoms: Count = (1, 1),
    tops: Count = (1, 1),
    paired: bool = False,
    loss: bool = False,
    source: str = ORIGINAL,
) -> Callable[[Rule], Rule]:
    """Decorate the rule of one or more layer types."""

    def enter(rule: Rule) -> Rule:
        for name in names:
            register_layer(name, rule, bottoms=bottoms, tops=tops, paired=paired, loss=loss, source=source)
        return rule

    return enter


def register_layer(
    name: str,
    rule: Rule,
    *,
    bottoms: Count = (1, 1),
    tops: Count = (1, 1),
    paired: bool = False,
    loss: bool = False,
    source: str = PLUG_IN,
) -> None:
    """Enter a layer type; a second one of the same name is an error of the caller."""
    if name in _TABLE:
        raise ValueError(f"layer type '{name}' is registered twice")
    _TABLE[name] = LayerType(name, rule, bottoms, tops, paired, loss, source)


def layer_type(name: str) -> LayerType | None:
    """The entry of a type; None if nobody registered it."""
    return _TABLE.get(name)


def layer_type_names() -> tuple[str, ...]:
    """All registered types, sorted."""
    return tuple(sorted(_TABLE))


def check_blob_counts(ctx: LayerContext, entry: LayerType) -> None:
    """Raise NetcError where the layer has too few or too many bottoms or tops."""
    _check_count(ctx, "bottom", len(ctx.bottom_names), entry.bottoms)
    _check_count(ctx, "top", len(ctx.top_names), entry.tops)
    if entry.paired and len(ctx.bottom_names) != len(ctx.top_names):
        raise ctx.error(
            f"{entry.name} needs as many tops as bottoms, got {len(ctx.top_names)} for "
            f"{len(ctx.bottom_names)}",
            "top",
        )


def _check_count(ctx: LayerContext, what: str, got: int, expected: Count) -> None:
    least, most = expected
    if got >= least and (most is None or got <= most):
        return
    if most is None:
        wanted = f"at least {least}"
    else:
        wanted = str(least) if least == most else f"{least} to {most}"
    plural = "" if wanted == "1" else "s"
    index = least if got > least else 0
    raise ctx.error(f"{ctx.type} takes {wanted} {what}{plural}, got {got}", what, index)
