"""Patches as a plain Dataset makes them: nibabel reads the whole .nii.gz, numpy cuts, scipy augments, for every patch.

A head is turned to RAS and scaled to 0 to 1; it keeps its spacing and its shape, which is to this one's advantage.
"""

from __future__ import annotations

from typing import Any

import nibabel
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tests.benchmarks._same_patches import FOREGROUND, SEED, Patches, Work

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]


class Plain(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, work: Work, epoch: int, patches: int) -> None:
        self.work, self.epoch, self.patches = work, epoch, patches

    def __len__(self) -> int:
        return self.patches

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        work, rng = self.work, np.random.default_rng((SEED, self.epoch, index))
        case = work.cases[index % len(work.cases)]
        image, label = _read(str(case.image)).astype(np.float32), _read(str(case.label)).astype(np.uint8)
        image = (image - image.min()) / (image.max() - image.min())
        if rng.random() < FOREGROUND:
            places = np.flatnonzero(label)
            centre = np.unravel_index(places[rng.integers(len(places))], label.shape)
        else:
            centre = tuple(rng.integers(n) for n in label.shape)
        corner = [min(max(0, int(c) - p // 2), n - p) for c, p, n in zip(centre, work.patch, label.shape, strict=True)]
        cut = tuple(slice(low, low + part) for low, part in zip(corner, work.patch, strict=True))
        image, label = changed(image[cut], label[cut], work.augment, rng)
        return torch.from_numpy(np.ascontiguousarray(image))[None], torch.from_numpy(np.ascontiguousarray(label))


class Nibabel:
    name = "plain nibabel"

    def __init__(self, work: Work) -> None:
        self.work = work

    def prepare(self) -> None:
        """Nothing."""

    def epoch(self, number: int, patches: int) -> Patches:
        work = self.work
        options: dict[str, Any] = {"prefetch_factor": 2} if work.workers else {}
        loader = DataLoader(
            Plain(work, number, patches), batch_size=work.batch, shuffle=True, num_workers=work.workers, **options
        )
        yield from loader


def _read(path: str) -> NDArray[Any]:
    return np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)  # type: ignore[arg-type]


def changed(image: Floats, label: Mask, augment: dict[str, dict[str, float]], rng: Generator) -> tuple[Floats, Mask]:
    """The augmentations of the table that are there, with scipy; those that move voxels resample once."""
    matrix = np.eye(3)
    if (given := augment.get("rotate")) and rng.random() < given["p"]:
        for axis, angle in enumerate(np.deg2rad(rng.uniform(-given["degrees"], given["degrees"], 3))):
            turn = np.eye(3)
            i, j = (k for k in range(3) if k != axis)
            turn[i, i] = turn[j, j] = np.cos(angle)
            turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
            matrix = matrix @ turn
    if (given := augment.get("scale")) and rng.random() < given["p"]:
        matrix = matrix / _between(given, rng)
    if not np.array_equal(matrix, np.eye(3)):
        centre = (np.array(image.shape) - 1) / 2
        offset = centre - matrix @ centre
        image = ndimage.affine_transform(image, matrix, offset, order=1, mode="mirror")
        label = ndimage.affine_transform(label, matrix, offset, order=0, mode="mirror")
    if given := augment.get("flip"):
        axes = tuple(axis for axis, name in enumerate("dhw") if rng.random() < given[name])
        image, label = np.flip(image, axes), np.flip(label, axes)
    if (given := augment.get("gamma")) and rng.random() < given["p"]:
        image = np.clip(image, 0, 1) ** np.float32(_between(given, rng))
    if (given := augment.get("contrast")) and rng.random() < given["p"]:
        mean = image.mean()
        image = (image - mean) * np.float32(rng.uniform(given["low"], given["high"])) + mean
    if (given := augment.get("noise")) and rng.random() < given["p"]:
        image = image + np.float32(rng.uniform(0, given["std"])) * rng.standard_normal(image.shape, dtype=np.float32)
    if (given := augment.get("blur")) and rng.random() < given["p"]:
        image = ndimage.gaussian_filter(image, rng.uniform(0, given["sigma"]), truncate=3.0)
    if (given := augment.get("cutout")) and rng.random() < given["p"]:
        image = image.copy()
        for _ in range(int(given["count"])):
            sides = [min(int(rng.integers(given["low"], given["high"] + 1)), n // 2) for n in image.shape]
            low = [int(rng.integers(n - side + 1)) for n, side in zip(image.shape, sides, strict=True)]
            image[tuple(slice(a, a + side) for a, side in zip(low, sides, strict=True))] = image.mean()
    return image, label


def _between(given: dict[str, float], rng: Generator) -> float:
    return float(np.exp(rng.uniform(np.log(given["low"]), np.log(given["high"]))))
