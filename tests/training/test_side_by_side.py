"""Two real trainers at once, out of one cache, each with its share of the cores, learn what they learn one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.journals.events import EpochEnded, RunEnded, RunStarted
from engine.journals.journal import read
from engine.live.watch import Watch
from engine.paths import ExperimentPaths
from engine.runs.launch import Request, plan_for
from engine.runs.slots import environment
from tests.conftest import Laboratory, wait_until
from tests.training.tables import WHOLE_PHANTOMS
from tests.training.world import records

TABLE = "epochs = 3" + WHOLE_PHANTOMS + """
[augment.flip]
[runs]
folds = 2
restarts = 1
stratify = []
"""
KNOBS = {"num_workers": 1, "batch_size": 2, "val_every_epochs": 1, "val_num_workers": 0}


def trained(lab: Laboratory, file: Path, name: str, slots: int) -> ExperimentPaths:
    plan = plan_for(
        Request(experiment=str(file), logs=lab.logs, name=name, device="cpu", slots=slots, settings=dict(KNOBS))
    )
    paths = lab.launch(plan)
    watch = Watch(paths.folder)
    wait_until(lambda: watch.poll().ended is not None, 240, "the end")
    state = watch.poll()
    assert state.phase == "finished", (state.verdict, *(run.verdict for run in state.runs))
    return paths


def losses(paths: ExperimentPaths, fold: int) -> list[float | None]:
    """Of each epoch, as they were written down."""
    return [one.loss for one in records(paths.run(fold, 0)) if isinstance(one, EpochEnded)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_trainers_side_by_side_learn_to_the_bit_what_they_learn_one_after_the_other(
    lab: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TABLE)
    beside = trained(lab, file, "beside", 2)
    order = [type(one) for one in read(beside.events) if isinstance(one, RunStarted | RunEnded)]
    assert order == [RunStarted, RunStarted, RunEnded, RunEnded]
    # Sums over another number of threads differ in their last bits: the same for those one after the other.
    share = environment(plan_for(Request(experiment=str(file), logs=lab.logs, device="cpu", slots=2)), 0)
    for variable, value in share.items():
        monkeypatch.setenv(variable, value)
    alone = trained(lab, file, "alone", 1)
    for fold in (0, 1):
        assert len(losses(beside, fold)) == 3 and losses(beside, fold) == losses(alone, fold)
        first, second = (torch.load(paths.run(fold, 0).final, weights_only=True)["model"] for paths in (beside, alone))
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert losses(beside, 0) != losses(beside, 1), "each has learnt from its own fold"
