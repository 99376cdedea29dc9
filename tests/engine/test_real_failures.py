"""Trainers that really fail, under a real supervisor, and what their ends are called."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from engine.watch import Watch
from tests.conftest import Laboratory, fake_plan, wait_until

ROOT = Path(__file__).parents[2]

CASES = [
    ("killed", {"external_kill"}),
    ("segfault", {"crash"}),
    ("terminated", {"external_kill"}),
    ("memory", {"host_alloc"}),
    ("torch memory", {"host_alloc"}),
    ("numpy memory", {"host_alloc"}),
    ("worker killed", {"worker_killed"}),
    ("worker bus error", {"shm_exhausted"}),
    ("worker raises", {"worker_crash"}),
    ("bug", {"crash"}),
    ("silent", {"crash"}),
]


@pytest.mark.parametrize(("fail", "kinds"), CASES, ids=[name for name, _ in CASES])
def test_an_end_is_called_what_it_was(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, fail: str, kinds: set[str]
) -> None:
    monkeypatch.setenv("FAIL", fail)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    plan = fake_plan(folds=1, restarts=1)
    command = (sys.executable, "-m", "tests.failing_trainer")
    paths = lab.launch(
        msgspec.structs.replace(plan, experiment=msgspec.structs.replace(plan.experiment, command=command))
    )
    wait_until(lambda: Watch(paths.folder).quick().ended, 60, "the end")
    state = Watch(paths.folder).poll()
    verdict = state.runs[0].verdict
    assert state.phase == "failed"
    assert verdict is not None
    assert verdict.kind in kinds, (verdict, paths.run(0, 0).console.read_text()[-1500:])
    assert verdict.advice
    assert verdict.evidence or verdict.kind == "crash"
