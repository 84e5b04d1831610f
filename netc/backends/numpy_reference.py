"""The reference backend: runs a tensor-level function op by op with the NumPy rules of the declarations.

It is the meaning that every other backend is compared with, in float32 or in float64. A value is dropped
after its last use, so a network needs the memory of what is alive, not of all that it computes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np

from netc.ir.core import Func, Module, Op, Value
from netc.ir.diagnostics import NetcError
from netc.ir.dim import Dim, Symbol, SymDim, substitute
from netc.ir.opdef import Array, numpy_dtype, opdef
from netc.ir.rewrite import bind_symbols
from netc.ir.types import TensorType, Type

FloatDtype = Literal["f32", "f64"]


def run_func(
    func: Func, args: Mapping[str, Any], dtype: FloatDtype = "f32", *, keep: Collection[str] = ()
) -> dict[str, Array]:
    """Result name -> array; with ``keep`` also value name -> array for the values named there.

    ``args`` holds an array for each argument of the function, inputs and parameters alike; symbols in the
    argument types are bound to its extents. All float tensors are computed in ``dtype``. NetcError names the
    argument or the op (with its location) at fault.
    """
    run = _Run(func, args, dtype, frozenset(keep))
    with np.errstate(all="ignore"):
        return run.results()


def trace_func(func: Func, args: Mapping[str, Any], dtype: FloatDtype = "f32") -> dict[str, Array]:
    """Value name -> array for the arguments and everything computed, values inside of fusions included."""
    run = _Run(func, args, dtype, None)
    with np.errstate(all="ignore"):
        run.results()
    return run.kept


class _Run:
    """One execution of a verified function. ``keep`` None keeps every value."""

    def __init__(
        self, func: Func, args: Mapping[str, Any], dtype: FloatDtype, keep: frozenset[str] | None
    ) -> None:
        self.float_dtype = numpy_dtype(dtype)
        self.keep = keep
        self.kept: dict[str, Array] = {}
        self.args = self._arrays(func, args)
        # memory of the caller, which what we return must not share
        self.borrowed = [a for n, a in self.args.items() if np.may_share_memory(a, np.asarray(args[n]))]
        bound = _bind_arguments(func, self.args)
        self.func = func
        if bound:
            self.func = bind_symbols(Module(func.name, "tensor", (func,)), dict(bound)).funcs[0]

    def results(self) -> dict[str, Array]:
        results = self._run_ops(self.args, self.func.ops, self.func.results)
        named = {n: self._owned(a) for n, a in zip(self.func.result_names, results, strict=True)}
        return {**self.kept, **named} if self.keep else named

    def _run_ops(
        self, values: dict[str, Array], ops: tuple[Op, ...], results: tuple[Value, ...]
    ) -> tuple[Array, ...]:
        """Run ops in order on ``values`` (name -> array), from which values vanish after their last use."""
        for name, array in values.items():
            self._note(name, array)
        last = {v.name: index for index, op in enumerate(ops) for v in op.operands}
        last.update({v.name: len(ops) for v in results})
        for index, op in enumerate(ops):
            operands = tuple(values[v.name] for v in op.operands)
            for result, array in zip(op.results, self._run_op(op, operands), strict=True):
                values[result.name] = array
                self._note(result.name, array)
            for value in (*op.operands, *op.results):
                if last.get(value.name, index) <= index:
                    values.pop(value.name, None)
        return tuple(values[v.name] for v in results)

    def _run_op(self, op: Op, operands: tuple[Array, ...]) -> tuple[Array, ...]:
        try:
            if op.body is not None and opdef(op.name).level == "tensor":
                inner = {a.name: x for a, x in zip(op.body.args, operands, strict=True)}
                return self._run_ops(inner, op.body.ops, op.body.results)
            reference = opdef(op.name).reference
            if reference is None:
                raise NetcError(f"{op.name} is not an op that the reference can run")
            arrays = tuple(np.asarray(a) for a in reference(operands, op.attrs))
        except NetcError as error:
            raise error.at(op.location) from None
        except (ValueError, TypeError, ArithmeticError, IndexError, MemoryError) as error:
            raise NetcError(f"the reference of {op.name} failed: {error}", location=op.location) from error
        if all(o.dtype.kind != "f" for o in operands):  # no float says in which dtype to compute
            arrays = tuple(a.astype(self._dtype(r.type)) for a, r in zip(arrays, op.results, strict=True))
        for array, result in zip(arrays, op.results, strict=True):
            if array.shape != _shape(result.type) or array.dtype != self._dtype(result.type):
                raise NetcError(
                    f"the reference of {op.name} made {array.dtype}{list(array.shape)} where the type is "
                    f"{result.type}",
                    location=op.location,
                )
        return arrays

    def _arrays(self, func: Func, args: Mapping[str, Any]) -> dict[str, Array]:
        """The arguments as arrays of the run's dtype; NetcError where names do not match."""
        unknown = sorted(args.keys() - {a.name for a in func.args})
        if unknown:
            raise NetcError(f"function '{func.name}' has no argument '{unknown[0]}'")
        arrays = {}
        for arg in func.args:
            if arg.name not in args:
                raise NetcError(f"function '{func.name}' needs the argument '{arg.name}'")
            if not isinstance(arg.type, TensorType):
                raise NetcError(f"argument '{arg.name}' is {arg.type}; the reference takes tensors only")
            try:
                arrays[arg.name] = np.asarray(args[arg.name], self._dtype(arg.type))
            except (ValueError, TypeError) as error:
                raise NetcError(f"argument '{arg.name}' is not an array of numbers: {error}") from error
        return arrays

    def _dtype(self, type_: Type) -> np.dtype[Any]:
        """The dtype in which values of a type are computed."""
        assert isinstance(type_, TensorType)
        return self.float_dtype if type_.dtype[0] == "f" else numpy_dtype(type_.dtype)

    def _note(self, name: str, array: Array) -> None:
        if self.keep is None or name in self.keep:
            self.kept[name] = self._owned(array)

    def _owned(self, array: Array) -> Array:
        """An array that does not share memory with an argument: the caller may write to it."""
        return array.copy() if any(np.may_share_memory(array, a) for a in self.borrowed) else array


