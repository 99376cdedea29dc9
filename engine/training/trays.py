"""Memory that a trainer and its loader's workers share, written to again for one batch after the other.

New shared memory costs more than what is put into it: of a patch of 96³ the first write to its pages takes 3.4 ms, the
copying 0.1 to 0.6 (python -m tests.benchmarks.new_memory; AMD EPYC 9004, Linux 6.18). So a batch travels in a tray:
a worker takes a free one and writes the batch into it, and it is free again when the trainer holds nothing of it.
"""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
import weakref
from contextlib import suppress
from math import prod
from mmap import PAGESIZE, mmap
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from engine.training.samples import Batch, Collate, ordinary

# A file without a name, as torch's own shared tensors are.
FOLDER = Path("/dev/shm")  # noqa: S108
# Bytes from tray to tray in that file, of which only what was written to is there. No batch is larger.
STRIDE = 1 << 36
# A number in the pipe of free trays, bytes. So few are written, and read, at one stroke: processes need no lock.
WORD = 4
IDS = itertools.count()


class Where(NamedTuple):
    """A tensor's place in a tray. `offset`: bytes from its beginning."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        return cls(int(tensor.storage_offset()) * tensor.itemsize, tuple(tensor.shape), tensor.dtype)

    def within(self, memory: Tensor) -> Tensor:
        end = self.offset + prod(self.shape) * self.dtype.itemsize
        return memory[self.offset : end].view(self.dtype).view(self.shape)


class Descriptor:
    """Of an open file, which is closed when nothing refers to this any more."""

    def __init__(self, number: int) -> None:
        self.number = number
        weakref.finalize(self, os.close, number).atexit = False


class Pipe:
    """Numbers of free trays. Neither end, a file's descriptor, ever waits."""

    def __init__(self, reading: int, writing: int) -> None:
        self.ends = self._reading, self._writing = Descriptor(reading), Descriptor(writing)
        for number in (reading, writing):
            os.set_blocking(number, False)

    def get(self) -> int | None:
        try:
            return int.from_bytes(os.read(self._reading.number, WORD))
        except BlockingIOError:
            return None

    def put(self, number: int) -> None:
        with suppress(BlockingIOError):  # full: one tray less
            os.write(self._writing.number, number.to_bytes(WORD))


class Trays:
    """`count` of them, made by the trainer; its workers get it as they get their dataset, forked or spawned. Raises
    OSError where no such memory can be made."""

    def __init__(self, count: int) -> None:
        number, name = tempfile.mkstemp(dir=FOLDER)
        self._memory = Descriptor(number)
        Path(name).unlink()
        os.ftruncate(number, count * STRIDE)
        # First in, first out: all of them are written to within the first few batches, and no more memory later on.
        self._free = Pipe(*os.pipe())
        for tray in range(count):
            self._free.put(tray)
        self._mapped: dict[int, mmap] = {}
        self.id = next(IDS)
        OPEN[self.id] = self

    def take(self, size: int) -> tuple[int, Tensor] | None:
        """In a worker: a free tray's number and so many bytes of it. None if none is free, or the memory is full."""
        if (number := self._free.get()) is None:
            return None
        try:
            mapped = self._map(number, size, fill=True)
        except OSError:
            self._free.put(number)
            return None
        return number, torch.from_numpy(np.frombuffer(mapped, np.uint8, size))

    def hold(self, number: int, size: int) -> Tensor:
        """In the trainer: a tray that has come. It is free again when nothing refers to this tensor's storage any more:
        no view of it, and nothing that autograd keeps."""
        array = np.frombuffer(self._map(number, size), np.uint8, size)
        # As long as torch has the storage it refers to the array.
        weakref.finalize(array, _let_go, self._free, number, os.getpid()).atexit = False
        return torch.from_numpy(array)

    def _map(self, number: int, size: int, fill: bool = False) -> mmap:
        """`fill`: with pages, so that memory that is full is an error here and not a signal at the first write. Raises
        OSError."""
        found = self._mapped.get(number)
        if found is None or len(found) < size:
            at, length = number * STRIDE, -(-size // PAGESIZE) * PAGESIZE
            if length > STRIDE:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            if fill:
                os.posix_fallocate(self._memory.number, at, length)
            found = self._mapped[number] = mmap(self._memory.number, length, offset=at)
        return found

    def __getstate__(self) -> dict[str, Any]:
        """For a spawned worker, which maps them itself."""
        opened = (self._memory, *self._free.ends)
        return {"id": self.id, "files": [DupFd(one.number) for one in opened]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        memory, *ends = (one.detach() for one in state["files"])
        self.id, self._mapped = state["id"], {}
        self._memory, self._free = Descriptor(memory), Pipe(*ends)


# The trainer's, by their number, which is what a batch that comes says.
OPEN: weakref.WeakValueDictionary[int, Trays] = weakref.WeakValueDictionary()


def _let_go(free: Pipe, number: int, trainer: int) -> None:
    """A process that was forked meanwhile has the batch too, and no say in it."""
    if os.getpid() == trainer:
        free.put(number)


class Carried:
    """`collate` for workers: its batches go in trays, or as torch sends them where none is free."""

    def __init__(self, collate: Collate, trays: Trays) -> None:
        self._collate = collate
        self._trays = trays

    def __call__(self, items: Any) -> Batch | Sent:
        taken: list[tuple[int, int]] = []

        def room(size: int) -> Tensor:
            if (tray := self._trays.take(size)) is None:
                return ordinary(size)
            taken.append((tray[0], size))
            return tray[1]

        batch = self._collate(items, room)
        return Sent(batch, self._trays.id, *taken[0]) if taken else batch


class Sent:
    """A batch in a tray, on its way to the trainer: unpickled it is a Batch."""

    def __init__(self, batch: Batch, trays: int, number: int, size: int) -> None:
        self._batch = batch
        self._tray = trays, number, size

    def __reduce__(self) -> tuple[Any, ...]:
        image, label, *rest, maps = self._batch
        places = {name: Where.of(one) for name, one in maps.items()}
        return _received, (self._tray, Where.of(image), Where.of(label), tuple(rest), places)


def _received(
    tray: tuple[int, int, int], image: Where, label: Where, rest: tuple[list[int], float, float, float],
    maps: dict[str, Where],
) -> Batch:
    trays, number, size = tray
    memory = OPEN[trays].hold(number, size)
    found = {name: where.within(memory) for name, where in maps.items()}
    return Batch(image.within(memory), label.within(memory), *rest, found)
