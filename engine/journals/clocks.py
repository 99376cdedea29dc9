"""Which of two things came first, although clocks are set and machines sleep: what the wall clock cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

# The wall clock moves on from the monotonic one by so much between two readings: suspended, or set.
JUMP_SECONDS = 5.0


class Timed(Protocol):
    """`t`: wall clock; `m`: monotonic clock since `boot`, 0 and '' where it is not known."""

    @property
    def t(self) -> float: ...

    @property
    def m(self) -> float: ...

    @property
    def boot(self) -> str: ...


T = TypeVar("T", bound=Timed)


def merged(first: Sequence[T], second: Sequence[T]) -> list[T]:
    """Both in the order they happened; neither is reordered in itself."""
    found: list[T] = []
    i = j = 0
    while i < len(first) and j < len(second):
        if _not_after(first[i], second[j]):
            found.append(first[i])
            i += 1
        else:
            found.append(second[j])
            j += 1
    return [*found, *first[i:], *second[j:]]


def _not_after(a: Timed, b: Timed) -> bool:
    if a.boot and a.boot == b.boot and a.m and b.m:
        return a.m <= b.m
    return a.t <= b.t


def jump(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Seconds by which the wall clock went on more than the monotonic one between two (t, m); 0 for little, and where
    the machine was started anew between them."""
    (t0, m0), (t1, m1) = before, after
    if m1 < m0:
        return 0.0
    moved = (t1 - t0) - (m1 - m0)
    return moved if abs(moved) > JUMP_SECONDS else 0.0


def jump_words(seconds: float) -> str:
    """What the wall clock did and the training did not."""
    size = abs(seconds)
    much = f"{size / 3600:.1f} h" if size >= 5400 else f"{size / 60:.0f} min" if size >= 120 else f"{size:.0f} s"
    if seconds > 0:
        return f"the clock went on {much} while nothing ran: the machine slept, or its clock was set"
    return f"the clock was set back by {much}"
