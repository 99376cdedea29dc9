"""A run that was interrupted goes on exactly where it was: the same losses, bit for bit the same weights."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from engine.journals.events import Begin, EpochEnded, Metrics, Note, Steps
from engine.paths import RunPaths
from engine.training.results import RunResults
from tests.training.world import build, records, result, train

# One worker of pytest-xdist for all of these: they share a training.
pytestmark = pytest.mark.xdist_group("resume")

NOTHING = "step:0:none"
SHAPE = (10, 12, 14)
EPOCHS = 3
STEPS_PER_EPOCH = 5


def experiment(logs: Path, workers: int = 0, minutes: float = 10.0, **knobs: Any) -> RunPaths:
    """10 subjects, 5 to train on; dropout draws from torch's generator at every step."""
    paths = build(
        logs, subjects=10, shape=SHAPE, knobs={"num_workers": workers, "val_every_epochs": 1} | knobs,
        table={
            "epochs": EPOCHS, "model": {"channels": 3, "dropout": 0.2}, "loss": {"name": "sabotaged"},
            "checkpoints": {"minutes": minutes},
        },
    )
    return paths.run(0, 0)


def finish(run: RunPaths) -> None:
    assert train(run, sabotage=NOTHING) == 0, run.console.read_text()


def losses(run: RunPaths) -> dict[int, float | None]:
    """Step -> loss, of the last attempt that did the step."""
    return {line.step: line.loss for line in records(run, Steps)}


def epochs(run: RunPaths) -> list[tuple[int, float | None]]:
    return [(record.epoch, record.loss) for record in records(run, EpochEnded)]


def weights(run: RunPaths) -> dict[str, Any]:
    state = torch.load(run.final, weights_only=True)
    return {"model": state["model"], "optimizer": state["optimizer"], "rng": state["rng"]["torch"]}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    run = experiment(tmp_path_factory.mktemp("uninterrupted"))
    finish(run)
    return run


def assert_same_training(run: RunPaths, whole: RunPaths) -> None:
    assert losses(run) == losses(whole)
    assert epochs(run) == epochs(whole)
    assert same(weights(run), weights(whole))
    assert [(m.split, m.step, m.values) for m in records(run, Metrics)] == [
        (m.split, m.step, m.values) for m in records(whole, Metrics)
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_in_the_middle_of_an_epoch_it_goes_on_from_the_step_before(
    tmp_path: Path, uninterrupted: RunPaths, workers: int
) -> None:
    run = experiment(tmp_path, workers, minutes=0.0)
    assert train(run, sabotage="step:8:SIGKILL") == -signal.SIGKILL
    finish(run)
    begin = records(run, Begin)[-1]
    assert (begin.attempt, begin.resumed_from_step, begin.resumed_from) == (2, 7, "step-00000007.pt")
    assert_same_training(run, uninterrupted)


@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_in_the_middle_of_an_epoch_it_goes_on_after_that_step(
    tmp_path: Path, uninterrupted: RunPaths, workers: int
) -> None:
    run = experiment(tmp_path, workers)
    assert train(run, sabotage="step:7:SIGTERM") == 3, run.console.read_text()
    assert (result(run).outcome, result(run).step) == ("stopped", 7)
    finish(run)
    assert records(run, Begin)[-1].resumed_from_step == 7
    assert_same_training(run, uninterrupted)


def test_steps_after_the_last_checkpoint_are_done_again_with_the_same_losses(
    tmp_path: Path, uninterrupted: RunPaths
) -> None:
    run = experiment(tmp_path)
    assert train(run, sabotage="step:9:SIGKILL") == -signal.SIGKILL
    first = losses(run)
    finish(run)
    assert records(run, Begin)[-1].resumed_from_step == STEPS_PER_EPOCH
    assert {step: loss for step, loss in losses(run).items() if step in first} == first
    assert_same_training(run, uninterrupted)


def test_a_stop_at_an_epoch_s_last_step_leaves_its_end_to_the_next_attempt(
    tmp_path: Path, uninterrupted: RunPaths
) -> None:
    """Validation and the epoch's record are made once, not twice and not never."""
    run = experiment(tmp_path)
    assert train(run, sabotage="look:2:SIGTERM") == 3
    assert (result(run).outcome, result(run).step) == ("stopped", STEPS_PER_EPOCH)
    finish(run)
    assert_same_training(run, uninterrupted)


def test_a_stop_during_evaluation_keeps_the_trained_state_and_only_evaluates_again(
    tmp_path: Path, uninterrupted: RunPaths
) -> None:
    run = experiment(tmp_path)
    looks_before = EPOCHS * 5
    assert train(run, sabotage=f"look:{looks_before + 2}:SIGTERM") == 3
    assert (result(run).outcome, result(run).step) == ("stopped", EPOCHS * STEPS_PER_EPOCH)
    assert run.final.exists()
    assert not run.results.exists()
    steps = len(records(run, Steps))
    finish(run)
    assert len(records(run, Steps)) == steps
    assert_same_training(run, uninterrupted)


def test_several_batches_in_a_step_go_on_exactly_too(tmp_path: Path) -> None:
    """5 samples in batches of 2, two batches to a step: steps of 4 samples and of 1."""
    knobs = {"batch_size": 2, "accumulate_steps": 2}
    whole, run = experiment(tmp_path / "a", **knobs), experiment(tmp_path / "b", minutes=0.0, **knobs)
    finish(whole)
    assert [line.samples for line in records(whole, Steps)] == [4, 1] * EPOCHS
    assert train(run, sabotage="step:8:SIGKILL") == -signal.SIGKILL
    finish(run)
    assert records(run, Begin)[-1].resumed_from_step == 4
    assert_same_training(run, whole)


def test_a_damaged_checkpoint_is_passed_over_aloud(tmp_path: Path, uninterrupted: RunPaths) -> None:
    run = experiment(tmp_path, minutes=0.0)
    assert train(run, sabotage="step:8:SIGKILL") == -signal.SIGKILL
    newest = run.checkpoints()[-1]
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    newest.write_bytes(damaged)
    finish(run)
    notes = " ".join(note.text for note in records(run, Note))
    assert "step-00000007.pt: its contents have changed" in notes
    assert "going on from step-00000006.pt" in notes
    assert_same_training(run, uninterrupted)


def test_the_run_s_result_counts_all_attempts(tmp_path: Path) -> None:
    run = experiment(tmp_path, minutes=0.0)
    assert train(run, sabotage="step:4:SIGKILL") == -signal.SIGKILL
    begin, *_, last = records(run)
    finish(run)
    found = msgspec.json.decode(run.results.read_bytes(), type=RunResults)
    own = records(run)[-1].m - records(run, Begin)[-1].m
    assert found.attempts == 2
    assert found.duration_seconds >= last.m - begin.m + own * 0.5
    assert found.final_train_loss == epochs(run)[-1][1]
