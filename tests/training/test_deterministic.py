"""The knob that has a GPU give the same bits every time; what it asks of torch shows without one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.config.experiment import Experiment, resolve_profile
from engine.config.hashes import training_hash
from engine.eta.timing import training_key
from engine.journals.events import Steps
from engine.training.learner import CUBLAS, reproducible
from tests.training.learners import descend, learner
from tests.training.world import build, records, train


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(CUBLAS[0], "")
    monkeypatch.delenv(CUBLAS[0])
    yield
    reproducible(False)


def asked() -> tuple[bool, bool, str]:
    told = torch.are_deterministic_algorithms_enabled()
    return told, torch.backends.cudnn.benchmark, os.environ.get(CUBLAS[0], "")


def test_only_with_the_knob_algorithms_have_to_repeat() -> None:
    learner()
    assert asked() == (False, True, "")
    descend(learner(deterministic=True), 1)
    assert asked() == (True, False, ":4096:8")
    assert torch.is_deterministic_algorithms_warn_only_enabled(), "what has no such algorithm is told, not refused"
    learner()
    assert asked()[:2] == (False, True)


def test_a_run_with_it_trains_and_its_manifest_says_so(tmp_path: Path) -> None:
    curves = []
    for name, on in (("with", True), ("without", False)):
        run = build(tmp_path / name, knobs={"deterministic": on}, table={"epochs": 1}).run(0, 0)
        assert train(run) == 0, run.console.read_text()
        assert json.loads(run.manifest.read_bytes())["profile"]["knobs"]["deterministic"] is on
        curves.append([line.loss for line in records(run, Steps)])
    assert curves[0] == curves[1], "a CPU repeats itself anyway"


def test_it_changes_how_long_a_step_takes_and_not_what_is_learnt() -> None:
    """What was trained without it is gone on with; what was measured without it does not tell its time."""
    made = [resolve_profile(Experiment(), "test", "", {}, {"deterministic": on})[0] for on in (False, True)]
    assert training_hash(Experiment(), made[0]) == training_hash(Experiment(), made[1])
    assert training_key(Experiment(), made[0], "gpu") != training_key(Experiment(), made[1], "gpu")
