"""Sequences for the loop: a batch is one look into a mapped array, not so many samples put together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from engine.training.data import tokens
from engine.training.data.tokens import Sequences
from engine.training.samples import Batch, Room, ordinary


class Rows(Dataset[Any]):
    """All rows of a prepared array but those from `first` to `last` (exclusive), by (epoch, draw).

    A batch's `image` is tokens uint8 (B, MAX_LENGTH), its `label` targets int32 (B,), all 0 unless `targeted`.
    """

    def __init__(self, folder: Path, first: int, last: int, targeted: bool = False) -> None:
        self.folder = folder
        self._first, self._skipped = first, last - first
        self._targeted = targeted
        self._open: Sequences | None = None
        self._count = len(self._sequences.tokens) - self._skipped

    def __len__(self) -> int:
        return self._count

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """torch asks for a whole batch at once where this is there. Raises DataError."""
        began, cpu = time.perf_counter(), time.thread_time()
        draws = [draw for _epoch, draw in keys]
        rows = np.array(draws, dtype=np.int64) % self._count
        rows += (rows >= self._first) * self._skipped
        found = self._sequences
        image = torch.from_numpy(found.tokens[rows])
        targets = found.targets[rows].astype(np.int32) if self._targeted else np.zeros(len(rows), dtype=np.int32)
        label = torch.from_numpy(targets)
        seconds = time.perf_counter() - began
        return Batch(image, label, draws, seconds, seconds**2 / len(draws), time.thread_time() - cpu)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        return self.__getitems__([key])

    @property
    def _sequences(self) -> Sequences:
        if self._open is None:
            self._open = tokens.opened(self.folder)
        return self._open

    def __getstate__(self) -> dict[str, Any]:
        """A spawned worker maps the array itself."""
        return self.__dict__ | {"_open": None}


def whole(batch: Batch, _room: Room = ordinary) -> Batch:
    """What `__getitems__` gives is a batch already."""
    return batch
