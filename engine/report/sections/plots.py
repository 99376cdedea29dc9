"""How it went: step time, loss, validation, memory."""

from __future__ import annotations

from math import isfinite

from engine.config.leading import measure
from engine.live.segments import Bucket
from engine.live.state import RunState
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.model import Basis, Block, Missing, Name, Piece, Plot, Section, Series, paragraph
from engine.sizes import GIB
from engine.text import clean

FEWEST = 2
MOST_CURVES = 4
MOST_COMPONENTS = 12
# Of step times and memory at least this share of the largest is shown.
LEAST = 0.3
SHORT_SECONDS = 7200.0
TITLE = "How it went"


def section(facts: Facts) -> Section:
    run = facts.run
    found: list[Block] = []
    if run is not None and facts.plan.test is None:
        found += [plot for plot in (_pace(facts, run), _loss(facts, run), _validation(facts, run)) if plot is not None]
        found += _components(facts, run)
    memory = _memory(facts)
    found += [memory] if memory is not None else []
    return Section("plots", TITLE, tuple(found) or (paragraph(Missing("nothing to draw yet")),))


def _steady(run: RunState) -> list[Bucket]:
    """Without the warm-up, whose steps would press all others onto the axis."""
    first = next((segment.first for segment in run.pace.segments if segment.attempt == run.pace.attempt), 0)
    later = [bucket for bucket in run.pace.buckets if bucket.last - bucket.steps + 1 >= first]
    return later if len(later) >= FEWEST else list(run.pace.buckets)


def _drawn(facts: Facts, run: RunState, buckets: list[Bucket]) -> Basis:
    steps = sources.steps(facts, run, buckets[0].last - buckets[0].steps + 1, buckets[-1].last)
    return Basis("measured", f"{steps.text}, in {len(buckets):,} parts")


def _pace(facts: Facts, run: RunState) -> Plot | None:
    buckets = _steady(run)
    if len(buckets) < FEWEST:
        return None
    series = Series(
        name="mean",
        points=tuple((float(one.last), one.seconds / one.steps) for one in buckets),
        band=tuple((float(one.last), one.low, one.high) for one in buckets),
    )
    changes = tuple((float(change.first), clean(change.words)) for change in facts.forecast.changes)
    return Plot(
        id="step-time", title="Step time, without the warm-up; shaded: quickest to slowest", x="step", y="s",
        series=(series,), basis=_drawn(facts, run, buckets), marks=changes, least=LEAST,
    )  # fmt: skip


def _loss(facts: Facts, run: RunState) -> Plot | None:
    buckets = [bucket for bucket in run.pace.buckets if isfinite(bucket.loss)]
    if len(buckets) < FEWEST:
        return None
    series = Series(name="loss", points=tuple((float(one.last), one.loss) for one in buckets))
    basis = _drawn(facts, run, buckets)
    return Plot(id="loss", title="Training loss", x="step", y="loss", series=(series,), basis=basis)


def _components(facts: Facts, run: RunState) -> list[Block]:
    """The parts of the newest loss, where its trainer names any."""
    if not run.losses:
        return []
    basis = sources.journal(facts, run, f"step {run.step:,}")
    said: list[Piece | str] = ["Components of the newest loss: "]
    for number, (name, value) in enumerate(sorted(run.losses.items())[:MOST_COMPONENTS]):
        figure = numbers.number(value, basis, digits=4, why="not finite")
        said += [", " if number else "", Name(clean(name)), " ", figure]
    return [paragraph(*said, ".")]


def _validation(facts: Facts, run: RunState) -> Plot | None:
    """The leading figure in validation; of a trainer that has none, its other validation figures."""
    kind = measure(facts.plan.experiment)
    leading = f"val/{kind.figure}"
    known = {name: [(float(x), y) for x, y in points if isfinite(y)] for name, points in run.curves.items()}
    curves = {name: points for name, points in known.items() if name.startswith("val/") and len(points) >= FEWEST}
    names = [leading] if leading in curves else sorted(curves)[:MOST_CURVES]
    if not names:
        return None
    series = tuple(Series(name=clean(name.removeprefix("val/")), points=tuple(curves[name])) for name in names)
    title = f"Validation {kind.title}" if names == [leading] else "Validation"
    basis = sources.journal(facts, run, "its metrics records")
    return Plot(id="validation", title=title, x="step", y=title, series=series, basis=basis)


def _memory(facts: Facts) -> Plot | None:
    used = [one for one in facts.readings if one.workers and all(w.pss is not None for w in one.workers)]
    if len(used) < FEWEST:
        return None
    begin = used[0].t
    unit, each = ("hours", 3600) if used[-1].t - begin > SHORT_SECONDS else ("minutes", 60)
    points = tuple(((one.t - begin) / each, sum(w.pss or 0 for w in one.workers) / GIB) for one in used)
    series = Series(name="all its processes", points=points)
    basis = sources.readings(facts, used, "PSS")
    return Plot(
        id="memory", title="Memory of its processes", x=unit, y="GiB", series=(series,), basis=basis, least=LEAST
    )  # fmt: skip
