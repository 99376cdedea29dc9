"""A training that lost its supervisor, a stop that was promised, and words that must not start anything."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from engine.errors import UsageError
from engine.journals.records import ProcessInfo
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, read_json
from engine.process import alive
from engine.runs import control, launch
from tests.conftest import Laboratory, fake_plan, wait_until
from tui.cli import main, parsed
from tui.tending import Tending


@pytest.fixture
def orphaned(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment of two runs of 2 s, whose trainer is held and has no supervisor any more."""
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.1")
    paths = lab.launch(fake_plan(folds=1, restarts=2))
    os.kill(lab.trainer(paths).who.pid, signal.SIGSTOP)
    wait_until(lambda: Watch(paths.folder).poll().under_way, what="the run in the journal, which is written after it")
    supervisor = lab.supervisor(paths)
    os.kill(supervisor.who.pid, signal.SIGKILL)
    wait_until(lambda: not alive(supervisor.who), what="the supervisor's end")
    return paths.folder


def goes_on(folder: Path) -> None:
    """The held trainer of the first run."""
    info = read_json(ExperimentPaths(folder).run(0, 0).process, ProcessInfo)
    assert info is not None
    os.kill(info.who.pid, signal.SIGCONT)


def test_the_dashboard_gives_a_training_a_new_supervisor_and_its_second_run_starts(orphaned: Path) -> None:
    tending = Tending()
    state = Watch(orphaned).poll()
    assert (state.supervisor_alive, state.trainer_alive) == (False, True)
    tending(state)
    goes_on(orphaned)
    wait_until(lambda: Watch(orphaned).poll().runs_finished == 2, 60, "both runs")


def test_a_supervisor_that_cannot_be_started_is_not_tried_every_second(orphaned: Path) -> None:
    asked: list[Path] = []

    def refuses(folder: Path) -> bool:
        asked.append(folder)
        raise UsageError("no room")

    clock = [0.0]
    tending = Tending(refuses, lambda: clock[0])
    state: ExperimentState = Watch(orphaned).poll()
    for second in range(25):
        clock[0] = 100.0 + second
        tending(state)
    assert len(asked) == 3


def test_a_run_that_finished_alone_is_called_finished_and_its_seconds_are_its_own(orphaned: Path) -> None:
    goes_on(orphaned)
    wait_until(lambda: Watch(orphaned).poll().phase == "lost", 60, "the run's end")
    state = Watch(orphaned).poll()
    assert state.runs[0].phase == "finished"
    assert state.verdict is not None
    assert "run 1 finished" in state.verdict.text
    time.sleep(3)
    launch.resume(orphaned)
    wait_until(lambda: Watch(orphaned).poll().runs_finished == 2, 60, "both runs")
    first, second = Watch(orphaned).poll().runs
    assert first.elapsed < second.elapsed + 2.5, "the three seconds that nobody trained are not counted"


def test_a_stop_promised_at_launch_can_be_taken_back(lab: Laboratory) -> None:
    plan = fake_plan(folds=1, restarts=3)
    paths = lab.launch(msgspec.structs.replace(plan, stop_after_runs=1))
    lab.trainer(paths)
    name = control.request(paths, "stop_cancel")
    wait_until(lambda: control.answer_to(paths, name), what="the answer")
    answer = control.answer_to(paths, name)
    assert answer is not None
    assert answer.text == "cancelled"
    assert Watch(paths.folder).poll().stop_after_runs == 0
    wait_until(lambda: Watch(paths.folder).poll().runs_finished == 3, 60, "all three runs")


@pytest.mark.parametrize("words", [["run", "quickstart"], ["stop"], ["resume"], ["bench", "quickstart"], ["change", "--set", "num_workers=1"]])
def test_readonly_starts_stops_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["--readonly", "--logs", str(tmp_path / "logs"), *words]) == 2
    assert "--readonly" in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("number", ["0", "-1", "one"])
def test_a_stop_after_no_run_is_refused(number: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(["run", "quickstart", "--stop-after-run", number])
    assert ended.value.code == 2


def test_phantoms_are_not_trained_in_place_of_your_volumes(tmp_path: Path) -> None:
    request = launch.Request(experiment="quickstart", logs=tmp_path, data=tmp_path)
    with pytest.raises(UsageError, match="phantoms that it makes itself"):
        launch.plan_for(request)


def test_results_of_a_trainer_of_ones_own_come_from_its_journals(
    lab: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = lab.launch(fake_plan(folds=1, restarts=2))
    wait_until(lambda: Watch(paths.folder).quick().ended, 60, "the end")
    assert main(["--logs", str(lab.logs), "results"]) == 0
    said = capsys.readouterr().out
    assert "fold 0 restart 0" in said
    assert "fold 0 restart 1" in said
