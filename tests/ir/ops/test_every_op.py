"""What holds for every op: declaration, type rule and reference agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from generated_modules import TYPES, attrs_of, buffer_types, tensor_types
from hypothesis import given, settings
from hypothesis import strategies as st
from op_cases import CASES, Case, f32, infer, run

from netc.ir.builder import infer_types
from netc.ir.core import Value
from netc.ir.diagnostics import OpError
from netc.ir.opdef import NoAttrs, OpDef, all_opdefs, define, numpy_dtype, opdef
from netc.ir.types import check_type

TENSOR_OPS = [d for d in all_opdefs() if d.level == "tensor" and d.infer is not None]


def arrays(case: Case, dtype: Any) -> tuple[Any, ...]:
    rng = np.random.default_rng(1)
    values = [rng.standard_normal(s) for s in case.operands]
    return tuple(
        np.asarray(np.abs(v) * 3, numpy_dtype(case.fixed[i]))
        if i in case.fixed
        else np.asarray(np.abs(v) + 0.1 if case.positive else v, dtype)
        for i, v in enumerate(values)
    )


def test_every_tensor_op_has_a_case_and_a_reference():
    # operands of random and narrow ops are no floats, and Python layers need code: they have their own tests
    elsewhere = {d.name for d in TENSOR_OPS if d.name.startswith(("random.", "python."))}
    elsewhere |= {d.name for d in TENSOR_OPS if any(t in d.name for t in ("bf16", "int8", "u8"))}
    assert {d.name for d in TENSOR_OPS} == {c.op for c in CASES} | elsewhere
    assert all(d.reference is not None for d in TENSOR_OPS)


def test_every_declaration_has_words():
    for definition in all_opdefs():
        assert definition.doc.strip().endswith("."), definition.name


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_type_rule_gives_the_shape_of_the_case(case):
    assert infer(case.op, case.types, case.attrs).shape == case.result


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_reference_computes_in_the_dtype_of_its_operands(case):
    single = run(case.op, arrays(case, np.float32), case.attrs)
    double = run(case.op, arrays(case, np.float64), case.attrs)
    assert np.shape(single) == np.shape(double) == case.result
    assert single.dtype == np.float32
    assert double.dtype == (np.float64 if case.operands else np.float32)
    assert np.isfinite(double).all()
    np.testing.assert_allclose(single, double, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_reference_leaves_its_operands_alone(case):
    operands = arrays(case, np.float32)
    for operand in operands:
        operand.flags.writeable = False
    run(case.op, operands, case.attrs)


@pytest.mark.parametrize("definition", all_opdefs(), ids=lambda d: d.name)
@settings(max_examples=60)
@given(st.data())
def test_a_type_rule_raises_nothing_but_op_errors(definition, data):
    own = {"tensor": tensor_types(), "buffer": buffer_types()}.get(definition.level, TYPES)
    count = len(definition.operands)
    # operands of one type reach the later checks
    types = [data.draw(own)] * count if data.draw(st.booleans()) else [data.draw(own) for _ in range(count)]
    operands = [Value(f"x{i}", t) for i, t in enumerate(types)]
    attrs = data.draw(attrs_of(definition))
    results, faulty = (), None
    try:
        results = infer_types(definition.name, operands, attrs)
    except OpError as error:
        faulty = error.attr
    # a convolution's kernel is a fact of its weight, but an attribute of the layer
    assert faulty in (None, "kernel") or hasattr(attrs, faulty)
    if definition.level == "tensor":
        for result in results:
            check_type(result)


def test_the_number_of_operands_is_checked():
    x = Value("x", f32(2, 3))
    for op, operands, message in [
        ("math.add", [x], "takes 2 operands"),
        ("nn.conv", [x], "takes 2 to 3 operands"),
        ("buffer.launch", [], None),
        ("loop.for", [], "takes 3 or more operands"),
    ]:
        if message is None:
            opdef(op).check_operand_count(len(operands))
            continue
        with pytest.raises(OpError, match=message):
            opdef(op).check_operand_count(len(operands))


def test_attributes_of_another_op_are_refused():
    with pytest.raises(OpError, match="takes attributes of SoftmaxAttrs, got NoAttrs"):
        infer("nn.softmax", (f32(2, 3),))


def test_an_op_cannot_be_declared_twice_or_without_one_type_rule():
    with pytest.raises(ValueError, match="twice"):
        define(OpDef("nn.conv", "tensor", "", (), NoAttrs, infer=lambda _, __: ()))
    with pytest.raises(ValueError, match="exactly one"):
        define(OpDef("nn.nothing", "tensor", "", (), NoAttrs))


def test_a_dtype_that_numpy_lacks_is_its_bits_or_refused():
    assert numpy_dtype("f32") == np.float32
    assert numpy_dtype("bf16") == np.uint16
    with pytest.raises(OpError, match="f8"):
        numpy_dtype("f8")
