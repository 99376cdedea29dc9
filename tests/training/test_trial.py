"""A trial: profiles measured in a training that is thrown away, by the real trainer."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.plan import Phase, Test
from engine.journals.events import (
    Begin,
    CheckpointWritten,
    End,
    PhaseEnded,
    ProfileChanged,
    ProfileMeasured,
    Steps,
    Verdict,
)
from engine.journals.records import ProfileRequest
from engine.paths import ExperimentPaths, RunPaths, write_json
from engine.phase import phases
from engine.phase.phases import shared
from tests.training.world import build, plan_of, records, result, start, wait_for

STEPS = 8


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = build(tmp_path, subjects=8, shape=(16, 16, 16))
    plan = plan_of(paths)
    test = Test(kind="bench", phases=(Phase(name="first", knobs=plan.profile.knobs),))
    write_json(paths.plan, msgspec.structs.replace(plan, test=test))
    return paths.run(0, 0)


def ask(run: RunPaths, name: str, mode: str = "train", steps: int = STEPS, **knobs: Any) -> None:
    held = plan_of(ExperimentPaths(run.folder.parent)).profile.knobs
    write_json(run.profile, ProfileRequest(id=name, name=name, knobs=held | knobs, mode=mode, steps=steps))  # type: ignore[arg-type]


def of(run: RunPaths, name: str) -> list[Steps]:
    """The lines between a request's beginning and its end."""
    found: list[Steps] = []
    inside = False
    for record in records(run):
        if isinstance(record, ProfileChanged):
            inside = record.id == name
        elif isinstance(record, Steps) and inside:
            found.append(record)
    return found


def test_profiles_one_after_the_other_in_one_process(run: RunPaths) -> None:
    ask(run, "first")
    child = start(run)
    try:
        wait_for(run, ProfileMeasured, child, 1)
        for count, (name, mode, knobs) in enumerate(
            [
                ("two workers", "train", {"num_workers": 2}),
                ("again and again", "resident", {"num_workers": 2}),
                ("loading alone", "load", {"num_workers": 2}),
                ("in memory", "train", {"num_workers": 1, "cache": "ram"}),
            ],
            2,
        ):
            ask(run, name, mode, **knobs)
            wait_for(run, ProfileMeasured, child, count)
        child.send(signal.SIGTERM)
        assert child.wait() == 3
    finally:
        child.kill()
    assert result(run).outcome == "stopped"
    for name in ("first", "two workers", "again and again", "loading alone", "in memory"):
        assert sum(line.steps for line in of(run, name)) == STEPS
        assert all(line.each is not None and len(line.each) == line.steps for line in of(run, name))
    assert sum(line.loads for line in of(run, "two workers")) == STEPS
    assert sum(line.loads for line in of(run, "again and again")) == 0, "one batch is loaded, before the steps"
    assert sum(line.spans.forward for line in of(run, "loading alone")) == 0
    assert sum(line.spans.forward for line in of(run, "again and again")) > 0
    assert len(records(run, Begin)) == len(records(run, End)) == 1


def test_nothing_of_a_trial_is_kept(run: RunPaths) -> None:
    ask(run, "first", steps=20)
    child = start(run)
    try:
        wait_for(run, ProfileMeasured, child, 1)
        child.send(signal.SIGTERM)
        child.wait()
    finally:
        child.kill()
    assert records(run, CheckpointWritten) == []
    assert run.checkpoints() == []
    assert not run.final.exists()
    assert not run.results.exists()
    assert max(line.epoch for line in records(run, Steps)) == 5, "four steps an epoch, on and on"


def test_another_batch_size_needs_another_process(run: RunPaths) -> None:
    ask(run, "first")
    child = start(run)
    try:
        wait_for(run, ProfileMeasured, child, 1)
        ask(run, "bigger", batch_size=2)
        wait_for(run, ProfileMeasured, child, 2)
        child.send(signal.SIGTERM)
        child.wait()
    finally:
        child.kill()
    assert "batch_size" in records(run, ProfileChanged)[-1].error
    assert of(run, "bigger") == []


def test_a_visit_becomes_a_measurement(run: RunPaths) -> None:
    ask(run, "first", steps=40)
    child = start(run)
    try:
        wait_for(run, ProfileMeasured, child, 1)
        child.send(signal.SIGTERM)
        child.wait()
    finally:
        child.kill()
    lines = of(run, "first")
    visit = PhaseEnded(
        phase=0, round=0, name="first", knobs=plan_of(ExperimentPaths(run.folder.parent)).profile.knobs,
        verdict=Verdict(kind="ok", text=""), seconds=tuple(s for line in lines for s in line.each or ()),
        samples=tuple(n for line in lines for n in shared(line)), loads=sum(line.loads for line in lines),
        load_seconds=sum(line.load_seconds for line in lines), load_squares=sum(line.load_squares for line in lines),
        load_cpu=sum(line.load_cpu for line in lines), trainer_cpu=sum(line.trainer_cpu for line in lines),
    )
    found = phases.visited(visit)
    assert found is not None
    assert found.warmup_steps >= 1
    assert found.steps + found.warmup_steps == 40
    assert found.load_cpu_seconds is not None
    assert found.load_seconds is not None
    assert 0 < found.load_cpu_seconds <= found.load_seconds * 1.2
    assert found.trainer_cpu_seconds is not None
    assert found.trainer_cpu_seconds > 0
