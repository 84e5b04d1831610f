"""The documents say what is."""

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from netc.bench.history import read_history
from netc.bench.run_file import BEST
from netc.cli import commands, train_commands
from netc.cli import main as run_netc

ROOT = Path(__file__).resolve().parent.parent


def _script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_map_lists_every_module_with_its_purpose():
    written = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    assert written == _script("file_map").file_map(), "run: python docs/file_map.py"


def test_the_layer_table_lists_every_layer_type_with_its_meaning():
    written = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8")
    assert written == _script("layer_table").layer_table(), "run: python docs/layer_table.py"
    assert "|  |" not in written, "a rule says nothing"


def test_every_folder_of_the_package_has_its_place_in_the_file_map():
    module = _script("file_map")
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


def _blocks(page, language):
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_python_of_the_usage_page_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    for block in _blocks("docs/usage.md", "python"):
        exec(compile(block, "docs/usage.md", "exec"), names)


def test_the_commands_of_the_usage_page_run(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    lines = [line for block in _blocks("docs/usage.md", "sh") for line in block.splitlines()]
    assert len(lines) >= 6
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "netc"
        assert run_netc(arguments) == 0, line
        assert capsys.readouterr().err == "", line


def test_the_pictures_of_the_performance_page_show_runs_of_the_history():
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    names = re.findall(r"!\[[^]]*\]\((.+?)\)", page)
    assert names == ["forward.svg", "training.svg"]
    runs = {run.date: run for run in read_history(str(ROOT / "benchmarks" / "history"))}
    for name in names:
        picture = (ROOT / "docs" / name).read_text(encoding="utf-8")
        (date,) = set(re.findall(r"\d{4}-\d\d-\d\dT[\d:]+Z", picture))
        rows = [row for row in runs[date].rows if row.ratios]
        assert picture.count(", batch ") == len(rows)
        for row in rows:
            assert f">{row.key[0]}, batch {row.key[1]}<" in picture
            assert f">{row.ratios[BEST]:.2f}<" in picture
            assert f">{row.over_floor:.2f}<" in picture


@pytest.mark.parametrize(
    "command", [*commands.COMMANDS, *train_commands.PLAIN_COMMANDS], ids=lambda command: command.name
)
def test_the_usage_page_names_every_option(command):
    page = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert [option.name for option in options if not any(name in page for name in option.opts)] == []


def test_the_workflows_call_commands_as_they_are():
    text = "".join(path.read_text() for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")))
    calls = [shlex.split(line.partition("|")[0]) for line in re.findall(r"^ +netc (.+)$", text, re.MULTILINE)]
    assert len(calls) == 3
    known = {command.name: command for command in commands.COMMANDS}
    for name, *arguments in calls:
        known[name].make_context(name, arguments)
    assert set(re.findall(r"uses: (\S+)", text)) == {
        "actions/checkout@v4",
        "actions/setup-python@v5",
        "actions/upload-artifact@v4",
    }


def test_the_readme_links_to_files_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_sets_up_with_one_line_each():
    blocks = _blocks("README.md", "sh")
    assert [len(block.splitlines()) for block in blocks] == [1, 1]
    setup, run = blocks[0].rsplit("&&", 1)
    assert "pip install" in setup
    # the files of the main job are there
    paths = [word for word in shlex.split(run) if word.startswith("examples/") and "*" not in word]
    assert [path for path in paths if not (ROOT / path).exists()] == []
