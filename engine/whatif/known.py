"""What was measured of a training, as the figures that questions about another one like it start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from engine.config.knob import Value
from engine.config.plan import Plan
from engine.config.run_keys import RunKey, runs_of
from engine.diagnosis.modelled import workload_of
from engine.diagnosis.queueing import Workload
from engine.errors import UsageError
from engine.eta.calibration import RUNGS, Factor, Rung
from engine.eta.costs import Cost, KeyTiming, from_timing, step_cost
from engine.eta.devices import device_called
from engine.eta.lessons import timing_of
from engine.eta.rhythm import Amounts, Rhythm, planned, rhythm_of
from engine.eta.standing import Standing, standing_of
from engine.eta.unit_costs import costs_before, costs_of
from engine.eta.variants import Paces, paces_of, paces_told
from engine.journals.events import PhaseEnded
from engine.live.mean_step import COMPUTE, lately, mean_step
from engine.live.state import ExperimentState, RunState
from engine.memory.footprint import Footprint, footprint, knobs_now
from engine.phase.phases import measurement
from engine.whatif import hardware
from engine.whatif.hardware import Gpu
from engine.whatif.scaling import Precision

Device: TypeAlias = Literal["cuda", "mps", "cpu"]

# A GPU busy less than this while a step computes waits for its instructions: that does not scale with the GPU.
LAUNCHING = 60.0
READINGS = 10
Z90 = 1.645
ACTIVE: dict[str, Precision] = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. `knobs`: those it ran with. `busy`: of a step's computing, the share that the GPU is at work; None where
    the journal does not say. `workload` None: where a step goes is not known, or the machine was not read.

    `rhythms`, `learners` and `held_out` are by fold: what a run of it does, and how many subjects it learns from and is
    tested on (none known: left out). `costs` are of one of everything, as the forecast has them. `finished`: runs that
    are done; `done`: steps of those that are begun, by fold, restart and variant. `left`: what the forecast counts as
    left of each run, the one under way first; None where nothing was begun. `epoch_left`: of its epoch; `whole_left`:
    until the last one ends, where runs go on side by side. `factors`: how wide the forecast's ranges are. `paces`:
    whose step `step` is where there are variants, and what one of the others takes. `device_key`: the device as
    benchmark keys call it. `asked`: an experiment to be launched, which is foretold from the
    training called `name`.
    """

    name: str
    folder: str
    plan: Plan
    knobs: dict[str, Value]
    device: Device
    device_name: str
    gpu: Gpu | None
    precision: Precision
    cores: int | None
    step: Cost
    busy: float | None
    workload: Workload | None
    rhythms: dict[int, Rhythm]
    learners: dict[int, int] = {}
    held_out: dict[int, int] = {}
    costs: dict[str, Cost] = {}
    runs: tuple[RunKey, ...] = ()
    finished: tuple[RunKey, ...] = ()
    done: dict[tuple[int, int, str], int] = {}
    left: tuple[tuple[RunKey, Amounts], ...] | None = None
    epoch_left: Amounts = {}
    whole_left: Amounts | None = None
    factors: dict[Rung, Factor] = {}
    warming: bool = False
    footprint: Footprint = Footprint()
    paces: Paces = Paces()
    device_key: str = ""
    asked: str = ""

    @property
    def batch(self) -> int:
        return int(self.knobs["batch_size"])

    @property
    def machine(self) -> str:
        """`A100-80 SXM, 12 cores`."""
        name = self.gpu.name if self.gpu is not None else self.device_name or self.device.upper()
        return f"{name}, {self.cores} cores" if self.cores else name


