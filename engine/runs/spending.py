"""How long an experiment has had its devices: every stretch from a supervisor's start to its end, all attempts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import msgspec

from engine.journals.events import AnyRecord, RunEnded, RunStarted, SupervisorStarted
from engine.journals.limit_events import Limits, LimitSet
from engine.process import boot_id

# From what was typed to its supervisor: the preflight may read volumes. More is a clock that was set.
LAUNCH_SECONDS = 900.0


def used_seconds(records: Iterable[AnyRecord], now: float) -> float:
    """Of the supervisor's journal; `now`: the monotonic clock, the last stretch being under way.

    A supervisor that took a training over goes on with the stretch of the one before it. One that was killed with its
    trainer leaves a stretch that ends with what the trainer wrote last, as its successor has found out.
    """
    stretches: list[list[float]] = []
    starts: dict[tuple[int, int, str, int], tuple[int, float]] = {}
    for record in records:
        if isinstance(record, SupervisorStarted) and not (record.adopted and stretches):
            stretches.append([record.m, record.m])
        if not stretches:
            continue
        here = len(stretches) - 1
        if isinstance(record, RunStarted):
            starts[*record.at, record.attempt] = here, record.m
        if isinstance(record, RunEnded):
            at, began = starts.get((*record.at, record.attempt), (here, record.m))
            if at != here:
                stretches[at][1] = max(stretches[at][1], began + record.seconds)
                continue
        stretches[here][1] = max(stretches[here][1], record.m)
    if stretches:
        stretches[-1][1] = max(stretches[-1][1], now)
    return sum(max(0.0, end - start) for start, end in stretches)


def spent_before(former: LimitSet | None, current: LimitSet) -> float:
    """Money for `current.used` seconds: as it was counted so far, and since then at the former price."""
    rate = current.limits.rate
    if rate is None:
        return 0.0
    if former is None or former.limits.rate is None or former.limits.rate.currency != rate.currency:
        return current.used * rate.per_second
    return former.spent + max(0.0, current.used - former.used) * former.limits.rate.per_second


def elapsed_before(former: LimitSet | None, held: Limits, now: float) -> float:
    """Seconds of the time limit that have gone by: of one that is new, since it was asked for. `now`: the monotonic
    clock."""
    if held.seconds is None:
        return 0.0
    if former is None or former.limits.seconds != held.seconds or former.limits.asked != held.asked:
        return min(max(0.0, time.time() - held.asked), LAUNCH_SECONDS)
    gone = now - former.m if former.boot_id == boot_id() else time.time() - former.t
    return former.elapsed + max(0.0, gone)


def last_limit(records: Sequence[AnyRecord]) -> LimitSet | None:
    return next((record for record in reversed(records) if isinstance(record, LimitSet)), None)


def reckoned(records: Sequence[AnyRecord], held: Limits, until: float) -> LimitSet:
    """`held` as of this moment, with what is used up by now. `until`: the monotonic clock while a supervisor runs, 0
    while none does."""
    now, former = time.monotonic(), last_limit(records)
    current = LimitSet(
        limits=held,
        elapsed=elapsed_before(former, held, now),
        used=used_seconds(records, until),
        boot_id=boot_id(),
        t=time.time(),
        m=now,
    )
    return msgspec.structs.replace(current, spent=spent_before(former, current))
