"""What `steptop estimate` and the what-if screen are made from: which training is meant, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine import catalog, launch, vram_estimate
from engine.cores import machine
from engine.costs import training_key
from engine.errors import UsageError
from engine.experiment import Plan, runs_of
from engine.footprint import Estimate
from engine.hardware import Gpu
from engine.known import Known, known_of
from engine.launch import Request
from engine.paths import experiments_in
from engine.profile import Profile
from engine.state import ExperimentState
from engine.watch import Watch
from engine.what_if import Question

LOOKED_AT = 20
PRECISIONS = {"fp16": "fp16", "bf16": "bf16", "fp32": "fp16"}


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A training, what it differs in from the one that was measured, and the same one measured on other machines."""

    known: Known
    question: Question = Question()
    others: tuple[Known, ...] = ()
    live: bool = False


def of_folder(folder: Path, sheet: Sequence[Gpu]) -> Subject:
    """An experiment or a test in a logs folder. Raises UsageError where nothing was measured yet."""
    state = Watch(folder).poll()
    return of_state(state, folder.parent, sheet)


def of_state(state: ExperimentState, logs: Path, sheet: Sequence[Gpu]) -> Subject:
    known = known_of(state, sheet)
    return Subject(
        known=known,
        others=tuple(one for one in measured(logs, sheet) if _twin(one, known)),
        live=state.supervisor_alive or state.trainer_alive,
    )


def of_request(request: Request, sheet: Sequence[Gpu]) -> Subject:
    """An experiment that is not launched yet, from what was measured of one like it in the logs folder.

    Raises UsageError where nothing like it was: another model, shape, batch size or precision says nothing.
    """
    plan = launch.plan_for(request)
    found = measured(request.logs, sheet)
    like = [one for one in found if _key(one.plan, one) == _key(plan, one)]
    here = machine().cores
    like.sort(key=lambda one: one.cores != here)
    if not like:
        raise UsageError(_nothing_like(plan, found, request.logs))
    known = like[0]
    question = _asked(plan, known, request)
    return Subject(known=known, question=question, others=tuple(one for one in found if _twin(one, known)))


def measured(logs: Path, sheet: Sequence[Gpu]) -> tuple[Known, ...]:
    """Everything in the logs folder that a step was measured of, newest first."""
    found = []
    for folder in experiments_in(logs)[:LOOKED_AT] if logs.is_dir() else []:
        try:
            found.append(known_of(Watch(folder).poll(), sheet))
        except UsageError:
            continue
    return tuple(found)


def _key(plan: Plan, known: Known) -> str:
    """What is computed in a step, and on what data, whatever it is computed on."""
    knobs = known.knobs if plan is known.plan else plan.profile.knobs
    computed = {name: knobs[name] for name in ("precision", "compile", "cache")}
    profile = Profile(name="", knobs=plan.profile.knobs | computed | {"batch_size": 1, "accumulate_steps": 1})
    return training_key(plan.experiment, profile, "")


def _twin(one: Known, known: Known) -> bool:
    """The same training on another GPU."""
    other = one.gpu is not None and (known.gpu is None or one.gpu.name != known.gpu.name)
    same = one.batch == known.batch and one.precision == known.precision
    return other and same and _key(one.plan, one) == _key(known.plan, known)


def _nothing_like(plan: Plan, found: Sequence[Known], logs: Path) -> str:
    data = f" --data {plan.data_dir}" if plan.data_dir else ""
    bench = f"`steptop bench {plan.experiment_name}{data}` measures it in about a minute"
    if not found:
        return f"nothing was measured in {logs} yet; {bench}"
    wanted = training_key(plan.experiment, plan.profile, "").split("|")
    nearest = max(found, key=lambda one: _shared(wanted, one))
    other = training_key(nearest.plan.experiment, nearest.plan.profile, "").split("|")
    differs = ", ".join(f"{b} instead of {a}" for a, b in zip(wanted, other, strict=False) if a != b)
    said = f"the nearest, {nearest.name}, has {differs or 'other data'}"
    return f"nothing like it was measured in {logs}: {said}; {bench}"


def _shared(wanted: Sequence[str], one: Known) -> int:
    other = training_key(one.plan.experiment, one.plan.profile, "").split("|")
    return sum(a == b for a, b in zip(wanted, other, strict=False))


def _asked(plan: Plan, known: Known, request: Request) -> Question:
    """`plan` as what it differs in from the training that was measured."""
    knobs = {name: value for name, value in plan.profile.knobs.items() if value != known.knobs.get(name, value)}
    folds = tuple(dict.fromkeys(key.fold for key in plan.runs))
    if known.plan.experiment.runs != plan.experiment.runs:
        runs_of(known.plan.experiment, folds, 1)
    question = Question(
        epochs=plan.experiment.epochs,
        folds=folds,
        restarts=len({key.restart for key in plan.runs}),
        knobs=knobs,
    )
    if plan.data_dir != known.plan.data_dir and request.data is not None:
        found, _ = launch.check(plan, quick=True)
        if not found.ok or not found.folds:
            raise UsageError("\n".join(found.errors) or "the volumes could not be looked at")
        question = msgspec.structs.replace(question, steps_per_epoch=max(one["steps_per_epoch"] for one in found.folds))
    return question


def step_memory(known: Known) -> Estimate | None:
    """A step's memory on a GPU, worked out from the network in a process of its own (about three seconds); None where
    it was measured, or cannot be told."""
    if known.footprint.peaks or known.plan.experiment.command:
        return None
    knobs = known.knobs | {"precision": PRECISIONS[known.precision]}
    profile = msgspec.structs.replace(known.plan.profile, knobs=knobs)
    return vram_estimate.estimate(msgspec.structs.replace(known.plan, profile=profile))


def is_experiment(name: str) -> bool:
    """Whether a launch takes that name."""
    return name.endswith(".toml") or name in catalog.experiments()
