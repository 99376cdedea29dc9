"""A stop is a flag that is looked at where stopping is safe: between steps, in validation, in evaluation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.journals.events import CheckpointWritten, End, Steps
from engine.paths import RunPaths
from tests.training.world import build, records, result, start, start_for_real, train, wait_for

LONG = {"epochs": 2000, "checkpoints": {"epochs": 0}}


@pytest.fixture
def long_run(tmp_path: Path) -> RunPaths:
    return build(tmp_path, table=LONG).run(0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_asked_to_end_it_finishes_the_step_saves_and_says_so(long_run: RunPaths, number: int) -> None:
    child = start(long_run)
    try:
        wait_for(long_run, Steps, child, 3)
        child.send(number)
        assert child.wait(30) == 3
    finally:
        child.kill()
    last = result(long_run)
    assert (last.outcome, last.error_class, last.attempt) == ("stopped", "", 1)
    (written,) = records(long_run, CheckpointWritten)
    assert written.step == last.step == records(long_run, Steps)[-1].step
    assert written.verified
    end = records(long_run)[-1]
    assert isinstance(end, End)
    assert (end.outcome, end.step) == ("stopped", last.step)


def test_a_second_request_changes_nothing_even_while_the_interpreter_shuts_down(long_run: RunPaths) -> None:
    """SIGTERM every half millisecond from the first step until the process is gone."""
    process = start_for_real(long_run)
    try:
        wait_for(long_run, Steps, process)
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.0005)
        assert process.returncode == 3, long_run.console.read_text()
    finally:
        process.kill()
        process.wait()
    assert result(long_run).outcome == "stopped"
    assert len(records(long_run, End)) == 1
    assert len(records(long_run, CheckpointWritten)) == 1


def test_a_thousand_hangups_mean_nothing(long_run: RunPaths) -> None:
    child = start(long_run)
    try:
        wait_for(long_run, Steps, child)
        for _ in range(1000):
            child.send(signal.SIGHUP)
        wait_for(long_run, Steps, child, len(records(long_run, Steps)) + 2)
        assert child.poll() is None
    finally:
        child.kill()


def test_a_stop_before_the_first_step_saves_nothing_and_the_next_attempt_begins(tmp_path: Path) -> None:
    run = build(tmp_path).run(0, 0)
    assert train(run, before="stop.asked = True") == 3
    assert (result(run).outcome, result(run).step) == ("stopped", 0)
    assert run.checkpoints() == []
    assert train(run) == 0
    assert result(run).attempt == 2


def test_stopped_right_after_resuming_it_keeps_the_checkpoint_it_had(tmp_path: Path) -> None:
    run = build(tmp_path, table={"loss": {"name": "sabotaged"}}).run(0, 0)
    assert train(run, sabotage="step:2:SIGTERM") == 3
    before = {path.name: path.read_bytes() for path in run.checkpoints()}
    assert train(run, sabotage="step:0:none", before="stop.asked = True") == 3
    assert {path.name: path.read_bytes() for path in run.checkpoints()} == before
    assert result(run).step == 2


def test_a_stop_ends_the_workers_too(tmp_path: Path) -> None:
    run = build(tmp_path, table=LONG, knobs={"num_workers": 2}).run(0, 0)
    process = start_for_real(run)
    try:
        wait_for(run, Steps, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 3
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    finally:
        process.kill()
        process.wait()


def test_the_command_explains_itself_when_it_is_used_wrongly(tmp_path: Path) -> None:
    for arguments, words in (((), "usage:"), ((str(tmp_path),), "not a run's folder")):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "engine.training", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
