"""Dropout."""

from __future__ import annotations

import numpy as np
import pytest
from op_cases import f32, infer, normal, run

from netc.ir.diagnostics import OpError
from netc.ir.ops.dropout import DropoutAttrs


def test_outside_of_training_nothing_happens():
    x = normal(2, 3)
    np.testing.assert_array_equal(run("nn.dropout", (x,), DropoutAttrs(0.9)), x)


@pytest.mark.parametrize("attrs", [DropoutAttrs(-0.1), DropoutAttrs(1.5)])
def test_a_ratio_that_is_not_a_probability_is_refused(attrs):
    with pytest.raises(OpError, match="ratio must be >= 0 and <= 1") as caught:
        infer("nn.dropout", (f32(2),), attrs)
    assert caught.value.attr == "ratio"
