"""What preparation leaves: data.json with its subjects and folds, and how many steps an epoch of a fold has."""

from __future__ import annotations

import msgspec

from engine.config.experiment import of_variant
from engine.config.plan import Plan
from engine.config.profile import Profile
from engine.config.run_keys import RunKey


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One prepared image/label pair. `folder` holds image.npy (float32) and label.npy (uint8) of the prepared shape.
    `kept_bytes`: what the knob cache = ram keeps of it, `shape`: of the prepared volume; 0 where not written down."""

    id: str
    folder: str
    image_file: str = ""
    label_file: str = ""
    lesion_voxels: int = 0
    lesion_mm3: float = 0.0
    acquisition: str = ""
    sha256: str = ""
    kept_bytes: int = 0
    shape: tuple[int, int, int] = (0, 0, 0)


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """One outer fold: indices into Prepared.subjects. `draws`: samples in an epoch, 0 for each subject once."""

    fold: int
    train: tuple[int, ...]
    test: tuple[int, ...]
    draws: int = 0


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """data.json: what preparation left: subjects, folds, a hash over all contents, and what it had to say."""

    subjects: tuple[Subject, ...]
    splits: tuple[Split, ...]
    data_hash: str
    stratified_by: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    def split(self, fold: int) -> Split:
        return next(split for split in self.splits if split.fold == fold)


def split_of(plan: Plan, prepared: Prepared | None, key: RunKey) -> Split | None:
    """The run's fold, an epoch's draws as its variant's patches make them; None before the volumes are prepared."""
    split = next((one for one in prepared.splits if one.fold == key.fold), None) if prepared is not None else None
    patch = of_variant(plan.experiment, key.variant).patch
    if split is None or patch.per_volume == plan.experiment.patch.per_volume:
        return split
    return msgspec.structs.replace(split, draws=len(split.train) * patch.per_volume)


def steps_per_epoch(split: Split, profile: Profile) -> int:
    """Optimizer steps in one epoch of this fold; the last batch may be smaller where every sample comes once."""
    if profile["steps_per_epoch"]:
        return int(profile["steps_per_epoch"])
    batches = -(-(split.draws or len(split.train)) // int(profile["batch_size"]))
    return -(-batches // int(profile["accumulate_steps"]))


def draws_per_epoch(split: Split, profile: Profile) -> int:
    """Samples in one epoch of this fold, the same one more than once if the epoch is longer than the data."""
    if not profile["steps_per_epoch"]:
        return split.draws or len(split.train)
    return int(profile["steps_per_epoch"]) * int(profile["batch_size"]) * int(profile["accumulate_steps"])
