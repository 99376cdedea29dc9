"""`steptop tune`: engine.phase.tune's decisions as visits, and its answer written down for profile `auto`."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import msgspec

from engine.config.experiment import of_variant
from engine.config.knob import Value
from engine.config.plan import Plan
from engine.config.profile import Profile
from engine.counts import plural
from engine.eta.costs import training_key
from engine.journals.events import PhaseEnded
from engine.machine.cores import machine
from engine.paths import ExperimentPaths, read_json, write_json
from engine.phase import phases, tuned
from engine.phase.space import Finished, Key, Limits, Measure, Ranked, Space, Trial, grid_of, key
from engine.phase.tune import decide
from engine.phase.visit import Visit

WORKERS = (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32)
PREFETCH = (1, 2, 4)
VARIED = ("num_workers", "prefetch_factor")
# Items that wait for a disk rather than compute gain from more processes than there are cores.
PER_CORE = 2
FEWEST_MOST = 4
# An interval that reaches so many times its lower end says nothing.
WIDE = 9.0


def space_of(plan: Plan, cores: int) -> Space:
    """Workers and prefetching, and the batch sizes the user allows; what the experiment locks stays as it is."""
    assert plan.test is not None
    current = plan.test.phases[0].knobs
    most = max(FEWEST_MOST, PER_CORE * cores)
    choices: dict[str, Sequence[Value]] = {
        "num_workers": sorted({n for n in (*WORKERS, int(current["num_workers"])) if n <= most}),
        "prefetch_factor": sorted({*PREFETCH, int(current["prefetch_factor"])}),
        "batch_size": plan.test.batch_sizes or (current["batch_size"],),
    }
    free = {name: values for name, values in choices.items() if name not in plan.experiment.locks}
    return Space(grid=grid_of(current, free), current=dict(current), cores=cores)


def trials(done: Sequence[PhaseEnded]) -> list[Trial]:
    """Visits as the tuner sees them."""
    return [
        Trial(
            knobs=visit.knobs,
            steps=len(visit.seconds),
            mode=visit.mode,
            measurement=phases.visited(visit) if visit.verdict.kind == "ok" else None,
            failed=visit.verdict.text if visit.verdict.kind != "ok" else "",
        )
        for visit in done
    ]


def answer(plan: Plan, done: Sequence[PhaseEnded], limits: Limits, cores: int) -> Measure | Finished:
    """What to measure next, or what was found, with which variant where the experiment has some."""
    found = decide(space_of(plan, cores), trials(done), limits)
    if isinstance(found, Measure) or not (variant := measured_with(plan)):
        return found
    return msgspec.structs.replace(found, why=f"{found.why} {variant}")


def measured_with(plan: Plan) -> str:
    """Of an experiment with variants, which one was measured, in words; another network may want other workers."""
    variant = plan.runs[0].variant
    return f"Measured with variant {variant}; `--variants NAME` measures another." if variant else ""


def next_visit(plan: Plan, done: Sequence[PhaseEnded], limits: Limits) -> Visit | str:
    """The tuner's next visit, or its last word."""
    found = answer(plan, done, limits, machine().cores)
    if isinstance(found, Finished):
        return found.why
    known: dict[Key, int] = {}
    for visit in done:
        known.setdefault(key(visit.knobs), visit.phase)
    assert plan.test is not None
    # What all others are compared with is the profile in use, whichever is measured first.
    current = key(plan.test.phases[0].knobs)
    first = {current: 0} if 0 not in known.values() else {}
    number = (first | known).get(key(found.knobs), max([0, *known.values()]) + 1)
    low, high, basis = phases.expected(done, found.knobs) if done else (None, None, "")
    return Visit(
        phase=number,
        round=sum(visit.phase == number for visit in done),
        name=name_of(found.knobs, plan),
        knobs=found.knobs,
        steps=found.steps,
        mode=found.mode,
        low=low,
        high=high,
        basis=basis,
    )


