"""The example on docs/python_layers.md runs, and trains."""

import re
from pathlib import Path

import numpy as np

import netc

PAGE = (Path(__file__).parents[2] / "docs" / "python_layers.md").read_text(encoding="utf-8")
LEARNED = """
layer { name: "in" type: "Input" top: "x" top: "target"
        input_param { shape { dim: 4 dim: 2 } shape { dim: 4 dim: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "score" inner_product_param { num_output: 1 } }
"""


def test_the_loss_of_the_page_is_lowered():
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (layer,) = re.findall(r"^```\n(layer .*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    exec(compile(code, "docs/python_layers.md", "exec"), {})
    x = np.eye(4, 2, dtype=np.float32)
    target = x @ np.array([[3.0], [-1.0]], np.float32)
    solver = netc.Solver(
        f'base_lr: 0.05 lr_policy: "fixed" max_iter: 9 random_seed: 1 net_param {{ {LEARNED} {layer} }}',
        inputs=lambda: {"x": x, "target": target},
    )
    solver.step(1)
    assert solver.loss == 2 * 4 / 4  # scale * (3 + 1) / num, as all weights begin at 0
    solver.step(200)
    assert solver.loss < 0.1
