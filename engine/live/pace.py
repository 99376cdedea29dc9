"""How fast steps go: warm-up, segments between changes of pace, and a bounded history for curves.

Everything is decided at fixed counts of records, so a pace is the same however its records were handed over: one at a
time while they are written, or a million at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import msgspec

from engine.journals.events import Steps
from engine.live.blocks import MAX_SEGMENTS, blocked, warmed
from engine.live.buckets import bucketed
from engine.live.segments import Bucket, Columns, Mark, Pace

IMPOSSIBLE = 1e9


def add(pace: Pace, records: Sequence[Steps]) -> Pace:
    """`pace` with `records` (in order) folded in. Records with no steps or impossible times are passed over."""
    steps = [r.steps for r in records]
    seconds = [r.seconds for r in records]
    if not records:
        return pace
    if min(steps) < 1 or not (min(seconds) >= 0 and max(seconds) < IMPOSSIBLE):
        usable = [r for r in records if r.steps >= 1 and 0 <= r.seconds < IMPOSSIBLE]
        return add(pace, usable) if len(usable) < len(records) else pace
    # Running sums take one record after the other, so no chunking shows in them; sums of parts are differences.
    columns = Columns(
        records, list(accumulate(steps, initial=pace.steps)), list(accumulate(seconds, initial=pace.seconds))
    )
    pace = bucketed(pace, columns, seconds)
    pace = msgspec.structs.replace(pace, steps=columns.steps[-1], seconds=columns.seconds[-1])
    return warmed(pace, columns) if pace.warming else blocked(pace, columns)


def rewound(pace: Pace, step: int) -> Pace:
    """`pace` for a resume after `step`: steps done beyond it are forgotten, and warm-up begins anew.

    Segments up to there stay, and the last one keeps its whole length: how fast forgotten steps were is still known.
    """
    if not pace.steps and not pace.attempt:
        return pace
    buckets = [bucket for bucket in pace.buckets if bucket.last <= step]
    cut = next((bucket for bucket in pace.buckets if bucket.last > step), None)
    if cut is not None and (kept := cut.steps - (cut.last - step)) > 0:
        seconds = cut.seconds * kept / cut.steps
        buckets.append(Bucket(step, kept, seconds, cut.low, cut.high, cut.loss, cut.t - (cut.seconds - seconds)))
    segments = tuple(segment for segment in pace.segments if segment.first <= step) or pace.segments[-1:]
    if pace.segments and segments[-1] is not pace.segments[-1]:
        segments = (*segments[-(MAX_SEGMENTS - 1) :], pace.segments[-1])
    steps, seconds = sum(b.steps for b in buckets), sum(b.seconds for b in buckets)
    return Pace(
        buckets=tuple(buckets),
        steps=steps,
        seconds=seconds,
        segments=segments,
        attempt=pace.attempt + 1,
        begun_at=step,
        begun=Mark(step + 1, steps, seconds),
        bucket_records=pace.bucket_records,
        bucket_filled=pace.bucket_records,
    )
