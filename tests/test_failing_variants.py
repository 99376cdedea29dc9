"""Variants that cannot be trained beside others that can: what is not started any more, and how it is put back."""

from __future__ import annotations

import json

import msgspec
import pytest

from engine.config.plan import Plan
from engine.config.run_keys import RunKey, runs_of
from engine.config.tables import Runs
from engine.eta.forecast import forecast
from engine.eta.remaining import runs_left
from engine.journals.events import ExperimentEnded, RunEnded, RunsGivenUp, RunStarted, Verdict
from engine.journals.journal import read
from engine.live.fold_experiment import fold_supervisor
from engine.live.state import all_sentences, new_experiment
from engine.live.watch import Watch
from engine.paths import ExperimentPaths
from engine.runs import launch
from engine.runs.ending import Result, ending
from engine.runs.queue import Queue
from tests.conftest import Laboratory, fake_plan, until_ended, wait_until
from tests.engine.test_variants import experiment
from tests.fake_trainer import open_gate
from tui.cli import main


def plan_of(names: tuple[str, ...], folds: int, **more: object) -> Plan:
    """Variants that differ in a number; which of them fail is up to the stand-in trainer."""
    sets: dict[str, object] = {name: {"set": {"model.channels": 4 + place}} for place, name in enumerate(names)}
    plan = fake_plan(folds=folds, restarts=1, **more)
    made = msgspec.structs.replace(
        plan.experiment, variants=experiment(sets).variants, runs=Runs(folds=folds, restarts=1)
    )
    return msgspec.structs.replace(plan, experiment=made, runs=runs_of(made))


def begun(paths: ExperimentPaths) -> list[str]:
    """Variant and fold of every run that was begun, in order."""
    return [f"{one.variant} {one.fold}" for one in read(paths.events) if isinstance(one, RunStarted)]


def phases(paths: ExperimentPaths) -> dict[str, str]:
    return {f"{run.key.variant} {run.key.fold}": run.phase for run in Watch(paths.folder).poll().runs}


def test_two_variants_that_fail_next_to_each_other_leave_the_third_its_turn(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "nan")
    monkeypatch.setenv("FAKE_FAIL_ONLY", "bad1.0.0,bad2.0.0")
    paths = lab.launch(plan_of(("bad1", "bad2", "good"), folds=1))
    state = until_ended(paths)
    assert phases(paths) == {"bad1 0": "failed", "bad2 0": "failed", "good 0": "finished"}
    assert state.phase == "failed"


