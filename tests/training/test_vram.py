"""A step's memory told from shapes alone, against what torch really keeps, and no taller with what costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch

from engine.config import catalog
from engine.config.experiment import from_table
from engine.config.profile import defaults
from engine.errors import UsageError
from engine.memory import vram_estimate
from engine.memory.footprint import Estimate
from engine.runs.launch import Request, plan_for
from engine.training.models.meshnet import MeshNet
from engine.training.vram import estimate

SMALL = from_table({"prepare": {"shape": [24, 24, 24]}, "model": {"channels": 16}}, "x")


def told(kind: str = "cpu", **knobs: object) -> Estimate:
    return estimate(SMALL, defaults() | knobs, kind)  # type: ignore[arg-type]


def test_activations_are_what_torch_keeps_and_a_little_while_the_backward_pass_runs() -> None:
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    network = MeshNet(16)
    weights = sum(p.untyped_storage().nbytes() for p in network.parameters())
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = network(torch.rand(1, 1, 24, 24, 24))
        torch.nn.functional.cross_entropy(logits, torch.zeros(1, 24, 24, 24, dtype=torch.long)).backward()
    made = told()
    assert sum(kept.values()) - weights < made.activations < 1.25 * sum(kept.values())
    assert made.weights == pytest.approx(weights, rel=0.02) and made.optimizer == pytest.approx(2 * weights, rel=0.05)


def test_activations_grow_with_the_batch_and_hundreds_of_times_faster_than_its_input() -> None:
    one, two, four = (told(batch_size=batch) for batch in (1, 2, 4))
    assert two.activations == pytest.approx(2 * one.activations, rel=0.02)
    assert four.activations == pytest.approx(4 * one.activations, rel=0.02)
    assert one.activations > 200 * 24**3 * 4
    assert (one.weights, one.optimizer) == (two.weights, two.optimizer)


def test_half_precision_halves_activations_and_accumulation_costs_next_to_nothing() -> None:
    assert told("cuda").activations == pytest.approx(told("cpu", precision="fp16").activations)
    assert told("cuda").activations == pytest.approx(told("cpu").activations / 2, rel=0.08)
    assert told(accumulate_steps=8).total == pytest.approx(told().total, rel=0.05)


def test_meshnet_26_at_256_needs_33_gib_in_fp32() -> None:
    made = estimate(catalog.experiment_named("arc-meshnet26"), defaults(), "cpu")
    assert 32 << 30 < made.total < 34 << 30


def test_an_unknown_model_is_said_to_be_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'meshnet'"):
        estimate(from_table({"model": {"name": "mashnet"}}, "x"), defaults(), "cpu")


def test_in_a_process_of_its_own_it_is_the_same_and_what_fails_is_none(tmp_path: Path) -> None:
    plan = plan_for(Request(experiment="quickstart", logs=tmp_path, device="cpu"))
    assert vram_estimate.estimate(plan) == estimate(plan.experiment, plan.profile.knobs, "cpu")
    wrong = msgspec.structs.replace(plan, experiment=from_table({"model": {"name": "mashnet"}}, "x"))
    assert vram_estimate.estimate(wrong) is None
    own = msgspec.structs.replace(plan, experiment=msgspec.structs.replace(plan.experiment, command=("true",)))
    assert vram_estimate.estimate(own) is None
    done = subprocess.run([sys.executable, "-P", "-m", "engine.training.vram"], capture_output=True, check=False)
    assert done.returncode == 2
