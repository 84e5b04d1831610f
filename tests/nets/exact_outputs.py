"""What a net computes exactly, and whether compiled programs come as near to it as float32 can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import netc
from netc.backends.numpy_reference import run_func
from netc.frontend.imported_net import ImportedNet
from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.core import Func
from netc.ir.opdef import opdef
from netc.runtime.load_params import bind_weights

Array = npt.NDArray[Any]

PROGRAMS = ((0, 1), (3, 3))  # level of optimisation, threads: how they share work is compared as well
NOISE = 2.0**-23  # of a value, relative: the distance of neighbours in float32
NOISY_RUNS = 3
LEAST_ERROR = 2.0**-21  # of the largest output: two to four of its last bits
FACTOR = 8.0  # the runs are few, and rounding may add up worse than in any of them


def check_net(text: str) -> None:
    """Programs with and without optimisations give the exact outputs of a net, but for rounding."""
    expected = expected_outputs(text)
    for opt_level, threads in PROGRAMS:
        # Winograd's convolution rounds more than the tolerance allows for; its tests state by how much
        module = netc.compile(text, expected.weights, opt_level=opt_level, threads=threads, exact=True)
        found = module.run(**expected.inputs)
        assert set(found) == set(expected.outputs)
        for name, want in expected.outputs.items():
            assert found[name].shape == want.shape, name
            apart = np.max(np.abs(found[name] - want))
            assert apart <= expected.tolerance[name], f"-O{opt_level} {name}"


def run_noisy(func: Func, args: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """The results in float64 of a function of which every value is off by about a rounding of float32."""

    def noisy(array: Array) -> Array:
        return array * (1 + NOISE * rng.choice([-1.0, 1.0], array.shape))

    values = {name: noisy(array.astype(np.float64)) for name, array in args.items()}
    with np.errstate(all="ignore"):
        for op in func.ops:
            reference = opdef(op.name).reference
            assert reference is not None
            arrays = reference(tuple(values[v.name] for v in op.operands), op.attrs)
            values |= {v.name: noisy(np.asarray(array)) for v, array in zip(op.results, arrays, strict=True)}
    return {name: values[v.name] for name, v in zip(func.result_names, func.results, strict=True)}


@dataclass(frozen=True)
class Expected:
    """What a net gives for an input: exactly, and how far float32 may be from that, by output."""

    inputs: dict[str, Array]
    weights: dict[str, list[Array]]
    outputs: dict[str, Array]
    tolerance: dict[str, float]


def expected_outputs(text: str, seed: int = 0) -> Expected:
    """The reference in float64, and how much its outputs move when all of its values do a little.

    Rounding moves the outputs of a net about as much as noise of the size of a rounding does at every value,
    or as the reference's own rounding in float32, whatever the order of the operations.
    """
    rng = np.random.default_rng(seed)
    imported = import_net(load_net(text))
    main = imported.module.func("main")
    weights = random_weights(imported, rng)
    inputs = {v.name: rng.standard_normal(v.type.static_shape).astype(np.float32) for v in main.inputs}
    params, _ = bind_weights(imported, weights)
    args = {**inputs, **params}
    exact = run_func(main, args, "f64")
    others = [run_func(main, args, "f32")]
    others += [run_noisy(main, args, rng) for _ in range(NOISY_RUNS)]
    tolerance = {}
    for name, array in exact.items():
        apart = max(float(np.max(np.abs(other[name] - array))) for other in others)
        tolerance[name] = FACTOR * apart + LEAST_ERROR * float(np.max(np.abs(array)))
    return Expected(inputs, weights, exact, tolerance)


def random_weights(net: ImportedNet, rng: np.random.Generator) -> dict[str, list[Array]]:
    """Weights that keep numbers about as large as they are."""
    kinds = {layer.name: layer.type for layer in net.layers}
    made: dict[str, list[Array]] = {}
    for info in net.params:
        made.setdefault(info.layer, []).append(_weights(kinds[info.layer], info.index, info.shape, rng))
    return made


def _weights(kind: str, index: int, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if kind == "BatchNorm" and index:  # variances, and the number that all statistics are divided by
        return rng.uniform(0.5, 2.0, shape).astype(np.float32)
    # at least as many terms as a sum has, whichever axis is the outputs'
    terms = 1 if len(shape) < 2 else np.prod(shape) / min(shape[:2])
    return rng.normal(0, 1 / np.sqrt(terms), shape).astype(np.float32)
