"""The history of a pace for curves, in a bounded number of buckets, and whether their steps grow longer and longer."""

from __future__ import annotations

from math import nan

import msgspec

from engine.live import drift
from engine.live.drift import Creep
from engine.live.segments import Bucket, Columns, Pace

MAX_BUCKETS = 512
# Buckets are searched for creeping whenever so many more of them are full.
LOOK_EVERY = 8


def bucketed(pace: Pace, columns: Columns, seconds: list[float]) -> Pace:
    """`pace` with those records in its buckets; `seconds`: of each of them."""
    records = columns.records
    single = columns.steps[-1] - columns.steps[0] == len(records)
    lows, highs = (seconds, seconds) if single else ([r.low for r in records], [r.high for r in records])
    buckets, size, filled, known = list(pace.buckets), pace.bucket_records, pace.bucket_filled, pace.bucket_losses
    start, loss, at, creep = pace.bucket_seconds, pace.bucket_loss, 0, pace.creep
    while at < len(records):
        if filled >= size or not buckets:
            if buckets and len(buckets) % LOOK_EVERY == 0:
                creep = _crept(creep, buckets, pace.begun_at)
            if len(buckets) >= MAX_BUCKETS:
                buckets = [_joined(a, b) for a, b in zip(buckets[::2], buckets[1::2], strict=True)]
                size *= 2
            buckets.append(Bucket(0, 0, 0.0, lows[at], highs[at], nan, 0.0))
            filled, known, start, loss = 0, 0, columns.seconds[at], 0.0
        end = min(len(records), at + size - filled)
        old, said = buckets[-1], [r.loss for r in records[at:end] if r.loss is not None]
        known += len(said)
        for value in said:
            loss += value
        buckets[-1] = Bucket(
            records[end - 1].step,
            old.steps + columns.steps[end] - columns.steps[at],
            columns.seconds[end] - start,
            min(old.low, min(lows[at:end])),
            max(old.high, max(highs[at:end])),
            loss / known if known else nan,
            records[end - 1].t,
        )
        filled += end - at
        at = end
    return msgspec.structs.replace(
        pace,
        buckets=tuple(buckets),
        bucket_records=size,
        bucket_filled=filled,
        bucket_losses=known,
        bucket_seconds=start,
        bucket_loss=loss,
        creep=creep,
    )


def _crept(known: Creep | None, buckets: list[Bucket], begun: int) -> Creep | None:
    """What is known of creeping after one more look at the attempt's full buckets."""
    own = [bucket for bucket in buckets if bucket.last - bucket.steps >= begun]
    each = max(1, len(own) // drift.BINS)
    own = own[len(own) % each :]
    bins = [own[i : i + each] for i in range(0, len(own), each)]
    means = [sum(b.seconds for b in inside) / sum(b.steps for b in inside) for inside in bins]
    found = drift.creep(means)
    if found is None:
        return msgspec.structs.replace(known, active=False) if known is not None and known.active else known
    steps = sum(b.steps for b in own) / len(bins)
    at = bins[found.onset][0]
    first, since, now = at.last - at.steps + 1, at.t - at.seconds, buckets[-1].t
    if known is not None:  # the moment it began and was noticed has been said
        first, since, now = known.first, known.since, known.noticed
    level = found.start + found.slope * (len(bins) - 1 - found.onset)
    return Creep(first, since, found.start, level, found.slope / steps, now)


def _joined(a: Bucket, b: Bucket) -> Bucket:
    steps = a.steps + b.steps
    loss = (a.loss * a.steps + b.loss * b.steps) / steps
    if loss != loss:
        loss = b.loss if a.loss != a.loss else a.loss
    return Bucket(b.last, steps, a.seconds + b.seconds, min(a.low, b.low), max(a.high, b.high), loss, b.t)
