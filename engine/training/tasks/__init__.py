"""What can be learnt: each task registers itself under the name that an experiment's `task` gives."""

from __future__ import annotations

from engine.config.experiment import Experiment
from engine.training import losses
from engine.training.job import Job
from engine.training.registry import TASKS
from engine.training.tasks import peptides, segmentation
from engine.training.tasks.task import Computes, Scoring, Task

__all__ = ["TASKS", "Computes", "Scoring", "Task", "build", "criterion", "peptides", "segmentation"]


def criterion(experiment: Experiment) -> losses.Criterion:
    """Its loss, the tasks' own losses and terms among those there are. Raises UsageError for one that cannot be."""
    return losses.build(experiment)


def build(job: Job) -> Task:
    """Raises UsageError for an unknown name."""
    return TASKS[job.plan.experiment.task](job)
