"""Volumes in, a class for every voxel out."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, cast

import msgspec
import torch
from torch.utils.data import Dataset

from engine.config.experiment import Experiment
from engine.config.profile import Profile
from engine.training import surfaces
from engine.training.augment import chain as augment
from engine.training.data import maps
from engine.training.evaluate import Scores, Window, evaluate, validation_indices
from engine.training.job import Job
from engine.training.loader import scoring as batches_of
from engine.training.losses import Parts
from engine.training.metrics import METRICS
from engine.training.registry import TASKS
from engine.training.samples import Batch, Item, Patches, Volumes, collate
from engine.training.tasks.task import Computes, Scoring


@TASKS.register("segmentation")
class Segmentation:
    """Every subject is an image with a label of the same shape."""

    collate = staticmethod(collate)

    def __init__(self, job: Job) -> None:
        self.job = job
        self.further = job.plan.experiment.figures
        surfaces.check(self.further)
        self.figures = (*METRICS, *self.further)
        self.patch = job.plan.experiment.patch
        # Its maps belong to losses; where its foreground is, to patches of validation.
        want = msgspec.structs.replace(maps.wanted(job.plan.experiment), maps=())
        self.held_out = Volumes(job.held_out, want=want)
        self.size = prod(self.patch.shape) or self.held_out.voxels

    def training(self, knobs: Profile) -> Dataset[Item]:
        job = self.job
        experiment = job.plan.experiment
        return Volumes(
            job.training, job.key.seed, augment.build(experiment.augment, experiment.data.ignore), str(knobs["cache"]),
            experiment.prepare, experiment.patch, maps.wanted(experiment),
        )

    @staticmethod
    def example(experiment: Experiment, batch_size: int) -> Batch:
        shape = experiment.prepare.shape if experiment.patch.whole else experiment.patch.shape
        label = torch.zeros((batch_size, *shape), dtype=torch.uint8)
        given = {name: torch.zeros(label.shape, dtype=torch.float16) for name in maps.wanted(experiment).maps}
        return Batch(torch.zeros((batch_size, 1, *shape)), label, list(range(batch_size)), 0.0, maps=given)

    @staticmethod
    def forward(learner: Computes, batch: Batch) -> Any:
        return learner.forward(batch.image)

    @staticmethod
    def losses(learner: Computes, outputs: Any, batch: Batch, step: int) -> Parts:
        # Labels travel as bytes and widen on the device.
        return cast(Parts, learner.criterion(outputs, batch.label.long(), step, batch.maps))

    def validate(self, scoring: Scoring) -> Scores:
        """A few held-out subjects as wholes, or patches of all of them, as large as those it learns from."""
        per_volume = int(scoring.knobs["val_patches_per_volume"])
        if not per_volume:
            return self._score("validate", scoring, self.held_out, validation_indices(len(self.held_out)))
        patches = Patches(self.held_out, per_volume, self.job.key.seed, self.patch)
        return self._score("validate", scoring, patches, range(len(patches)))

    def reconstruct(self, scoring: Scoring) -> Scores:
        return self._score("reconstruct", scoring, self.held_out, range(len(self.held_out)))

    def evaluate(self, scoring: Scoring) -> Scores:
        return self._score("evaluate", scoring, self.held_out, range(len(self.held_out)))

    def _score(self, name: str, scoring: Scoring, samples: Volumes | Patches, indices: Sequence[int]) -> Scores:
        def name_of(number: int) -> str:
            return self.held_out.subjects[number * len(self.held_out) // len(samples)].id

        knobs, window = scoring.knobs, None
        if samples is self.held_out and not self.patch.whole:
            # One volume at a time, whatever their sizes; its windows side by side.
            window = Window(self.patch.shape, int(knobs["val_batch_size"]))
            knobs = msgspec.structs.replace(knobs, knobs=knobs.knobs | {"val_batch_size": 1})
        with scoring.span(name, len(indices)) as progress:
            return evaluate(
                scoring.learner, batches_of(samples, indices, knobs), progress, scoring.check_stop, name_of, window,
                () if name == "validate" else self.further,
            )
