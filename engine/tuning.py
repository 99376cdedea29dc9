"""`steptop tune`: engine.tune's decisions as visits, and its answer written down for profile `auto`."""

from __future__ import annotations

from collections.abc import Sequence

from engine import phases, tuned
from engine.cores import machine
from engine.costs import training_key
from engine.events import PhaseEnded
from engine.experiment import Plan
from engine.knob import Value
from engine.paths import ExperimentPaths, read_json, write_json
from engine.profile import Profile
from engine.space import Finished, Key, Limits, Measure, Ranked, Space, Trial, grid_of, key
from engine.tune import decide
from engine.visit import Visit

WORKERS = (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32)
PREFETCH = (1, 2, 4)
VARIED = ("num_workers", "prefetch_factor")
# Items that wait for a disk rather than compute gain from more processes than there are cores.
PER_CORE = 2
FEWEST_MOST = 4


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
    """What to measure next, or what was found."""
    return decide(space_of(plan, cores), trials(done), limits)


def next_visit(plan: Plan, done: Sequence[PhaseEnded], limits: Limits) -> Visit | str:
    """The tuner's next visit, or its last word."""
    found = answer(plan, done, limits, machine().cores)
    if isinstance(found, Finished):
        return found.why
    known: dict[Key, int] = {}
    for visit in done:
        known.setdefault(key(visit.knobs), visit.phase)
    number = known.get(key(found.knobs), max(known.values(), default=-1) + 1)
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
    found = answer(plan, [visit for visit in done if not visit.repeated], limits, machine().cores)
    if not isinstance(found, Finished):
        return None
    write_json(paths.tuning, found)
    best = next((one.measured for one in found.ranking if one.measured and key(one.knobs) == key(found.best)), None)
    if best is not None and device_name:
        profile = Profile(name="", knobs=found.best)
        tuned.remember(
            paths.folder.parent,
            training_key(plan.experiment, profile, device_name),
            {name: found.best[name] for name in VARIED},
            tuned.Measured(
                samples_per_second=best.samples_per_second,
                low=best.samples_low,
                high=best.samples_high,
                steps=best.steps,
            ),
        )
    return found.best


def ranking(paths: ExperimentPaths, plan: Plan) -> list[str]:
    """What the tuner made of every configuration, best first, a line each; empty before it has ended."""
    found = read_json(paths.tuning, Finished)
    return [f"{name_of(one.knobs, plan)}: {_standing(one)}" for one in found.ranking] if found is not None else []


def _standing(one: Ranked) -> str:
    if one.measured is not None:
        low, high = one.measured.samples_low, one.measured.samples_high
        said = f"{one.measured.samples_per_second:.3g} samples/s measured ({low:.3g}–{high:.3g})"
    elif one.predicted is not None:
        low, high = one.predicted.samples_range
        said = f"{low:.3g}–{high:.3g} samples/s by the model, {one.predicted.limit} the limit"
    else:
        said = "not tried"
    return f"{said}; {one.out}" if one.out else said
