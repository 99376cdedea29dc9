"""What can be learnt: each task registers itself under the name that an experiment's `task` gives."""

from __future__ import annotations

from engine.training.job import Job
from engine.training.registry import TASKS
from engine.training.tasks import peptides, segmentation
from engine.training.tasks.task import Computes, Scoring, Task

__all__ = ["TASKS", "Computes", "Scoring", "Task", "build", "peptides", "segmentation"]


def build(job: Job) -> Task:
    """Raises UsageError for an unknown name."""
    return TASKS[job.plan.experiment.task](job)
