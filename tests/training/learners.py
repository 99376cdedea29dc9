"""A small learner without a run around it, and batches for it."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from engine.config.experiment import from_table, resolve_profile
from engine.training.learner import Learner
from engine.training.recorder import LongSpan
from engine.training.samples import Batch

SIDE = 8
CPU = torch.device("cpu")


def learner(table: dict[str, Any] | None = None, **knobs: Any) -> Learner:
    """With the same weights every time."""
    whole = {"model": {"channels": 3}, "prepare": {"shape": [SIDE] * 3, "intensity": "none"}} | (table or {})
    experiment = from_table(whole, "test")
    profile, _ = resolve_profile(experiment, "test", "", {}, {"num_workers": 0} | knobs)
    torch.manual_seed(1)
    return Learner(experiment, profile, CPU, 100)


def volumes(number: int = 0) -> tuple[Tensor, Tensor]:
    """Two images of noise and what is bright in them: (2, 1, D, H, W), uint8 (2, D, H, W)."""
    image = torch.rand(2, 1, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(number))
    return image, (image[:, 0] > 0.7).to(torch.uint8)


def batch(number: int = 0) -> Batch:
    image, label = volumes(number)
    return Batch(image, label, [0, 1], 0.0)


def descend(made: Learner, steps: int) -> list[Tensor | None]:
    """So many steps; the norms they tell of."""
    norms = []
    made.model.train()
    for number in range(steps):
        image, label = volumes(number)
        made.scaler.scale(made.criterion(made.forward(image), label.long()).total).backward()
        norms.append(made.descend())
    return norms


def progress() -> LongSpan:
    return LongSpan(lambda _: None, "validate", 2, time.monotonic)
