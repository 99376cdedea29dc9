"""Variants beside the first of them: means over folds, and paired differences with their intervals. Pure.

Variants of a fold learn from the same subjects and are tested on the same ones, so what is compared is each fold's
difference: how hard a fold is falls out of it. A restart begins with the same seed in every variant, so each is paired
with its like; a fold's differences are averaged, since restarts are no folds of their own. Folds share most of what
they learn from, so that an interval over them is somewhat too narrow (Nadeau and Bengio 2003).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import TypeAlias

import msgspec

from engine.phase.student import quantile

LEVEL = 0.95
NOT_APART = "not distinguishable"
# Fold -> restart -> figure.
Folds: TypeAlias = dict[int, dict[int, float]]


class Result(msgspec.Struct, frozen=True):
    """One run's held-out figure."""

    variant: str
    fold: int
    restart: int
    value: float


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One variant. `mean` and `std` (of a sample, n - 1) are over folds, restarts of each averaged first; `difference`,
    with its `low` and `high` of 95 %, is to `to` over the `pairs` folds in which both have a restart in common; None
    where there are too few."""

    variant: str
    runs: int
    folds: int
    mean: float | None
    std: float | None
    to: str = ""
    pairs: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    def verdict(self, better: str = "higher") -> str:
        """In words, whether it differs from `to`; '' for the one that the others are compared with."""
        if not self.to:
            return ""
        if self.low is None or self.high is None:
            return "too few folds to tell"
        if self.low <= 0 <= self.high:
            return NOT_APART
        return "better" if (self.low > 0) == (better == "higher") else "worse"


def compare(results: Iterable[Result], order: Sequence[str]) -> tuple[Compared, ...]:
    """Each variant of `order` that has a result, beside the first of `order`."""
    by_fold = _by_fold(results)
    first = order[0] if order else ""
    return tuple(
        _compared(variant, by_fold[variant], first, by_fold.get(first, {})) for variant in order if variant in by_fold
    )


def _by_fold(results: Iterable[Result]) -> dict[str, Folds]:
    found: dict[str, Folds] = {}
    for one in results:
        found.setdefault(one.variant, {}).setdefault(one.fold, {})[one.restart] = one.value
    return found


def _compared(variant: str, own: Folds, first: str, base: Folds) -> Compared:
    means = [fmean(restarts.values()) for restarts in own.values()]
    made = Compared(
        variant=variant, runs=sum(map(len, own.values())), folds=len(own), mean=fmean(means),
        std=stdev(means) if len(means) > 1 else None,
    )
    if variant == first:
        return made
    in_common = [
        [value - base[fold][restart] for restart, value in restarts.items() if restart in base[fold]]
        for fold, restarts in own.items() if fold in base
    ]
    apart = [fmean(differences) for differences in in_common if differences]
    made = msgspec.structs.replace(made, to=first, pairs=len(apart), difference=fmean(apart) if apart else None)
    if len(apart) < 2:
        return made
    middle = fmean(apart)
    half = quantile(LEVEL, len(apart) - 1) * stdev(apart) / sqrt(len(apart))
    return msgspec.structs.replace(made, low=middle - half, high=middle + half)
