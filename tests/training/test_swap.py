"""A living training takes another profile between two steps: no sample lost, the same losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.journals.events import ProfileChanged, Steps
from engine.journals.records import ProfileRequest
from engine.paths import ExperimentPaths, RunPaths, write_json
from tests.training.test_resume import NOTHING, assert_same_training, experiment, uninterrupted
from tests.training.world import Child, plan_of, records, start, wait_for

pytestmark = pytest.mark.xdist_group("resume")
__all__ = ["uninterrupted"]

# A pause in every step, so that requests arrive while there is something left to train.
SLOWLY = (
    "import time, engine.training.loop as l; l.Trainer.quick = l.Trainer.train_step; "
    "l.Trainer.train_step = lambda self, batches: (time.sleep(0.15), self.quick(batches))[1]"
)


def ask(run: RunPaths, name: str, **knobs: Any) -> None:
    held = plan_of(ExperimentPaths(run.folder.parent)).profile.knobs
    write_json(run.profile, ProfileRequest(id=name, name=name, knobs=held | knobs))


def finish(run: RunPaths, child: Child) -> None:
    assert child.wait() == 0, run.console.read_text()


def test_workers_come_and_go_and_the_losses_stay_the_same(tmp_path: Path, uninterrupted: RunPaths) -> None:
    run = experiment(tmp_path)
    child = start(run, sabotage=NOTHING, before=SLOWLY)
    try:
        wait_for(run, Steps, child, 1)
        ask(run, "helped", num_workers=2, prefetch_factor=1)
        wait_for(run, ProfileChanged, child, 1)
        wait_for(run, Steps, child, 7)
        ask(run, "alone", num_workers=0)
        finish(run, child)
    finally:
        child.kill()
    helped, alone = records(run, ProfileChanged)
    assert helped.changed == ("num_workers", "prefetch_factor")
    assert helped.former == {"num_workers": 0, "prefetch_factor": 2}
    assert alone.changed == ("num_workers", "prefetch_factor")
    assert helped.error == alone.error == ""
    assert helped.step % 5 != 0 or alone.step % 5 != 0, "at least one of them came in the middle of an epoch"
    assert_same_training(run, uninterrupted)


@pytest.mark.slow
def test_a_copy_in_memory_and_spawned_workers_change_nothing_either(tmp_path: Path, uninterrupted: RunPaths) -> None:
    run = experiment(tmp_path)
    child = start(run, sabotage=NOTHING, before=SLOWLY)
    try:
        wait_for(run, Steps, child, 3)
        ask(run, "spawned", num_workers=1, multiprocessing_context="spawn", cache="ram", persistent_workers=False)
        finish(run, child)
    finally:
        child.kill()
    (changed,) = records(run, ProfileChanged)
    assert set(changed.changed) == {"num_workers", "multiprocessing_context", "cache", "persistent_workers"}
    assert_same_training(run, uninterrupted)


def test_a_batch_size_does_not_change_in_a_living_training(tmp_path: Path, uninterrupted: RunPaths) -> None:
    run = experiment(tmp_path)
    child = start(run, sabotage=NOTHING, before=SLOWLY)
    try:
        wait_for(run, Steps, child, 2)
        ask(run, "bigger", batch_size=2, num_workers=1)
        finish(run, child)
    finally:
        child.kill()
    (changed,) = records(run, ProfileChanged)
    assert "batch_size cannot change between two steps" in changed.error
    assert_same_training(run, uninterrupted)


def test_steps_after_a_change_are_written_one_by_one(tmp_path: Path) -> None:
    run = experiment(tmp_path)
    child = start(run, sabotage=NOTHING, before=SLOWLY)
    try:
        wait_for(run, Steps, child, 2)
        ask(run, "helped", num_workers=1)
        finish(run, child)
    finally:
        child.kill()
    (changed,) = records(run, ProfileChanged)
    before = [line for line in records(run, Steps) if line.step <= changed.step]
    after = [line for line in records(run, Steps) if line.step > changed.step]
    assert after
    assert all(line.each is None for line in before)
    assert all(line.each is not None and len(line.each) == line.steps for line in after)
