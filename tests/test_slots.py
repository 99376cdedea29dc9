"""Several runs at once: two side by side, the third when one has ended, and all of them stopped, resumed, adopted."""

from __future__ import annotations

import os
import signal
from itertools import accumulate

import msgspec
import pytest

from engine.config.run_keys import RunKey
from engine.errors import UsageError
from engine.eta.forecast import forecast
from engine.journals.events import Note, RunEnded, RunStarted
from engine.journals.journal import read
from engine.live.history import with_run
from engine.live.watch import Watch, stalled
from engine.machine.cores import Machine
from engine.memory.budget import budget
from engine.memory.footprint import Footprint
from engine.paths import ExperimentPaths
from engine.process import alive
from engine.runs import control, launch
from engine.runs.devices import device_of, places, share
from engine.runs.queue import Queue, ordered
from engine.runs.requeue import Wish, requeued
from engine.runs.slots import environment
from engine.status import status
from tests.conftest import Laboratory, fake_plan, has_ended, until_ended, wait_until
from tui.cli import main

TWO = Machine(cores=8)


def both_under_way(paths: ExperimentPaths) -> bool:
    state = Watch(paths.folder).poll()
    return len(state.under_way) == 2 and all(state.runs[place].step > 2 for place in state.under_way)


def test_two_go_on_at_once_and_the_next_begins_as_soon_as_one_has_ended(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    paths = lab.launch(fake_plan(folds=2, restarts=2, slots=2))
    wait_until(lambda: both_under_way(paths), 30, "two runs")
    state = Watch(paths.folder).poll()
    told = status(state)
    assert told.run is not None and {told.run.index, *(one.index for one in told.beside)} == {1, 2}
    until_ended(paths)
    records = [record for record in read(paths.events) if isinstance(record, RunStarted | RunEnded)]
    at_once = list(accumulate(1 if isinstance(record, RunStarted) else -1 for record in records))
    assert max(at_once) == 2
    assert at_once.count(2) >= 2, "one of them ends, and another begins beside the one that goes on"
    assert {record.slot for record in records if isinstance(record, RunStarted)} == {0, 1}
    state = Watch(paths.folder).poll()
    assert state.phase == "finished"
    assert [run.phase for run in state.runs] == ["finished"] * 4
    assert all(run.elapsed > 0 for run in state.runs)


def test_the_experiment_ends_with_the_last_of_them_not_after_the_sum(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.1")
    monkeypatch.setenv("FAKE_STEPS", "100")
    paths = lab.launch(fake_plan(folds=2, restarts=2, slots=2))
    wait_until(lambda: len(Watch(paths.folder).poll().under_way) == 2, 30, "two runs")
    wait_until(lambda: all(run.step > 15 for run in Watch(paths.folder).poll().runs[:2]), 30, "steps of both")
    state = Watch(paths.folder).poll()
    beside = forecast(state)
    after_another = forecast(
        msgspec.structs.replace(state, plan=msgspec.structs.replace(state.plan, slots=1))
    )
    control.request(paths, "stop_force")
    until_ended(paths, 30)
    assert beside.experiment.seconds is not None and after_another.experiment.seconds is not None
    assert beside.run.seconds is not None
    # Two runs of 20 s each and the rest of one, instead of the rest of one and two (the fourth is under way).
    assert beside.experiment.seconds < 0.8 * after_another.experiment.seconds
    assert beside.experiment.seconds > 1.5 * beside.run.seconds
    assert [rung.label for rung in beside.ladder if rung.name == "stop_here"] == ["stop after these"]


def test_a_stop_after_these_lets_both_end_and_begins_no_other(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.1")
    paths = lab.launch(fake_plan(folds=2, restarts=2, slots=2))
    wait_until(lambda: both_under_way(paths), 30, "two runs")
    control.request(paths, "stop_after_run")
    state = until_ended(paths)
    assert [run.phase for run in state.runs] == ["finished", "finished", "waiting", "waiting"]
    assert state.phase == "stopped"


def test_both_are_stopped_at_a_checkpoint_and_both_go_on_after_a_resume(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.1")
    paths = lab.launch(fake_plan(folds=1, restarts=2, slots=2))
    wait_until(lambda: both_under_way(paths), 30, "two runs")
    control.request(paths, "stop_now")
    stopped = until_ended(paths, 30)
    assert [run.phase for run in stopped.runs] == ["stopped", "stopped"]
    launch.resume(paths.folder)
    wait_until(lambda: has_ended(paths) and Watch(paths.folder).poll().phase == "finished", 60, "both runs")
    again = Watch(paths.folder).poll()
    assert [run.attempt for run in again.runs] == [2, 2]
    assert all(run.begin is not None and run.begin.resumed_from_step > 0 for run in again.runs)


def test_both_are_taken_over_when_their_supervisor_is_killed(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.1")
    paths = lab.launch(fake_plan(folds=1, restarts=3, slots=2))
    wait_until(lambda: both_under_way(paths), 30, "two runs")
    supervisor = lab.supervisor(paths).who
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: not alive(supervisor), what="the supervisor's end")
    assert launch.take_over(paths.folder)
    state = until_ended(paths)
    assert [run.phase for run in state.runs] == ["finished"] * 3
    assert [run.attempt for run in state.runs] == [1, 1, 1]


def test_a_run_that_fails_stops_no_other_and_is_tried_again_last(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    monkeypatch.setenv("FAKE_FAIL", "exception")
    monkeypatch.setenv("FAKE_FAIL_ONLY", "0.1.1")  # fold, restart, attempt
    paths = lab.launch(fake_plan(folds=1, restarts=3, slots=2, retries=1))
    state = until_ended(paths)
    assert state.phase == "finished", state.verdict
    assert [run.attempt for run in state.runs] == [1, 2, 1]
    notes = [record.text for record in read(paths.events) if isinstance(record, Note)]
    assert "fold 0 restart 1 failed and waits behind the others for try 2 of 2" in notes
    began = [(r.restart, r.attempt) for r in read(paths.events) if isinstance(r, RunStarted)]
    assert began[-1] == (1, 2)


def test_a_run_that_fails_each_time_is_tried_as_often_as_asked_for_and_has_failed(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "exception")
    paths = lab.launch(fake_plan(folds=1, restarts=1, retries=2))
    state = until_ended(paths)
    assert (state.phase, state.runs[0].phase, state.runs[0].attempt) == ("failed", "failed", 3)


def test_what_has_failed_and_what_was_left_out_are_remembered_by_the_queue() -> None:
    one, two, three = fake_plan(folds=1, restarts=3).runs
    queue = Queue((one, two, three), retries=1)
    assert queue.next() == one and not queue.gave_up(one)
    assert queue.next() == two and not queue.gave_up(two)
    assert (queue.failed, queue.in_a_row()) == ([one, two], 0), "both have another try"
    assert queue.waiting == (three, one, two)
    queue.follow((one, two), (one, two))
    queue.follow((one, two, three), (one, two, three))
    assert [queue.next() for _ in range(len(queue))] == [one, two, three]
    assert queue.gave_up(two) and queue.in_a_row() == 1
    queue.succeeded(one)
    assert (queue.failed, queue.in_a_row()) == ([two], 0)


# ---------------------------------------------------------------- what is asked for


def test_every_device_named_is_a_slot_and_gets_its_own_runs() -> None:
    found = places("0,1", None, TWO)
    assert (found.devices, found.slots) == (("0", "1"), 2)
    plan = msgspec.structs.replace(fake_plan(), device=found.device, devices=found.devices, slots=found.slots)
    assert [device_of(plan, slot) for slot in (0, 1)] == ["0", "1"]
    assert [environment(plan, slot)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["0", "1"]
    assert environment(plan, 0)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID", "as nvidia-smi and the preflight count"
    assert "OMP_NUM_THREADS" in environment(plan, 0)
    assert environment(msgspec.structs.replace(fake_plan(), device="cpu"), 0) == {}
    by_itself = msgspec.structs.replace(fake_plan(), device="auto")
    assert environment(by_itself, 0) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, "the GPU that was looked at before"


@pytest.mark.parametrize(
    ("devices", "slots", "said"),
    [
        ("0,0", None, "each once; `--slots 2`"),
        ("cpu,0", None, "several at once are CUDA devices by their numbers"),
        ("gpu", None, "it is auto, cpu or a CUDA device's number"),
        (None, 9, "8 cores here, and every run needs one of its own"),
        ("0,1,2", 2, "3 devices are named"),
        (None, 0, "it is 1 or more"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(devices: str | None, slots: int | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        places(devices, slots, TWO)


def test_each_has_its_share_of_cores_and_memory() -> None:
    assert share(TWO, 3).cores == 2
    assert share(Machine(cores=1), 1).cores == 1
    knobs = fake_plan().profile.knobs
    alone = budget(knobs, Footprint(sample_bytes=1 << 20, ram_free=4 << 30, shm_free=1 << 30))
    beside = budget(knobs, Footprint(sample_bytes=1 << 20, shares=2, ram_free=2 << 30, shm_free=1 << 29))
    assert alone.ram.limit == 4 << 30 and beside.ram.limit == 2 << 30
    assert "free for each of 2 runs" in beside.ram.sentence


def test_one_restart_of_each_fold_may_come_first() -> None:
    runs = tuple(
        RunKey(fold=fold, restart=restart, seed=42, variant=variant)
        for fold in (0, 1) for restart in (0, 1) for variant in ("a", "b")
    )
    assert [key.at for key in ordered(runs, "restarts")] == [
        (0, 0, "a"), (0, 0, "b"), (1, 0, "a"), (1, 0, "b"), (0, 1, "a"), (0, 1, "b"), (1, 1, "a"), (1, 1, "b")
    ]  # fmt: skip
    assert ordered(runs, "folds") == runs


# ---------------------------------------------------------------- another order


def test_what_waits_is_put_first_left_out_and_added_while_it_goes(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    paths = lab.launch(fake_plan(folds=2, restarts=2))
    wait_until(lambda: Watch(paths.folder).poll().run is not None, 30, "the first run")
    words = ["--logs", str(lab.logs), "queue", "--first", "1,1", "--skip", "0,1", "--add", "0,5"]
    assert main(words) == 0
    assert "left out: fold 0 restart 1; added: fold 0 restart 5; next: fold 1 restart 1" in capsys.readouterr().out
    assert main(["--logs", str(lab.logs), "queue", "--skip", "0,0"]) == 2
    assert "fold 0 restart 0 has begun" in capsys.readouterr().err
    until_ended(paths, 90)
    began = [(record.fold, record.restart) for record in read(paths.events) if isinstance(record, RunStarted)]
    assert began == [(0, 0), (1, 1), (1, 0), (0, 5)]
    assert main(["--logs", str(lab.logs), "queue"]) == 0
    assert capsys.readouterr().out.count("finished") == 4


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(first=((0, 7, ""),)), "none of its runs; --add makes it one"),
        (Wish(add=((0, 1, ""),)), "one of its runs already"),
        (Wish(add=((7, 0, ""),)), "no fold 7"),
        (Wish(add=((0, 9, "mkdc"),)), "the experiment has no variants"),
        (Wish(first=((1, 0, ""),), skip=((1, 0, ""),)), "named twice"),
        (Wish(skip=((0, 0, ""), (0, 1, ""), (1, 0, ""), (1, 1, ""))), "nothing would be left"),
    ],
)
def test_an_order_that_cannot_be_is_refused(wish: Wish, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        requeued(fake_plan(), (), wish)


def test_a_hang_is_seen_whichever_of_them_is_shown(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.1")
    paths = lab.launch(fake_plan(folds=1, restarts=2, slots=2))
    wait_until(lambda: both_under_way(paths), 30, "two runs")
    state = Watch(paths.folder).poll()
    beside = next(place for place in state.under_way if place != state.current)
    quiet = msgspec.structs.replace(state.runs[beside], last_monotonic=state.now_monotonic - 90)
    assert stalled(state, state.now_monotonic) == 0
    assert stalled(with_run(state, beside, quiet), state.now_monotonic) == pytest.approx(90)
