"""Staged plans: a quick test, a validation, the final training; each goes on only when the one before it has shown what
it must."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from engine.config import catalog
from engine.config.knob import Kind, Value, shown
from engine.config.plan import Plan
from engine.config.profile import KNOBS
from engine.config.run_keys import runs_of
from engine.config.sources import MADE
from engine.diagnosis.consequences import Range
from engine.errors import UsageError, unknown
from engine.journals.journal import read
from engine.limit.allowance import allowance
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, experiments_in, read_json
from engine.runs import launch
from engine.runs.launch import Request
from engine.runs.spending import used_seconds
from engine.whatif import estimate, hardware, hardware_table
from engine.whatif.checks import CHECKS
from engine.whatif.estimate import Subject
from engine.whatif.hardware import Gpu
from engine.whatif.hardware_table import Money
from engine.whatif.remarks import below_minimum
from engine.whatif.session_limits import Fitting, Session, fitting
from engine.whatif.staged_plan import HERE, Stage, Staged
from engine.whatif.what_if import Question

# Where trainings lie unless --logs says otherwise.
LOGS = Path("logs")
# What stands in a command for a folder that nobody has named yet.
DIR = "DIR"
FREE = Money(low=0.0, high=0.0, text="free")

Standing: TypeAlias = Literal["waiting", "under way", "passed", "failed", "stopped"]


class Ticked(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a checklist: `done` None is not known yet."""

    check: str
    text: str
    done: bool | None
    evidence: str = ""


class Progressed(msgspec.Struct, frozen=True, kw_only=True):
    """How far a stage has come. `time`: what it takes, or once it is over what it took (`measured`), and in `money`
    what that cost; `spent`: seconds trained so far. `why`: what the time rests on, or why it is not known. `command`
    starts it."""

    stage: Stage
    standing: Standing
    ticks: tuple[Ticked, ...]
    time: Range = Range()
    measured: bool = False
    spent: float = 0.0
    why: str = ""
    money: Money = Money()
    fits: Fitting | None = None
    command: tuple[str, ...] = ()


def progress(
    staged: Staged, logs: Path, sheet: Sequence[Gpu], sessions: Sequence[Session], data: Path | None = None
) -> tuple[Progressed, ...]:
    """Every stage. Without `data` commands have the volumes that a stage of the plan was begun with. Raises UsageError
    for a platform, GPU or experiment that is not known."""
    return tuple(
        msgspec.structs.replace(
            _progressed(stage, logs, tuple(sheet), sessions, data),
            command=_command(stage, str(data) if data is not None else _data_of(stage, staged, logs), logs),
        )
        for stage in staged.stages
    )


def of_name(staged: Staged, name: str | None) -> tuple[Stage, ...]:
    """The stages that a name means: its own, its folder's, its experiment's; all for the plan's experiment or None.
    Raises UsageError for a name that is nothing of the plan."""
    if name is None or name == staged.experiment:
        return staged.stages
    found = tuple(stage for stage in staged.stages if name in (stage.name, stage.folder, stage.experiment))
    if not found:
        words = [word for one in staged.stages for word in (one.experiment, one.folder)]
        there = ", ".join(dict.fromkeys((staged.experiment, *words)))
        raise UsageError(f"{name!r} is no stage, folder or experiment of that plan ({there}); without it all is shown")
    return found


def following(found: Sequence[Progressed]) -> Progressed | None:
    """The first stage that has not passed; what comes after it waits for it."""
    return next((one for one in found if one.standing != "passed"), None)