def known_of(state: ExperimentState, sheet: Sequence[Gpu]) -> Known:
    """Of a training that runs, has ended or was recorded, or of a test of profiles (its first phase).

    Raises UsageError where no step was measured, or where it is not known how many there are in an epoch.
    """
    plan, run = state.plan, _told(state)
    name = Path(state.folder).name
    if run is None or run.begin is None:
        raise UsageError(f"{name}: nothing was measured yet; {_bench(plan)}")
    done = [visit for visit in state.visits if isinstance(visit, PhaseEnded)]
    knobs = plan.test.phases[0].knobs if plan.test is not None else knobs_now(state)
    standing = _standing(state, run)
    if standing is None:
        raise UsageError(f"{name}: no step was measured yet; {_bench(plan)}")
    device: Device = "cuda" if run.begin.device.startswith("cuda") else "mps" if run.begin.device == "mps" else "cpu"
    workload, _ = workload_of(state)
    busy = _busy(state, run, done)
    splits = {split.fold: split for split in state.prepared.splits} if state.prepared is not None else {}
    runs = runs_of(plan.experiment) if plan.test is not None else plan.runs
    rhythms = _rhythms(state, runs)
    if not rhythms:
        raise UsageError(f"{name}: how many steps an epoch has is known once its volumes are prepared; {_bench(plan)}")
    return Known(
        name=name,
        folder=state.folder,
        plan=plan,
        knobs=dict(knobs),
        device=device,
        device_name=run.begin.device_name,
        device_key=device_called(run.begin),
        gpu=hardware.find(run.begin.device_name, tuple(sheet)),
        precision=_precision(run, knobs, device),
        cores=state.samples[-1].cores if state.samples else None,
        step=_whole(standing),
        busy=busy,
        workload=workload if busy is not None else None,
        rhythms=rhythms,
        learners={fold: len(split.train) for fold, split in splits.items()},
        held_out={fold: len(split.test) for fold, split in splits.items()},
        costs=standing.costs,
        runs=runs,
        finished=tuple(one.key for one in state.runs if one.phase == "finished" and plan.test is None),
        done={one.key.at: one.step for one in state.runs if one.step and plan.test is None},
        left=standing.left,
        epoch_left=standing.epoch_left,
        whole_left=standing.whole,
        factors={rung: standing.factor(rung) for rung in RUNGS},
        warming=standing.warming,
        footprint=footprint(state, done),
        paces=_paces(state, standing),
    )


def _bench(plan: Plan) -> str:
    data = " --data DIR" if plan.data_dir else ""
    return f"`steptop bench {plan.experiment_name}{data}` measures it in about a minute"


def _told(state: ExperimentState) -> RunState | None:
    """The run that says most: the present one once it has stepped, else the last one that has."""
    if state.run is not None and state.run.begin is not None and (state.run.pace.steps or state.plan.test is not None):
        return state.run
    stepped = [run for run in state.runs if run.begin is not None and run.pace.steps]
    return stepped[-1] if stepped else state.run


def known_before(
    plan: Plan, timing: KeyTiming, steps: Mapping[int, int], tests: Mapping[int, int], like: Known
) -> Known:
    """Of `plan` before it is launched, as `before_launch` has it: costs of an earlier one of its key, and of `like`
    what a step is made of. `steps` and `tests` are by fold."""
    costs = costs_before(timing, plan)
    runs = plan.runs[: plan.stop_after_runs or None]
    folds = dict.fromkeys(key.fold for key in runs)
    return msgspec.structs.replace(
        like,
        plan=plan,
        knobs=dict(plan.profile.knobs),
        step=costs["step"],
        rhythms={fold: planned(plan, steps[fold], tests.get(fold, 0)) for fold in folds},
        held_out={fold: tests.get(fold, 0) for fold in folds},
        costs=costs,
        runs=runs,
        finished=(),
        done={},
        left=None,
        epoch_left={},
        whole_left=None,
        factors={},
        warming=False,
        paces=paces_told(plan, timing),
    )


