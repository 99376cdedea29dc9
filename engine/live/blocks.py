"""Where a pace changes: warm-up, then blocks of records that are compared with those before them."""

from __future__ import annotations

from itertools import accumulate

import msgspec

from engine.live import changepoint
from engine.live.segments import Block, Columns, Mark, Pace, Segment

MAX_SEGMENTS = 64

# Blocks of 1, 4, 16, … records; the newest WINDOW of each size are searched for a change of pace. Sizes below 1/FINE
# of the attempt are given up: a change in a week's run need not be dated to the second.
FACTOR = 4
WINDOW = 64
FINE = 1024
# A new pace must have lasted this long: 1 % of the attempt, at least 5 s and at most 5 minutes.
SHORTEST_SECONDS = 5.0
LONGEST_SECONDS = 300.0
# Block means from which the variance of a step is taken, at least.
BATCHES = 12


def warmed(pace: Pace, columns: Columns) -> Pace:
    """`pace` in warm-up with those records. They are kept one by one until it is known which of them were warm-up; the
    others are the first segment's."""
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
            [*waiting[cut:], *columns.records[rest:]],
            steps[cut:-1] + columns.steps[rest:],
            seconds[cut:-1] + columns.seconds[rest:],
        )
        start = columns.mark(0)
        pace = msgspec.structs.replace(
            pace,
            warming=False,
            waiting=(),
            warm_steps=sum(r.steps for r in warm),
            warm_over=record.t,
            records=0,
            levels=(),
            opened=start,
            begun=start,
            segments=(*pace.segments, Segment(start.first, 0, 0.0, 0.0, start.since, attempt=pace.attempt)),
        )
        return blocked(pace, columns)
    return msgspec.structs.replace(
        pace,
        waiting=tuple(waiting),
        warm_steps=sum(r.steps for r in waiting),
    )


def blocked(pace: Pace, columns: Columns) -> Pace:
    """`pace` after warm-up with those records: blocks are closed and looked at, the small ones first."""
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
                noticed, ratio = columns.records[at - 1].t, new / old if old else 0.0
                segments.append(Segment(found.first, 0, 0.0, 0.0, found.since, noticed, ratio, pace.attempt))
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
    return msgspec.structs.replace(
        segment,
        steps=end.steps - begun.steps,
        seconds=end.seconds - begun.seconds,
        variance=_variance(levels, begun, end),
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
