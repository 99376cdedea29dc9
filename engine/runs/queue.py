"""Runs that wait for their turn: in the plan's order, those that failed once more where the plan says so."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from engine.config.experiment import RunKey

Order: TypeAlias = Literal["folds", "restarts"]


def ordered(runs: tuple[RunKey, ...], order: Order) -> tuple[RunKey, ...]:
    """folds: all restarts of a fold, then the next fold's. restarts: the first restart of every fold, then the second:
    a figure for each fold soonest. Variants of a fold and restart stay together in either: they are compared."""
    if order == "folds":
        return runs
    variants = list(dict.fromkeys(key.variant for key in runs))
    return tuple(sorted(runs, key=lambda key: (key.restart, key.fold, variants.index(key.variant))))


class Queue:
    """`failed`: runs whose last try failed, whether they wait for another or not. `in_a_row`: how many different ones
    have failed since one has not."""

    def __init__(self, runs: Iterable[RunKey], retries: int = 0) -> None:
        self._runs = tuple(runs)
        self._waiting = deque(self._runs)
        self._known = set(self._waiting)
        self._retries = retries
        self._tries: Counter[RunKey] = Counter()
        self.failed: list[RunKey] = []
        self._since: set[RunKey] = set()

    @property
    def in_a_row(self) -> int:
        return len(self._since)

    def __len__(self) -> int:
        return len(self._waiting)

    def next(self) -> RunKey:
        """The next one, no longer waiting."""
        return self._waiting.popleft()

    def put_back(self, key: RunKey) -> None:
        """It is the next one again."""
        self._waiting.appendleft(key)

    def succeeded(self, key: RunKey) -> None:
        self._since.clear()
        self.failed = [other for other in self.failed if other != key]

    def gave_up(self, key: RunKey) -> bool:
        """`key` has failed. False: it waits behind the others to be tried again."""
        self._since.add(key)
        self.failed = [*(other for other in self.failed if other != key), key]
        self._tries[key] += 1
        if self._tries[key] <= self._retries:
            self._waiting.append(key)
            return False
        return True

    def tried(self, key: RunKey) -> int:
        """How often it has failed."""
        return self._tries[key]

    def follow(self, runs: Sequence[RunKey]) -> None:
        """The plan's runs are these by now: what waits is put into their order, what they lack is dropped, and what
        nobody knew of before waits as well."""
        if tuple(runs) == self._runs:
            return
        self._runs, waiting = tuple(runs), set(self._waiting)
        self._waiting = deque(key for key in runs if key in waiting or key not in self._known)
        self._known = set(runs)
