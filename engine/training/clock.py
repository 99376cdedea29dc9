"""When the device reaches a point of its work, and what it computed by then, without ever waiting for it.

A CPU is asked for the time. A CUDA device works through a queue of its own: a mark is an event put into that queue, and
is asked later, with `query()`, whether it has been passed. Only `wait` blocks; it is for the ends of epochs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.training.losses import Parts

# Of a step: its loss, its loss's terms, the norm of its gradients.
Numbers = tuple[float | None, dict[str, float], float | None]
NOTHING: Numbers = None, {}, None
# A step keeps its loss, the terms of it and the norm of its gradients; so many steps' are pending at most
# (recorder.PENDING) with room to spare.
RING = 16_384


class Clock(Protocol):
    """`mark` and `keep` are put into the device's queue in the order of the calls. `asynchronous`: the device works on
    while the host does something else, so that their seconds may add up to more than passed."""

    asynchronous: bool

    def mark(self) -> Any: ...

    def seconds(self, begin: Any, end: Any) -> float:
        """Device time between two passed marks."""

    def release(self, marks: Iterable[Any]) -> None:
        """These marks are no longer needed."""

    def keep(self, loss: Parts | None, norm: Tensor | None) -> Any:
        """Copy a step's loss, its terms and its gradients' norm to the host: the end of a step."""

    def arrived(self, kept: Any) -> bool:
        """Whether the device has passed that end, and with it all marks before."""

    def numbers(self, kept: Any) -> Numbers:
        """What arrived; looked up once."""

    def wait(self) -> None:
        """Until the device has done all it was given: a host-device synchronisation."""


class HostClock:
    """For a CPU, which has finished when the call returns."""

    asynchronous = False

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, begin: float, end: float) -> float:
        return end - begin

    def release(self, marks: Iterable[float]) -> None:
        pass

    def keep(self, loss: Parts | None, norm: Tensor | None) -> Any:
        # At once: a tensor that waits for its line costs several times as much, being out of the caches by then.
        if loss is None:
            return NOTHING
        terms: dict[str, float] = {}
        for name, value in loss.terms.items():  # a comprehension is a function of its own, called cold
            terms[name] = value.item()
        return loss.total.item(), terms, None if norm is None else norm.item()

    def arrived(self, kept: Any) -> bool:  # noqa: ARG002
        return True

    def numbers(self, kept: Any) -> Numbers:
        found: Numbers = kept
        return found

    def wait(self) -> None:
        pass


class LateClock(HostClock):
    """The host's time for a device whose queue cannot be asked (MPS): laps show the launching only, and numbers stay on
    the device until they are looked up, which waits for it."""

    def keep(self, loss: Parts | None, norm: Tensor | None) -> Any:
        return None if loss is None else (loss._replace(total=loss.total.detach()), norm)

    def numbers(self, kept: Any) -> Numbers:
        return super().numbers(super().keep(*(kept or (None, None))))


class CudaClock:
    """Events from a pool, and a ring of page-locked numbers that copies go to on their own."""

    asynchronous = True

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: list[torch.cuda.Event] = []
        ring = torch.zeros(RING, dtype=torch.float32, pin_memory=True)
        self._cells = list(ring.unbind())
        self._numbers = ring.numpy()
        self._next = 0

    def mark(self) -> torch.cuda.Event:
        event = self._pool.pop() if self._pool else torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        # Without a stream it would be that of the process's current device, which need not be the one that computes.
        event.record(torch.cuda.current_stream(self._device))
        return event

    def seconds(self, begin: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return float(begin.elapsed_time(end)) / 1000

    def release(self, marks: Iterable[torch.cuda.Event]) -> None:
        self._pool.extend(marks)

    def keep(self, loss: Parts | None, norm: Tensor | None) -> Any:
        total = None if loss is None else self._copy(loss.total)
        terms = {} if loss is None else {name: self._copy(value) for name, value in loss.terms.items()}
        gradients = None if norm is None else self._copy(norm)
        return self.mark(), total, terms, gradients

    def _copy(self, number: Tensor) -> int:
        """At most RING numbers may be kept before the first is read; the recorder stays far below."""
        slot = self._next
        self._next = (slot + 1) % RING
        self._cells[slot].copy_(number.detach(), non_blocking=True)
        return slot

    def arrived(self, kept: Any) -> bool:
        return bool(kept[0].query())

    def numbers(self, kept: Any) -> Numbers:
        mark, total, terms, norm = kept
        self._pool.append(mark)
        found = self._numbers
        return (
            None if total is None else float(found[total]),
            {name: float(found[slot]) for name, slot in terms.items()},
            None if norm is None else float(found[norm]),
        )

    def wait(self) -> None:
        torch.cuda.synchronize(self._device)


def clock_for(device: torch.device) -> Clock:
    if device.type == "cuda":
        return CudaClock(device)
    return HostClock() if device.type == "cpu" else LateClock()
