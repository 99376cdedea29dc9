"""The queue while it goes: orders that come at the worst moment, failures beside runs that train, and another try."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from engine.config.run_keys import RunKey
from engine.errors import UsageError
from engine.eta.remaining import runs_left
from engine.journals.events import Note, RunEnded, RunStarted
from engine.journals.journal import read
from engine.live.watch import Watch
from engine.paths import ExperimentPaths
from engine.process import alive
from engine.runs import control, launch
from engine.runs.launch import lay_out, supervise
from engine.runs.queue import Queue
from engine.runs.requeue import Wish, requeued
from tests.conftest import Laboratory, fake_plan, until_ended, wait_until
from tests.fake_trainer import open_gate
from tui.cli import main


def begun(paths: ExperimentPaths) -> list[tuple[int, int]]:
    """Restart and attempt of every run of fold 0 that was begun, in order."""
    return [(record.restart, record.attempt) for record in read(paths.events) if isinstance(record, RunStarted)]


def ended(paths: ExperimentPaths) -> list[tuple[int, str]]:
    return [(record.restart, record.outcome) for record in read(paths.events) if isinstance(record, RunEnded)]


def notes(paths: ExperimentPaths) -> list[str]:
    return [record.text for record in read(paths.events) if isinstance(record, Note)]


# ---------------------------------------------------------------- an order at the worst moment


@pytest.mark.parametrize(
    ("wish", "order"),
    [
        (Wish(skip=((0, 0, ""),)), [(1, 1), (2, 1)]),
        (Wish(first=((0, 2, ""),)), [(2, 1), (0, 1), (1, 1)]),
        (Wish(last=((0, 0, ""),), skip=((0, 1, ""),)), [(2, 1), (0, 1)]),
    ],
)
def test_an_order_that_lies_there_when_the_next_run_is_about_to_begin_holds_for_that_run(
    lab: Laboratory, wish: Wish, order: list[tuple[int, int]]
) -> None:
    """A supervisor looks at requests for the first time when it asks whether the first run may begin."""
    plan = fake_plan(folds=1, restarts=3)
    paths = ExperimentPaths(lab.logs / plan.name)
    lab.folders.append(paths.folder)
    lay_out(paths.folder, plan)
    control.request(paths, "queue", queue=wish)
    supervise(paths.folder)
    until_ended(paths)
    state = Watch(paths.folder).poll()
    assert state.phase == "finished", state.verdict
    assert begun(paths) == order


# ---------------------------------------------------------------- failures


def test_two_first_tries_that_fail_both_get_the_second_they_were_promised(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "exception")
    monkeypatch.setenv("FAKE_FAIL_ONLY", "0.0.1,0.1.1")
    paths = lab.launch(fake_plan(folds=1, restarts=4, retries=1))
    until_ended(paths)
    assert Watch(paths.folder).poll().phase == "finished"
    assert begun(paths) == [(0, 1), (1, 1), (2, 1), (3, 1), (0, 2), (1, 2)]
    assert not [text for text in notes(paths) if "not started" in text]


def test_runs_that_fail_each_time_use_up_their_tries_and_then_end_the_queue(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "exception")
    paths = lab.launch(fake_plan(folds=1, restarts=3, retries=1))
    until_ended(paths)
    assert Watch(paths.folder).poll().phase == "failed"
    assert begun(paths) == [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2)]
    assert "2 runs failed one after the other: the rest is not started" in notes(paths)


def test_two_that_fail_beside_one_that_trains_hold_the_queue_until_that_one_has_finished(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "exception")
    monkeypatch.setenv("FAKE_FAIL_ONLY", "0.1,0.2")
    monkeypatch.setenv("FAKE_GATE", "0.0")
    paths = lab.launch(fake_plan(folds=1, restarts=5, slots=2))
    held = "2 runs failed one after the other: no other is started before one of those under way has finished"
    wait_until(lambda: held in notes(paths), 30, "the second failure")
    assert begun(paths) == [(0, 1), (1, 1), (2, 1)]
    open_gate(paths.folder)
    until_ended(paths)
    assert sorted(begun(paths)) == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]
    assert [run.phase for run in Watch(paths.folder).poll().runs] == [
        "finished", "failed", "failed", "finished", "finished"
    ]  # fmt: skip


def test_a_run_that_was_taken_over_and_fails_has_had_its_try(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "exception")
    monkeypatch.setenv("FAKE_GATE", "0.0")
    paths = lab.launch(fake_plan(folds=1, restarts=1))
    wait_until(lambda: begun(paths) == [(0, 1)], 30, "the run")
    supervisor = lab.supervisor(paths).who
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: not alive(supervisor), what="the supervisor's end")
    assert launch.take_over(paths.folder)
    open_gate(paths.folder)
    until_ended(paths)
    assert ended(paths) == [(0, "failed")]
    assert begun(paths) == [(0, 1)]


# ---------------------------------------------------------------- another try


@pytest.mark.parametrize("option", ["--first", "--add", "--last"])
def test_a_run_that_has_failed_for_good_is_tried_again_when_it_is_named(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "exception")
    monkeypatch.setenv("FAKE_FAIL_ONLY", "0.0.1")
    monkeypatch.setenv("FAKE_GATE", "0.1")
    paths = lab.launch(fake_plan(folds=1, restarts=3))
    wait_until(lambda: (1, 1) in begun(paths), 30, "the run after the one that failed")
    assert main(["--logs", str(lab.logs), "queue", option, "0,0"]) == 0
    rest = "0,2" if option == "--first" else "2,0"
    names = ", ".join(f"fold 0 restart {restart}" for restart in rest.split(","))
    assert f"to be tried again: fold 0 restart 0; next: {names}" in capsys.readouterr().out
    foreseen = [run.key.restart for run in runs_left(Watch(paths.folder).poll(), running=True)]
    assert foreseen == [int(restart) for restart in rest.split(",")], "the forecast counts it before it begins"
    open_gate(paths.folder)
    until_ended(paths)
    assert Watch(paths.folder).poll().phase == "finished"
    again = [(0, 2), (2, 1)] if option == "--first" else [(2, 1), (0, 2)]
    assert begun(paths) == [(0, 1), (1, 1), *again]


def test_a_run_that_has_failed_and_is_not_named_does_not_come_back(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "exception")
    monkeypatch.setenv("FAKE_FAIL_ONLY", "0.0.1")
    monkeypatch.setenv("FAKE_GATE", "0.1")
    paths = lab.launch(fake_plan(folds=1, restarts=4))
    wait_until(lambda: (1, 1) in begun(paths), 30, "the run after the one that failed")
    assert main(["--logs", str(lab.logs), "queue", "--first", "0,3"]) == 0
    assert capsys.readouterr().out.strip().endswith("next: fold 0 restart 3, fold 0 restart 2")
    open_gate(paths.folder)
    until_ended(paths)
    assert begun(paths) == [(0, 1), (1, 1), (3, 1), (2, 1)]


def test_a_wish_that_its_supervisor_ended_too_early_to_read_is_no_less_kept(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GATE", "0.0")
    paths = lab.launch(fake_plan(folds=1, restarts=2))
    wait_until(lambda: begun(paths) == [(0, 1)], 30, "the run")
    supervisor = lab.supervisor(paths).who
    os.kill(supervisor.pid, signal.SIGSTOP)
    words = [sys.executable, "-P", "-m", "tui.cli", "--logs", str(lab.logs), "queue", "--add", "0,7"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as asking:
        wait_until(lambda: control.pending(paths), 30, "the request")
        os.kill(supervisor.pid, signal.SIGKILL)
        said, _ = asking.communicate(timeout=60)
    assert asking.returncode == 0 and "fake: changed" in said
    assert [run.key.restart for run in Watch(paths.folder).poll().runs] == [0, 1, 7]
    assert not control.pending(paths)


def keys(count: int) -> tuple[RunKey, ...]:
    return fake_plan(folds=1, restarts=count).runs


def test_a_run_that_waits_for_another_try_stays_behind_the_others_whatever_is_reordered() -> None:
    one, two, three, four = keys(4)
    plan = fake_plan(folds=1, restarts=4)
    held = (three.at, four.at, one.at)  # the first has failed and waits for its second try, the second trains
    found = requeued(plan, {two.at}, Wish(last=(three.at,)), held)
    assert found.waiting == (four, one, three)
    assert found.runs == (two, four, one, three)
    assert requeued(plan, {two.at}, Wish(first=(one.at,)), held).waiting == (one, three, four)
    with pytest.raises(UsageError, match="fold 0 restart 0 is one of its runs already"):
        requeued(plan, {two.at}, Wish(add=(one.at,)), held)


def test_who_is_put_back_by_hand_has_all_tries_again_and_no_longer_counts_as_failed_in_a_row() -> None:
    one, two, three = keys(3)
    queue = Queue((one, two, three), retries=0)
    for key in (one, two):
        assert queue.next() == key and queue.gave_up(key)
    assert queue.failing()
    queue.follow((one, three), (one, two, three))
    assert not queue.failing() and queue.tried(one) == 0
    assert [queue.next() for _ in range(len(queue))] == [one, three]
    queue.follow((), (one, three))
    assert queue.failed == [one], "what was left out has not failed"
