"""What learns: network, loss, optimizer, learning rate and loss scaling, built from a plan and saved as one state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.config.experiment import Experiment
from engine.config.profile import Profile
from engine.training import losses, models, optim, precision


class Learner:
    """`model` is the plain network; `forward` is what a step calls, compiled if the knob says so."""

    def __init__(self, experiment: Experiment, knobs: Profile, device: torch.device, steps: int) -> None:
        """`steps`: of the whole run. Draws the weights from torch's global generator. Raises UsageError for an unknown
        model or loss."""
        self.device = device
        self.memory_format = torch.channels_last_3d if knobs["channels_last"] else torch.contiguous_format
        self.model = models.build(experiment.model).to(device)
        self.model.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.loss = losses.build(experiment.loss).to(device)
        self.optimizer = optim.optimizer(experiment.optimizer, self.model, device)
        self.schedule = optim.schedule(experiment.schedule, experiment.optimizer.lr, self.optimizer, steps)
        self.dtype = precision.autocast_dtype(knobs["precision"], device)
        self.scaler = precision.scaler(device, self.dtype)
        self.forward: Callable[[Tensor], Tensor] = self.model
        self._compile = bool(knobs["compile"])
        # Volumes have one shape, so trying convolution algorithms once pays.
        torch.backends.cudnn.benchmark = True

    @property
    def parameters(self) -> int:
        return models.parameters(self.model)

    @property
    def lr(self) -> float:
        """Of the next step."""
        return float(self.schedule.get_last_lr()[0])

    def autocast(self) -> torch.autocast:
        return precision.autocast(self.device, self.dtype)

    def ready(self, report: Callable[[str, str], None]) -> None:
        """Once, before the first step: compiles if asked to. `report(dtype, evidence)` then tells, at that step, what a
        hidden layer computed in."""

        def tell(active: str, where: str) -> None:
            tf32 = self.device.type == "cuda" and active == "float32" and torch.backends.cudnn.allow_tf32
            report(active, where + ("; TF32 allowed in convolutions" if tf32 else ""))

        if self._compile:
            image = torch.zeros(1, 1, 16, 16, 16, device=self.device)
            precision.observe_apart(self.model, image, self.dtype, tell)
            self.forward = torch.compile(self.model)
        else:
            precision.observe(self.model, tell)

    def state(self) -> dict[str, Any]:
        """Tensors on the learner's device, and plain values."""
        return {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
