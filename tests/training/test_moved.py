"""A training that goes on where it did not begin: on another kind of device, in another layout of memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from engine.config.tables import Optimizer
from engine.training import optim
from engine.training.learner import Learner
from tests.training.learners import descend, learner

# AdamW as it is made for a GPU computes on a CPU too, fused.
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def net() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(4, 2)


def taken(model: nn.Linear, made: torch.optim.Optimizer, number: int) -> None:
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 0.1 * number)
    made.step()


@pytest.mark.parametrize(("began", "goes_on"), [(CPU, GPU), (GPU, CPU)])
def test_an_optimizer_computes_as_its_own_device_wants_it(began: torch.device, goes_on: torch.device) -> None:
    """A session without a GPU after one with it, and the other way round."""
    config = Optimizer(lr=0.01)
    first, second = net(), net()
    before, after = optim.optimizer(config, first, began), optim.optimizer(config, second, goes_on)
    wanted = [group["fused"] for group in after.param_groups]
    taken(first, before, 1)
    second.load_state_dict(first.state_dict())
    optim.restore(after, copy.deepcopy(before.state_dict()))
    assert [group["fused"] for group in after.param_groups] == wanted == [True if goes_on == GPU else None]
    taken(first, before, 2)
    taken(second, after, 2)
    assert torch.allclose(first.weight, second.weight, rtol=1e-6)
    assert all(float(after.state[weight]["step"]) == 2 for weight in second.parameters())


def moved(table: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> tuple[Learner, Learner]:
    """A learner after a step, and one with other knobs that goes on from it."""
    first, second = learner(table, **before), learner(table, **after)
    descend(first, 1)
    second.restore(copy.deepcopy(first.state()))
    return first, second


@pytest.mark.parametrize("last", [True, False])
def test_moments_lie_as_the_weights_do_where_channels_come_last_from_now_on(last: bool) -> None:
    """A GPU's fused step refuses anything else."""
    first, second = moved({"optimizer": {"ema": 0.9}}, {"channels_last": not last}, {"channels_last": last})
    for weight in second.model.parameters():
        moments = second.optimizer.state[weight]
        assert moments["exp_avg"].stride() == moments["exp_avg_sq"].stride() == weight.stride()
    assert [float(one or 0) for one in descend(second, 1)] == pytest.approx(
        [float(one or 0) for one in descend(first, 1)], rel=1e-4
    )


def test_precision_auto_goes_on_from_a_cpu_s_checkpoint_on_a_gpu() -> None:
    """Single precision there, half here: what scales the loss begins anew."""
    _, second = moved({}, {"precision": "fp32"}, {"precision": "fp16"})
    assert second.scaler.is_enabled()
    assert second.scaler.get_scale() == second.scaler.state_dict()["scale"] > 1
    descend(second, 1)
    _, third = moved({}, {"precision": "fp16"}, {"precision": "fp32"})
    assert not third.scaler.is_enabled()
    descend(third, 1)


def test_what_scales_the_loss_is_kept_where_both_scale() -> None:
    first = learner(precision="fp16")
    descend(first, 2)
    first.scaler.update(128.0)
    second = learner(precision="fp16")
    second.restore(copy.deepcopy(first.state()))
    assert second.scaler.get_scale() == 128.0