def _progressed(
    stage: Stage, logs: Path, sheet: tuple[Gpu, ...], sessions: Sequence[Session], data: Path | None
) -> Progressed:
    state = Watch(logs / stage.folder).poll() if (logs / stage.folder / "plan.json").is_file() else None
    ticks = tuple(_tick(name, state) for name in stage.checks)
    session = _session(stage, sessions)
    gpu = hardware.named(stage.gpu, sheet) if stage.gpu else None
    found = Progressed(stage=stage, standing=_standing(state, ticks), ticks=ticks)
    took = _took(state, logs / stage.folder) if state is not None else 0.0
    found = msgspec.structs.replace(found, spent=took)
    if state is not None and took and (found.standing == "passed" or state.phase == "finished"):
        cost = _cost(state, session, sheet, took)
        time = Range(took, took, took, "measured")
        return msgspec.structs.replace(found, time=time, measured=True, why="measured", money=cost)
    free = session is not None and session.free
    try:
        subject = _subject(stage, logs, sheet, data)
    except UsageError as error:
        unknown_fit = fitting(session, stage.gpu, Range(), Range()) if session is not None else None
        return msgspec.structs.replace(found, why=str(error), money=FREE if free else _hourly(gpu), fits=unknown_fit)
    on = gpu if gpu is not None else subject.known.gpu
    row = hardware_table.row(subject.known, subject.question, on, (), (), subject.others)
    name = on.name if on is not None else ""
    return msgspec.structs.replace(
        found,
        time=row.times.experiment,
        why=row.why,
        money=FREE if free and not row.too_small else row.money,
        fits=fitting(session, name, row.times.longest, row.times.experiment) if session is not None else None,
    )


def _took(state: ExperimentState, folder: Path) -> float:
    """Seconds of all its runs; of runs side by side until the last one's end."""
    if state.plan.slots > 1:
        return used_seconds(read(ExperimentPaths(folder).events), 0.0)
    return sum(run.elapsed for run in state.runs)


def _subject(stage: Stage, logs: Path, sheet: tuple[Gpu, ...], data: Path | None) -> Subject:
    """What is known of a training like the stage's. Without --data from one of the same experiment, wherever its
    volumes lie: it may have been measured on another machine. Raises UsageError where nothing was."""
    name = Path(stage.experiment).stem
    folders = experiments_in(logs) if data is None and stage.profile is None and logs.is_dir() else []
    for folder in folders:
        plan = read_json(ExperimentPaths(folder).plan, Plan)
        if plan is None or plan.experiment_name != name:
            continue
        try:
            found = estimate.of_folder(folder, sheet)
        except UsageError:
            continue
        asked = _question(stage)
        there = found.known.knobs
        knobs = {knob: value for knob, value in _launched(stage, logs, plan).items() if there[knob] != value}
        asked = msgspec.structs.replace(asked, knobs=knobs | asked.knobs)
        return msgspec.structs.replace(found, question=asked, live=False)
    planned = catalog.experiment_named(stage.experiment)
    if data is None and planned.data.source not in MADE and not planned.command:
        measures = f"`steptop bench {stage.experiment} --data DIR` measures it in about a minute"
        raise UsageError(f"nothing of {name} was measured in {logs} yet; {measures}")
    return estimate.of_request(_request(stage, logs, data), sheet)


def _request(stage: Stage, logs: Path, data: Path | None) -> Request:
    return Request(
        experiment=stage.experiment, logs=logs, data=data, profile=stage.profile, epochs=stage.epochs,
        folds=stage.folds, restarts=stage.restarts, settings=stage.knobs, override_locks=True,
    )  # fmt: skip


def _launched(stage: Stage, logs: Path, measured: Plan) -> dict[str, Value]:
    """What its command would train with, of what decides about a step; nothing where it cannot be told here. On a
    platform workers go by the cores there, which nobody knows here."""
    data = Path(measured.data_dir) if measured.data_dir else None
    try:
        knobs = launch.plan_for(_request(stage, logs, data)).profile.knobs
    except UsageError:
        return {}
    there = stage.platform not in ("", HERE) or bool(stage.gpu)
    return {
        name: value
        for name, value in knobs.items()
        if name != "steps_per_epoch" and not (there and KNOBS[name].kind == Kind.SPEED)
    }


def _question(stage: Stage) -> Question:
    """The whole of what the stage trains, however little of it was measured."""
    planned = catalog.experiment_named(stage.experiment)
    runs = runs_of(planned)
    steps = stage.knobs.get("steps_per_epoch")
    return Question(
        epochs=stage.epochs or planned.epochs,
        steps_per_epoch=int(steps) if steps else None,
        folds=stage.folds or tuple(dict.fromkeys(key.fold for key in runs)),
        restarts=stage.restarts or len({key.restart for key in runs}),
        knobs={knob: value for knob, value in stage.knobs.items() if knob != "steps_per_epoch"},
    )