def _standing(state: ExperimentState, run: RunState) -> Standing | None:
    """What the forecast is made of; of a test of profiles, what its first phase measured."""
    if state.plan.test is None:
        return standing_of(state, step=step_cost(state, run, state.earlier.timings))
    timing = timing_of(state)
    if timing is None:
        return None
    step = msgspec.structs.replace(from_timing(timing), basis=f"measured in a test, {timing.steps:,} steps")
    return Standing(costs=costs_of(state, None, step, ()))


def _paces(state: ExperimentState, standing: Standing) -> Paces:
    """As the forecast has them; a test of profiles has measured one variant, though the experiment may have more."""
    found = paces_of(state)
    if not found.present or found.seconds:
        return found
    return msgspec.structs.replace(found, seconds={found.present: standing.step.mean})


def _whole(standing: Standing) -> Cost:
    """A step, with how much quicker those after the epoch under way may be."""
    return msgspec.structs.replace(standing.step, below=standing.costs["cold"].below)


def _busy(state: ExperimentState, run: RunState, done: Sequence[PhaseEnded]) -> float | None:
    """What the GPU does of all that is not waiting for data. The copy to it and the trainer's own code do not scale."""
    if state.plan.test is not None:
        found = measurement(done, 0)
        spans, seconds = (found.spans, found.step_seconds) if found is not None else ({}, 0.0)
    else:
        step = mean_step(lately(run))
        spans, seconds = step.spans, step.seconds
    computing = seconds - spans.get("data", 0.0)
    at_work = sum(spans.get(name, 0.0) for name in COMPUTE)
    if at_work <= 0 or computing <= 0:
        return None
    readings = [
        gpu.util for sample in state.samples for gpu in sample.gpus if gpu.own_memory and gpu.util is not None
    ]
    if len(readings) >= READINGS:
        seen = sum(readings) / len(readings) / 100 * seconds
        if seen < LAUNCHING / 100 * at_work:
            at_work = seen
    return min(1.0, at_work / computing)


def _precision(run: RunState, knobs: dict[str, Value], device: Device) -> Precision:
    """What the layers really computed in, else what was asked for."""
    if run.precision is not None and run.precision.active in ACTIVE:
        return ACTIVE[run.precision.active]
    asked = str(knobs.get("precision", "auto"))
    if asked == "auto":
        return "fp16" if device == "cuda" else "fp32"
    return "fp16" if asked == "fp16" else "bf16" if asked == "bf16" else "fp32"


def _rhythms(state: ExperimentState, runs: Sequence[RunKey]) -> dict[int, Rhythm]:
    """By fold; of a training each fold as it runs, of a test as it would."""
    found: dict[int, Rhythm] = {}
    for key in runs:
        if key.fold in found:
            continue
        own = next((run for run in state.runs if run.key == key), RunState(key=key))
        fresh = msgspec.structs.replace(own, begin=None) if state.plan.test is not None else own
        rhythm = rhythm_of(state, fresh)
        if rhythm is not None:
            found[key.fold] = rhythm
    return found


def rhythm_with(known: Known, fold: int, knobs: dict[str, Value], epochs: int, steps: int) -> Rhythm:
    """What a run of that fold does under other knobs, epochs and steps in an epoch; what follows no known interval goes
    on as often an epoch."""
    seen = known.rhythms[fold]
    if known.plan.experiment.command:
        return msgspec.structs.replace(seen, epochs=epochs, steps=steps)
    plan = msgspec.structs.replace(
        known.plan,
        experiment=msgspec.structs.replace(known.plan.experiment, epochs=epochs),
        profile=msgspec.structs.replace(known.plan.profile, knobs=known.plan.profile.knobs | knobs),
    )
    fresh = planned(plan, steps, known.held_out.get(fold, round(seen.evaluate_items or 0)))
    same = all(knobs.get(name, value) == value for name, value in known.knobs.items() if name.startswith("val_"))
    return msgspec.structs.replace(
        fresh, rates=seen.rates, validate_items=seen.validate_items if same else fresh.validate_items
    )