def test_a_variant_that_fails_twice_is_not_started_again_and_the_others_are_trained(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "nan")
    monkeypatch.setenv("FAKE_FAIL_ONLY", "bad.0.0,bad.1.0")
    monkeypatch.setenv("FAKE_GATE", "good.2.0")
    paths = lab.launch(plan_of(("bad", "good"), folds=4))
    wait_until(lambda: "good 2" in begun(paths), 60, "the third fold")
    assert begun(paths) == ["bad 0", "good 0", "bad 1", "good 1", "good 2"]
    wait_until(lambda: forecast(Watch(paths.folder).poll()).ladder, 60, "its first line")
    state = Watch(paths.folder).poll()
    said = "2 runs of bad failed one after the other: the rest of it is not started (2 runs)"
    assert said in [sentence.text for sentence in all_sentences(state)]
    assert [run.key.name for run in runs_left(state, running=True)] == ["good fold 3 restart 0"]
    assert next(rung.runs for rung in forecast(state).ladder if rung.name == "experiment") == 2

    words = ["--logs", str(lab.logs)]
    assert main([*words, "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["not_started"] == ["bad fold 2 restart 0", "bad fold 3 restart 0"]
    assert main([*words, "status"]) == 0
    assert "bad fold 2 restart 0, bad fold 3 restart 0; `steptop queue fake --first bad,2,0`" in capsys.readouterr().out
    assert main([*words, "queue"]) == 0
    assert "bad fold 2 restart 0   not started any more" in capsys.readouterr().out

    assert main([*words, "queue", "--add", "bad,2,0"]) == 0
    assert "to be tried again: bad fold 2 restart 0" in capsys.readouterr().out
    assert "bad fold 2 restart 0" in [run.key.name for run in runs_left(Watch(paths.folder).poll(), running=True)]
    open_gate(paths.folder)
    ended = until_ended(paths).ended
    assert begun(paths)[5:] == ["good 3", "bad 2"]
    assert ended is not None and ended.text.startswith(
        "2 of 8 runs failed: the loss became NaN (bad fold 0 restart 0, bad fold 1 restart 0); 5 finished; "
        "not started: 1 of bad"
    )


def test_a_resume_begins_what_was_not_started(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "nan")
    monkeypatch.setenv("FAKE_FAIL_ONLY", "bad.0.0,bad.1.0")
    paths = lab.launch(plan_of(("bad",), folds=3))
    assert until_ended(paths).phase == "failed"
    assert phases(paths)["bad 2"] == "waiting"
    monkeypatch.setenv("FAKE_FAIL", "")
    launch.resume(paths.folder)
    wait_until(lambda: Watch(paths.folder).poll().phase == "finished", 60, "the rest")
    assert set(phases(paths).values()) == {"finished"}


def test_side_by_side_one_that_trains_holds_its_own_variant_alone(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "nan")
    monkeypatch.setenv("FAKE_FAIL_ONLY", "bad.1.0,bad.2.0")
    monkeypatch.setenv("FAKE_GATE", "bad.0.0")
    paths = lab.launch(plan_of(("bad", "good"), folds=4, slots=2))
    wait_until(lambda: phases(paths)["good 3"] == "finished", 60, "the other variant's last run")
    assert "bad 3" not in begun(paths)
    held = "2 runs of bad failed one after the other: no other of it is started before one of those under way has finished"
    assert held in [sentence.text for sentence in Watch(paths.folder).poll().sentences]
    open_gate(paths.folder)
    until_ended(paths)
    assert begun(paths)[-1] == "bad 3"
    assert phases(paths)["bad 3"] == "finished"
    assert not [record for record in read(paths.events) if isinstance(record, RunsGivenUp)]


def test_one_put_back_by_hand_gives_its_variant_all_its_tries_again() -> None:
    runs = plan_of(("bad", "good"), folds=4).runs
    queue = Queue(runs)
    for _ in range(2):
        assert queue.gave_up(queue.next(held=("good",)))
    assert queue.failing("bad") and not queue.failing("good")
    left = queue.give_up("bad")
    assert [key.fold for key in left] == [2, 3] and queue.given_up == left
    queue.follow((*queue.waiting, left[0]), runs)
    assert not queue.failing("bad") and queue.given_up == left[1:]


# ---------------------------------------------------------------- the reason of a failure


def test_the_reason_is_not_that_of_the_run_which_finished_last(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "nan")
    monkeypatch.setenv("FAKE_FAIL_ONLY", "0.1,1.0")
    monkeypatch.setenv("FAKE_GATE", "0.0")
    paths = lab.launch(fake_plan(retries=0, slots=2))
    wait_until(lambda: [run.phase for run in Watch(paths.folder).poll().runs].count("failed") == 2, 60, "two failures")
    open_gate(paths.folder)
    state = until_ended(paths)
    assert state.verdict is not None and state.ended is not None
    assert [run.phase for run in state.runs] == ["finished", "failed", "failed", "finished"]
    assert state.verdict.text == "2 of 4 runs failed: the loss became NaN"
    assert state.ended.text.startswith(state.verdict.text)
    assert main(["--logs", str(lab.logs), "report"]) == 0
    assert f"it ended badly: {state.verdict.text}" in capsys.readouterr().out


def test_a_journal_whose_last_line_has_no_reason_gives_that_of_a_failed_run() -> None:
    state = new_experiment("/logs/old", fake_plan(folds=1, restarts=2))
    nan = Verdict(kind="nan_loss", text="the loss became NaN")
    records = [
        RunEnded(fold=0, restart=0, attempt=1, outcome="failed", verdict=nan, t=1.0),
        RunEnded(
            fold=0, restart=1, attempt=1, outcome="finished", t=2.0,
            verdict=Verdict(kind="finished", text="all of 4 steps done"),
        ),
        ExperimentEnded(outcome="failed", text="1 of 2 runs failed", t=3.0),
    ]
    assert fold_supervisor(state, records).verdict == nan


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        (("a", "a", "a", "a"), "4 of 5 runs failed: a"),
        (("a", "b", "a", "c"), "4 of 5 runs failed, 2 of them: a"),
        (("a", "b", "c", "d"), "4 of 5 runs failed, the last of them: d"),
    ],
)
def test_the_commonest_reason_is_told_and_of_several_the_newest(reasons: tuple[str, ...], said: str) -> None:
    keys = [RunKey(fold=fold, restart=0, seed=42) for fold in range(5)]
    why = [Verdict(kind="crash", text=text) for text in reasons]
    outcome, text, verdict = ending(Result(total=5, done=1, failed=keys[:4], why=why))
    assert (outcome, verdict and verdict.text) == ("failed", said)
    first = ", ".join(key.name for key in keys[:3])
    assert text == f"{said} ({first} and 1 more); 1 finished; nothing of it is left running"
    limited = ending(Result(total=5, done=1, failed=keys[:4], stopped=True))[1]
    assert f"4 failed ({first} and 1 more)" in limited


def test_a_reason_too_long_for_a_line_has_lines_of_its_own() -> None:
    keys = [RunKey(fold=fold, restart=0, seed=42) for fold in range(2)]
    why = [Verdict(kind="crash", text="x" * 300)] * 2
    _, text, verdict = ending(Result(total=2, done=0, failed=keys, why=why))
    assert text.startswith("2 of 2 runs failed (fold 0 restart 0")
    assert verdict is not None and verdict.text.endswith("x" * 300)
