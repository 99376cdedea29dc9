"""An optimizer step bare of what the trainer does beside it."""

from __future__ import annotations

from torch import Tensor

from engine.training.learner import Learner
from engine.training.samples import Batch
from engine.training.tasks import Task


def bare_step(learner: Learner, task: type[Task] | Task, batch: Batch, step: int) -> Tensor:
    """Forward, loss, backward, descent and the schedule, as engine.training.loop does them; the loss."""
    with learner.autocast():
        outputs = task.forward(learner, batch)
        loss: Tensor = task.losses(learner, outputs, batch, step).total
    learner.scaler.scale(loss).backward()
    learner.descend()
    learner.schedule.step()
    return loss