def _shape(type_: Type) -> tuple[Dim, ...]:
    assert isinstance(type_, TensorType)
    return type_.shape


def _bind_arguments(func: Func, arrays: Mapping[str, Array]) -> dict[str, int]:
    """Symbol -> number, such that every argument's type has the shape of its array."""
    bound: dict[str, int] = {}
    pending = [(a, i, d) for a in func.args for i, d in enumerate(_shape(a.type))]
    for arg in func.args:
        if len(_shape(arg.type)) != arrays[arg.name].ndim:
            raise _mismatch(arg, arrays)
    # plain symbols first: they may also occur in expressions of other arguments
    for arg, axis, dim in sorted(pending, key=lambda p: _plain_symbol(p[2]) is None):
        extent = arrays[arg.name].shape[axis]
        dim = substitute(dim, bound)
        name = _plain_symbol(dim)
        if name is not None and extent >= 1:
            bound[name] = extent
        elif dim != extent:
            raise _mismatch(arg, arrays, bound)
    return bound


def _plain_symbol(dim: Dim) -> str | None:
    if isinstance(dim, SymDim) and len(dim.terms) == 1:
        atoms, factor = dim.terms[0]
        if factor == 1 and len(atoms) == 1 and isinstance(atoms[0], Symbol):
            return atoms[0].name
    return None


def _mismatch(arg: Value, arrays: Mapping[str, Array], bound: Mapping[str, int] | None = None) -> NetcError:
    known = ", ".join(f"{n} = {v}" for n, v in sorted((bound or {}).items()))
    expected = f"{arg.type} with {known}" if known else str(arg.type)
    return NetcError(
        f"argument '{arg.name}': {expected} expected, got an array of {list(arrays[arg.name].shape)}"
    )
