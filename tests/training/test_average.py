"""Weights averaged over the steps: how they warm up, that they are what is scored, and that they survive a stop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.journals.events import Metrics
from engine.training.average import Average
from engine.training.evaluate import evaluate
from engine.training.learner import Learner
from tests.training.learners import batch, descend, learner, progress
from tests.training.world import build, records, train

EMA = {"optimizer": {"lr": 0.01, "ema": 0.998}}


def one_weight(value: float) -> nn.Linear:
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, value)
    return made


def test_late_steps_count_more_and_the_first_ones_more_than_the_decay_says() -> None:
    net = one_weight(5.0)
    average, by_hand = Average(net, 0.9), 5.0
    for n in range(100):
        nn.init.constant_(net.weight, float(n % 7))
        average.follow(net)
        decay = min(0.9, (1 + n) / (10 + n))
        by_hand = decay * by_hand + (1 - decay) * (n % 7)
        assert float(average.model.weight) == pytest.approx(by_hand, rel=1e-4)
    assert (average.steps, average.decay) == (100, 0.9)


def test_after_ten_steps_next_to_nothing_of_the_random_weights_is_left() -> None:
    net = one_weight(1.0)
    average = Average(net, 0.998)
    nn.init.zeros_(net.weight)
    for _ in range(10):
        average.follow(net)
    assert 0 <= float(average.model.weight) < 1e-3


def test_held_out_cases_are_scored_by_the_average_and_the_checkpoint_says_so() -> None:
    averaged, same, last = learner(EMA), learner(), learner()
    descend(averaged, 4)
    assert averaged.average is not None
    same.model.load_state_dict(averaged.average.model.state_dict())
    last.model.load_state_dict(averaged.model.state_dict())

    def loss(made: Learner) -> list[float]:
        return evaluate(made, [batch()], progress(), lambda: None).subjects["loss"]

    assert loss(averaged) == loss(same) != loss(last)
    assert (averaged.state()["scored"], last.state()["scored"]) == ("average", "model")
    assert "average" not in last.state()


def test_a_checkpoint_that_has_not_counted_is_gone_on_with() -> None:
    before, after = learner(EMA), learner(EMA)
    descend(before, 3)
    state = before.state() | {"step": 3}
    del state["average_steps"], state["scored"]
    after.restore(state)
    assert before.average is not None and after.average is not None
    assert after.average.steps == 3
    mine, its = after.average.model.state_dict(), before.average.model.state_dict()
    assert all(torch.equal(mine[name], its[name]) for name in its)


def test_a_run_that_was_stopped_goes_on_with_the_same_average(tmp_path: Path) -> None:
    whole, broken = (
        build(tmp_path / name, table=EMA | {"loss": {"name": "sabotaged"}}, knobs={"val_every_epochs": 1}).run(0, 0)
        for name in ("whole", "broken")
    )
    assert train(whole, sabotage="step:0:none") == 0, whole.console.read_text()
    assert train(broken, sabotage="step:4:SIGTERM") == 3, broken.console.read_text()
    assert train(broken, sabotage="step:0:none") == 0, broken.console.read_text()
    states = [torch.load(run.final, weights_only=True) for run in (whole, broken)]
    assert [(state["scored"], state["average_steps"]) for state in states] == [("average", 6)] * 2
    assert all(torch.equal(states[0]["average"][name], value) for name, value in states[1]["average"].items())
    assert any(not torch.equal(states[0]["model"][name], value) for name, value in states[0]["average"].items())
    first, second = ([(one.split, one.step, one.values) for one in records(run, Metrics)] for run in (whole, broken))
    assert first == second
