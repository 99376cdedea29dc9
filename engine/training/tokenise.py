"""Sequences from their source to one array in the cache, with folds: what preparing is for the task `peptides`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from engine.config.experiment import Experiment
from engine.config.plan import Plan
from engine.config.prepared import Prepared, Split, Subject
from engine.config.sources import EXAMPLE, missing
from engine.config.tables import Data
from engine.counts import plural
from engine.errors import DataError, UsageError
from engine.journals.events import Note, Progress
from engine.journals.journal import Writer
from engine.training.data import cache, peptides, sequences, tokens
from engine.training.data.nifti import shown
from engine.training.data.tokens import Record, Sequences
from engine.training.data.volumes import digest

BY = ("hash of the sequence",)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the sequences of a plan come from. `key`: the name that their array has, or will have, in the cache."""

    file: Path | None
    sha256: str
    key: str
    folder: Path


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan's sequences are; bytes of the array that are to be written, and that are there. `lengths`:
    least, median and most residues of one."""

    record: Record
    splits: tuple[Split, ...]
    warnings: tuple[str, ...]
    needed: int
    prepared: int
    lengths: tuple[float, float, float]


def prepare(plan: Plan, folder: Path, writer: Writer, stopped: Callable[[], bool]) -> Prepared | None:
    """The plan's sequences in the cache `folder`, and the folds over them; None if stopped before they are written.

    Raises DataError or UsageError; nothing half-written is left in use whatever happens.
    """
    experiment = plan.experiment

    def tell(done: int, what: str) -> None:
        writer.write(Progress(name="prepare", done=done, total=2, text=what))

    tell(0, "reading" if experiment.data.source == "sequences" else "drawing")
    source = source_of(plan, folder)
    record, reused = tokens.find(folder, source.key), True
    if record is None:
        found, reused = read(source, experiment.data), False
        check_targets(experiment, found.names)
        cache.check_room(folder, tokens.bytes_of(len(found.tokens)))
        if stopped():
            return None
        tell(1, "sorting and writing")
        record = tokens.store(folder, source.key, found, experiment.runs.folds, experiment.runs.split_seed)
    warnings = remarks(experiment, record)
    for text in warnings:
        writer.write(Note(text=text, level="warn"))
    tell(2, "")
    earlier = ", prepared earlier" if reused else ""
    writer.write(Note(text=f"{plural(record.count, 'sequence')} are ready{earlier}", level="good"))
    return as_prepared(plan, source, record, warnings)


def source_of(plan: Plan, folder: Path) -> Source:
    """Raises DataError for a file that cannot be read, UsageError without any."""
    data, runs = plan.experiment.data, plan.experiment.runs
    file, sha256, what = None, "", peptides.source_of(data)
    if data.source == "sequences":
        if why := missing(plan):
            raise UsageError(why)
        file = sequences.file_of(Path(plan.data_dir))
        sha256 = cache.learn_digest(folder, file) if folder.is_dir() else digest(file)
        what = sha256
    return Source(file=file, sha256=sha256, key=tokens.key_of(what, runs.folds, runs.split_seed), folder=folder)


def read(source: Source, data: Data) -> Sequences:
    """Raises DataError naming file, line and remedy."""
    if source.file is None:
        return peptides.drawn(data)
    found = sequences.read(source.file)
    if digest(source.file) != source.sha256:
        raise DataError(f"{shown(source.file)}: it changed while it was read; start again once it is written")
    return found


def check_targets(experiment: Experiment, names: tuple[str, ...]) -> None:
    """Raises DataError for more targets than the network can tell apart."""
    targets = experiment.model.targets
    if len(names) > targets > 1:
        raise DataError(
            f"the file names {len(names) - 1} targets and model.targets = {targets} tells {targets - 1} of them apart "
            f"(one is for none): set model.targets = {len(names)}"
        )


def remarks(experiment: Experiment, record: Record) -> tuple[str, ...]:
    """What is odd. Raises DataError for more targets than the network can tell apart."""
    check_targets(experiment, record.names)
    said, targets = [], experiment.model.targets
    if experiment.data.source == "peptides":
        said.append(
            f"{plural(record.count, 'peptide')} drawn from a Markov chain of known statistics: {EXAMPLE}, nobody's"
        )
    if record.repeated:
        said.append(f"repeats of other sequences: {record.repeated:,}; all copies of one are in the same fold")
    if len(record.names) > 1 and targets <= 1:
        said.append(f"{plural(len(record.names) - 1, 'target')} in the file are left out: model.targets = {targets}")
    return tuple(said)


def as_prepared(plan: Plan, source: Source, record: Record, warnings: tuple[str, ...]) -> Prepared:
    """A subject for every held-out part of every fold."""
    file = str(source.file or "")
    body = (record.sha256, record.parts, plan.experiment.data.source)
    return Prepared(
        subjects=tuple(
            Subject(
                id=f"fold {part.fold} {part.name}", folder=str((source.folder / record.key).absolute()),
                image_file=file.encode(errors="surrogateescape").decode("utf-8", "backslashreplace"),
                sha256=record.key,
            )
            for part in record.parts
        ),
        splits=splits(plan.experiment, record),
        data_hash=hashlib.sha256(msgspec.json.encode(body)).hexdigest()[:16],
        stratified_by=BY,
        warnings=warnings,
    )


def splits(experiment: Experiment, record: Record) -> tuple[Split, ...]:
    made = []
    for fold in range(experiment.runs.folds):
        first, last = record.held_out(fold)
        made.append(
            Split(
                fold=fold, train=tuple(i for i, part in enumerate(record.parts) if part.fold != fold),
                test=tuple(i for i, part in enumerate(record.parts) if part.fold == fold),
                draws=record.count - (last - first),
            )
        )
    return tuple(made)


def look(plan: Plan) -> Look:
    """Everything that `prepare` would find, without writing anything. Raises DataError or UsageError."""
    experiment, folder = plan.experiment, Path(plan.cache_dir)
    source = source_of(plan, folder)
    record = tokens.find(folder, source.key) if plan.cache_dir else None
    there = record is not None
    if record is None:
        runs = experiment.runs
        found, record = tokens.ordered(read(source, experiment.data), source.key, runs.folds, runs.split_seed)
    else:
        found = tokens.opened(folder / source.key)
    low, middle, high = (float(length) for length in np.quantile(found.lengths, (0.0, 0.5, 1.0)))
    size = tokens.bytes_of(record.count)
    return Look(
        record=record, splits=splits(experiment, record), warnings=remarks(experiment, record),
        needed=0 if there else size, prepared=size if there else 0, lengths=(low, middle, high),
    )
