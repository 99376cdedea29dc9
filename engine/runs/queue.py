"""Runs that wait for their turn: in the plan's order, those that failed once more where the plan says so."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, TypeAlias

from engine.config.run_keys import RunKey

Order: TypeAlias = Literal["folds", "restarts"]

# Two trainings that fail one after the other fail for one reason, and the next would too.
FAILURES_IN_A_ROW = 2


def ordered(runs: tuple[RunKey, ...], order: Order) -> tuple[RunKey, ...]:
    """folds: all restarts of a fold, then the next fold's. restarts: the first restart of every fold, then the second:
    a figure for each fold soonest. Variants of a fold and restart stay together in either: they are compared."""
    if order == "folds":
        return runs
    variants = list(dict.fromkeys(key.variant for key in runs))
    return tuple(sorted(runs, key=lambda key: (key.restart, key.fold, variants.index(key.variant))))


class Queue:
    """`failed`: runs whose last try failed, whether they wait for another or not. `in_a_row`: how many different ones
    have used up their tries since a run has finished."""

    def __init__(self, runs: Iterable[RunKey], retries: int = 0) -> None:
        self._waiting = deque(runs)
        self._retries = retries
        self._tries: Counter[RunKey] = Counter()
        self.failed: list[RunKey] = []
        self._since: set[RunKey] = set()

    @property
    def waiting(self) -> tuple[RunKey, ...]:
        """In the order in which they will be begun."""
        return tuple(self._waiting)

    @property
    def in_a_row(self) -> int:
        return len(self._since)

    @property
    def failing(self) -> bool:
        """Whether so many have failed for good that the next is likely to."""
        return self.in_a_row >= FAILURES_IN_A_ROW

    def __len__(self) -> int:
        return len(self._waiting)

    def next(self) -> RunKey:
        """The next one, no longer waiting."""
        return self._waiting.popleft()

    def began(self, key: RunKey) -> None:
        """It waits no longer."""
        self._waiting.remove(key)

    def put_back(self, key: RunKey) -> None:
        """It is the next one again."""
        self._waiting.appendleft(key)

    def succeeded(self, key: RunKey) -> None:
        self._since.clear()
        self.failed = [other for other in self.failed if other != key]

    def gave_up(self, key: RunKey) -> bool:
        """`key` has failed. False: it waits behind the others to be tried again."""
        self.failed = [*(other for other in self.failed if other != key), key]
        self._tries[key] += 1
        if self._tries[key] <= self._retries:
            self._waiting.append(key)
            return False
        self._since.add(key)
        return True

    def tried(self, key: RunKey) -> int:
        """How often it has failed."""
        return self._tries[key]

    def follow(self, waiting: Sequence[RunKey], runs: Collection[RunKey]) -> None:
        """The plan has these `runs` by now, of which these wait, in this order. One that did not wait before, as it had
        failed for good or was none of them, has all its tries again."""
        for key in set(waiting) - set(self._waiting):
            del self._tries[key]
            self._since.discard(key)
        self._waiting = deque(waiting)
        self.failed = [key for key in self.failed if key in runs]
