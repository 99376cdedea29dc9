"""Trainers that really fail, under a real supervisor, and what their ends are called."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from engine.live.watch import Watch
from tests.conftest import Laboratory, fake_plan, wait_until

ROOT = Path(__file__).parents[2]

# What fails, its kind, words of the sentence about it, and of a line that shows it.
CASES = [
    ("killed", "external_kill", "SIGKILL", "signal 9"),
    ("killed behind a launcher", "external_kill", "SIGKILL", "exit code 137"),
    ("segfault", "crash", "SIGSEGV", "signal 11"),
    ("terminated", "external_kill", "SIGTERM", "signal 15"),
    ("truncated file", "bus_error", "truncated", "/dev/shm was"),
    ("memory", "host_alloc", "to the trainer", "MemoryError"),
    ("torch memory", "host_alloc", "to the trainer", "can't allocate"),
    ("numpy memory", "host_alloc", "to the trainer", "MemoryError"),
    ("worker killed", "worker_killed", "killed from outside", "Killed"),
    ("worker segfaults", "worker_crash", "not for want of memory", "Segmentation fault"),
    ("worker memory", "host_alloc", "to a loader worker", "Caught MemoryError"),
    ("worker truncated file", "bus_error", "truncated", "Bus error"),
    ("worker raises", "worker_crash", "a loader worker crashed", "Caught ValueError"),
    ("caught", "crash", "exited with 1", "KeyError: 'dice'"),
    ("bug", "crash", "exited with 1", "KeyError: 'dice'"),
    ("silent", "crash", "never said", ""),
]


@pytest.mark.parametrize(("fail", "kind", "words", "line"), CASES, ids=[case[0] for case in CASES])
def test_an_end_is_called_what_it_was(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, fail: str, kind: str, words: str, line: str
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
    assert verdict.kind == kind, (verdict, paths.run(0, 0).console.read_text()[-1500:])
    assert words in verdict.text
    assert any(line in one for one in verdict.evidence) or not line, verdict.evidence
    assert verdict.advice
