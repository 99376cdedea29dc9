"""Gradients: shortened where they are too long, and the end of the run where they are no numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.runs.verdict import Evidence, classify
from engine.training.learner import Learner
from tests.training.learners import descend, learner
from tests.training.world import build, result, train


def with_norm(made: Learner, norm: float) -> None:
    """Every gradient of `made` alike, all together so long."""
    count = sum(one.numel() for one in made.model.parameters())
    for one in made.model.parameters():
        one.grad = torch.full_like(one, norm / count**0.5)


def taken(made: Learner) -> float:
    """The norm of what the optimizer took in its first step, of which AdamW keeps 1 - beta1."""
    moments = [made.optimizer.state[one]["exp_avg"].flatten() for one in made.model.parameters()]
    return float(torch.cat(moments).norm()) / (1 - made.optimizer.param_groups[0]["betas"][0])


@pytest.mark.parametrize(("norm", "clip", "left"), [(8.0, 0.8, 0.8), (0.5, 0.8, 0.5), (8.0, 0.0, 8.0)])
def test_gradients_beyond_the_limit_are_shortened_and_others_left_alone(norm: float, clip: float, left: float) -> None:
    made = learner({"optimizer": {"clip": clip}})
    with_norm(made, norm)
    told = made.descend()
    assert taken(made) == pytest.approx(left, rel=1e-3)
    assert told is not None
    assert float(told) == pytest.approx(norm, rel=1e-3), "what they were before"


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_gradients_that_are_no_numbers_end_the_run_before_a_checkpoint_is_spoilt(tmp_path: Path, clip: float) -> None:
    """A loss that is a number all the same: a checkpoint is due after every step."""
    run = build(tmp_path, table={
        "loss": {"name": "sabotaged"}, "optimizer": {"lr": 0.01, "clip": clip, "ema": 0.998},
        "checkpoints": {"minutes": 0.0},
    }).run(0, 0)
    assert train(run, sabotage="step:5:gradient") == 1
    found = result(run)
    assert (found.outcome, found.error_class) == ("failed", "NaNGradients")
    assert found.error.startswith("the norm of the gradients is nan at step 5, with a loss of 0.")
    assert classify(Evidence(result=found, rc=1, tail=run.console.read_text()))[1].kind == "nan_loss"
    newest = run.checkpoints()[-1]
    assert newest.name == "step-00000004.pt"
    state = torch.load(newest, weights_only=True)
    for part in ("model", "average"):
        assert all(value.isfinite().all() for value in state[part].values())
    assert not run.final.exists()


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_in_half_precision_an_overflow_is_a_step_left_out(clip: float) -> None:
    made = learner({"optimizer": {"clip": clip}}, precision="fp16")
    before = [one.detach().clone() for one in made.model.parameters()]
    made.scaler.scale(torch.zeros(()))
    with_norm(made, float("inf"))
    assert made.descend() is None
    assert all(torch.equal(a, b) for a, b in zip(before, made.model.parameters(), strict=True))


def test_the_norms_of_a_usual_training_are_numbers() -> None:
    norms = descend(learner(), 3)
    assert all(one is not None and 0 < float(one) < 100 for one in norms)
