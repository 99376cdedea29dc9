"""Why steps became slower or faster: what the machine did before and after, as the sampler saw it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import log
from pathlib import Path
from typing import TypeAlias

import msgspec

from engine.journals.events import Gpu, Sample
from engine.journals.journal import Reader, offset_after
from engine.live.changes import NOT_SEEN
from engine.live.segments import Segment
from engine.live.state import RunState
from engine.sizes import said as size_said

# Readings of so many seconds on either side are compared; those right at the change may be of both.
WINDOW_SECONDS = 180.0
EDGE_SECONDS = 4.0
FEWEST = 2
# Another clock, other processes' cores, other reading from disk (bytes per second): by how much at least.
CLOCK, CORES, CORE_SHARE, READ = 0.04, 0.4, 0.04, 5e6
KERNELS = 5.0
# All cores busy: then less is enough, so many cores or this part of what the training has.
FULL_CPU, LEAST_CORES, OWN_SHARE = 0.85, 0.1, 0.12
# What the cores that others took or left explain of a change, at least, for it to be the cause.
EXPLAINED = 0.5
# A GPU this warm (°C) slows down by itself, and one that draws this part of its power limit.
HOT, AT_LIMIT = 83.0, 0.97
FULL = 0.03
MOST_SAID = 2


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Means over some readings; None where there are none. `clock` MHz, `heat` °C, `power` of its limit, `foreign`
    cores of others, `own` the training's, `used` share of all, `read` bytes/s, `memory` bytes and `kernels` percent of
    the time of others on this training's GPUs, `free` share of RAM, `held_back`: what slows the GPU down, as the driver
    says."""

    cores: int
    clock: float | None
    heat: float | None
    power: float | None
    foreign: float | None
    own: float | None
    used: float
    read: float | None
    workers: float
    memory: float | None
    kernels: float | None
    free: float | None
    held_back: tuple[str, ...] = ()


def machine(samples: Sequence[Sample]) -> Machine:
    """Of at least one reading."""
    gpus = [own for sample in samples for own in _own(sample.gpus)]
    tops = [gpu.power / gpu.power_limit for gpu in gpus if gpu.power is not None and gpu.power_limit]
    others = [float(gpu.memory_used - gpu.own_memory) for gpu in gpus if gpu.memory_used and gpu.own_memory]
    return Machine(
        cores=samples[-1].cores,
        clock=_mean(gpu.clock for gpu in gpus if gpu.clock),
        heat=_mean(gpu.temperature for gpu in gpus if gpu.temperature is not None),
        power=_mean(tops),
        foreign=_mean(max(0.0, sample.cpu - sample.own_cpu) for sample in samples if sample.own_cpu),
        own=_mean(sample.own_cpu for sample in samples if sample.own_cpu),
        used=_mean(sample.cpu / sample.cores for sample in samples if sample.cores) or 0.0,
        read=_mean(sample.disk_read for sample in samples if sample.disk_read is not None),
        workers=_mean(sum(w.role == "worker" for w in sample.workers) for sample in samples) or 0.0,
        memory=_mean(others),
        kernels=_mean(gpu.others_util for gpu in gpus),
        free=_mean(sample.ram_available / sample.ram_total for sample in samples if sample.ram_total),
        held_back=tuple(sorted({word for gpu in gpus for word in gpu.held_back})),
    )


def _own(gpus: Sequence[Gpu]) -> list[Gpu]:
    """Those this training uses; all where that is not known."""
    return [gpu for gpu in gpus if gpu.own_memory] or list(gpus)


# ---------------------------------------------------------------- one rule, one possible cause

Rule: TypeAlias = Callable[[Machine, Machine, bool], str]


def _clock(before: Machine, after: Machine, slower: bool) -> str:
    if before.clock is None or after.clock is None or abs(after.clock / before.clock - 1) < CLOCK:
        return ""
    if (after.clock < before.clock) != slower:
        return ""
    word = "down" if slower else "up"
    text = f"GPU clock {word} {before.clock:,.0f}→{after.clock:,.0f} MHz"
    fresh = [why for why in after.held_back if why not in before.held_back]
    if slower and fresh:
        return f"{text} ({', '.join(fresh)})"
    if slower and after.heat is not None and after.heat >= HOT:
        return f"{text} (it is {after.heat:.0f} °C hot)"
    if slower and after.power is not None and after.power > AT_LIMIT:
        return f"{text} (at its power limit)"
    return text


def _workers(before: Machine, after: Machine, slower: bool) -> str:
    gone = before.workers - after.workers
    if abs(gone) < 0.75 or (gone > 0) != slower:
        return ""
    if slower:
        return f"{gone:.0f} of {before.workers:.0f} loader processes gone"
    return f"{after.workers:.0f} loader processes instead of {before.workers:.0f}"


