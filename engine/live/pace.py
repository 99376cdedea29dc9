"""How fast steps go: warm-up, segments between changes of pace, and a bounded history for curves.

Everything is decided at fixed counts of records, so a pace is the same however its records were handed over: one at a
time while they are written, or a million at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import accumulate
from math import nan

import msgspec

from engine.journals.events import Level, Steps
from engine.live import changepoint, drift
from engine.live.drift import Creep
from engine.live.segments import (
    Block as Block,
    Bucket as Bucket,
    Columns as Columns,
    Mark as Mark,
    Segment as Segment,
)

MAX_BUCKETS = 512
MAX_SEGMENTS = 64

# Blocks of 1, 4, 16, … records; the newest WINDOW of each size are searched for a change of pace. Sizes below 1/FINE
# of the attempt are given up: a change in a week's run need not be dated to the second.
FACTOR = 4
WINDOW = 64
FINE = 1024
# A new pace must have lasted this long: 1 % of the attempt, at least 5 s and at most 5 minutes.
SHORTEST_SECONDS = 5.0
LONGEST_SECONDS = 300.0
# Buckets are searched for creeping whenever so many more of them are full.
LOOK_EVERY = 8
IMPOSSIBLE = 1e9
BATCHES = 12


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The fold of all `steps` records of a run. `segments[-1]` is the present pace, warm-up left out.

    `warm_*` is the present attempt's warm-up. While a resumed attempt warms up, `segments[-1]` is the pace it had.
    `begun` is where the open segment (while warming: the attempt) begins, `opened` where the block under way does.
    """

    buckets: tuple[Bucket, ...] = ()
    steps: int = 0
    seconds: float = 0.0
    warm_steps: int = 0
    warm_seconds: float = 0.0
    warming: bool = True
    segments: tuple[Segment, ...] = ()
    attempt: int = 0
    warm_over: float = 0.0
    creep: Creep | None = None

    bucket_records: int = 1
    bucket_filled: int = 0
    bucket_losses: int = 0
    bucket_seconds: float = 0.0
    bucket_loss: float = 0.0
    waiting: tuple[Steps, ...] = ()
    records: int = 0
    opened: Mark = Mark()
    begun: Mark = Mark()
    levels: tuple[tuple[Block, ...], ...] = ()
    begun_at: int = 0


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
    pace = _bucketed(pace, columns, seconds)
    pace = msgspec.structs.replace(pace, steps=columns.steps[-1], seconds=columns.seconds[-1])
    return _warmed(pace, columns) if pace.warming else _blocked(pace, columns)


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


def changes(before: Pace, after: Pace) -> list[tuple[float, str, Level]]:
    """What `after` knows that `before` did not, as (wall clock, sentence, level): warm-up over, pace changed."""
    said: list[tuple[float, str, Level]] = []
    if after.warm_over and (before.warming or before.attempt != after.attempt):
        steps = "1 step" if after.warm_steps == 1 else f"{after.warm_steps:,} steps"
        text = f"warm-up over after {steps}" if after.warm_steps else "no warm-up: steady from the first step"
        said.append((after.warm_over, text, "info"))
    for segment in changed(before, after):
        level: Level = "warn" if segment.ratio > 1 else "info"
        said.append((segment.noticed, f"step time {change_words(segment, seconds=True)}", level))
    if after.creep is not None and (before.creep is None or before.attempt != after.attempt):
        since = _clock(after.creep.since, True)
        at = next((i for i, one in enumerate(said) if one[0] > after.creep.noticed), len(said))
        said.insert(at, (after.creep.noticed, f"steps take longer and longer since {since}", "warn"))
    return said


def changed(before: Pace, after: Pace) -> list[Segment]:
    """Changes of pace that `after` knows and `before` did not. By steps: the wall clock may have been set back."""
    same = before.attempt == after.attempt
    known = max((segment.first for segment in before.segments if segment.attempt == after.attempt), default=0)
    own = [segment for segment in after.segments if segment.ratio and segment.attempt == after.attempt]
    return [segment for segment in own if not same or segment.first > known]


def change_words(segment: Segment, seconds: bool = False) -> str:
    """`13 % slower since 14:02`."""
    percent = abs(segment.ratio - 1) * 100
    word = "slower" if segment.ratio > 1 else "faster"
    return f"{percent:.0f} % {word} since {_clock(segment.since, seconds)}"


def creep_words(creep: Creep, seconds: bool = True) -> str:
    """`since 14:02:11: 8 % so far, 3 % more every 1,000 steps`."""
    more = 100 * 1000 * creep.per_step / creep.start if creep.start > 0 else 0.0
    since = _clock(creep.since, seconds)
    return f"since {since}: {100 * creep.grown:.0f} % so far, {more:.2g} % more every 1,000 steps"


def _clock(t: float, seconds: bool) -> str:
    return time.strftime("%H:%M:%S" if seconds else "%H:%M", time.localtime(t))


# ---------------------------------------------------------------- buckets, for curves


