"""What is trained for real, through the command line: real MRI, and the built-in quickstart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.journals.records import Completion
from engine.paths import ExperimentPaths, read_json
from tests.fixtures.mni import write_mni_subjects

ROOT = Path(__file__).parent.parent.parent


def dice_of(folder: Path, *words: str) -> float:
    """Held-out Dice of one run of an experiment, trained to its end."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tui.cli", "run", *words, "--folds", "0", "--restarts", "1", "--wait"],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = read_json(ExperimentPaths(folder / "logs" / words[0]).run(0, 0).results, Completion)
    assert results is not None
    assert results.test_dice is not None
    return results.test_dice


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_white_matter_is_found_in_the_half_of_a_real_brain_that_was_not_trained_on(tmp_path: Path) -> None:
    write_mni_subjects(tmp_path / "data")
    assert dice_of(tmp_path, "mni-white-matter", "--data", str(tmp_path / "data")) > 0.75


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quickstart_learns_to_find_lesions(tmp_path: Path) -> None:
    assert dice_of(tmp_path, "quickstart") > 0.6
