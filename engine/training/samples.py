"""What is loaded: one subject or patch at a time, from where the knob `cache` says, and timed where it happens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from engine.config.experiment import Prepare, Subject
from engine.config.tables import Patch
from engine.training import seeds
from engine.training.augment import Arrays as Arrays, Transform
from engine.training.augment.chain import Chain, Maps
from engine.training.data.maps import Wanted, decoded
from engine.training.data.opened import Volume
from engine.training.data.source import Loaded, Source

Cut = tuple[slice, ...]
# What a sample holds: C order, and nobody else's.
OWN: tuple[Literal["C"], Literal["W"]] = ("C", "W")


class Item(NamedTuple):
    """One sample: image (1, D, H, W) float32, label (D, H, W) uint8; the seconds and CPU seconds it took to load;
    `maps` of the label, each (D, H, W) float16."""

    image: Tensor
    label: Tensor
    draw: int
    seconds: float
    cpu_seconds: float
    maps: dict[str, Tensor] = {}


class Batch(NamedTuple):
    """image (B, 1, D, H, W) float32, label (B, D, H, W) uint8; `indices` are the draws of the epoch it holds; `maps`
    of the labels, each (B, D, H, W) float16.

    Seconds, their squares and CPU seconds are summed over its samples, measured where they were loaded.
    """

    image: Tensor
    label: Tensor
    indices: list[int]
    load_seconds: float
    load_squares: float = 0.0
    load_cpu: float = 0.0
    maps: dict[str, Tensor] = {}


class Volumes(Dataset[Item]):
    """Subjects, or patches of them, by (epoch, draw). `transform` may change a sample, drawing from the generator it is
    given; `want` says which maps of the label come along, and whether patches look for foreground.

    `cache`: disk maps prepared volumes; ram keeps a copy of each in the process that first loads it, for good; none
    reads and prepares the source files every time, which `prepare` says how.
    """

    def __init__(
        self, subjects: Sequence[Subject], seed: int = 0, transform: Transform | None = None, cache: str = "disk",
        prepare: Prepare | None = None, patch: Patch | None = None, want: Wanted | None = None,
    ) -> None:
        self.subjects = tuple(subjects)
        self._seed = seed
        self._transform = transform
        self._patch = patch or Patch()
        self._source = Source(self.subjects, cache, prepare or Prepare(), want or Wanted())

    def __len__(self) -> int:
        return len(self.subjects)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one sample, voxels; of whole volumes of several shapes, the first one's."""
        if not self._patch.whole:
            return self._patch.shape
        d, h, w = self._source[0].volume.label.shape
        return int(d), int(h), int(w)

    @property
    def voxels(self) -> int:
        """Of one sample."""
        d, h, w = self.shape
        return d * h * w

    def loaded(self, index: int) -> Loaded:
        """A subject, mapped where it is. Raises DataError as loading it does."""
        return self._source[index]

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """Raises DataError if the volume is not there or not right."""
        began, cpu = time.perf_counter(), time.thread_time()
        epoch, draw = key
        subject = self._source[draw % len(self.subjects)]
        rng = seeds.sample_generator(self._seed, epoch, draw)
        cut = () if self._patch.whole else placed(subject, self._patch, rng)
        image, label = _lying(subject.volume, cut)
        maps: Maps = {name: decoded(name, one[cut]) for name, one in subject.maps.items()}
        if isinstance(self._transform, Chain):
            image, label, maps = self._transform.with_maps(image, label, maps, rng)
        elif self._transform is not None:
            image, label = self._transform(image.copy(), label.copy(), rng)
        return _item(image, label, maps, draw, began, cpu)


def placed(subject: Loaded, patch: Patch, rng: Generator) -> Cut:
    """Where a patch is cut: about a voxel of foreground with the probability `patch.foreground`, anywhere otherwise;
    always inside the volume, which is no smaller than the patch."""
    shape = subject.volume.label.shape
    room = [side - part for side, part in zip(shape, patch.shape, strict=True)]
    places = subject.places
    if places is not None and len(places) and rng.random() < patch.foreground:
        centre = np.unravel_index(int(places[rng.integers(len(places))]), shape)
        corner = [
            min(max(0, int(place) - part // 2), most)
            for place, part, most in zip(centre, patch.shape, room, strict=True)
        ]
    else:
        corner = [int(rng.integers(most + 1)) for most in room]
    return tuple(slice(low, low + part) for low, part in zip(corner, patch.shape, strict=True))


def _lying(volume: Volume, cut: Cut) -> Arrays:
    """A part of both arrays where they lie, read-only: what changes it makes its own, and what nothing has changed is
    copied once, at the end. An image of another type than a sample's is copied here."""
    label = np.asarray(volume.label[cut], dtype=np.uint8).view()
    label.setflags(write=False)
    if volume.image.dtype != np.float32 or (volume.low, volume.high) != (0.0, 1.0):
        return volume.floats(cut), label
    image = np.asarray(volume.image[cut]).view()
    image.setflags(write=False)
    return image, label


def _item(
    image: NDArray[np.float32], label: NDArray[np.uint8], maps: Maps, draw: int, began: float, cpu: float
) -> Item:
    """`began`, `cpu`: this thread's clocks before it was loaded. Mapped pages that nothing has read yet are read here,
    where it is timed."""
    image_tensor = torch.from_numpy(np.require(image, np.float32, OWN))[None]
    label_tensor = torch.from_numpy(np.require(label, np.uint8, OWN))
    made = {name: torch.from_numpy(np.require(one, np.float16, OWN)) for name, one in maps.items()}
    return Item(image_tensor, label_tensor, draw, time.perf_counter() - began, time.thread_time() - cpu, made)


class Patches(Dataset[Item]):
    """`per_volume` patches, cut as `patch` says (of half a volume's sides, anywhere, where it says nothing), the same
    ones every time, by (epoch, number). Only the patch is read of a mapped volume."""

    def __init__(self, volumes: Volumes, per_volume: int, seed: int, patch: Patch | None = None) -> None:
        self._volumes = volumes
        self._per_volume = per_volume
        self._seed = seed
        self._patch = patch or Patch()

    def __len__(self) -> int:
        return len(self._volumes) * self._per_volume

    def __getitem__(self, key: tuple[int, int]) -> Item:
        began, cpu = time.perf_counter(), time.thread_time()
        _, number = key
        subject = self._volumes.loaded(number // self._per_volume)
        volume, patch = subject.volume, self._patch
        if patch.whole:
            d, h, w = (max(1, side // 2) for side in volume.label.shape)
            patch = Patch(shape=(d, h, w))
        cut = placed(subject, patch, seeds.sample_generator(self._seed, 0, number))
        return _item(volume.floats(cut), np.array(volume.label[cut]), {}, number, began, cpu)


def collate(items: list[Item]) -> Batch:
    """Items of one shape, one behind the other. In a worker they are put into shared memory as they are put together,
    not once more on their way to the trainer."""
    return Batch(
        default_collate([item.image for item in items]), default_collate([item.label for item in items]),
        [item.draw for item in items], sum(item.seconds for item in items), sum(item.seconds**2 for item in items),
        sum(item.cpu_seconds for item in items),
        {name: default_collate([item.maps[name] for item in items]) for name in items[0].maps},
    )
