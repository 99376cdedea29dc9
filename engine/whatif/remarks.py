"""What is to be said of a what-if beside its figures: the gravest first."""

from __future__ import annotations

from math import ceil

import msgspec

from engine.config import minimums
from engine.config.experiment import Experiment
from engine.config.knob import Kind, shown
from engine.config.profile import KNOBS, defaults
from engine.config.run_keys import dimensions, runs_of
from engine.counts import plural
from engine.diagnosis.consequences import Range
from engine.memory.budget import budget
from engine.memory.footprint import Footprint
from engine.whatif.known import Known
from engine.whatif.what_if import Question, Times, at_once, core_demand, shape_of, times

TOO_LONG_EPOCH = 12 * 3600.0
# A part of the time that is worth a remark.
MATTERS = 0.05


def remarks(known: Known, question: Question, own: Times) -> tuple[str, ...]:
    """Of the question on the machine it was measured on."""
    said = [*_locks(known, question), *_kinds(known, question)]
    if known.step.basis.startswith("warming"):
        said.append(f"{known.step.basis}: wait for the first epoch's end")
    if (question.folds, question.restarts) != (None, None):
        said += _runs(known, question)
    if question.gpus > 1:
        said += _gpus(known, question, own)
    said += known.paces.untried_words(shape_of(known, question).runs)
    said += _unseen(known, own)
    said += _epoch(own.epoch)
    return tuple(said)


def _locks(known: Known, question: Question) -> list[str]:
    locks = known.plan.experiment.locks
    said = [
        f"{name} is locked at {shown(locks[name].value)}: {locks[name].reason}"
        for name, value in question.knobs.items()
        if name in locks and value != locks[name].value
    ]
    return [*said, *below_minimum(known.plan.experiment, question.epochs).values()]


def below_minimum(experiment: Experiment, epochs: int | None) -> dict[str, str]:
    """What the experiment must have more of, with its reason, if it had so many epochs; nothing for its own number."""
    if epochs is None:
        return {}
    return minimums.below(experiment.minimums, msgspec.structs.replace(experiment, epochs=epochs))


def _kinds(known: Known, question: Question) -> list[str]:
    changed = {name for name, value in question.knobs.items() if value != known.knobs.get(name)}
    if question.steps_per_epoch is not None:
        changed.add("steps_per_epoch")
    said = []
    for kind in (Kind.OPTIMISATION, Kind.METRIC):
        names = [name for name in KNOBS if name in changed and KNOBS[name].kind == kind]
        if names:
            said.append(f"{', '.join(names)} {kind}: results cannot be compared with those so far")
    return said


def _runs(known: Known, question: Question) -> list[str]:
    """Restarts are of every fold."""
    runs = shape_of(known, question).runs
    planned = len(runs_of(known.plan.experiment))
    if not runs or len(runs) == planned:
        return []
    return [f"{dimensions(runs)} = {plural(len(runs), 'run')} of {planned}"]


def _gpus(known: Known, question: Question, own: Times) -> list[str]:
    """Whether several GPUs bring what their number says."""
    count = at_once(known, question)
    if own.experiment.value is None:
        return [own.why]
    one = times(known, msgspec.structs.replace(question, gpus=1)).experiment.value
    if not one:
        return []
    gain = one / own.experiment.value
    runs = len(shape_of(known, question).runs)
    ideal = runs / ceil(runs / count)
    demand = core_demand(known, question)
    said = []
    if demand is not None:
        cores, there = demand
        seen = known.workload is not None and known.workload.load_cpu_seconds
        measured = "" if seen else ", taken to compute all the time"
        enough = cores <= there
        verdict = f"{gain:.1f}×" if enough else f"{gain:.1f}×, not {ideal:.1f}×"
        verdict += f" ({plural(runs, 'run')} in {count} places)" if runs % count else ""
        reason = (
            f"their loaders and trainers need {cores:.1f} of {there} cores{measured}"
            if enough
            else f"their loaders and trainers would need {cores:.1f} cores, and there are {there}{measured}"
        )
        said.append(f"{count} GPUs side by side: {verdict}; {reason}")
    if count < question.gpus:
        said.append(f"there are only {plural(count, 'run')}: more GPUs than that stand idle")
    said += _ram(known, question, count)
    said.append(f"`--devices {','.join(str(number) for number in range(count))}` trains {count} runs at a time")
    return said


def _ram(known: Known, question: Question, count: int) -> list[str]:
    footprint: Footprint = known.footprint
    ram = budget(defaults() | known.knobs | question.knobs, footprint).ram
    if ram.limit is None or count * ram.bytes <= ram.limit:
        return []
    gib = 1 << 30
    return [f"RAM: {count} × {ram.bytes / gib:.0f} GiB is more than the {ram.limit / gib:.0f} GiB that are free"]


def _unseen(known: Known, own: Times) -> list[str]:
    """Parts that matter and that were never seen."""
    total = sum(own.parts.values())
    bases: dict[str, list[str]] = {}
    for name, unit in (("validate", "validate"), ("reconstruct", "volume"), ("evaluate", "evaluate")):
        if own.parts.get(name, 0.0) > MATTERS * total and known.costs[unit].basis.startswith("modelled"):
            bases.setdefault(known.costs[unit].basis, []).append(name)
    return [f"{' and '.join(names)}: never seen here, {basis}" for basis, names in bases.items()]


def _epoch(epoch: Range) -> list[str]:
    if epoch.value is None or epoch.value <= TOO_LONG_EPOCH:
        return []
    hours = epoch.value / 3600
    return [f"an epoch of {hours:.0f} h is long, and tells nothing before its end; --wish 6h-8h finds its steps"]
