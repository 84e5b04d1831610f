"""Selects the layers of a net that belong to a phase, a level and a set of stages."""

from __future__ import annotations

from dataclasses import dataclass

from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError


@dataclass(frozen=True, slots=True)
class NetState:
    """The circumstances that the rules of layers are tested against."""

    phase: str = "TEST"
    level: int = 0
    stages: frozenset[str] = frozenset()


def filter_net(net: Message, state: NetState) -> Message:
    """The net with the layers whose rules agree with the state; the argument is left as it is."""
    made = net.copy()
    made.clear("layer")
    for layer in net.messages("layer"):
        if is_included(layer, state):
            made.add("layer", layer.copy(), layer.location)
    return made


def is_included(layer: Message, state: NetState) -> bool:
    """Whether a layer belongs to the state: no rule, or an include that holds, or no exclude that does."""
    if layer.has("include") and layer.has("exclude"):
        raise NetcError(
            "a layer has 'include' or 'exclude' rules, not both",
            location=layer.where("exclude"),
            layer=layer.text("name"),
            notes=(f"the first 'include' is at {layer.where('include')}",),
        )
    if layer.has("include"):
        return any(rule_holds(rule, state) for rule in layer.messages("include"))
    return not any(rule_holds(rule, state) for rule in layer.messages("exclude"))


def rule_holds(rule: Message, state: NetState) -> bool:
    """Whether every condition that the rule sets agrees with the state."""
    return (
        (not rule.has("phase") or rule.text("phase") == state.phase)
        and (not rule.has("min_level") or state.level >= rule.integer("min_level"))
        and (not rule.has("max_level") or state.level <= rule.integer("max_level"))
        and all(stage in state.stages for stage in rule.texts("stage"))
        and not any(stage in state.stages for stage in rule.texts("not_stage"))
    )
