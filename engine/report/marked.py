"""What both renderings share: which numbers bear a mark, and the words of ticks."""

from __future__ import annotations

from collections.abc import Iterable

from engine.report.model import Basis, Pieces, Report, Tick, Value, bases_of

TICKS: dict[Tick, str] = {"done": "done", "failed": "failed", "open": "not shown yet", "none": ""}
INTRO = (
    "Every number bears a mark that leads to its basis; where several in a row share one, the last of them bears it. "
    "Measured is what a journal holds, modelled is worked out from measurements and may be wrong, quoted is somebody "
    "else's figure, set was decided at launch. A dash is something that is not known, with the reason."
)


def numbered(report: Report) -> dict[Basis, int]:
    """From 1, in the order they are first needed."""
    return {basis: number for number, basis in enumerate(bases_of(report), start=1)}


def bearing(groups: Iterable[Pieces]) -> set[int]:
    """Places of the Values that bear a mark, counted over all pieces of a line: those before another basis."""
    values = [
        (place, piece) for place, piece in enumerate(piece for group in groups for piece in group)
        if isinstance(piece, Value)
    ]  # fmt: skip
    last = len(values) - 1
    return {place for i, (place, one) in enumerate(values) if i == last or values[i + 1][1].basis != one.basis}
