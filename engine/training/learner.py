"""What learns: network, loss, optimizer, learning rate, loss scaling and averaged weights, saved as one state."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from engine.config.coupled import learning_rate
from engine.config.experiment import Experiment
from engine.config.profile import Profile
from engine.training import device as devices, losses, models, optim, precision
from engine.training.average import Average
from engine.training.samples import Batch

VOLUME_DIMENSIONS = 5
# What cuBLAS needs to add up in the same order every time (NVIDIA, "Results reproducibility"); read at its first use.
CUBLAS = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


class Learner:
    """`model` is the plain network; `forward` is what a step calls, compiled if the knob says so."""

    def __init__(self, experiment: Experiment, knobs: Profile, device: torch.device, steps: int) -> None:
        """`steps`: of the whole run. Draws the weights from torch's global generator. Raises UsageError for an unknown
        model or loss."""
        self.device = device
        self.memory_format = torch.channels_last_3d if knobs["channels_last"] else torch.contiguous_format
        self.model = models.build(experiment.model).to(device)
        models.recompute(self.model, bool(knobs["activation_checkpointing"]))
        self.model.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.criterion = losses.build(experiment).to(device)
        table = experiment.optimizer
        self.optimizer = optim.optimizer(table, self.model, device)
        rate = learning_rate(table, knobs.knobs)
        self.schedule = optim.schedule(experiment.schedule, rate, self.optimizer, steps, experiment.epochs)
        self.clip = table.clip
        self.average = Average(self.model, table.ema) if table.ema else None
        self.dtype = precision.autocast_dtype(knobs["precision"], device)
        self.scaler = precision.scaler(device, self.dtype)
        self.forward: Callable[..., Any] = self.model
        self._compile = bool(knobs["compile"])
        reproducible(bool(knobs["deterministic"]))

    @property
    def parameters(self) -> int:
        return models.parameters(self.model)

    @property
    def lr(self) -> float:
        """Of the next step."""
        return float(self.schedule.get_last_lr()[0])

    @property
    def scored(self) -> nn.Module:
        """The network that held-out cases are put through."""
        return self.model if self.average is None else self.average.model

    def to_device(self, batch: Batch) -> Batch:
        """Asynchronous from page-locked memory (knob pin_memory)."""
        layout = self.memory_format if batch.image.dim() == VOLUME_DIMENSIONS else torch.preserve_format
        maps = {name: one.to(self.device, non_blocking=True) for name, one in batch.maps.items()}
        return batch._replace(
            image=batch.image.to(self.device, non_blocking=True, memory_format=layout),
            label=batch.label.to(self.device, non_blocking=True),
            maps=maps,
        )

    def descend(self) -> Tensor | None:
        """The optimizer's step, its gradients clipped before; the averaged weights follow.

        Their norm before, of all together, on the device: not finite means spoilt weights. None with a gradient scaler,
        which skips such a step.
        """
        norm: Tensor | None = None
        if self.clip:
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        elif not self.scaler.is_enabled():
            norm = nn.utils.get_total_norm([one.grad for one in self.model.parameters() if one.grad is not None])
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.follow(self.model)
        return None if self.scaler.is_enabled() else norm

    def autocast(self) -> torch.autocast:
        return precision.autocast(self.device, self.dtype)

    def ready(self, report: Callable[[str, str], None]) -> None:
        """Once, before the first step: compiles if asked to. `report(dtype, evidence)` then tells, at that step, what a
        hidden layer computed in."""

        def tell(active: str, where: str) -> None:
            known = (devices.capability(self.device) or precision.VOLTA) >= precision.AMPERE
            tf32 = known and active == "float32" and torch.backends.cudnn.allow_tf32
            report(active, where + ("; TF32 allowed in convolutions" if tf32 else ""))

        if self._compile:
            if precision.of_kind(self.model, nn.Conv3d):
                image = torch.zeros(1, 1, *(precision.SIDE,) * 3, device=self.device)
                precision.observe_apart(self.model, image, self.dtype, tell)
            self.forward = torch.compile(self.model)
        else:
            precision.observe(self.model, tell)

    def state(self) -> dict[str, Any]:
        """Tensors on the learner's device, and plain values. `scored` names the weights that held-out cases are put
        through: `model`, or their `average` over the steps."""
        return {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "scaler": self.scaler.state_dict(),
            "scored": "model" if self.average is None else "average", **self._averaged(),
        }

    def _averaged(self) -> dict[str, Any]:
        if self.average is None:
            return {}
        return {"average": self.average.model.state_dict(), "average_steps": self.average.steps}

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        optim.restore(self.optimizer, state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"]:  # empty where nothing was scaled: precision = auto on a CPU, before it came to a GPU
            self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
            # Checkpoints without the count were averaged at every step too.
            self.average.steps = int(state.get("average_steps", state.get("step", 0)))


def reproducible(on: bool) -> None:
    """Of this process. On: the same weights from the same seed on a GPU too, as far as PyTorch has algorithms for it;
    of others it warns. Off: convolution algorithms are tried once, which pays, since samples have one shape."""
    torch.backends.cudnn.benchmark = not on
    if on or torch.are_deterministic_algorithms_enabled():  # which imports a compiler's settings
        torch.use_deterministic_algorithms(on, warn_only=True)
    if on:
        os.environ.setdefault(*CUBLAS)
