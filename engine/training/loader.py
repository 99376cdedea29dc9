"""Samples for the loop: prepared volumes, memory-mapped once per process, in an order that seed and epoch decide."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from engine.experiment import Subject
from engine.profile import Profile
from engine.training import seeds
from engine.training.data.cache import open_case

Arrays = tuple[NDArray[np.float32], NDArray[np.uint8]]
Transform = Callable[[NDArray[np.float32], NDArray[np.uint8], Generator], Arrays]


class Item(NamedTuple):
    """One subject: image (1, D, H, W) float32, label (D, H, W) uint8, and the seconds it took to load."""

    image: Tensor
    label: Tensor
    subject: int
    seconds: float


class Batch(NamedTuple):
    """image (B, 1, D, H, W) float32, label (B, D, H, W) uint8; `load_seconds` was measured where it was loaded."""

    image: Tensor
    label: Tensor
    indices: list[int]
    load_seconds: float


class Volumes(Dataset[Item]):
    """Prepared subjects by (epoch, index). `transform` may change a sample, drawing from the generator it is given."""

    def __init__(self, subjects: Sequence[Subject], seed: int = 0, transform: Transform | None = None) -> None:
        self.subjects = tuple(subjects)
        self._seed = seed
        self._transform = transform
        self._open: dict[int, Arrays] = {}

    def __len__(self) -> int:
        return len(self.subjects)

    @property
    def voxels(self) -> int:
        """Of one sample."""
        return int(open_case(Path(self.subjects[0].folder))[0].size)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """Raises DataError if the prepared volume is not there or not right."""
        began = time.perf_counter()
        epoch, index = key
        if index not in self._open:
            self._open[index] = open_case(Path(self.subjects[index].folder))
        image, label = self._open[index]
        if self._transform is not None:
            image, label = self._transform(
                np.array(image), np.array(label), seeds.sample_generator(self._seed, epoch, index)
            )
        # Copies: reading the mapped pages is the work of loading, and happens here, where it is timed.
        image_tensor = torch.from_numpy(np.array(image, dtype=np.float32))[None]
        label_tensor = torch.from_numpy(np.array(label, dtype=np.uint8))
        return Item(image_tensor, label_tensor, index, time.perf_counter() - began)

    def __getstate__(self) -> dict[str, Any]:
        """Memory maps stay behind: a spawned worker opens its own."""
        return self.__dict__ | {"_open": {}}


class Order(Sampler[tuple[int, int]]):
    """This epoch's permutation, without the samples that were seen before the run was interrupted."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._epoch = 1
        self._seen: frozenset[int] = frozenset()

    def begin(self, epoch: int, seen: Sequence[int] = ()) -> None:
        self._epoch, self._seen = epoch, frozenset(seen)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = seeds.permutation(self._seed, self._epoch, self._count)
        return iter([(self._epoch, index) for index in order if index not in self._seen])

    def __len__(self) -> int:
        return self._count - len(self._seen)


class Feed:
    """Batches of one run, with the workers that load them. Nothing it does draws from the global generators."""

    def __init__(self, volumes: Volumes, profile: Profile, seed: int, device_type: str) -> None:
        self._order = Order(len(volumes), seed)
        workers = int(profile["num_workers"])
        with_workers: dict[str, Any] = {
            "prefetch_factor": int(profile["prefetch_factor"]),
            "persistent_workers": bool(profile["persistent_workers"]),
            "multiprocessing_context": str(profile["multiprocessing_context"]),
            "in_order": bool(profile["in_order"]),
            "worker_init_fn": start_worker,
        }
        self._loader: DataLoader[Item] | None = DataLoader(
            volumes, batch_size=int(profile["batch_size"]), sampler=self._order, num_workers=workers,
            collate_fn=collate, pin_memory=bool(profile["pin_memory"]) and device_type == "cuda",
            generator=seeds.loader_generator(seed), **(with_workers if workers else {}),
        )
        self._batches: Iterator[Batch] | None = None
        self._begun: tuple[int, tuple[int, ...]] | None = None

    def start(self, epoch: int, seen: Sequence[int] = ()) -> None:
        """Let the workers begin with an epoch; `epoch` then hands its batches out."""
        assert self._loader is not None
        self._batches = None
        self._order.begin(epoch, seen)
        self._batches = iter(self._loader)
        self._begun = (epoch, tuple(seen))

    def epoch(self, epoch: int, seen: Sequence[int] = ()) -> Iterator[Batch]:
        """The rest of an epoch."""
        if self._begun != (epoch, tuple(seen)) or self._batches is None:
            self.start(epoch, seen)
        self._begun = None
        assert self._batches is not None
        return self._batches

    def close(self) -> None:
        """End the workers: torch does it when nothing refers to the iterator and its loader any more."""
        self._batches = self._loader = None


def collate(items: list[Item]) -> Batch:
    """Items of one shape, one behind the other."""
    return Batch(
        torch.stack([item.image for item in items]), torch.stack([item.label for item in items]),
        [item.subject for item in items], sum(item.seconds for item in items),
    )


def start_worker(_worker: int) -> None:
    """A worker leaves Ctrl-C to the trainer and computes on one thread. Its SIGTERM is torch's own by now, not the
    trainer's flag, so it can be ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
