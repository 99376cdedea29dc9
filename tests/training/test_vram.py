"""A step's memory told from shapes alone, against what torch really keeps, and no taller with what costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from engine.config import catalog
from engine.config.experiment import from_table
from engine.config.profile import defaults
from engine.errors import UsageError
from engine.memory import vram_estimate
from engine.memory.footprint import Estimate
from engine.runs.launch import Request, plan_for
from engine.training import losses, models, optim, tasks
from engine.training.models.meshnet import MeshNet
from engine.training.vram import Network, estimate

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


@pytest.mark.parametrize(
    ("table", "knobs"),
    [
        ({"prepare": {"shape": [24, 24, 24]}, "model": {"channels": 16}}, {}),
        ({"prepare": {"shape": [24, 24, 24]}, "model": {"channels": 16}}, {"accumulate_steps": 2}),
        # Hardly any activations: the most is held while the optimizer steps.
        ({"prepare": {"shape": [8, 8, 8]}, "model": {"channels": 64}}, {}),
    ],
)
def test_one_step_tells_what_a_second_one_holds(table: dict[str, object], knobs: dict[str, int]) -> None:
    """Counted here in full by torch's own tracker, the second step with the optimizer's state there from the start."""
    experiment, values = from_table(table, "x"), defaults() | knobs
    with FakeTensorMode():
        network, tracker = models.build(experiment.model), MemTracker()
        criterion, optimizer = losses.build(experiment), optim.optimizer(experiment.optimizer, network, torch.device("cpu"))
        task, made = tasks.TASKS[experiment.task], Network(network, criterion)
        tracker.track_external(network, optimizer)
        with tracker:
            for _ in range(2):
                for _ in range(int(values["accumulate_steps"])):
                    tracker.reset_mod_stats()
                    example = task.example(experiment, 1)
                    task.losses(made, task.forward(made, example), example, 0).total.backward()
                optimizer.step()
                optimizer.zero_grad()
        (peak,) = tracker.get_tracker_snapshot("peak").values()
    found = {getattr(kind, "name", kind): size for kind, size in peak.items()}
    told = estimate(experiment, values, "cpu")
    assert told.weights == found["PARAM"] + found["BUFFER"] and told.optimizer == found["OPT"]
    # The loss of the step before, four bytes, is in it too.
    assert told.activations == pytest.approx(found["Total"] - told.weights - found["GRAD"] - found["OPT"], abs=8)


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
