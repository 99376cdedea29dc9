"""What a run learns from and is judged by: the parts of a training that depend on what is learnt."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from torch import nn
from torch.utils.data import Dataset

from engine.config.experiment import Experiment
from engine.config.profile import Profile
from engine.training.evaluate import Scores
from engine.training.job import Job
from engine.training.learner import Learner
from engine.training.losses import Parts
from engine.training.recorder import LongSpan
from engine.training.samples import Batch, Collate, Item


class Computes(Protocol):
    """A network and its loss."""

    @property
    def forward(self) -> Callable[..., Any]: ...

    @property
    def criterion(self) -> nn.Module: ...


class Scoring(NamedTuple):
    """What scoring is given. `span(name, total)` counts and times it; `check_stop` raises once a stop is asked for."""

    learner: Learner
    knobs: Profile
    span: Callable[[str, int], AbstractContextManager[LongSpan]]
    check_stop: Callable[[], None]


class Task(Protocol):
    """Made for one run. `size`: voxels, or tokens, of a sample. `figures`: names of what the held-out cases are judged
    by and results.json keeps, the leading one first. `collate`: what a loader has drawn as a batch."""

    def __init__(self, job: Job) -> None: ...

    @property
    def size(self) -> int: ...

    @property
    def figures(self) -> tuple[str, ...]: ...

    @property
    def collate(self) -> Collate: ...

    def training(self, knobs: Profile) -> Dataset[Item]:
        """Samples by (epoch, draw), as the loader's processes get them. Its length: how many there are to draw from."""

    @staticmethod
    def example(experiment: Experiment, batch_size: int) -> Batch:
        """A batch of zeros as large as a real one."""

    @staticmethod
    def forward(learner: Computes, batch: Batch) -> Any:
        """What the network makes of a batch, which is on its device."""

    @staticmethod
    def losses(learner: Computes, outputs: Any, batch: Batch, step: int) -> Parts:
        """`step`: optimizer steps done."""

    def validate(self, scoring: Scoring) -> Scores:
        """A curve to look at, span `validate`."""

    def reconstruct(self, scoring: Scoring) -> Scores:
        """All held-out cases as wholes, span `reconstruct`."""

    def evaluate(self, scoring: Scoring) -> Scores:
        """All held-out cases with the final weights, span `evaluate`."""
