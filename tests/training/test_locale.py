"""Where the terminal speaks no UTF-8 everything works all the same: files and JSON are UTF-8, the rest is marked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.world import ROOT

# Python coerces the C locale to UTF-8 unless it is told not to; then ASCII is all there is.
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
LATIN = {"PYTHONIOENCODING": "latin-1"}
EXPERIMENT = """
title = "ein Kopf – 24³"
epochs = 1
data = { source = "phantom", subjects = 2, shape = [24, 24, 24] }
prepare = { spacing_mm = 8.0, shape = [20, 24, 20] }
model = { channels = 1 }
runs = { folds = 2, restarts = 1 }
"""


def steptop(folder: Path, locale: dict[str, str], *words: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tui.cli", *words], cwd=folder, capture_output=True, timeout=120, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | locale,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@pytest.mark.parametrize("locale", [ASCII, LATIN], ids=["ascii", "latin-1"])
def test_every_answer_is_given(tmp_path: Path, locale: dict[str, str]) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "head.toml").write_text(EXPERIMENT, "utf-8")
    listed = json.loads(steptop(tmp_path, locale, "experiments", "--json"))
    assert [entry["title"] for entry in listed["experiments"] if entry["name"] == "head"] == ["ein Kopf – 24³"]
    assert b"ein Kopf ? 24" in steptop(tmp_path, locale, "experiments")
    assert b"ready to train" in steptop(tmp_path, locale, "check", "head", "--quick")


def test_a_training_ends_as_everywhere_and_its_log_is_utf_8(tmp_path: Path) -> None:
    (tmp_path / "head.toml").write_text(EXPERIMENT, "utf-8")
    said = steptop(tmp_path, ASCII, "run", "head.toml", "--wait", "--name", "head")
    assert b"all 2 runs finished" in said
    assert "epoch 1 done" in (tmp_path / "logs" / "head" / "fold_0_restart_0" / "console.log").read_text("utf-8")
    assert json.loads(steptop(tmp_path, ASCII, "status", "--json"))["state"] == "finished"