def _bucketed(pace: Pace, columns: Columns, seconds: list[float]) -> Pace:
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
            records[end - 1].step, old.steps + columns.steps[end] - columns.steps[at], columns.seconds[end] - start,
            min(old.low, min(lows[at:end])), max(old.high, max(highs[at:end])),
            loss / known if known else nan, records[end - 1].t,
        )
        filled += end - at
        at = end
    return msgspec.structs.replace(
        pace, buckets=tuple(buckets), bucket_records=size, bucket_filled=filled, bucket_losses=known,
        bucket_seconds=start, bucket_loss=loss, creep=creep,
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


# ---------------------------------------------------------------- warm-up


def _warmed(pace: Pace, columns: Columns) -> Pace:
    """Records are kept one by one until it is known which of them were warm-up; the others are the first segment's."""
    waiting = list(pace.waiting)
    values = [record.seconds / record.steps for record in waiting]
    for index, record in enumerate(columns.records):
        waiting.append(record)
        values.append(record.seconds / record.steps)
        cut = changepoint.warmup(values)
        if cut is None:
            continue
        warm, rest = waiting[:cut], index + 1
        steps = list(accumulate((r.steps for r in waiting), initial=pace.begun.steps))
        seconds = list(accumulate((r.seconds for r in waiting), initial=pace.begun.seconds))
        columns = Columns(
            [*waiting[cut:], *columns.records[rest:]], steps[cut:-1] + columns.steps[rest:],
            seconds[cut:-1] + columns.seconds[rest:],
        )
        start = columns.mark(0)
        pace = msgspec.structs.replace(
            pace, warming=False, waiting=(), warm_steps=sum(r.steps for r in warm),
            warm_seconds=sum(r.seconds for r in warm), warm_over=record.t, records=0, levels=(),
            opened=start, begun=start,
            segments=(*pace.segments, Segment(start.first, 0, 0.0, 0.0, start.since, attempt=pace.attempt)),
        )
        return _blocked(pace, columns)
    return msgspec.structs.replace(
        pace, waiting=tuple(waiting), warm_steps=sum(r.steps for r in waiting),
        warm_seconds=sum(r.seconds for r in waiting),
    )


# ---------------------------------------------------------------- blocks and segments


def _blocked(pace: Pace, columns: Columns) -> Pace:
    """Blocks closed and looked at, the small ones first."""
    levels, segments = [list(level) for level in pace.levels], list(pace.segments)
    opened, begun, count, at = pace.opened, pace.begun, pace.records, 0
    total = len(columns.records)
    while True:
        level = _finest(count)
        need = FACTOR**level - count % FACTOR**level
        if need == FACTOR**level and at < total:
            opened = columns.mark(at)
        if at + need > total:
            count += total - at
            break
        at += need
        count += need
        end = columns.mark(at)
        _append(levels, level, opened, end)
        while True:
            found = _change(levels[level], begun, end)
            if found is not None:
                segments[-1] = _closed(segments[-1], levels, begun, found)
                old, new = segments[-1].mean, (end.seconds - found.seconds) / (end.steps - found.steps)
                segments.append(
                    Segment(
                        found.first,
                        0,
                        0.0,
                        0.0,
                        found.since,
                        columns.records[at - 1].t,
                        new / old if old else 0.0,
                        pace.attempt,
                    )
                )
                begun = found
                levels = [[block for block in blocks if block.start.steps >= found.steps] for blocks in levels]
            if count % FACTOR ** (level + 1) or len(levels[level]) < FACTOR:
                break
            _append(levels, level + 1, levels[level][-FACTOR].start, end)
            level += 1
        for unused in levels[: _finest(count)]:
            unused.clear()
    segments[-1] = _closed(segments[-1], levels, begun, columns.mark(total))
    return msgspec.structs.replace(
        pace,
        records=count,
        opened=opened,
        begun=begun,
        segments=tuple(segments[-MAX_SEGMENTS:]),
        levels=tuple(tuple(level) for level in levels),
    )


def _finest(records: int) -> int:
    """The smallest block size in use, as a power of FACTOR, after so many records."""
    level = 0
    while records >= FINE * FACTOR**level:
        level += 1
    return level


def _append(levels: list[list[Block]], level: int, start: Mark, end: Mark) -> None:
    while len(levels) <= level:
        levels.append([])
    blocks = levels[level]
    blocks.append(Block(start, (end.seconds - start.seconds) / (end.steps - start.steps)))
    if len(blocks) > WINDOW:
        del blocks[0]


def _change(blocks: list[Block], begun: Mark, end: Mark) -> Mark | None:
    """Where the pace of these blocks changed, if it did and has lasted long enough."""
    at = changepoint.split([block.value for block in blocks])
    if at is None:
        return None
    start = blocks[at].start
    lasted = end.seconds - start.seconds
    if lasted < min(LONGEST_SECONDS, max(SHORTEST_SECONDS, 0.01 * end.seconds)) or start.steps <= begun.steps:
        return None
    return start


def _closed(segment: Segment, levels: list[list[Block]], begun: Mark, end: Mark) -> Segment:
    steps, seconds = end.steps - begun.steps, end.seconds - begun.seconds
    return Segment(
        segment.first,
        steps,
        seconds,
        _variance(levels, begun, end),
        segment.since,
        segment.noticed,
        segment.ratio,
        segment.attempt,
    )


def _variance(levels: list[list[Block]], begun: Mark, end: Mark) -> float:
    """Long-run variance of a step: that of block means times their length, from the longest blocks of which there are
    enough (batch means: Schmeiser 1982, Oper. Res. 30(3))."""
    for blocks in reversed(levels):
        inside = [block for block in blocks if begun.steps <= block.start.steps < end.steps]
        if len(inside) >= BATCHES or (len(inside) > 2 and blocks is next(filter(None, levels), None)):
            spread = [block.value for block in inside]
            mean = sum(spread) / len(spread)
            length = (inside[-1].start.steps - inside[0].start.steps) / (len(inside) - 1)
            return sum((value - mean) ** 2 for value in spread) / (len(spread) - 1) * length
    return 0.0
