"""What is loaded: one subject or patch at a time, from where the knob `cache` says, and timed where it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from engine.config.prepared import Subject
from engine.config.tables import Patch, Prepare
from engine.errors import DataError
from engine.training import seeds
from engine.training.augment import Arrays as Arrays, Transform
from engine.training.augment.chain import Chain, Maps
from engine.training.data.maps import Wanted, decoded
from engine.training.data.opened import Volume
from engine.training.data.source import Loaded, Source

Cut = tuple[slice, ...]
# So many bytes of memory for a batch, uint8.
Room: TypeAlias = Callable[[int], Tensor]
ALIGNED_BYTES = 64


class Item(NamedTuple):
    """One sample, where it lies: image float32, label uint8, `maps` of the label, each (D, H, W). They may be parts of
    the volume itself, read-only and mapped; `collate` copies them. The seconds and CPU seconds it took so far."""

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    draw: int
    seconds: float
    cpu_seconds: float
    maps: Maps = {}


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


class Collate(Protocol):
    """What a dataset gave as a batch, in memory from `room` if it puts one together."""

    def __call__(self, items: Any, room: Room = ..., /) -> Batch: ...


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
        return Item(image, label, draw, time.perf_counter() - began, time.thread_time() - cpu, maps)


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
    """A part of both arrays where they lie, read-only: what changes it makes its own. An image of another type than a
    sample's is copied here."""
    label = np.asarray(volume.label[cut], dtype=np.uint8).view()
    label.setflags(write=False)
    if volume.image.dtype != np.float32 or (volume.low, volume.high) != (0.0, 1.0):
        return volume.floats(cut), label
    image = np.asarray(volume.image[cut]).view()
    image.setflags(write=False)
    return image, label


def ordinary(size: int) -> Tensor:
    """In a worker memory that is shared with the trainer, as torch's own batches are."""
    if get_worker_info() is None:
        return torch.empty(size, dtype=torch.uint8)
    shared: Any = torch.UntypedStorage
    return torch.empty(0, dtype=torch.uint8).set_(shared._new_shared(size))


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
        image, label = _lying(volume, cut)
        return Item(image, label, number, time.perf_counter() - began, time.thread_time() - cpu)


def collate(items: Sequence[Item], room: Room = ordinary) -> Batch:
    """Items of one shape, one behind the other: the one time that what no augmentation has changed is copied. Mapped
    pages that nothing has read yet are read here, which counts as loading. Raises DataError for several shapes."""
    count, shape = len(items), items[0].label.shape
    kinds = [((count, 1, *shape), torch.float32), ((count, *shape), torch.uint8)]
    image, label, *others = _laid(room, [*kinds, *[((count, *shape), torch.float16)] * len(items[0].maps)])
    maps = dict(zip(items[0].maps, others, strict=True))
    wholes = [whole.numpy() for whole in (image[:, 0], label, *others)]
    seconds, squares, spent = 0.0, 0.0, 0.0
    for number, item in enumerate(items):
        began, cpu = time.perf_counter(), time.thread_time()
        parts: list[NDArray[Any]] = [item.image, item.label, *(item.maps[name] for name in maps)]
        for whole, part in zip(wholes, parts, strict=True):
            if part.shape != shape:
                raise DataError(f"samples of {shape} and {part.shape} voxels make no batch")
            np.copyto(whole[number], part, casting="unsafe")
        took = item.seconds + time.perf_counter() - began
        seconds, squares, spent = seconds + took, squares + took**2, spent + item.cpu_seconds + time.thread_time() - cpu
    return Batch(image, label, [item.draw for item in items], seconds, squares, spent, maps)


def _laid(room: Room, kinds: Sequence[tuple[tuple[int, ...], torch.dtype]]) -> list[Tensor]:
    """Tensors of these shapes in the same memory, not filled."""
    sizes = [prod(shape) * kind.itemsize for shape, kind in kinds]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // ALIGNED_BYTES) * ALIGNED_BYTES)
    memory = room(starts[-1])
    return [
        memory[start : start + size].view(kind).view(shape)
        for start, size, (shape, kind) in zip(starts, sizes, kinds, strict=False)
    ]
