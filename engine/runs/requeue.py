"""Another order for what waits: runs put first or last, left out, or added. Pure; who has begun stays where it is."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

import msgspec

from engine.config.experiment import Plan, RunKey, runs_of
from engine.errors import UsageError

At: TypeAlias = tuple[int, int, str]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Runs by fold, restart and variant, each in the order named."""

    first: tuple[At, ...] = ()
    last: tuple[At, ...] = ()
    skip: tuple[At, ...] = ()
    add: tuple[At, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.first or self.last or self.skip or self.add)


def requeued(plan: Plan, begun: Collection[At], wish: Wish) -> tuple[RunKey, ...]:
    """The plan's runs as wished: those that have `begun` first, as they were.

    Raises UsageError for a run that is not there, is there already, or has begun, and where nothing would be left.
    """
    runs = {key.at: key for key in plan.runs}
    for at in wish.add:
        if at in runs:
            raise UsageError(f"{words(at)} is one of its runs already")
        runs[at] = _new(plan, at)
    for at in (*wish.first, *wish.last, *wish.skip):
        if at not in runs:
            raise UsageError(f"{words(at)} is none of its runs; --add makes it one")
        if at in begun:
            raise UsageError(f"{words(at)} has begun; what waits can be put elsewhere, `steptop stop` ends what runs")
    named = [*wish.first, *wish.last, *wish.skip]
    for at in named:
        if named.count(at) > 1:
            raise UsageError(f"{words(at)} is named twice")
    waiting = [at for at in runs if at not in begun and at not in named]
    order = [*(at for at in runs if at in begun), *wish.first, *waiting, *wish.last]
    if not order:
        raise UsageError("then nothing would be left to train; `steptop stop` ends it")
    return tuple(runs[at] for at in order)


def words(at: At) -> str:
    fold, restart, variant = at
    return f"{variant} fold {fold} restart {restart}" if variant else f"fold {fold} restart {restart}"


def _new(plan: Plan, at: At) -> RunKey:
    fold, restart, variant = at
    several = any(key.variant for key in plan.runs)
    if bool(variant) != several:
        what = "the variant is missing, as mkdc,0,3" if several else "the experiment has no variants"
        raise UsageError(f"{words(at)}: {what}")
    made = runs_of(plan.experiment, (fold,), restart + 1, (variant,) if variant else None)
    return next(key for key in made if key.at == at)
