"""What loaders are compared on: the same heads, patches of the same size, the same augmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from engine.config.tables import Data, Prepare
from engine.training.data import phantom
from engine.training.data.discover import Case, find

SEED = 11
# The field of a phantom head, mm.
FIELD_MM = (160.0, 192.0, 160.0)
# Of patches, this share is centred on a voxel of a lesion.
FOREGROUND = 0.5
# Names and options as in an experiment file; what each library makes of them stands with it.
FLIPS = {"flip": {"d": 0.5, "h": 0.5, "w": 0.5}}
FULL = FLIPS | {
    "rotate": {"p": 0.5, "degrees": 20.0},
    "scale": {"p": 0.5, "low": 0.85, "high": 1.2},
    "gamma": {"p": 0.3, "low": 0.65, "high": 1.6},
    "contrast": {"p": 0.3, "low": 0.75, "high": 1.25},
    "noise": {"p": 0.2, "std": 0.05},
    "blur": {"p": 0.1, "sigma": 1.0},
    "cutout": {"p": 0.15, "count": 3, "low": 24, "high": 48},
}
AUGMENTS = {"flips": FLIPS, "full": FULL}
Patches = Iterator[tuple[Tensor, Tensor]]


class Work(NamedTuple):
    """`folder`: for what is prepared or cached. `shape`, `spacing_mm`: of a head once it is prepared."""

    cases: tuple[Case, ...]
    folder: Path
    shape: tuple[int, int, int]
    spacing_mm: float
    patch: tuple[int, int, int]
    batch: int
    workers: int
    augment: dict[str, dict[str, float]]

    @property
    def prepare(self) -> Prepare:
        return Prepare(orientation="RAS", spacing_mm=self.spacing_mm, shape=self.shape, intensity="minmax")


class Contender(Protocol):
    """One way to come from files to batches. Workers are started for an epoch and end with it."""

    name: str

    def prepare(self) -> None:
        """Once, before the first epoch."""

    def epoch(self, number: int, patches: int) -> Patches:
        """Batches: image (B, 1, D, H, W) float32 and label (B, D, H, W) uint8. `number` counts from 1."""


class Looked(NamedTuple):
    """What batches were like. `lesions`: share of patches that hold a part of one; `voxels`: share of voxels."""

    image: str
    label: str
    low: float
    high: float
    patches: int
    lesions: float
    voxels: float


def heads(under: Path, count: int, side: int) -> tuple[Case, ...]:
    """Phantom heads of about side³ voxels as .nii.gz, written below `under` unless they are there."""
    def told(done: int, total: int, name: str) -> None:
        print(f"\rwriting heads: {done} of {total}{'' if done < total else chr(10)}", end="", flush=True)

    folder = phantom.write(Data(source="phantom", subjects=count, shape=(side, side, side)), under, told)
    return find(Data(source="bids"), folder).cases


def prepared_shape(side: int) -> tuple[tuple[int, int, int], float]:
    """Shape and spacing (mm) of a head that keeps about the voxels it has."""
    spacing = round(float(sum(phantom.FIELD_MM)) / 3 / side, 3)
    d, h, w = (round(mm / spacing) for mm in FIELD_MM)
    return (d, h, w), spacing


def looked_at(batches: Patches) -> Looked:
    images, labels, low, high = set(), set(), torch.inf, -torch.inf
    held: list[float] = []
    for image, label in batches:
        images.add((image.dtype, tuple(image.shape[1:])))
        labels.add((label.dtype, tuple(label.shape[1:])))
        low, high = min(low, float(image.min())), max(high, float(image.max()))
        held += [float((one > 0).float().mean()) for one in label]
    return Looked(
        _said(images), _said(labels), low, high, len(held), sum(share > 0 for share in held) / len(held),
        sum(held) / len(held),
    )


def _said(kinds: set[tuple[torch.dtype, tuple[int, ...]]]) -> str:
    return " or ".join(sorted(f"{str(kind).removeprefix('torch.')} {_sides(shape)}" for kind, shape in kinds))


def _sides(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
