"""Runs that wait for their turn: in the plan's order, those that failed once more where the plan says so."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
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
    """`failed`: runs whose last try failed, whether they wait for another or not. `given_up`: runs that will not be
    begun, as others of their variant have failed again and again. Failures in a row are counted within a variant: a
    network that cannot be trained says nothing about the others."""

    def __init__(self, runs: Iterable[RunKey], retries: int = 0) -> None:
        self._waiting = deque(runs)
        self._retries = retries
        self._tries: Counter[RunKey] = Counter()
        self.failed: list[RunKey] = []
        self.given_up: tuple[RunKey, ...] = ()
        self._since: dict[str, set[RunKey]] = defaultdict(set)

    @property
    def waiting(self) -> tuple[RunKey, ...]:
        """In the order in which they will be begun."""
        return tuple(self._waiting)

    def in_a_row(self, variant: str = "") -> int:
        """How many different runs of the variant have used up their tries since one of it has finished."""
        return len(self._since[variant])

    def failing(self, variant: str = "") -> bool:
        """Whether so many of its runs have failed for good that the next is likely to."""
        return self.in_a_row(variant) >= FAILURES_IN_A_ROW

    def __len__(self) -> int:
        return len(self._waiting)

    def ready(self, held: Collection[str] = ()) -> bool:
        """Whether a run waits that is of none of the variants `held`."""
        return any(key.variant not in held for key in self._waiting)

    def next(self, held: Collection[str] = ()) -> RunKey:
        """The next one that is of none of the variants `held`, no longer waiting."""
        key = next(key for key in self._waiting if key.variant not in held)
        self._waiting.remove(key)
        return key

    def began(self, key: RunKey) -> None:
        """It waits no longer."""
        self._waiting.remove(key)

    def put_back(self, key: RunKey) -> None:
        """It is the next one again."""
        self._waiting.appendleft(key)

    def give_up(self, variant: str) -> tuple[RunKey, ...]:
        """The variant's runs that wait, which will not be begun."""
        left = tuple(key for key in self._waiting if key.variant == variant)
        self._waiting = deque(key for key in self._waiting if key.variant != variant)
        self.given_up = (*self.given_up, *left)
        return left

    def succeeded(self, key: RunKey) -> None:
        self._since[key.variant].clear()
        self.failed = [other for other in self.failed if other != key]

    def gave_up(self, key: RunKey) -> bool:
        """`key` has failed. False: it waits behind the others to be tried again."""
        self.failed = [*(other for other in self.failed if other != key), key]
        self._tries[key] += 1
        if self._tries[key] <= self._retries:
            self._waiting.append(key)
            return False
        self._since[key.variant].add(key)
        return True

    def tried(self, key: RunKey) -> int:
        """How often it has failed."""
        return self._tries[key]

    def follow(self, waiting: Sequence[RunKey], runs: Collection[RunKey]) -> None:
        """The plan has these `runs` by now, of which these wait, in this order. One that did not wait before, as it had
        failed for good or was none of them, has all its tries again; where it had been given up, its variant has."""
        for key in set(waiting) - set(self._waiting):
            del self._tries[key]
            self._since[key.variant].discard(key)
            if key in self.given_up:
                self._since[key.variant].clear()
        self._waiting = deque(waiting)
        self.failed = [key for key in self.failed if key in runs]
        self.given_up = tuple(key for key in self.given_up if key in runs and key not in waiting)
