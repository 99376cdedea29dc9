"""Peptides in, the network that tells clean residues from noisy ones out: it draws new peptides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from engine.config.drawing import DRAWN, DRAWN_AT_THE_END, VALIDATED
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


class Scored(dict[str, list[float]]):
    """Figures by name, of each held-out part one."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__({name: [] for name in names})

    def add(self, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self[name].append(value)


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
            found = Scored(denoising.FIGURES)
            for part in self.parts:
                found.add(self._held_out(scoring, model, part, each or VALIDATED))
                for _ in range(each or 1):
                    progress.advance(part.name)
        return Scores(subjects=found)

    def reconstruct(self, scoring: Scoring) -> Scores:
        """Peptides drawn from noise."""
        with self._scoring("reconstruct", scoring) as (model, progress):
            drawn = [self._drawn(scoring, model, DRAWN, number, progress) for number in range(len(self.parts))]
        return Scores(subjects=self._judged(drawn))

    def evaluate(self, scoring: Scoring) -> Scores:
        """Every held-out sequence, and as many drawn peptides as scores to three digits need."""
        found, drawn = Scored(denoising.FIGURES), list[Bytes]()
        with self._scoring("evaluate", scoring) as (model, progress):
            for number, part in enumerate(self.parts):
                found.add(self._held_out(scoring, model, part, len(self.sequences.tokens)))
                drawn.append(self._drawn(scoring, model, DRAWN_AT_THE_END, number, progress))
        return Scores(subjects=found | self._judged(drawn))

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

    def _held_out(self, scoring: Scoring, model: Noised, part: Part, most: int) -> dict[str, float]:
        """Figures of a part, of at most so many of its sequences."""
        rows = slice(part.first, min(part.last, part.first + most))
        return denoising.figures(
            model, scoring.learner.criterion, self.sequences.tokens[rows], self._targets(rows),
            int(scoring.knobs["val_batch_size"]), self.job.plan.experiment.runs.split_seed + part.first,
            scoring.check_stop,
        )

    def _drawn(self, scoring: Scoring, model: Noised, each: int, number: int, progress: LongSpan) -> Bytes:
        """For the part of that number, which is done with it."""
        scoring.check_stop()
        asked, seed = self.asked_for(each, number), self.job.key.seed * 1000 + number
        drawn = denoising.samples(model, asked, MAX_LENGTH, seed)
        progress.advance(tokens.texts(drawn[:1])[0])
        return drawn

    def _judged(self, every: list[Bytes]) -> dict[str, list[float]]:
        right = [drawn[peptides.valid(drawn)] for drawn in every]
        valid = [len(one) / len(drawn) for one, drawn in zip(right, every, strict=True)]
        return {"valid": valid} | self._compared(np.concatenate(right))

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
