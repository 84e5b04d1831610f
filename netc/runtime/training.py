"""The tensor IR of training: which parameters learn, what lasts, and an iteration as one function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netc.frontend.imported_net import ImportedNet
from netc.ir.core import Func, Module, Role, Value
from netc.ir.diagnostics import NetcError
from netc.passes.accumulate_gradients import accumulate_gradients, sum_name
from netc.passes.differentiate import differentiate, gradient_name
from netc.passes.update_params import TrainedParam, UpdateRule, update_params
from netc.runtime.shapes import tensor_of


def trained_params(net: ImportedNet) -> tuple[TrainedParam, ...]:
    """The parameters that a solver changes: those whose ``lr_mult`` is not 0."""
    states = {state.value.name for state in net.states}
    found: dict[str, TrainedParam] = {}
    for info in net.params:
        name = info.value.name
        rate, decay = net.multipliers(name)
        if info.learnable and rate != 0 and name not in states:
            found[name] = TrainedParam(name, rate, decay)
    return tuple(found.values())


def with_states(net: ImportedNet, trained: Sequence[TrainedParam], *, carried: bool = True) -> Module:
    """The net's module with the parameters that change as states; with ``carried`` all that lasts is one."""
    main = net.module.func("main")
    left = () if carried else net.carried
    nexts = {state.next: state.value.name for state in net.states if state not in left}
    lasting = {*nexts.values(), *(p.name for p in trained)}
    pairs = zip(main.args, main.roles, strict=True)
    roles: tuple[Role, ...] = tuple("state" if arg.name in lasting else role for arg, role in pairs)
    names = tuple(nexts.get(name, name) for name in main.result_names)
    return net.module.with_func(replace(main, roles=roles, result_names=names))


def forward_results(net: ImportedNet, *, carried: bool = True) -> tuple[str, ...]:
    """The names of the results of the forward pass in a module that :func:`with_states` made."""
    return with_states(net, trained_params(net), carried=carried).func("main").result_names


def loss_weights(net: ImportedNet) -> dict[str, float]:
    """Value name -> its weight in the objective: layers may name one value several times."""
    weights: dict[str, float] = {}
    for term in net.losses:
        weights[term.value.name] = weights.get(term.value.name, 0.0) + term.weight
    return weights


def loss_seeds(net: ImportedNet) -> dict[str, float | None]:
    """The objective as seeds of :func:`differentiate`; NetcError if there is none."""
    seeds: dict[str, float | None] = {**loss_weights(net)}
    if not seeds:
        raise NetcError(
            "the net has no loss to lower",
            remedy="add a loss layer, or give a top a loss_weight; check that the net's phase is TRAIN",
        )
    return seeds


def step_module(
    net: ImportedNet,
    rule: UpdateRule,
    *,
    blob_gradients: Sequence[str] = (),
    keep_steps: bool = False,
    separate_update: bool = False,
) -> Module:
    """One iteration: forward, backward, and the update.

    For ``iter_size`` > 1, or with a ``separate_update``, gradients are added to sums instead of the update.
    ``blob_gradients`` names values whose gradients are results too.
    """
    trained = trained_params(net)
    wrt = dict.fromkeys([*(p.name for p in trained), *blob_gradients])
    module = differentiate(with_states(net, trained), seeds=loss_seeds(net), wrt=tuple(wrt))
    if not trained:
        return module
    if rule.iter_size > 1 or separate_update:
        return accumulate_gradients(module, params=[p.name for p in trained])
    return update_params(module, rule=rule, params=trained, keep_steps=keep_steps)


def update_module(net: ImportedNet, rule: UpdateRule, *, keep_steps: bool = False) -> Module:
    """The update alone, from the sums that :func:`step_module` left."""
    trained = trained_params(net)
    types = {v.name: v for v in net.module.func("main").params}
    weights = tuple(types[p.name] for p in trained)
    sums = tuple(Value(sum_name(w.name), w.type) for w in weights)
    names = tuple(gradient_name(w.name) for w in weights)
    roles: list[Role] = ["state"] * (2 * len(weights))
    main = Func("main", (*weights, *sums), tuple(roles), (), sums, names)
    module = Module(f"{net.module.name}_update", "tensor", (main,))
    return update_params(module, rule=rule, params=trained, keep_steps=keep_steps)


def differentiable_module(net: ImportedNet) -> tuple[Module, dict[str, str]]:
    """The net with a result ``NAME.gradient`` for each trained parameter, and each input that has one.

    The gradients of its outputs and of its objectives are inputs; also returned: blob -> that input's name.
    """
    trained = trained_params(net)
    main = net.module.func("main")
    losses = loss_weights(net)
    ends = {v.name for v in main.results if _is_float(v)} | set(losses)
    by_blob = {blob: v.name for blob, v in net.blobs.items() if v.name in ends}
    # an objective that no blob holds any more counts with its weight
    seeds: dict[str, float | None] = {name: weight for name, weight in losses.items()}
    seeds.update(dict.fromkeys(by_blob.values()))
    module = differentiate(
        with_states(net, trained, carried=False),
        seeds=seeds,
        wrt=[p.name for p in trained],
        optional=[v.name for v in net.inputs if _is_float(v)],
    )
    given = {v.name for v in module.func("main").inputs}
    return module, {b: gradient_name(v) for b, v in by_blob.items() if gradient_name(v) in given}


def _is_float(value: Value) -> bool:
    return tensor_of(value.type).dtype.startswith("f")
