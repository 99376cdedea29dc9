"""Weights averaged over the steps, with those of late counting most (Polyak and Juditsky 1992; exponential decay)."""

from __future__ import annotations

import copy

import torch
from torch import nn

# Of the warm-up, (FIRST + n) / (LAST + n) after n steps: the first step leaves a tenth of the random weights.
FIRST, LAST = 1, 10


class Average:
    """A copy of a network that follows it. torch's AveragedModel reads a counter from the device at every step, which
    the host would wait for; this counts on the host. `steps` it has followed so far, which a checkpoint keeps."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """`decay`: how much of the average a step leaves as it was, 0 to 1, once it is warm."""
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.steps = 0
        self._decay = decay

    @property
    def decay(self) -> float:
        """Of the next step: less at first, since 0.998¹⁰ would leave 98 % of the random weights after 10 steps."""
        return min(self._decay, (FIRST + self.steps) / (LAST + self.steps))

    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        """After a step. Buffers (a norm's running statistics) are copied: they are averages already."""
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - self.decay)
        for mine, its in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(its)
        self.steps += 1