def _neighbour(before: Machine, after: Machine, slower: bool) -> str:
    if before.foreign is None or after.foreign is None:
        return ""
    more = after.foreign - before.foreign
    enough = max(CORES, CORE_SHARE * after.cores)
    if max(before.used, after.used) >= FULL_CPU and before.own and after.own:
        # On a full machine what others take is what this training lacks.
        enough = min(enough, max(LEAST_CORES, OWN_SHARE * max(before.own, after.own)))
    if abs(more) < enough or (more > 0) != slower:
        return ""
    return f"other processes use {after.foreign:.1f} of {after.cores} cores (before: {before.foreign:.1f})"


def _explains(before: Machine, after: Machine, ratio: float) -> bool:
    """Whether a training that needs its cores would change so much by the ones others took from it, or left to it, on a
    machine that is full."""
    if max(before.used, after.used) < FULL_CPU or not before.own or not after.own or before.foreign is None:
        return True
    more = (after.foreign or 0.0) - before.foreign
    had, has = (after.own + more, after.own) if more > 0 else (before.own, before.own - more)
    return log(had / has) / log(ratio) >= EXPLAINED


def _shared_gpu(before: Machine, after: Machine, slower: bool) -> str:
    if after.kernels is not None and abs(more := after.kernels - (before.kernels or 0.0)) >= KERNELS:
        return f"other processes' kernels run {after.kernels:.0f} % of the time" if (more > 0) == slower else ""
    if before.memory is None or after.memory is None:
        return ""
    more = after.memory - before.memory
    if abs(more) < 1 << 28 or (more > 0) != slower:
        return ""
    return f"another process {'came to' if slower else 'left'} the GPU ({size_said(abs(more))})"


def _memory(before: Machine, after: Machine, slower: bool) -> str:
    if not slower or after.free is None or before.free is None or after.free > FULL or before.free < 2 * after.free:
        return ""
    return f"memory is nearly full ({100 * after.free:.1f} % left)"


def _disk(before: Machine, after: Machine, slower: bool) -> str:
    if before.read is None or after.read is None or abs(after.read - before.read) < READ:
        return ""
    ratio = after.read / max(before.read, 1.0)
    rates = f"{before.read / 1e6:.0f}→{after.read / 1e6:.0f} MB/s"
    if slower:
        why = ": volumes no longer in memory" if ratio > 2 else ": a slower disk" if ratio < 0.9 else ""
        return f"disk reads {rates}{why}"
    why = "volumes are in memory now" if ratio < 0.5 else "a faster disk" if ratio > 1.2 else ""
    return f"disk reads {rates}: {why}" if why else ""


# The most telling first.
RULES: tuple[Rule, ...] = (_clock, _workers, _neighbour, _shared_gpu, _memory, _disk)


def likely(before: Sequence[Sample], after: Sequence[Sample], ratio: float) -> str:
    """The cause in words, or that none was seen. `ratio`: seconds per step over those before."""
    if len(before) < FEWEST or not after:
        return f"{NOT_SEEN}: the machine was not looked at then"
    were, are = machine(before), machine(after)
    said = [text for rule in RULES if (text := rule(were, are, ratio > 1))]
    if len(said) == 1 and said[0] == _neighbour(were, are, ratio > 1) and not _explains(were, are, ratio):
        return f"{said[0]}, which is a part of it; the rest was not seen"
    return "; ".join(said[:MOST_SAID]) or NOT_SEEN


def cause(run: RunState, segment: Segment, path: Path) -> str:
    """Of the change to `segment`, from the readings in machine.jsonl (`path`) around it, up to when it was noticed."""
    creep = run.pace.creep
    if creep is not None and creep.active and creep.first <= segment.first and segment.ratio > 1:
        return "part of a slow creep"
    samples = readings(path, segment.since - WINDOW_SECONDS, min(segment.noticed, segment.since + WINDOW_SECONDS))
    before = [sample for sample in samples if sample.t < segment.since - EDGE_SECONDS]
    after = [sample for sample in samples if sample.t > segment.since + EDGE_SECONDS / 4]
    return likely(before, after, segment.ratio)


def readings(path: Path, begin: float, end: float) -> list[Sample]:
    """Those written between two wall clocks."""
    found: list[Sample] = []
    for records in Reader(path, max(0, offset_after(path, begin) - (1 << 15))).read_all():
        found += [record for record in records if isinstance(record, Sample) and begin <= record.t <= end]
        if records and records[-1].t > end:
            break
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
