"""steptop's own trainer under a limit: a run that will not be done is begun, saved in time, and gone on with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.journals import journal
from engine.journals.events import Begin, CheckpointWritten, ExperimentEnded, LimitReached, LimitSet
from engine.paths import ExperimentPaths
from tests.conftest import Laboratory


def steptop(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "tui.cli", *words], cwd=folder, capture_output=True, text=True, timeout=280,
        check=False, stdin=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_a_run_is_trained_up_to_the_limit_and_goes_on_after_it(lab: Laboratory, tmp_path: Path) -> None:
    lab.folders.append(tmp_path / "logs" / "quickstart")
    done = steptop(tmp_path, "run", "quickstart", "--until", "60s", "--wait")
    assert done.returncode == 3, done.stdout + done.stderr
    paths = ExperimentPaths(tmp_path / "logs" / "quickstart")
    events = journal.read(paths.events)
    (limit,) = [r for r in events if isinstance(r, LimitSet)]
    (reached,) = [r for r in events if isinstance(r, LimitReached)]
    (ended,) = [r for r in events if isinstance(r, ExperimentEnded)]
    assert reached.begun and reached.kind == "time"
    assert "stopped at its time limit (1 min), after step" in ended.text
    (first,) = paths.run(0, 0).segments()
    saved = [r for r in journal.read(first) if isinstance(r, CheckpointWritten)][-1]
    assert saved.t < limit.limits.asked + 60
    assert json.loads(steptop(tmp_path, "status", "--json").stdout)["verdict"]["kind"] == "limit"
    assert "used up" in steptop(tmp_path, "resume").stderr
    done = steptop(tmp_path, "resume", "--until", "45s", "--wait")
    assert "runs fit" in done.stdout or "run 1 would end" in done.stdout
    begin = next(r for r in journal.read(paths.run(0, 0).segments()[1]) if isinstance(r, Begin))
    assert begin.resumed_from_step == saved.step
