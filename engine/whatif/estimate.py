"""What `steptop estimate` and the what-if screen are made from: which training is meant, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.config import catalog
from engine.config.plan import Plan
from engine.config.profile import Profile
from engine.config.run_keys import runs_of, variants_of
from engine.errors import UsageError
from engine.eta.costs import training_key
from engine.eta.newest import timing_for
from engine.eta.timing import alone, benchmark_key
from engine.eta.timings import MOST
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.machine.cores import machine
from engine.memory import vram_estimate
from engine.memory.footprint import Estimate
from engine.paths import ExperimentPaths, experiments_in, read_json
from engine.runs import expected, launch
from engine.runs.launch import Request
from engine.whatif.hardware import Gpu
from engine.whatif.known import Known, known_before, known_of
from engine.whatif.what_if import BESIDE, Question

# So many trainings like it are read, journals and all.
LOOKED_AT = 20
# What the knob's `auto` is there.
ON_A_GPU = "fp16"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A training, what it differs in from the one that was measured, and the same one measured on other machines."""

    known: Known
    question: Question = Question()
    others: tuple[Known, ...] = ()
    live: bool = False


def of_folder(folder: Path, sheet: Sequence[Gpu]) -> Subject:
    """An experiment or a test in a logs folder. Raises UsageError where nothing was measured yet."""
    watch = Watch(folder)
    watch.recall()
    return of_state(watch.poll(), folder.parent, sheet)


def of_state(
    state: ExperimentState, logs: Path, sheet: Sequence[Gpu], others: tuple[Known, ...] | None = None
) -> Subject:
    """`others`: what was found of a former state; None looks in the logs folder."""
    known = known_of(state, sheet)
    return Subject(
        known=known,
        others=twins(known, logs, sheet) if others is None else others,
        live=state.supervisor_alive or state.trainer_alive,
    )


def of_request(request: Request, sheet: Sequence[Gpu]) -> Subject:
    """An experiment that is not launched yet, from what was measured of one like it in the logs folder.

    Raises UsageError where nothing like it was: another model, shape or precision says nothing.
    """
    plan = launch.plan_for(request)
    like = measured_like(plan, request.logs, sheet)
    if not like:
        raise UsageError(_nothing_like(plan, request.logs))
    here = machine().cores
    known = _with_paces(min(like, key=lambda one: one.cores != here), like)
    if (own := _as_foretold(plan, request, like)) is not None:
        own = msgspec.structs.replace(own, asked=request.experiment)
        return Subject(known=own, question=_said(plan, request), others=_twins(own, like))
    known = msgspec.structs.replace(known, asked=request.experiment)
    return Subject(known=known, question=_asked(plan, known, request), others=_twins(known, like))


def _as_foretold(plan: Plan, request: Request, like: Sequence[Known]) -> Known | None:
    """What `steptop check` and the launch screen foretell it from; None where nothing has run under its own key."""
    timings = expected.history(request.logs)
    if timing_for(plan, timings) is None:
        return None
    found = expected.surveyed(plan, timings)
    timing = timing_for(plan, found.timings) if found is not None else None
    if found is None or timing is None or not all(key.fold in found.steps for key in plan.runs):
        return None
    same = [one for one in like if timing.key in _own_keys(one)]
    # Of a test of profiles the first phase has another key, and an older training may not say how many cores it had.
    there = [one for one in like if found.device in (one.device_key, one.device_name) or _of_model(one, found.device)]
    near = same or there
    return known_before(plan, timing, found.steps, found.tests, near[0]) if near else None


def _of_model(known: Known, device: str) -> bool:
    return known.device == "cpu" and device.startswith(f"{known.device_name}, ")


def _own_keys(known: Known) -> set[str]:
    """Of each of its variants by itself."""
    profile = msgspec.structs.replace(known.plan.profile, knobs=known.plan.profile.knobs | known.knobs)
    plan = msgspec.structs.replace(known.plan, profile=profile)
    return {benchmark_key(alone(plan, name), known.device_key) for name in variants_of(plan.runs)}


def _with_paces(known: Known, like: Sequence[Known]) -> Known:
    """With the pace of variants that were measured elsewhere: beside one of its own, or by themselves with the same
    knobs on the same machine."""
    own = known.paces
    for other in like:
        there = other.paces.seconds
        both = next((name for name in own.seconds if name in there), "")
        if not both and not _same_place(known, other):
            continue
        scale = own.seconds[both] / there[both] if both else 1.0
        seconds = {name: scale * pace for name, pace in there.items()} | own.seconds
        own = msgspec.structs.replace(own, seconds=seconds)
    return msgspec.structs.replace(known, paces=own)