def _hourly(gpu: Gpu | None) -> Money:
    """What an hour costs, where nobody knows how many it takes."""
    if gpu is None or gpu.price is None:
        return Money()
    price = gpu.price
    return Money(
        currency=price.currency, as_of=price.as_of, source=price.source,
        text=f"{price.low:g} to {price.high:g} {price.currency} a GPU-hour, {price.source}, {price.as_of}",
    )  # fmt: skip


def _cost(state: ExperimentState, session: Session | None, sheet: tuple[Gpu, ...], took: float) -> Money:
    """Of what was trained: as its budget counted it, else its hours at the GPU's quoted price."""
    if session is not None and session.free:
        return FREE
    took *= max(1, len(state.plan.devices))
    allowed = allowance(state)
    if allowed is not None and allowed.spent is not None and allowed.rate is not None:
        spent, rate = allowed.spent, allowed.rate
        return Money(low=spent, high=spent, currency=rate.currency, source=rate.basis, text=f"spent; {rate.basis}")
    name = next((run.begin.device_name for run in state.runs if run.begin is not None), "")
    gpu = hardware.find(name, sheet) if name else None
    if gpu is None or gpu.price is None:
        return Money(text="no price known; ./hardware.toml takes one")
    price, hours = gpu.price, took / hardware_table.HOUR
    return Money(
        low=hours * price.low, high=hours * price.high, currency=price.currency, as_of=price.as_of,
        source=price.source, text=f"its hours on {gpu.name}, {price.source}, {price.as_of}",
    )  # fmt: skip


def _session(stage: Stage, sessions: Sequence[Session]) -> Session | None:
    if stage.platform == HERE:
        return None
    for one in sessions:
        if one.name.casefold() == stage.platform.casefold():
            return one
    raise unknown("platform", stage.platform, [HERE, *(one.name for one in sessions)], f"stage {stage.name!r}")


def _tick(name: str, state: ExperimentState | None) -> Ticked:
    check = CHECKS[name]
    done, evidence = check.look(state) if state is not None else (None, "")
    return Ticked(check=name, text=check.text, done=done, evidence=evidence)


def _standing(state: ExperimentState | None, ticks: Sequence[Ticked]) -> Standing:
    if state is None:
        return "waiting"
    if any(tick.done is False for tick in ticks):
        return "failed"
    if all(tick.done for tick in ticks):
        return "passed"
    if state.supervisor_alive or state.trainer_alive:
        return "under way"
    return "failed" if state.phase in ("failed", "lost") else "stopped"


def _data_of(stage: Stage, staged: Staged, logs: Path) -> str:
    """The volumes that it was begun with, else those that another stage on its platform was; '' where it needs none."""
    planned = catalog.experiment_named(stage.experiment)
    if planned.data.source in MADE or planned.command:
        return ""
    there = [one for one in (stage, *staged.stages) if one.platform == stage.platform]
    begun = (read_json(ExperimentPaths(logs / one.folder).plan, Plan) for one in there)
    return next((plan.data_dir for plan in begun if plan is not None and plan.data_dir), DIR)


def _command(stage: Stage, data: str, logs: Path) -> tuple[str, ...]:
    away = logs.resolve() != LOGS.resolve()
    words = ["steptop", *(["--logs", str(logs)] if away and stage.platform == HERE else [])]
    words += ["run", stage.experiment, "--name", stage.folder]
    words += ["--data", data] if data else []
    words += ["--profile", stage.profile] if stage.profile else []
    words += ["--epochs", str(stage.epochs)] if stage.epochs else []
    words += ["--folds", ",".join(str(fold) for fold in stage.folds)] if stage.folds else []
    words += ["--restarts", str(stage.restarts)] if stage.restarts else []
    for name, value in stage.knobs.items():
        words += ["--set", f"{name}={shown(value)}"]
    planned = catalog.experiment_named(stage.experiment)
    locked = any(name in planned.locks and planned.locks[name].value != value for name, value in stage.knobs.items())
    if locked or below_minimum(planned, stage.epochs):
        words.append("--override-locks")
    return tuple(words)
