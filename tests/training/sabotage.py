"""A loss that does something to its own process: SABOTAGE=WHERE:N:WHAT, at the N-th call in `step`s or in `look`s.

WHAT is a signal's name, `oom`, `nan`, `gradient` (of which none is a number), `worker` (kills one) or `none`. Imported by
a test's trainer before it starts.
"""

from __future__ import annotations

import os
import signal

import psutil
import torch
from torch import Tensor, nn

from engine.config.tables import Loss
from engine.training.losses import cross_entropy
from engine.training.registry import LOSSES

WHERE, NUMBER, WHAT = (os.environ.get("SABOTAGE") or "step:0:none").split(":")


class Sabotaged(nn.Module):
    """Cross-entropy until its time has come. Looking (validation, evaluation) is told by the absence of gradients."""

    def __init__(self, config: Loss) -> None:
        super().__init__()
        self.inner = cross_entropy(config)
        self.calls = 0

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        value: Tensor = self.inner(logits, label)
        if logits.requires_grad == (WHERE == "step"):
            self.calls += 1
            if self.calls == int(NUMBER):
                return self._act(value)
        return value

    def _act(self, value: Tensor) -> Tensor:
        if WHAT == "oom":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        if WHAT == "nan":
            return value * float("nan")
        if WHAT == "gradient":
            return value + (value * 0).sqrt()  # infinitely steep at 0
        if WHAT == "worker":
            os.kill(psutil.Process().children()[0].pid, signal.SIGKILL)
            return value
        os.kill(os.getpid(), getattr(signal, WHAT))
        return value


@LOSSES.register("sabotaged")
def sabotaged(config: Loss) -> nn.Module:
    return Sabotaged(config)
