"""`python -P -m engine.training.vram PLAN_JSON|-`: a step's memory without a device, a sum of tensors that never exist.

torch's FakeTensorMode runs a step on shapes alone while its MemTracker adds up what lives at once; the optimizer's
state, which every step but the first begins with, is added to what came before it. Convolution workspaces,
fragmentation and the CUDA context are not in it. One JSON object (engine.memory.footprint.Estimate) comes out.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.config.experiment import Experiment, of_variant
from engine.config.knob import Value
from engine.config.plan import Plan
from engine.config.run_keys import variants_of
from engine.machine.device_preview import quick_device
from engine.memory.footprint import Estimate

# One pass after another adds gradients that wait; the second shows it.
PASSES = 2


class Network(NamedTuple):
    """What a task computes with (engine.training.tasks.Computes)."""

    forward: Any
    criterion: Any


def estimate(experiment: Experiment, knobs: dict[str, Value], kind: str) -> Estimate:
    """The most that a step on a device of this `kind` (cpu, cuda) holds at once.

    Raises UsageError for an unknown model or loss, and whatever torch does for a network that cannot be told without
    computing.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from engine.training import losses, models, optim, precision, tasks

    task, batch = tasks.TASKS[experiment.task], int(knobs["batch_size"])
    # Tensors of a device that this build of torch lacks cannot be made up; those of the CPU are as large.
    device = torch.device("cpu")
    dtype = precision.autocast_dtype(str(knobs["precision"]), torch.device(kind))
    with warnings.catch_warnings(), FakeTensorMode():
        warnings.simplefilter("ignore")
        network, criterion = models.build(experiment.model), losses.build(experiment)
        models.recompute(network, bool(knobs.get("activation_checkpointing", False)))
        made = Network(network, criterion)
        optimizer = optim.optimizer(experiment.optimizer, network, device)
        tracker = _tracker()
        tracker.track_external(network, optimizer)
        with tracker:
            for _ in range(min(PASSES, int(knobs["accumulate_steps"]))):
                # MemTracker knows a module's statistics for one pass.
                tracker.reset_mod_stats()
                example = task.example(experiment, batch)
                with precision.autocast(device, dtype):
                    found = task.losses(made, task.forward(made, example), example, 0).total
                found.backward()  # type: ignore[no-untyped-call]
            passed = _parts(tracker, "peak")
            optimizer.step()
        stepped, kept = _parts(tracker, "peak"), Counter(OPT=_parts(tracker, "current")["OPT"])
    parts = max(passed + kept + Counter(Total=kept["OPT"]), stepped, key=lambda one: one["Total"])
    weights, state = parts["PARAM"] + parts["BUFFER"], parts["OPT"]
    return Estimate(
        # At the peak most gradients are yet to come; by then as many activations have gone, so this is no less than it.
        batch=batch, weights=weights, gradients=parts["PARAM"], optimizer=state,
        averaged=weights if experiment.optimizer.ema else 0,
        activations=max(0, parts["Total"] - weights - parts["GRAD"] - state),
    )


def _tracker() -> Any:
    """A MemTracker that keeps no peak of each module: looking through them at every operation took two thirds of the
    time of a network of a thousand modules."""
    from torch.distributed._tools.mem_tracker import MemTracker

    class Tracker(MemTracker):  # type: ignore[no-untyped-call]
        def _update_peak_stats(self, _state: object) -> None:
            for device, held in self._curr_mem_snap.items():
                if self._peak_mem.get(device, 0) < held["Total"]:
                    self._peak_mem[device], self._peak_mem_snap[device] = held["Total"], dict(held)

    return Tracker()


def _parts(tracker: Any, when: str) -> Counter[str]:
    """Bytes by what they are (PARAM, GRAD, OPT, ...) and `Total`, on all devices."""
    parts: Counter[str] = Counter()
    for kinds in tracker.get_tracker_snapshot(when).values():
        parts.update({getattr(kind, "name", str(kind)): int(size) for kind, size in kinds.items()})
    return parts


def of_plan(plan: Plan, kind: str) -> Estimate:
    """Of the variant with the most parameters. Raises as `estimate` does."""
    import torch

    from engine.training import models

    variants = [of_variant(plan.experiment, variant) for variant in variants_of(plan.runs) or ("",)]
    if len(variants) > 1:
        with torch.device("meta"):
            variants = [max(variants, key=lambda one: models.parameters(models.build(one.model)))]
    return estimate(variants[0], plan.profile.knobs, kind)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -P -m engine.training.vram PLAN_JSON|-", file=sys.stderr)
        return 2
    text = sys.stdin.buffer.read() if arguments[0] == "-" else Path(arguments[0]).read_bytes()
    plan = msgspec.json.decode(text, type=Plan)
    made = of_plan(plan, quick_device(plan.device)["kind"])
    sys.stdout.buffer.write(msgspec.json.encode(made) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
