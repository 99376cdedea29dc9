"""Peptides in, the network that tells clean residues from noisy ones out: it draws new peptides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from engine.config.experiment import Experiment
from engine.config.profile import Profile
from engine.errors import DataError
from engine.paths import read_json
from engine.training import denoising
from engine.training.data import peptides, tokens
from engine.training.data.nifti import shown
from engine.training.data.tokens import MAX_LENGTH, Bytes, Part, Record
from engine.training.evaluate import Scores
from engine.training.job import Job
from engine.training.losses import Criterion, Parts
from engine.training.models.denoiser import Guess, Noised
from engine.training.recorder import LongSpan
from engine.training.registry import TASKS
from engine.training.rows import Rows, whole
from engine.training.samples import Batch
from engine.training.tasks.task import Computes, Scoring

# Sequences of each held-out part that validation sees, where val_patches_per_volume does not say how many.
VALIDATED = 512
# Peptides drawn for each held-out part: every so many epochs, and at the end.
DRAWN, DRAWN_AT_THE_END = 50, 200


@TASKS.register("peptides")
class Peptides:
    """One fold's rows of the prepared array are held out, in parts with figures of their own.

    `valid`: the share of drawn peptides that are sequences; `unique` and `novel`: of those, which came once, and which
    are in no training set; `lengths`, `residues`, `pairs`: total variation between drawn and learnt ones.
    """

    figures = ("ce", "bound", "accuracy", "valid", "unique", "novel", "lengths", "residues", "pairs")
    size = MAX_LENGTH
    collate = staticmethod(whole)

    def __init__(self, job: Job) -> None:
        """Raises DataError if the prepared sequences are not there or not right."""
        self.job = job
        self.folder = Path(job.held_out[0].folder)
        record = read_json(self.folder / tokens.RECORD, Record)
        if record is None:
            raise DataError(f"{shown(self.folder)}: no prepared sequences; prepare again")
        self.sequences = tokens.opened(self.folder)
        self.parts: list[Part] = [record.parts[index] for index in job.split.test]
        self.first, self.last = record.held_out(job.key.fold)
        self.targeted = job.plan.experiment.model.targets > 1
        self._learnt: peptides.Statistics | None = None

    def training(self, knobs: Profile) -> Dataset[Any]:  # noqa: ARG002 - an array has no other way to be read
        return Rows(self.folder, self.first, self.last, self.targeted)

    @staticmethod
    def example(experiment: Experiment, batch_size: int) -> Batch:  # noqa: ARG004
        clean = torch.zeros((batch_size, MAX_LENGTH), dtype=torch.uint8)
        return Batch(clean, torch.zeros(batch_size, dtype=torch.int32), list(range(batch_size)), 0.0)

    @staticmethod
    def forward(learner: Computes, batch: Batch) -> Guess:
        return cast(Guess, learner.forward(batch.image.long(), batch.label.long()))

    @staticmethod
    def losses(learner: Computes, outputs: Guess, batch: Batch, step: int) -> Parts:
        return denoising.loss_of(cast(Criterion, learner.criterion), outputs, batch.image.long(), step)

    def validate(self, scoring: Scoring) -> Scores:
        """A number of every held-out part's sequences, always the same ones with the same noise."""
        each = int(scoring.knobs["val_patches_per_volume"])
        with self._scoring("validate", scoring, each or 1) as (model, progress):
            return Scores(subjects=self._held_out(scoring, model, progress, each or VALIDATED, each or 1))

    def reconstruct(self, scoring: Scoring) -> Scores:
        """Peptides drawn from noise."""
        with self._scoring("reconstruct", scoring) as (model, progress):
            return Scores(subjects=self._drawn(scoring, model, DRAWN, progress))

    def evaluate(self, scoring: Scoring) -> Scores:
        """Every held-out sequence, and as many drawn peptides as scores to three digits need."""
        with self._scoring("evaluate", scoring) as (model, progress):
            found = self._held_out(scoring, model, progress, len(self.sequences.tokens), 1)
            drawn = self._drawn(scoring, model, DRAWN_AT_THE_END, None)
        return Scores(subjects=found | drawn)

    @contextmanager
    def _scoring(self, name: str, scoring: Scoring, each: int = 1) -> Iterator[tuple[Noised, LongSpan]]:
        model = scoring.learner.scored
        training = model.training
        model.eval()
        try:
            with scoring.span(name, len(self.parts) * each) as progress:
                yield cast(Noised, model), progress
        finally:
            model.train(training)

    def _held_out(
        self, scoring: Scoring, model: Noised, progress: LongSpan, most: int, counted: int
    ) -> dict[str, list[float]]:
        """Figures of each part, of at most so many of its sequences. `counted`: how many items a part is."""
        found: dict[str, list[float]] = {name: [] for name in denoising.FIGURES}
        for part in self.parts:
            rows = slice(part.first, min(part.last, part.first + most))
            figures = denoising.figures(
                model, scoring.learner.criterion, self.sequences.tokens[rows], self._targets(rows),
                int(scoring.knobs["val_batch_size"]), self.job.plan.experiment.runs.split_seed + part.first,
                scoring.check_stop,
            )
            for name, value in figures.items():
                found[name].append(value)
            for _ in range(counted):
                progress.advance(part.name)
        return found

    def _drawn(self, scoring: Scoring, model: Noised, each: int, progress: LongSpan | None) -> dict[str, list[float]]:
        every: list[Bytes] = []
        for number in range(len(self.parts)):
            scoring.check_stop()
            every.append(
                denoising.samples(model, self.asked_for(each, number), MAX_LENGTH, self.job.key.seed * 1000 + number)
            )
            if progress is not None:
                progress.advance(tokens.texts(every[-1][:1])[0])
        right = [drawn[peptides.valid(drawn)] for drawn in every]
        joined = np.concatenate(right)
        return {"valid": [len(one) / each for one in right]} | self._compared(joined)

    def _compared(self, drawn: Bytes) -> dict[str, list[float]]:
        """One figure each, of all valid peptides together; none without any."""
        if not len(drawn):
            return {}
        learnt = np.concatenate((self.sequences.tokens[: self.first], self.sequences.tokens[self.last :]))
        if self._learnt is None:
            self._learnt = peptides.statistics(learnt)
        hashes = np.unique(tokens.hashed(drawn, 0))
        new = ~np.isin(hashes, tokens.hashed(learnt, 0))
        found = {"unique": len(hashes) / len(drawn), "novel": float(new.mean())}
        return {name: [value] for name, value in (found | peptides.statistics(drawn).distances(self._learnt)).items()}

    def asked_for(self, count: int, number: int) -> Tensor:
        """What drawn peptides are to be for, (count,): as so many training rows are, taken at random. A target that no
        training row has, none among them, the network knows nothing of."""
        held_out = self.last - self.first
        rng = np.random.default_rng((self.job.key.seed, number))
        rows = rng.integers(len(self.sequences.tokens) - held_out, size=count)
        return self._targets(rows + (rows >= self.first) * held_out)

    def _targets(self, rows: slice | NDArray[np.int64]) -> Tensor:
        found = np.asarray(self.sequences.targets[rows]).astype(np.int64)
        return torch.from_numpy(found if self.targeted else np.zeros_like(found))
