"""How well `steptop estimate` foretells: `python -m tests.benchmarks.estimate [FOLDER …]`.

The recorded real trainings of tests/fixtures/recorded_runs (or the experiments in FOLDERs) are asked at several moments
what their runs, from start to end, and the whole of them take; and each is asked, once it has ended, what another of
them would take that was trained with other epochs, batches, workers or validation. Held against what came.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import median

import msgspec

from engine.diagnosis.modelled import Range
from engine.errors import UsageError
from engine.eta.replayed import ends_of, moments
from engine.whatif.known import Known, known_of
from engine.whatif.what_if import BESIDE, Question, times
from tests.benchmarks.forecast import COMPANY, company, ended
from tests.fixtures.recorded import unpack

# What others did on the same cores is in the steps, and nobody knows it of another time.
BESIDE_OTHERS = ", beside others"
PERCENTS = (5, 10, 20, 35, 50, 65, 80, 90)


@dataclass(frozen=True)
class Asked:
    """One answer and what came, seconds. `kind`: what was asked for, and of which training."""

    kind: str
    of: str
    rung: str
    value: float
    low: float
    high: float
    truth: float

    @property
    def inside(self) -> bool:
        return self.low <= self.truth <= self.high

    @property
    def off(self) -> float:
        """Logarithm of the truth over the answer."""
        return log(self.truth / self.value)

    @property
    def spread(self) -> float:
        """Half the range, in logarithms."""
        return log(self.high / self.low) / 2


def at_moments(folder: Path, percents: Sequence[int] = PERCENTS) -> Iterator[Asked]:
    """While it trains: what a run takes from its start, held against the present one and the next; and all of them."""
    ends = ends_of(folder)
    beside = BESIDE_OTHERS if company(folder) > COMPANY else ""
    order = sorted(ends.finished, key=lambda run: ends.attempts[run][0][1])
    for moment in moments(folder, every=5):
        if moment.percent not in percents:
            continue
        known = known_of(moment.state, ())
        found, at = times(known, Question()), moment.event.at
        later = [run for run in order if ends.attempts[run][0][1] > ends.attempts[at][0][1]][:1]
        for kind, run in (("this run", at), *(("the next run", run) for run in later)):
            yield from _held(kind + beside, folder.name, "run", found.run, ends.seconds(run))
        if ends.whole is not None and len(order) > 1 and len(order) == len(known.runs):
            yield from _held("all runs" + beside, folder.name, "experiment", found.experiment, ends.whole)


def across(experiments: Sequence[Path]) -> Iterator[Asked]:
    """One asked from the other: what B takes, by what was measured of A."""
    states = {folder: ended(folder) for folder in experiments}
    known = {folder: known_of(state, ()) for folder, state in states.items()}
    for here, ground in known.items():
        for there, other in known.items():
            if here == there or not alike(ground, other):
                continue
            ends = ends_of(there)
            question = question_of(ground, other)
            found = times(ground, question)
            if found.run.value is None:
                continue
            stepwise = any(name not in BESIDE for name in question.knobs)
            kind = "another configuration" if stepwise else "the same, other counts"
            kind += BESIDE_OTHERS if max(company(here), company(there)) > COMPANY else ""
            of = f"{here.name} → {there.name}"
            for run in sorted(ends.finished)[:1]:
                yield from _held(kind, of, "run", found.run, ends.seconds(run))
            if ends.whole is not None and len(ends.finished) > 1:
                yield from _held(kind, of, "experiment", found.experiment, ends.whole)


def alike(one: Known, other: Known) -> bool:
    """Whether both train the same network on the same volumes."""
    a, b = (
        msgspec.structs.replace(known.plan.experiment, epochs=0, title="", profile="", knobs={}, locks={})
        for known in (one, other)
    )
    return not a.command and a == b and one.device_name == other.device_name


def question_of(ground: Known, other: Known) -> Question:
    """What `other` differs in."""
    knobs = {name: value for name, value in other.knobs.items() if value != ground.knobs.get(name, value)}
    return Question(
        epochs=other.plan.experiment.epochs,
        folds=tuple(dict.fromkeys(key.fold for key in other.runs)),
        restarts=len({key.restart for key in other.runs}),
        knobs=knobs,
    )


def _held(kind: str, of: str, rung: str, found: Range, truth: float) -> Iterator[Asked]:
    if found.value and found.low and found.high:
        yield Asked(kind, of, rung, found.value, found.low, found.high, truth)


def line(name: str, asked: Sequence[Asked]) -> str:
    off = sorted(abs(one.off) for one in asked)
    held, wide = sum(one.inside for one in asked) / len(asked), median(one.spread for one in asked)
    p90 = off[min(len(off) - 1, int(0.9 * len(off)))]
    return f"{name:<44} {len(asked):5d}   {100 * median(off):6.1f} ({100 * p90:6.1f})   {held:6.1%}   ±{wide:.1%}"


def main(folders: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        experiments = list(map(Path, folders)) or unpack(Path(place))
        print(f"{'asked':<44} {'cases':>5}   off, %: median (p90)   in 90 %   width")
        found: list[Asked] = []
        for folder in experiments:
            try:
                own = list(at_moments(folder))
            except UsageError as error:
                print(f"{folder.name}: {error}")
                continue
            found += own
            if own:
                print(line(f"  {folder.name}", own))
        pairs = list(across(experiments))
        for of in dict.fromkeys(one.of for one in pairs):
            print(line(f"  {of}", [one for one in pairs if one.of == of]))
        for kind in dict.fromkeys(one.kind for one in (*found, *pairs)):
            print(line(kind, [one for one in (*found, *pairs) if one.kind == kind]))


if __name__ == "__main__":
    main(sys.argv[1:])
