"""The tables of an experiment file: data, preparation, patches, network, losses, optimizer, schedule, runs."""

from __future__ import annotations

from typing import Literal

import msgspec


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One [table] of an experiment file."""


class Data(Table, frozen=True, kw_only=True):
    """Where samples come from. phantom: volumes written on first use; bids: a tree like ds004884; pairs: by file name;
    tiff: pairs of 3D TIFF in the folders `image` and `label`; sheets: such pairs written on first use; sequences: FASTA
    or CSV; peptides: sequences drawn from known statistics.

    `ignore`: a label's value that no loss and no figure counts, -1 for none. `options`: numbers for what is generated.
    """

    source: Literal["phantom", "bids", "pairs", "tiff", "sheets", "sequences", "peptides"] = "pairs"
    subjects: int = 0
    shape: tuple[int, int, int] = (64, 64, 64)
    seed: int = 2026
    image: str = ""
    label: str = ""
    ignore: int = -1
    options: dict[str, float] = {}


class Prepare(Table, frozen=True, kw_only=True):
    """What every volume becomes before training: orientation, spacing (mm), shape (voxels), intensities. `median`: side
    of the median filter in voxels, 0 for none."""

    orientation: str = "RAS"
    spacing_mm: float = 1.0
    shape: tuple[int, int, int] = (256, 256, 256)
    intensity: Literal["minmax", "none"] = "minmax"
    median: int = 0


class Patch(Table, frozen=True, kw_only=True):
    """What of a volume is one sample: a block of `shape` voxels, [0, 0, 0] for all of it, and so many of each volume an
    epoch. `foreground`: the share of patches that are centred on a foreground voxel."""

    shape: tuple[int, int, int] = (0, 0, 0)
    per_volume: int = 1
    foreground: float = 0.0

    @property
    def whole(self) -> bool:
        return not any(self.shape)


class Model(Table, frozen=True, kw_only=True):
    """What a network has no use for is refused (engine.config.networks). `multipliers`: of `channels`, level by level;
    `blocks` of each level; `aux`: heads on lower levels, for deep supervision; `mkdc`: multi-kernel convolutions on
    the skips.

    `layers`, `heads` and `diffusion_steps` are a transformer's; `targets`: for how many things, none among them, its
    sequences may be.
    """

    name: str = "meshnet"
    channels: int = 26
    classes: int = 2
    dropout: float = 0.0
    multipliers: tuple[int, ...] = ()
    blocks: int = 0
    aux: bool = False
    mkdc: bool = False
    layers: int = 0
    heads: int = 0
    diffusion_steps: int = 0
    targets: int = 0


class Term(Table, frozen=True, kw_only=True):
    """One part of a loss. Computed at every `every`-th optimizer step, with the same weight."""

    weight: float = 1.0
    every: int = 1
    options: dict[str, float] = {}


class Loss(Table, frozen=True, kw_only=True):
    """One loss by `name`, or the weighted sum of `terms`. `deep_supervision`: weights of a network's outputs, the main
    one first. `ignore`: as `data.ignore`, which it follows."""

    name: str = "cross_entropy"
    class_weights: tuple[float, ...] = (0.5, 1.0)
    label_smoothing: float = 0.01
    terms: dict[str, Term] = {}
    deep_supervision: tuple[float, ...] = ()
    ignore: int = -1


class Optimizer(Table, frozen=True, kw_only=True):
    """`clip`: the largest norm of all gradients together, 0 for any. `ema`: decay of the averaged weights that are
    scored and kept beside the others, 0 for none; after n steps (1 + n) / (10 + n) while that is less. `lr_batch`: the
    batch size that `lr` is meant for: it grows in proportion (Goyal et al. 2017); 0: it is the same at any."""

    name: Literal["adamw"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 3e-5
    eps: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 0.0
    ema: float = 0.0
    lr_batch: int = 0


class Schedule(Table, frozen=True, kw_only=True):
    """OneCycle per step: total steps = epochs × steps per epoch. cosine: a straight climb over `warmup_epochs` or
    `warmup_steps`, then half a cosine down to `min_lr`."""

    name: Literal["onecycle", "constant", "cosine"] = "onecycle"
    pct_start: float = 0.01
    div_factor: float = 100.0
    warmup_epochs: float = 0.0
    warmup_steps: int = 0
    min_lr: float = 0.0


class Runs(Table, frozen=True, kw_only=True):
    """variants × folds × restarts trainings. `seed_by` restart: a run's seed is base_seed + restart, the same in every
    fold; fold: base_seed + fold, and each further restart goes on behind the last fold. Variants share their seeds.
    `only`: the folds that are trained where none are asked for, all if empty."""

    folds: int = 3
    only: tuple[int, ...] = ()
    restarts: int = 10
    base_seed: int = 42
    seed_by: Literal["restart", "fold"] = "restart"
    split_seed: int = 42
    stratify: tuple[str, ...] = ("lesion_size", "acquisition")


class Target(Table, frozen=True, kw_only=True):
    """A published figure to compare with: mean and standard deviation of the test Dice."""

    dice: float
    std: float = 0.0
    source: str = ""


class Variant(Table, frozen=True, kw_only=True):
    """What one variant of the experiment has otherwise: fields by their dotted names, `"model.mkdc" = true`."""

    title: str = ""
    set: dict[str, bool | int | float | str | tuple[int | float | str, ...]] = {}


class Lock(Table, frozen=True, kw_only=True):
    """A knob's value that the experiment depends on, and why."""

    value: bool | int | float | str
    reason: str


class Minimum(Table, frozen=True, kw_only=True):
    """The least that a number of the experiment may be (`[minimums.epochs]`, `[minimums."patch.per_volume"]`), and why.
    A launch with less needs --override-locks, and is recorded."""

    least: float
    reason: str


class Checkpoints(Table, frozen=True, kw_only=True):
    """A checkpoint at every `epochs` epochs and whenever `minutes` have passed; `keep` newest ones stay."""

    epochs: int = 1
    minutes: float = 10.0
    keep: int = 2
