"""Samples for the loop, in an order that seed and epoch decide, from processes that load ahead of it."""

from __future__ import annotations

import ctypes
import gc
import signal
import time
from collections.abc import Iterator, Sequence, Sized
from contextlib import suppress
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from engine.config.profile import Profile
from engine.training import seeds
from engine.training.samples import Batch, Collate, Item, collate as stacked
from engine.training.trays import Carried, Trays

# A worker in the middle of a long sample is given this long to end by itself.
PATIENCE_SECONDS = 1.0
POLL_SECONDS = 0.01
M_MMAP_THRESHOLD = -3
Draw = tuple[int, int]


class Order(Sampler[list[Draw]]):
    """Batches of (epoch, draw). A draw below `count` is that sample; an epoch longer than the data goes through it
    again in another order, and its draws count on.

    `endless`: epoch after epoch without a pause. Otherwise the one that was begun.
    """

    def __init__(self, count: int, draws: int, batch_size: int, seed: int, endless: bool) -> None:
        self._count, self._draws, self._batch_size = count, draws, batch_size
        self._seed = seed
        self._endless = endless
        self._epoch = 1
        self._seen: frozenset[int] = frozenset()
        self._ended = False
        # Given to the workers and not handed out yet: epoch and draws of each batch, in the order they were given.
        self.given: list[tuple[int, list[int]]] = []

    def begin(self, epoch: int, seen: Sequence[int] = ()) -> None:
        """`seen`: draws of this epoch that the training has had already."""
        self._epoch, self._seen = epoch, frozenset(seen)
        self.given = []

    def end(self) -> None:
        """Give no more."""
        self._ended = True

    def arrived(self, draws: list[int]) -> None:
        """A batch is handed out: the oldest one of these draws."""
        for place, (_, given) in enumerate(self.given):
            if given == draws:
                del self.given[place]
                return

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, seen = self._epoch, self._seen
        while True:
            left = [draw for draw in self._order(epoch) if draw not in seen]
            for first in range(0, len(left), self._batch_size):
                if self._ended:
                    return
                draws = left[first : first + self._batch_size]
                self.given.append((epoch, draws))
                yield [(epoch, draw) for draw in draws]
            if not self._endless:
                return
            epoch, seen = epoch + 1, frozenset()

    def batches(self, seen: int) -> int:
        """How many are left of an epoch of which so many draws are done."""
        return -(-(self._draws - seen) // self._batch_size)

    def _order(self, epoch: int) -> list[int]:
        order: list[int] = []
        for turn in range(-(-self._draws // self._count)):
            order += [turn * self._count + i for i in seeds.permutation(self._seed, epoch, self._count, turn)]
        return order[: self._draws]


class Feed:
    """Batches of one run, with the workers that load them. Nothing it does draws from the global generators.

    Persistent workers load on into the next epoch while this one ends; otherwise each epoch starts its own.
    """

    def __init__(
        self, samples: Dataset[Item], profile: Profile, seed: int, device_type: str, draws: int = 0,
        collate: Collate = stacked,
    ) -> None:
        """`draws`: samples in an epoch, 0 for each once."""
        workers, in_order = int(profile["num_workers"]), bool(profile["in_order"])
        pinned = bool(profile["pin_memory"]) and device_type == "cuda"
        self._collate = collate
        # For what workers have ready or under way, and for the batch that is trained on. None where a device itself
        # reads shared memory, later perhaps than this process lets go of it; page-locked memory is a copy.
        safe = workers and (pinned or device_type == "cpu")
        self._trays = workers * int(profile["prefetch_factor"]) + 1 if safe else 0
        # Out of order, a batch of the next epoch could come before the last one of this.
        self._endless = in_order and (workers == 0 or bool(profile["persistent_workers"]))
        count = len(cast(Sized, samples))
        self._order = Order(count, draws or count, int(profile["batch_size"]), seed, self._endless)
        with_workers: dict[str, Any] = {
            "prefetch_factor": int(profile["prefetch_factor"]),
            "persistent_workers": bool(profile["persistent_workers"]),
            "multiprocessing_context": str(profile["multiprocessing_context"]),
            "in_order": in_order,
            "worker_init_fn": start_worker,
        }
        self._loader: DataLoader[Item] | None = DataLoader(
            samples, batch_sampler=self._order, num_workers=workers, collate_fn=collate, pin_memory=pinned,
            generator=seeds.loader_generator(seed), **(with_workers if workers else {}),
        )
        self._batches: Iterator[Batch] | None = None
        self._next: tuple[int, tuple[int, ...]] | None = None

    def start(self, epoch: int, seen: Sequence[int] = ()) -> None:
        """Let the workers begin with an epoch; `epoch` then hands its batches out."""
        assert self._loader is not None
        self._batches = None
        self._lay_trays(self._loader)
        self._order.begin(epoch, seen)
        self._batches = iter(self._loader)
        self._next = (epoch, tuple(seen))

    def _lay_trays(self, loader: DataLoader[Item]) -> None:
        """For workers that start now: what former ones had not handed over is lost with them, and its trays are."""
        kept = loader.persistent_workers and isinstance(loader.collate_fn, Carried)
        if self._trays and not kept:
            with suppress(OSError):  # no such memory: torch sends batches its own way
                loader.collate_fn = Carried(self._collate, Trays(self._trays))

    def epoch(self, epoch: int, seen: Sequence[int] = ()) -> Iterator[Batch]:
        """The rest of an epoch. The workers go on where they are if that is what they load."""
        if self._next != (epoch, tuple(seen)) or self._batches is None:
            self.start(epoch, seen)
        self._next = None
        return self._hand_out(epoch, self._order.batches(len(seen)))

    def _hand_out(self, epoch: int, count: int) -> Iterator[Batch]:
        for left in range(count, 0, -1):
            if left == 1 and self._endless:
                self._next = (epoch + 1, ())
            yield self.another()  # kept nowhere here: its memory is the next batch's

    def another(self) -> Batch:
        """The next batch, whatever epoch it belongs to."""
        assert self._batches is not None
        batch = next(self._batches)
        self._order.arrived(batch.indices)
        return batch

    def let_out(self, epoch: int) -> list[list[int]]:
        """Give the workers nothing more. The draws of each batch of `epoch` that they have been given: `another` still
        hands out as many."""
        self._order.end()
        return [draws for of, draws in self._order.given if of == epoch] if self.workers else []

    @property
    def workers(self) -> list[int]:
        """Pids of the processes that load."""
        return [worker.pid for worker in getattr(self._batches, "_workers", ()) if worker.pid]

    def close(self) -> None:
        """End the workers: torch does it when nothing refers to the iterator and its loader any more."""
        if self._batches is not None:
            hurry(self._batches)
        self._batches = self._loader = None


def scoring(
    samples: Dataset[Item], indices: Sequence[int], profile: Profile, collate: Collate = stacked
) -> DataLoader[Item]:
    """Batches of `indices`, in their order, for validation and test; their workers end with the iterator."""
    workers = int(profile["val_num_workers"])
    context: dict[str, Any] = {
        "multiprocessing_context": str(profile["multiprocessing_context"]), "worker_init_fn": start_worker,
    }
    return DataLoader(
        samples, batch_size=int(profile["val_batch_size"]), sampler=[(0, index) for index in indices],
        num_workers=workers, collate_fn=collate, generator=seeds.loader_generator(0), **(context if workers else {}),
    )


def hurry(batches: Any) -> None:
    """End workers that are busy with a long sample. torch would wait five seconds for each of them, one by one."""
    workers = [worker for worker in getattr(batches, "_workers", ()) if worker.is_alive()]
    with suppress(AttributeError, OSError):  # torch's own parts: without them its own way, slowly
        batches._workers_done_event.set()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for number, waits in enumerate(batches._workers_status):
            if waits or batches._persistent_workers:
                batches._mark_worker_as_unavailable(number, shutdown=True)
        while time.monotonic() < deadline and any(worker.is_alive() for worker in workers):
            time.sleep(POLL_SECONDS)
        if any(worker.is_alive() for worker in workers):
            # Otherwise torch takes a worker ended here for one that died.
            torch._C._remove_worker_pids(id(batches))
            batches._worker_pids_set = False
            for worker in workers:
                worker.terminate()


def start_worker(_worker: int) -> None:
    """A worker leaves Ctrl-C and Slurm's warning to the trainer and computes on one thread. Its SIGTERM is torch's own
    by now, not the trainer's flag, so it can be ended."""
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    # A full collection writes to every object, and of those shared with the trainer since the fork makes copies.
    gc.freeze()
    give_back_memory()


def give_back_memory() -> None:
    """Let a large block be the kernel's again when it is freed.

    glibc raises the size from which that happens to the one of the first such block it sees freed, up to 32 MiB, and
    keeps smaller ones from then on. Loading samples of 8 MiB a worker came to hold 1.0 GiB so, of 23 MiB 3.0 GiB (glibc
    2.36); with glibc's first value fixed they were 22 and 32 MiB, for 0.2 ms more a sample at most.
    """
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 128 << 10)
