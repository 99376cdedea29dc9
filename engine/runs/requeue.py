"""Another order for what waits: runs put first or last, left out, or added. Pure; who has begun stays where it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple, TypeAlias

import msgspec

from engine.config.plan import Plan
from engine.config.run_keys import RunKey, runs_of
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


class Requeued(NamedTuple):
    """All runs of the plan as it is to be, and those of them that wait, in the order in which they will be begun."""

    runs: tuple[RunKey, ...]
    waiting: tuple[RunKey, ...]


def requeued(plan: Plan, begun: Collection[At], wish: Wish, waiting: Iterable[At] | None = None) -> Requeued:
    """The plan's runs as wished: those that do not wait first, as they were.

    `waiting`: those that wait now, in their order; all that have not `begun` where nobody knows. One that neither waits
    nor has begun has failed for good: put first or last, or added, it waits again. One that waits for another try keeps
    its place behind the others unless it is named.

    Raises UsageError for a run that is not there, waits already, or has begun, and where nothing would be left.
    """
    runs = {key.at: key for key in plan.runs}
    held = [at for at in (runs if waiting is None else waiting) if at in runs and at not in begun]
    over = {at for at in runs if at not in begun and at not in held}
    added = tuple(dict.fromkeys(wish.add))
    for at in added:
        if at in runs and at not in over:
            raise UsageError(f"{words(at)} is one of its runs already")
        if at not in runs:
            runs[at] = _new(plan, at)
    named = (*wish.first, *wish.last, *wish.skip)
    for at in named:
        if at not in runs:
            _new(plan, at)  # says what is wrong with one that could not be added either
            raise UsageError(f"{words(at)} is none of its runs; --add makes it one")
        if at in begun:
            raise UsageError(f"{words(at)} has begun; what waits can be put elsewhere, `steptop stop` ends what runs")
        if named.count(at) > 1:
            raise UsageError(f"{words(at)} is named twice")
    between = [at for at in (*held, *added) if at not in named]
    now = [*wish.first, *between, *wish.last]
    stay = [at for at in runs if at not in now and at not in wish.skip]
    if not stay and not now:
        raise UsageError("then nothing would be left to train; `steptop stop` ends it")
    return Requeued(tuple(runs[at] for at in (*stay, *now)), tuple(runs[at] for at in now))


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
