"""The documents say what is."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _file_map():
    spec = importlib.util.spec_from_file_location("file_map", ROOT / "docs" / "file_map.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_map_lists_every_module_with_its_purpose():
    written = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    assert written == _file_map().file_map(), "run: python docs/file_map.py"


def test_every_folder_of_the_package_has_its_place_in_the_file_map():
    module = _file_map()
    assert module.folders() == {folder for folder, _ in module.FOLDERS}


def test_every_module_says_what_it_is_for():
    silent = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "netc").rglob("*.py")
        if not path.read_text(encoding="utf-8").lstrip().startswith('"""')
    ]
    assert silent == []


def test_the_architecture_page_names_every_pass_in_the_order_of_the_pipeline():
    from netc.passes.pipeline import tensor_pipeline

    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    names = [s.name for s in tensor_pipeline(3, block=16, fully_convolutional={})]
    first_uses = list(dict.fromkeys([*names, "bufferize", "share_buffers"]))
    positions = [page.find(f"`{name}`") for name in first_uses]
    assert -1 not in positions
    assert positions == sorted(positions)