def name_of(knobs: dict[str, Value], plan: Plan) -> str:
    """`2 workers, prefetch 4`."""
    assert plan.test is not None
    workers = int(knobs["num_workers"])
    words = [f"{workers} worker{'s' if workers != 1 else ''}"]
    if workers:
        words.append(f"prefetch {knobs['prefetch_factor']}")
    if len(plan.test.batch_sizes) > 1:
        words.append(f"batch {knobs['batch_size']}")
    return ", ".join(words)


def write_down(
    paths: ExperimentPaths, plan: Plan, done: Sequence[PhaseEnded], limits: Limits, device_name: str
) -> dict[str, Value] | None:
    """What was found, kept as tuning.json beside the journals, and for whoever chooses profile `auto` for this kind of
    training; None if nothing was."""
    found = answer(plan, phases.counted(done), limits, machine().cores)
    if not isinstance(found, Finished):
        return None
    write_json(paths.tuning, found)
    best = next((one.measured for one in found.ranking if one.measured and key(one.knobs) == key(found.best)), None)
    if best is not None and device_name:
        profile, variant = Profile(name="", knobs=found.best), plan.runs[0].variant
        tuned.remember(
            paths.folder.parent,
            training_key(of_variant(plan.experiment, variant), profile, device_name),
            {name: found.best[name] for name in VARIED},
            tuned.Measured(
                samples_per_second=best.samples_per_second,
                low=best.samples_low,
                high=best.samples_high,
                steps=best.steps,
            ),
            variant,
        )
    return found.best


class Place(NamedTuple):
    """A configuration in the tuner's ranking, in words. `measured` and `modelled`: samples/s; `best`: the one taken."""

    name: str
    modelled: str
    measured: str
    out: str
    best: bool


def read_answer(paths: ExperimentPaths) -> Finished | None:
    """What the tuner found; None before it has ended."""
    return read_json(paths.tuning, Finished)


def places(found: Finished, plan: Plan) -> list[Place]:
    """Every configuration, the measured ones first, each group from the fastest on."""
    return [
        Place(
            name=name_of(one.knobs, plan),
            modelled=_modelled(one),
            measured=_measured(one),
            out=one.out or ("" if one.measured is not None or one.predicted is not None else "not tried"),
            best=key(one.knobs) == key(found.best),
        )
        for one in found.ranking
    ]


def _modelled(one: Ranked) -> str:
    if one.predicted is None:
        return ""
    low, high = one.predicted.samples_range
    return f"{low:.3g}–{high:.3g}, {one.predicted.limit} the limit"


def _measured(one: Ranked) -> str:
    if one.measured is None:
        return ""
    low, high = one.measured.samples_low, one.measured.samples_high
    known = isfinite(high) and high < WIDE * low
    return f"{one.measured.samples_per_second:.3g} ({f'{low:.3g}–{high:.3g}' if known else 'range not known'})"


def ranking(paths: ExperimentPaths, plan: Plan) -> list[str]:
    """A line for each configuration, best first; empty before the tuner has ended."""
    found = read_answer(paths)
    lines = []
    for one in places(found, plan) if found is not None else ():
        measured = f"{one.measured} samples/s measured" if one.measured else ""
        modelled = f"{one.modelled}, by the model" if one.modelled else ""
        lines.append(f"{one.name}: {'; '.join(part for part in (measured, modelled, one.out) if part)}")
    return lines


def ranking_table(found: Finished, plan: Plan, most: int) -> list[str]:
    """The ranking as a table of `most` lines below its head, and how many more there are."""
    listed = places(found, plan)
    table = [("", "samples/s measured", "by the model"), *((one.name, one.measured, one.modelled) for one in listed)]
    outs = ["", *(("taken" if one.best else one.out) for one in listed)]
    widths = [max(len(row[i]) for row in table[: most + 1]) for i in range(3)]
    said = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=True)), out]).rstrip()
        for row, out in zip(table, outs, strict=True)
    ]
    left = len(listed) - most
    return [*said[: most + 1], *([f"and {plural(left, 'other configuration')}"] if left > 0 else [])]
