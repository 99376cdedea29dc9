"""What is kept of the newest lines of a run whose loss has terms that count at an interval: enough to tell what those
cost, however seldom they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from engine.config.tables import Term
from engine.journals.events import Steps

# So many periods of the rarest term are kept, where each line holds one step; of a frequent one more, for the noise.
PERIODS, FEWEST, MOST = 16, 256, 512


class Timed(msgspec.Struct, frozen=True, gc=False):
    """One line: its last step and how many; seconds of all of them, of the quickest and of the slowest; seconds of
    computing in all."""

    last: int
    steps: int
    seconds: float
    low: float
    high: float
    compute: float

    def holds(self, every: int) -> int:
        """How many of its steps compute a term of `every`: the run's first step, and each `every`-th from there."""
        return (self.last - 1) // every - (self.last - self.steps - 1) // every


class Rare(msgspec.Struct, frozen=True):
    """`terms`: names by interval, the shortest interval first; nothing where every term counts at every step."""

    terms: tuple[tuple[int, tuple[str, ...]], ...] = ()
    lines: tuple[Timed, ...] = ()


def rare(terms: Mapping[str, Term]) -> Rare:
    """Of a loss with these terms, before its first step."""
    intervals = sorted({term.every for term in terms.values() if term.every > 1})
    return Rare(tuple((k, tuple(name for name, term in terms.items() if term.every == k)) for k in intervals))


def added(known: Rare, lines: Sequence[Steps]) -> Rare:
    """With the newest lines; those of no steps or no time are passed over."""
    if not known.terms:
        return known
    keep = min(MOST, max(FEWEST, PERIODS * known.terms[-1][0]))
    fresh = [_timed(line) for line in lines[-keep:] if line.steps >= 1 and 0 < line.seconds < float("inf")]
    return msgspec.structs.replace(known, lines=(*known.lines, *fresh)[-keep:])


def begun(known: Rare) -> Rare:
    """Where an attempt begins, or another profile: with no line yet."""
    return Rare(known.terms)


def _timed(line: Steps) -> Timed:
    spans = line.spans
    compute = spans.forward + spans.loss + spans.backward + spans.optimizer
    return Timed(line.step, line.steps, line.seconds, line.low, line.high, compute)
