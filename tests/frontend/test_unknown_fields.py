"""Fields that the schema lacks: refused by name where they may change a result, else reported once and kept."""

import importlib.util
from pathlib import Path

import pytest

from netc.frontend.importer import import_net
from netc.frontend.layer_fields import own_messages
from netc.frontend.layers.registry import PLUG_IN, layer_type, layer_type_names
from netc.frontend.net_file import load_net
from netc.frontend.text_print import to_text
from netc.ir.diagnostics import NetcError

DOCS = Path(__file__).parents[2] / "docs"
# what these hold says how numbers are read or compared, and not which
SHARED = ("loss_param", "transform_param", "python_param")


def _examples():
    spec = importlib.util.spec_from_file_location("layer_examples", DOCS / "layer_examples.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLES = _examples()
TYPES = [
    name
    for name in layer_type_names()
    if layer_type(name).source != PLUG_IN
    and (not name.endswith("Data") or name in ("DummyData", "MemoryData"))
]


@pytest.mark.parametrize("name", TYPES)
def test_every_layer_refuses_an_unknown_setting_of_its_own_by_name(name):
    for message in own_messages(name):
        if message in SHARED:
            continue
        text = EXAMPLES.example_text(name)
        if f"{message} {{" in text:
            text = text.replace(f"{message} {{", f"{message} {{ zzz: 1 ", 1)
        else:
            text = text.rstrip().removesuffix("}") + f"{message} {{ zzz: 1 }} }}\n"
        with pytest.raises(
            NetcError, match=f"the field '{message}.zzz' is unknown and may change the result"
        ):
            import_net(load_net(text))


def test_a_harmless_field_is_reported_once_and_kept():
    text = (
        'input: "x" input_shape { dim: 1 dim: 2 dim: 4 dim: 4 }\n'
        'layer { name: "c" type: "Convolution" bottom: "x" top: "c" visualize: true visualize: true '
        "convolution_param { num_output: 1 kernel_size: 1 weight_filler { zzz: 1 } } }\n"
    )
    net = load_net(text)
    assert import_net(net).warnings == (
        "<string>:2:1: warning: layer 'c': ignored unknown fields visualize, "
        "convolution_param.weight_filler.zzz",
    )
    assert "visualize: true" in to_text(net)
    assert "zzz: 1" in to_text(net)
