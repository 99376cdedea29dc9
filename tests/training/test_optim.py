"""The learning rate over a whole run, and randomness that can be saved."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from engine.config.tables import Optimizer, Schedule
from engine.training import optim, precision, seeds

CPU = torch.device("cpu")


def rates(total: int, schedule: Schedule, lr: float = 1e-3, epochs: int = 1) -> list[float]:
    """The learning rate of every step, as the loop goes through them."""
    net = nn.Linear(1, 1)
    optimizer = optim.optimizer(Optimizer(lr=lr), net, CPU)
    plan = optim.schedule(schedule, lr, optimizer, total, epochs)
    seen = []
    for step in range(total):
        seen.append(float(plan.get_last_lr()[0]))
        optimizer.step()
        if step + 1 < total:
            plan.step()
    return seen


def test_the_rate_rises_for_one_percent_of_the_steps_and_then_falls_to_almost_nothing() -> None:
    seen = rates(7400, Schedule(pct_start=0.01, div_factor=100.0))
    assert seen[0] == pytest.approx(1e-5)
    assert max(seen) == pytest.approx(1e-3)
    assert seen.index(max(seen)) == 73
    assert seen[-1] < 1e-8
    assert all(later <= earlier for earlier, later in pairwise(seen[73:]))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.sampled_from([0.01, 0.02, 0.05, 0.1, 0.25, 0.3, 0.5, 1.0]))
def test_no_length_of_run_or_warm_up_breaks_the_schedule(total: int, pct_start: float) -> None:
    """torch's OneCycleLR divides by zero for 100 steps and a warm-up of 1 %."""
    seen = rates(total, Schedule(pct_start=pct_start))
    assert all(0 < lr <= 1e-3 * (1 + 1e-6) for lr in seen)


def test_a_cosine_climbs_straight_to_the_highest_rate_and_ends_at_the_lowest() -> None:
    seen = rates(20, Schedule(name="cosine", warmup_steps=4, min_lr=1e-5))
    assert seen[:5] == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3])
    # A third and two thirds of the way down: cos 60° and cos 120°.
    assert seen[9] == pytest.approx(1e-5 + 0.75 * (1e-3 - 1e-5))
    assert seen[14] == pytest.approx(1e-5 + 0.25 * (1e-3 - 1e-5))
    assert seen[-1] == pytest.approx(1e-5)
    assert all(later < earlier for earlier, later in pairwise(seen[4:]))


@pytest.mark.parametrize(("epochs", "warmup_epochs", "peak"), [(10, 2.0, 8), (10, 0.5, 2), (4, 0.0, 0)])
def test_a_warm_up_in_epochs_is_as_many_of_their_steps(epochs: int, warmup_epochs: float, peak: int) -> None:
    seen = rates(40, Schedule(name="cosine", warmup_epochs=warmup_epochs), epochs=epochs)
    assert seen.index(max(seen)) == peak
    assert max(seen) == pytest.approx(1e-3)
    assert seen[0] == pytest.approx(1e-3 / (peak + 1))
    assert seen[-1] == pytest.approx(0.0, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 100), st.integers(0, 120))
def test_a_cosine_ends_at_its_lowest_however_long_its_warm_up(total: int, warmup: int) -> None:
    seen = rates(total, Schedule(name="cosine", warmup_steps=warmup, min_lr=1e-4))
    assert all(0 < lr <= 1e-3 * (1 + 1e-9) for lr in seen)
    if warmup < total - 1:
        assert seen[-1] == pytest.approx(1e-4)


def test_a_constant_rate_stays() -> None:
    assert rates(5, Schedule(name="constant"), lr=0.2) == [0.2] * 5


def test_a_restored_generator_goes_on_as_if_nothing_had_been_drawn() -> None:
    seeds.seed_everything(7)
    random.random(), np.random.rand(3), torch.rand(3), np.random.normal()
    state = seeds.rng_state()
    drawn = (random.gauss(0, 1), np.random.normal(), float(torch.randn(())))
    seeds.restore_rng(state)
    assert (random.gauss(0, 1), np.random.normal(), float(torch.randn(()))) == drawn


def test_every_epoch_has_an_order_of_its_own_which_only_the_seed_decides() -> None:
    first, second = seeds.permutation(42, 1, 100), seeds.permutation(42, 2, 100)
    assert first == seeds.permutation(42, 1, 100)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(100))
    assert seeds.permutation(43, 1, 100) != first


@pytest.mark.parametrize(
    ("knob", "device", "wanted"),
    [
        ("auto", "cuda", torch.float16), ("auto", "cpu", None), ("fp32", "cuda", None), ("bf16", "cpu", torch.bfloat16),
        ("fp16", "cuda", torch.float16), ("auto", "mps", None),
    ],
)
def test_auto_is_half_precision_on_cuda_only(knob: str, device: str, wanted: torch.dtype | None) -> None:
    assert precision.autocast_dtype(knob, torch.device(device)) == wanted


@pytest.mark.parametrize(
    ("knob", "gpu", "words"),
    [
        ("bf16", (7, 5), "emulated on a GPU of compute capability 7.5, slowly; it has units for fp16"), ("bf16", (8, 0), ""),
        ("bf16", (12, 0), ""), ("fp16", (6, 1), "saves memory and no time"), ("auto", (6, 1), "precision = auto saves"),
        ("auto", (7, 5), ""), ("fp32", (6, 1), ""),
    ],
)
def test_a_precision_that_a_gpu_has_no_units_for_is_told_before_it_trains(
    knob: str, gpu: tuple[int, int], words: str
) -> None:
    said = precision.remark(knob, gpu)
    assert words in said and bool(said) == bool(words)


@pytest.mark.parametrize(("knob", "seen"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_the_precision_told_is_the_one_that_left_a_hidden_layer(knob: str, seen: str) -> None:
    told: list[tuple[str, str]] = []
    net = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Conv3d(2, 2, 3), nn.Conv3d(2, 2, 1))
    precision.observe(net, lambda active, where: told.append((active, where)))
    for _ in range(2):
        with precision.autocast(CPU, precision.autocast_dtype(knob, CPU)):
            net(torch.rand(1, 1, 8, 8, 8))
    assert told == [(seen, "output of 1")]


def test_looking_apart_changes_nothing_in_the_model() -> None:
    net = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.BatchNorm3d(2), nn.Dropout3d(0.5))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    told: list[str] = []
    precision.observe_apart(net, torch.rand(1, 1, 8, 8, 8), torch.bfloat16, lambda active, _: told.append(active))
    assert told == ["bfloat16"]
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
