"""The reference backend: runs a tensor-level function op by op with the NumPy rules of the declarations.

It is the meaning that every other backend is compared with, in float32 or in float64. A value is dropped
after its last use, so a network needs the memory of what is alive, not of all that it computes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np

from netc.ir.core import Block, Func, Module, Op, Value
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
    """One execution. ``keep`` None keeps every value."""

    def __init__(
        self, func: Func, args: Mapping[str, Any], dtype: FloatDtype, keep: frozenset[str] | None
    ) -> None:
        self.float_dtype = numpy_dtype(dtype)
        self.keep = keep
        self.kept: dict[str, Array] = {}
        arrays = self._arrays(func, args)
        bound = _bind_arguments(func, arrays)
        self.func = func
        if bound:
            self.func = bind_symbols(Module(func.name, "tensor", (func,)), dict(bound)).funcs[0]
        self.args = arrays
        for name, array in arrays.items():
            self._note(name, array)

    def results(self) -> dict[str, Array]:
        func = self.func
        values = dict(self.args)
        self._run_ops(func.ops, values, {v.name for v in func.results})
        results = {
            name: self._owned(values[v.name]) for name, v in zip(func.result_names, func.results, strict=True)
        }
        return {**self.kept, **results} if self.keep else results

    def _run_ops(self, ops: tuple[Op, ...], values: dict[str, Array], needed: Collection[str]) -> None:
        """Run ops in order on ``values`` (name -> array), which keeps what is ``needed`` at the end."""
        last = {name: index for index, op in enumerate(ops) for name in _reads(op)}
        for index, op in enumerate(ops):
            operands = tuple(values[v.name] for v in op.operands)
            for result, array in zip(op.results, self._run_op(op, operands, values), strict=True):
                values[result.name] = array
                self._note(result.name, array)
            for name in {*_reads(op), *(r.name for r in op.results)}:
                if last.get(name, index) <= index and name not in needed:
                    values.pop(name, None)

    def _run_op(self, op: Op, operands: tuple[Array, ...], outer: dict[str, Array]) -> tuple[Array, ...]:
        try:
            if op.body is not None and opdef(op.name).level == "tensor":
                return self._run_block(op.body, operands, outer)
            reference = opdef(op.name).reference
            if reference is None:
                raise NetcError(f"{op.name} is not an op that the reference can run")
            arrays = tuple(np.asarray(a) for a in reference(operands, op.attrs))
        except NetcError as error:
            raise error.at(op.location) from None
        except (ValueError, TypeError, ArithmeticError, IndexError, MemoryError) as error:
            raise NetcError(f"the reference of {op.name} failed: {error}", location=op.location) from error
        if not any(o.dtype.kind == "f" for o in operands):  # no float to go by: in the dtype of its type so far
            arrays = tuple(a.astype(self._dtype(r.type)) for a, r in zip(arrays, op.results, strict=True))
        for array, result in zip(arrays, op.results, strict=True):
            if array.shape != _shape(result.type) or array.dtype != self._dtype(result.type):
                raise NetcError(
                    f"the reference of {op.name} made {array.dtype}{list(array.shape)} where the type is "
                    f"{result.type}",
                    location=op.location,
                )
        return arrays

    def _run_block(
        self, block: Block, operands: tuple[Array, ...], outer: dict[str, Array]
    ) -> tuple[Array, ...]:
        values = {**outer, **{a.name: x for a, x in zip(block.args, operands, strict=True)}}
        self._run_ops(block.ops, values, {v.name for v in block.results} | outer.keys())
        return tuple(values[v.name] for v in block.results)

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
        return self.float_dtype if "f" in type_.dtype else numpy_dtype(type_.dtype)

    def _note(self, name: str, array: Array) -> None:
        if self.keep is None or name in self.keep:
            self.kept[name] = self._owned(array)

    def _owned(self, array: Array) -> Array:
        """An array that does not share memory with an argument: the caller may write to it."""
        return array.copy() if any(np.may_share_memory(array, a) for a in self.args.values()) else array


def _reads(op: Op) -> set[str]:
    """The values that an op reads, those that its body takes from outside included."""
    names = {v.name for v in op.operands}
    if op.body is not None:
        inner = {v.name for v in op.body.results}.union(*(_reads(o) for o in op.body.ops))
        names |= inner - {a.name for a in op.body.args} - {r.name for o in op.body.ops for r in o.results}
    return names


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
