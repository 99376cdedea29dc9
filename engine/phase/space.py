"""What the tuner may try, what it tried, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import ceil
from typing import TypeAlias

import msgspec

from engine.config.profile import Value
from engine.diagnosis.queueing import Prediction
from engine.phase.measure import Measurement, Mode
from engine.phase.ratio import Ratio

Knobs: TypeAlias = Mapping[str, Value]
Key: TypeAlias = tuple[tuple[str, Value], ...]
# Of two configurations the cheaper has the lesser.
Cost: TypeAlias = tuple[int, int, int, int]
# Why a configuration must not be tried (more RAM, shared memory or VRAM than there is); empty if it may.
Limits: TypeAlias = Callable[[Knobs], str]

GRID_STEPS = 60
BUDGET, LEAST_BUDGET = 0.15, 200
# Without workers they mean nothing.
IDLE = ("prefetch_factor", "persistent_workers", "multiprocessing_context", "in_order")
# torch's prefetch_factor.
AHEAD = 2
# Each takes memory in proportion: what ran out of it with less will with more.
GROWING = ("num_workers", "prefetch_factor", "batch_size")


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """`grid`: what may be tried, besides the `current` profile. `cores`: those the training may use. `budget`: steps, 0
    for 15 % of what 60 steps of every configuration would take."""

    grid: tuple[dict[str, Value], ...]
    current: dict[str, Value]
    cores: int
    budget: int = 0

    @property
    def steps(self) -> int:
        return self.budget or max(LEAST_BUDGET, ceil(BUDGET * GRID_STEPS * len(self.grid)))


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A measurement that was made: the steps it took, warm-up included, or how it failed (out of memory, a crash).

    `taking`: the knobs that decide how much is taken of what it lacked; of VRAM that is the batch size alone.
    """

    knobs: dict[str, Value]
    steps: int
    mode: Mode = "train"
    measurement: Measurement | None = None
    failed: str = ""
    taking: tuple[str, ...] = GROWING


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """To be measured next, with a loader of its own: `steps` steps, the very first included."""

    knobs: dict[str, Value]
    steps: int
    mode: Mode = "train"
    why: str = ""


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration, what the model says of it and what was measured; `out`: why it is not in question."""

    knobs: dict[str, Value]
    predicted: Prediction | None = None
    measured: Measurement | None = None
    out: str = ""


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """`best` is the profile to use: the current one if nothing surely beats it. `gain`: its samples/s over the current
    one's, None if it is the current one or that was not measured. `ranking`: best first. `steps`: what it all took."""

    best: dict[str, Value]
    why: str
    ranking: tuple[Ranked, ...] = ()
    gain: Ratio | None = None
    steps: int = 0


def grid_of(current: Knobs, choices: Mapping[str, Sequence[Value]]) -> tuple[dict[str, Value], ...]:
    """Every combination of `choices`, with `current` for all other knobs, cheapest first."""
    found: dict[Key, dict[str, Value]] = {}
    for values in product(*choices.values()):
        knobs = {**current, **dict(zip(choices, values, strict=True))}
        if not int(knobs.get("num_workers", 1)):
            knobs |= {name: current[name] for name in IDLE if name in current}
        found.setdefault(key(knobs), knobs)
    return tuple(sorted(found.values(), key=cost))


def key(knobs: Knobs) -> Key:
    """Equal for configurations that do the same: without workers there is nothing to prefetch."""
    unused = IDLE if not int(knobs.get("num_workers", 0)) else ()
    return tuple(sorted((name, value) for name, value in knobs.items() if name not in unused))


def differing(before: Knobs, after: Knobs) -> dict[str, Value]:
    """The knobs of `after` that are not as `before`, without those that mean nothing in it."""
    meant = dict(key(after))
    return {name: value for name, value in after.items() if name in meant and value != before.get(name, value)}


def cost(knobs: Knobs) -> Cost:
    """Fewest workers first, then least prefetched: what a configuration takes in memory.

    One batch ahead costs as much as two, and of the two comes last: it saves next to nothing, and where a worker waits
    for its batch to be taken it is up to 6 % slower (tests/benchmarks/tuner.py), more than the model sees."""
    workers, batch = int(knobs.get("num_workers", 0)), int(knobs.get("batch_size", 1))
    ahead = int(knobs.get("prefetch_factor", AHEAD)) if workers else 0
    return workers, batch * (max(ahead, AHEAD) if workers else 0), batch, int(0 < ahead < AHEAD)


def beyond(knobs: Knobs, trial: Trial) -> bool:
    """Whether it takes at least what `trial` took of what that lacked."""
    return all(_taken(knobs, name) >= _taken(trial.knobs, name) for name in trial.taking)


def _taken(knobs: Knobs, name: str) -> int:
    """Without workers nothing is loaded ahead."""
    return 0 if name in IDLE and not int(knobs.get("num_workers", 0)) else int(knobs.get(name, 0))


def said(knobs: Knobs, others: Sequence[Knobs]) -> str:
    """The knobs in which `others` differ, `num_workers 4, prefetch_factor 2`."""
    names = [name for name, _ in key(knobs) if len({one.get(name) for one in (*others, knobs)}) > 1]
    names = [name for name in knobs if name in names]
    return ", ".join(f"{name} {knobs[name]}" for name in names) or "the profile in use"
