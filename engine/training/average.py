"""Weights averaged over the steps, with those of late counting most (Polyak and Juditsky 1992; exponential decay)."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """A copy of a network that follows it. torch's AveragedModel reads a counter from the device at every step, which
    the host would wait for; this does not."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """`decay`: how much of the average a step leaves as it was, 0 to 1."""
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        """After a step. Buffers (a norm's running statistics) are copied: they are averages already."""
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - self._decay)
        for mine, its in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(its)
