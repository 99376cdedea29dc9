"""Held-out volumes that the last epoch's end has scored are not scored a second time for the evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.journals.events import Begin, EpochEnded, Metrics, SpanEnded
from engine.journals.journal import read
from engine.paths import RunPaths
from engine.training.results import RunResults
from tests.training.world import build, records, result, train

# One worker of pytest-xdist for all of these: they share a training.
pytestmark = pytest.mark.xdist_group("scored_once")

HELD_OUT = 3
FIGURES = ("dice", "avd", "mcc")
PATCHES = {"patch": {"shape": [8, 8, 8], "per_volume": 2}, "optimizer": {"lr": 0.01, "ema": 0.8}}


def experiment(logs: Path, every: int, epochs: int = 2, **table: Any) -> RunPaths:
    """Six balls in noise, three of them held out; wholes are scored after every so many epochs."""
    paths = build(
        logs, table={"epochs": epochs, "loss": {"name": "sabotaged"}, **table},
        knobs={"batch_size": 2, "val_every_epochs": 0, "reconstruct_every_epochs": every},
    )
    return paths.run(0, 0)


def finished(run: RunPaths) -> RunPaths:
    assert train(run, sabotage="step:0:none") == 0, run.console.read_text()
    return run


def scorings(run: RunPaths) -> list[tuple[str, int, int]]:
    """What was scored, after which epoch, and how many volumes."""
    return [
        (span.name, span.epoch, span.items)
        for span in records(run, SpanEnded) if span.name in ("validate", "reconstruct", "evaluate")
    ]


def figures(run: RunPaths) -> list[tuple[str, int, dict[str, float]]]:
    return [(one.split, one.epoch, one.values) for one in records(run, Metrics)]


def results(run: RunPaths) -> dict[str, object]:
    """results.json, but for when it was and which knobs it ran with."""
    found = msgspec.json.decode(run.results.read_bytes(), type=RunResults)
    fields = msgspec.structs.asdict(found)
    return {name: fields[name] for name in fields if name.startswith(("test_", "per_subject", "figures", "subject", "final_"))}


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """Patch by patch, with averaged weights, wholes after the last of two epochs."""
    return finished(experiment(tmp_path_factory.mktemp("once"), every=2, **PATCHES))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """Whole volumes, wholes scored after the last of two epochs."""
    return finished(experiment(tmp_path_factory.mktemp("whole"), every=2))


def test_after_patch_training_the_wholes_are_scored_once_and_told_under_both_names(patched: RunPaths) -> None:
    assert scorings(patched) == [("reconstruct", 2, HELD_OUT)]
    (volume, test) = figures(patched)
    assert (volume[:2], test[:2]) == (("volume", 2), ("test", 2))
    assert test[2] == {name: volume[2][name] for name in FIGURES if name in volume[2]}


def test_its_results_are_those_of_an_evaluation_by_itself(patched: RunPaths, tmp_path: Path) -> None:
    """With the averaged weights, subject by subject."""
    alone = finished(experiment(tmp_path, every=0, **PATCHES))
    assert scorings(alone) == [("evaluate", 2, HELD_OUT)]
    assert results(patched) == results(alone)
    assert figures(patched)[-1] == figures(alone)[-1]


def test_where_the_last_epoch_scores_no_wholes_the_evaluation_does(tmp_path: Path) -> None:
    run = finished(experiment(tmp_path, every=2, epochs=3, **PATCHES))
    assert scorings(run) == [("reconstruct", 2, HELD_OUT), ("evaluate", 3, HELD_OUT)]
    assert [(split, epoch) for split, epoch, _ in figures(run)] == [("volume", 2), ("test", 3)]


def test_stopped_while_the_wholes_are_scored_it_scores_them_when_it_goes_on(whole: RunPaths, tmp_path: Path) -> None:
    run = experiment(tmp_path, every=2)
    assert train(run, sabotage="look:2:SIGTERM") == 3, run.console.read_text()
    assert result(run).outcome == "stopped" and scorings(run) == [] and not run.results.exists()
    finished(run)
    assert scorings(run) == [("reconstruct", 2, HELD_OUT)]
    assert figures(run) == figures(whole) and results(run) == results(whole)


def test_ended_between_the_last_epoch_and_the_results_it_evaluates_when_it_goes_on(whole: RunPaths, tmp_path: Path) -> None:
    """The next process knows the means that the journal has, not each subject's figures."""
    run = finished(experiment(tmp_path, every=2))
    segment = run.segments()[-1]
    last = max(place for place, record in enumerate(read(segment)) if isinstance(record, EpochEnded))
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[: last + 1]))
    run.results.unlink()
    finished(run)
    assert records(run, Begin)[-1].resumed_from_step == records(run, EpochEnded)[-1].step
    assert scorings(run) == [("reconstruct", 2, HELD_OUT), ("evaluate", 2, HELD_OUT)]
    assert figures(run) == figures(whole) and results(run) == results(whole)
