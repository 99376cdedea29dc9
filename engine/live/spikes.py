"""Terms of the loss that count at every k-th step only, as the spikes that they are: how much longer such a step takes.

The plan says which steps those are, so what they take more is a regression over the journal's lines: a line's seconds
are its steps times the usual ones, plus the term's for each k-th step among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import median
from typing import TypeAlias

import msgspec

from engine.live.spike_lines import Timed
from engine.live.state import RunState
from engine.text import clean

# It is known well once so many lines hold such a step and the extra time is so many times its standard error.
FEWEST_LINES = 4
SURE = 4.0
# Less of a usual step than this is no spike that anybody would look for.
LEAST = 0.03
# A line further from the others of its kind than so many standard deviations (from the median deviation) is a stall.
STALL = 6.0
DEVIATIONS = 1.4826
# A GPU's seconds are those of its own clock where it computes for this share of a step at least.
BUSY = 0.7


# How many steps of each kind a line holds, and its seconds.
Data: TypeAlias = list[tuple[list[float], float]]


class Spike(msgspec.Struct, frozen=True):
    """Every `every`-th step takes `seconds` more than the `usual` ones, for the `terms` it computes."""

    every: int
    terms: tuple[str, ...]
    seconds: float
    usual: float


def spikes(run: RunState) -> tuple[Spike, ...]:
    """Of the present pace, the shortest interval first; () until they are known well."""
    begin, lines = run.begin, present(run)
    if begin is None or len(lines) < FEWEST_LINES:
        return ()
    found = _known(run, lines, lambda line: line.seconds)
    # On a GPU the host runs ahead, and waits for the long step at some later one.
    computes = sum(line.compute for line in lines) >= BUSY * sum(line.seconds for line in lines)
    if not found and begin.device != "cpu" and computes:
        found = _known(run, lines, lambda line: line.compute)
    return found


def present(run: RunState) -> list[Timed]:
    """The lines that are kept of the present pace, its warm-up left out."""
    if run.pace.warming or not run.pace.segments:
        return []
    first = max(run.pace.segments[-1].first, run.pace.begun_at + 1)
    return [line for line in run.rare.lines if line.last - line.steps + 1 >= first]


def said(spike: Spike, took: str) -> str:
    """`every 4th step +112 ms: skeleton`; `took`: its seconds in words."""
    return f"every {ordinal(spike.every)} step +{took}: {', '.join(clean(name) for name in spike.terms)}"


def briefly(spike: Spike, took: str) -> str:
    """`every 4th +112 ms`"""
    return f"every {ordinal(spike.every)} +{took}"


def ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"


def _known(run: RunState, lines: Sequence[Timed], seconds: Callable[[Timed], float]) -> tuple[Spike, ...]:
    rare = [(k, names) for k, names in run.rare.terms if any(line.holds(k) for line in lines)]
    # Each line by the root of its steps: then all are as noisy as a single step.
    data: Data = []
    for line in lines:
        root = sqrt(line.steps)
        data.append(([root, *(line.holds(k) / root for k, _ in rare)], seconds(line) / root))
    fit = _fitted(data)
    if fit is None:
        return ()
    kept = _without_stalls(data, fit[0])
    fit = _fitted(kept)
    if fit is None:
        return ()
    (usual, *extra), (_, *errors) = fit
    return tuple(
        Spike(k, names, more, usual)
        for at, ((k, names), more, error) in enumerate(zip(rare, extra, errors, strict=True), start=1)
        if sum(row[at] > 0 for row, _ in kept) >= FEWEST_LINES and more >= SURE * error and more >= LEAST * usual > 0
    )


def _without_stalls(data: Data, found: Sequence[float]) -> Data:
    """Long steps are compared with long ones: a term that takes longer at times is no stall."""
    off = [value - sum(a * b for a, b in zip(row, found, strict=True)) for row, value in data]
    kinds = [tuple(part > 0 for part in row) for row, _ in data]
    within = dict[tuple[bool, ...], tuple[float, float]]()
    for kind in set(kinds):
        own = [one for one, other in zip(off, kinds, strict=True) if other == kind]
        middle = median(own)
        within[kind] = middle, STALL * DEVIATIONS * median(abs(one - middle) for one in own)
    return [
        one
        for one, value, kind in zip(data, off, kinds, strict=True)
        if abs(value - within[kind][0]) <= within[kind][1] or not within[kind][1]
    ]


def _fitted(data: Data) -> tuple[list[float], list[float]] | None:
    """Least squares: coefficients and their standard errors; None where the lines cannot tell them apart."""
    if not data or len(data) <= len(data[0][0]):
        return None
    size = len(data[0][0])
    square = [[sum(row[i] * row[j] for row, _ in data) for j in range(size)] for i in range(size)]
    inverse = _inverse(square)
    if inverse is None:
        return None
    right = [sum(row[i] * value for row, value in data) for i in range(size)]
    found = [sum(inverse[i][j] * right[j] for j in range(size)) for i in range(size)]
    squares = sum((value - sum(a * b for a, b in zip(row, found, strict=True))) ** 2 for row, value in data)
    variance = squares / (len(data) - size)
    return found, [sqrt(max(0.0, variance * inverse[i][i])) for i in range(size)]


def _inverse(square: list[list[float]]) -> list[list[float]] | None:
    """Gauss and Jordan, with the largest pivot; None for a matrix that has none."""
    size = len(square)
    wide = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(square)]
    for at in range(size):
        best = max(range(at, size), key=lambda i: abs(wide[i][at]))
        if abs(wide[best][at]) <= 1e-9 * max(1.0, square[at][at]):
            return None
        wide[at], wide[best] = wide[best], wide[at]
        pivot = wide[at][at]
        wide[at] = [value / pivot for value in wide[at]]
        for i in range(size):
            if i != at and (by := wide[i][at]):
                wide[i] = [a - by * b for a, b in zip(wide[i], wide[at], strict=True)]
    return [row[size:] for row in wide]
