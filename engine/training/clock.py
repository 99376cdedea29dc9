"""When the device reaches a point of its work, and small numbers it computed, without ever waiting for it.

A CPU is asked for the time. A CUDA device works through a queue of its own: a mark is an event put into that queue, and
is asked later, with `query()`, whether it has been passed. Only `wait` blocks; it is for the ends of epochs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

# A step keeps its loss, the terms of it and the norm of its gradients; so many steps' are pending at most
# (recorder.PENDING) with room to spare.
RING = 16_384


class Clock(Protocol):
    """`mark` and `keep` are put into the device's queue in the order of the calls; `passed` and `kept` look them up."""

    def mark(self) -> Any: ...

    def passed(self, mark: Any) -> bool: ...

    def seconds(self, begin: Any, end: Any) -> float:
        """Device time between two passed marks."""

    def release(self, marks: Iterable[Any]) -> None:
        """These marks are no longer needed."""

    def keep(self, number: Tensor) -> Any:
        """Copy a one-element tensor, detached from any graph, to the host."""

    def kept(self, slot: Any) -> float:
        """The number, once a mark made after `keep` has been passed."""

    def wait(self) -> None:
        """Until the device has done all it was given: a host-device synchronisation."""


class HostClock:
    """For devices that have finished when the call returns."""

    def mark(self) -> float:
        return time.perf_counter()

    def passed(self, mark: float) -> bool:  # noqa: ARG002
        return True

    def seconds(self, begin: float, end: float) -> float:
        return end - begin

    def release(self, marks: Iterable[float]) -> None:
        pass

    def keep(self, number: Tensor) -> Tensor:
        return number

    def kept(self, slot: Tensor) -> float:
        return slot.item()

    def wait(self) -> None:
        pass


class CudaClock:
    """Events from a pool, and a ring of page-locked numbers that copies go to on their own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: list[torch.cuda.Event] = []
        ring = torch.zeros(RING, dtype=torch.float32, pin_memory=True)
        self._cells = list(ring.unbind())
        self._numbers = ring.numpy()
        self._next = 0

    def mark(self) -> torch.cuda.Event:
        event = self._pool.pop() if self._pool else torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def passed(self, mark: torch.cuda.Event) -> bool:
        return bool(mark.query())  # type: ignore[no-untyped-call]

    def seconds(self, begin: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return float(begin.elapsed_time(end)) / 1000

    def release(self, marks: Iterable[torch.cuda.Event]) -> None:
        self._pool.extend(marks)

    def keep(self, number: Tensor) -> int:
        """At most RING numbers may be kept before the first is read; the recorder stays far below."""
        slot = self._next
        self._next = (slot + 1) % RING
        self._cells[slot].copy_(number, non_blocking=True)
        return slot

    def kept(self, slot: int) -> float:
        return float(self._numbers[slot])

    def wait(self) -> None:
        torch.cuda.synchronize(self._device)


def clock_for(device: torch.device) -> Clock:
    """MPS gets the host's clock: its queue is waited for when the loss is read, so its spans show launching only."""
    return CudaClock(device) if device.type == "cuda" else HostClock()
