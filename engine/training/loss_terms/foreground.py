"""What the terms of a loss have in common: foreground, what counts, and the options an experiment gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from engine.config.tables import Term
from engine.errors import unknown


class Seen(NamedTuple):
    """Float32 (B, D, H, W): logits of foreground against background, 1 where the truth is foreground, 1 where a voxel
    counts. Foreground that does not count is not in `truth`."""

    logits: Tensor
    truth: Tensor
    counted: Tensor

    @property
    def probability(self) -> Tensor:
        """Of foreground, 0 where a voxel does not count."""
        return torch.sigmoid(self.logits) * self.counted


def seen(logits: Tensor, target: Tensor, ignore: int) -> Seen:
    counted = (target != ignore).float() if ignore >= 0 else torch.ones_like(target, dtype=torch.float32)
    return Seen(foreground_logits(logits.float()), (target > 0).float() * counted, counted)


def foreground_logits(logits: Tensor) -> Tensor:
    """(B, C, D, H, W) -> (B, D, H, W): their sigmoid is the probability that a voxel is no background. With one class
    the logits themselves; with more, all classes but 0 against class 0, as softmax has it."""
    classes = logits.shape[1]
    if classes == 1:
        return logits[:, 0]
    if classes == 2:
        return logits[:, 1] - logits[:, 0]
    return torch.logsumexp(logits[:, 1:], dim=1) - logits[:, 0]


def options(name: str, term: Term, defaults: Mapping[str, float]) -> dict[str, float]:
    """The term's options over their defaults. Raises UsageError for one it does not have."""
    for option in term.options:
        if option not in defaults:
            raise unknown("option", option, defaults, f"[loss.terms.{name}.options]")
    return {**defaults, **term.options}


def mean(values: Tensor, counted: Tensor) -> Tensor:
    """Over the voxels that count; 0 where none does."""
    return (values * counted).sum() / counted.sum().clamp(min=1.0)


def per_sample(values: Tensor) -> Tensor:
    """(B, D, H, W) -> sums (B,)."""
    return values.flatten(1).sum(1)
