"""What is loaded: one subject at a time, from where the knob `cache` says, and timed where it happens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from engine.config.experiment import Prepare, Subject
from engine.errors import DataError
from engine.training import seeds
from engine.training.augment import Arrays, Transform
from engine.training.data.cache import open_case
from engine.training.data.conform import conform
from engine.training.data.nifti import shown
from engine.training.data.volumes import read_pair



class Item(NamedTuple):
    """One subject: image (1, D, H, W) float32, label (D, H, W) uint8; the seconds and CPU seconds it took to load."""

    image: Tensor
    label: Tensor
    draw: int
    seconds: float
    cpu_seconds: float


class Batch(NamedTuple):
    """image (B, 1, D, H, W) float32, label (B, D, H, W) uint8; `indices` are the draws of the epoch it holds.

    Seconds, their squares and CPU seconds are summed over its samples, measured where they were loaded.
    """

    image: Tensor
    label: Tensor
    indices: list[int]
    load_seconds: float
    load_squares: float = 0.0
    load_cpu: float = 0.0


class Volumes(Dataset[Item]):
    """Subjects by (epoch, draw). `transform` may change a sample, drawing from the generator it is given.

    `cache`: disk maps prepared volumes; ram keeps a copy of each in the process that first loads it, for good; none
    reads and prepares the source files every time, which `prepare` says how.
    """

    def __init__(
        self, subjects: Sequence[Subject], seed: int = 0, transform: Transform | None = None, cache: str = "disk",
        prepare: Prepare | None = None,
    ) -> None:
        self.subjects = tuple(subjects)
        self._seed = seed
        self._transform = transform
        self._source = {"disk": self._mapped, "ram": self._kept, "none": self._prepared_anew}[cache]
        self._prepare = prepare or Prepare()
        self._open: dict[int, Arrays] = {}

    def __len__(self) -> int:
        return len(self.subjects)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one sample, voxels."""
        d, h, w = open_case(Path(self.subjects[0].folder))[0].shape
        return int(d), int(h), int(w)

    @property
    def voxels(self) -> int:
        """Of one sample."""
        d, h, w = self.shape
        return d * h * w

    def arrays(self, index: int) -> Arrays:
        """A subject's image and label, mapped where they are. Raises DataError as loading it does."""
        return self._source(index)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """Raises DataError if the volume is not there or not right."""
        began, cpu = time.perf_counter(), time.thread_time()
        epoch, draw = key
        index = draw % len(self.subjects)
        image, label = self._source(index)
        if self._transform is not None:
            image, label = self._transform(
                np.array(image), np.array(label), seeds.sample_generator(self._seed, epoch, draw)
            )
        # Copies: reading the mapped pages is the work of loading, and happens here, where it is timed.
        image_tensor = torch.from_numpy(np.array(image, dtype=np.float32))[None]
        label_tensor = torch.from_numpy(np.array(label, dtype=np.uint8))
        return Item(image_tensor, label_tensor, draw, time.perf_counter() - began, time.thread_time() - cpu)

    def _mapped(self, index: int) -> Arrays:
        if index not in self._open:
            self._open[index] = open_case(Path(self.subjects[index].folder))
        return self._open[index]

    def _kept(self, index: int) -> Arrays:
        if index not in self._open:
            image, label = open_case(Path(self.subjects[index].folder))
            self._open[index] = np.array(image), np.array(label)
        return self._open[index]

    def _prepared_anew(self, index: int) -> Arrays:
        subject = self.subjects[index]
        pair = read_pair(Path(subject.image_file), Path(subject.label_file))
        try:
            made = conform(pair.image, pair.mask, pair.header.matrix, self._prepare)
        except DataError as error:
            raise DataError(f"{shown(Path(subject.image_file))}: {error}") from None
        return made.image, made.label

    def __getstate__(self) -> dict[str, Any]:
        """Memory maps and copies stay behind: a spawned worker opens its own."""
        return self.__dict__ | {"_open": {}}


class Patches(Dataset[Item]):
    """`per_volume` patches of `shape` voxels ((0, 0, 0): half a volume's sides), the same ones every time, by (epoch,
    number). Only the patch is read of a mapped volume."""

    def __init__(self, volumes: Volumes, per_volume: int, seed: int, shape: tuple[int, int, int] = (0, 0, 0)) -> None:
        self._volumes = volumes
        self._per_volume = per_volume
        self._seed = seed
        self._shape = shape

    def __len__(self) -> int:
        return len(self._volumes) * self._per_volume

    def __getitem__(self, key: tuple[int, int]) -> Item:
        began, cpu = time.perf_counter(), time.thread_time()
        _, number = key
        image, label = self._volumes.arrays(number // self._per_volume)
        sides = [min(part, side) or max(1, side // 2) for part, side in zip(self._shape, label.shape, strict=True)]
        rng = seeds.sample_generator(self._seed, 0, number)
        corner = [int(rng.integers(side - part + 1)) for side, part in zip(label.shape, sides, strict=True)]
        cut = tuple(slice(low, low + part) for low, part in zip(corner, sides, strict=True))
        image_tensor = torch.from_numpy(np.array(image[cut], dtype=np.float32))[None]
        label_tensor = torch.from_numpy(np.array(label[cut], dtype=np.uint8))
        return Item(image_tensor, label_tensor, number, time.perf_counter() - began, time.thread_time() - cpu)


def collate(items: list[Item]) -> Batch:
    """Items of one shape, one behind the other."""
    return Batch(
        torch.stack([item.image for item in items]), torch.stack([item.label for item in items]),
        [item.draw for item in items], sum(item.seconds for item in items), sum(item.seconds**2 for item in items),
        sum(item.cpu_seconds for item in items),
    )