def _same_place(one: Known, other: Known) -> bool:
    knobs = all(other.knobs.get(name) == value for name, value in one.knobs.items() if name not in BESIDE)
    return knobs and (one.device_name, one.cores) == (other.device_name, other.cores)


def _said(plan: Plan, request: Request) -> Question:
    """What of the launch was said, so that it can be said of the answer; nothing of it differs from `plan`."""
    return Question(
        epochs=plan.experiment.epochs if request.epochs is not None else None,
        folds=request.folds,
        restarts=request.restarts,
        knobs={name: plan.profile[name] for name in request.settings},
    )


def twins(known: Known, logs: Path, sheet: Sequence[Gpu]) -> tuple[Known, ...]:
    """The same training as it was measured on other GPUs."""
    return _twins(known, measured_like(known.plan, logs, sheet, Path(known.folder)))


def _twins(known: Known, like: Sequence[Known]) -> tuple[Known, ...]:
    return tuple(
        _there(known, one)
        for one in like
        if one.gpu is not None
        and (known.gpu is None or one.gpu.name != known.gpu.name)
        and (one.batch, one.precision) == (known.batch, known.precision)
    )


def _there(known: Known, other: Known) -> Known:
    """`known` on the machine of the `other`: what there is to do is its own, what it costs was measured there."""
    return msgspec.structs.replace(
        other,
        rhythms=known.rhythms,
        learners=known.learners,
        held_out=known.held_out,
        runs=known.runs,
        finished=known.finished,
        done=known.done,
        left=known.left,
    )


def measured_like(plan: Plan, logs: Path, sheet: Sequence[Gpu], without: Path | None = None) -> tuple[Known, ...]:
    """What was measured of trainings that compute the same in a step, newest first; their journals alone are read."""
    wanted, found = _key(plan), []
    for folder, other in _plans(logs):
        if _key(other) == wanted and (without is None or folder.resolve() != without.resolve()):
            try:
                found.append(known_of(Watch(folder).poll(), sheet))
            except UsageError:
                continue
        if len(found) == LOOKED_AT:
            break
    return tuple(found)


def _plans(logs: Path) -> list[tuple[Path, Plan]]:
    found = []
    for folder in experiments_in(logs)[:MOST] if logs.is_dir() else []:
        plan = read_json(ExperimentPaths(folder).plan, Plan)
        if plan is not None:
            found.append((folder, plan))
    return found


def _parts(plan: Plan) -> list[str]:
    """What is computed in a step and on what data, whatever it is computed on and in batches of whatever size."""
    knobs = plan.test.phases[0].knobs if plan.test is not None else plan.profile.knobs
    profile = Profile(name="", knobs=plan.profile.knobs | knobs | {"batch_size": 1, "accumulate_steps": 1})
    return training_key(plan.experiment, profile, "").split("|")


def _key(plan: Plan) -> tuple[str, ...]:
    return tuple(_parts(plan))


def _nothing_like(plan: Plan, logs: Path) -> str:
    data = f" --data {plan.data_dir}" if plan.data_dir else ""
    bench = f"`steptop bench {plan.experiment_name}{data}` measures it in about a minute"
    wanted = _parts(plan)
    there = [(folder, _parts(other)) for folder, other in _plans(logs)]
    if not there:
        return f"nothing was measured in {logs} yet; {bench}"
    if any(parts == wanted for _, parts in there):
        return f"what is like it in {logs} has no step measured yet; {bench}"
    nearest, parts = max(there, key=lambda one: sum(a == b for a, b in zip(wanted, one[1], strict=False)))
    differs = ", ".join(f"{b} instead of {a}" for a, b in zip(wanted, parts, strict=False) if a != b)
    said = f"the nearest, {nearest.name}, has {differs or 'other data'}"
    return f"nothing like it was measured in {logs}: {said}; {bench}"


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
        variants=variants_of(plan.runs),
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
    it was measured, or cannot be told. As the preflight estimates it there: `auto` is fp16 on a GPU."""
    if known.footprint.peaks or known.plan.experiment.command:
        return None
    profile = msgspec.structs.replace(known.plan.profile, knobs=known.knobs | {"precision": precision_there(known)})
    return vram_estimate.estimate(msgspec.structs.replace(known.plan, profile=profile))


def precision_there(known: Known) -> str:
    """What it would compute in on a GPU."""
    asked = str(known.knobs.get("precision", "auto"))
    return ON_A_GPU if asked == "auto" else asked


def is_experiment(name: str) -> bool:
    """Whether a launch takes that name."""
    return name.endswith(".toml") or name in catalog.experiments()
