"""The layers hold in a clean interpreter: a static rule cannot see what is imported late."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "monai", "numpy", "scipy", "nibabel"}


def loaded_by(program: str) -> set[str]:
    """Top-level modules in sys.modules after `program`, in an interpreter of its own."""
    code = f"{program}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "engine").rglob("*.py")
        if path.stem != "__init__" and "training" not in path.parts
    ),
)
def test_the_engine_knows_neither_screen_nor_torch(module: str) -> None:
    assert not loaded_by(f"import {module}") & (HEAVY | {"textual", "rich", "tui"})


def test_the_dashboard_imports_neither_torch_nor_nvml() -> None:
    assert not loaded_by("import tui.app, tui.opening") & (HEAVY | {"pynvml", "psutil"})


def test_a_verb_of_the_command_line_imports_no_screen() -> None:
    assert not loaded_by("import tui.cli, tui.verbs; tui.cli.parser()") & (HEAVY | {"textual", "rich"})


def test_the_supervisor_imports_neither_torch_nor_nvml() -> None:
    assert not loaded_by("import engine.runs.supervisor") & (HEAVY | {"pynvml", "textual"})


def test_no_python_file_has_grown_a_second_noun() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for folder in ("engine", "tui")
        for path in (ROOT / folder).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert not long
