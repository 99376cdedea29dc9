"""Staged plans: a quick test, a validation, the final training; each goes on only when the one before it has shown what
it must."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from engine.config import catalog
from engine.config.experiment import Plan, runs_of
from engine.config.knob import Kind, Value, shown
from engine.config.profile import KNOBS, check_source
from engine.config.sheet import Row, rows
from engine.config.sources import MADE
from engine.diagnosis.consequences import Range
from engine.errors import UsageError, unknown
from engine.journals.journal import read
from engine.limit.allowance import allowance
from engine.live.state import ExperimentState
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, checked_name, experiments_in, read_json, read_toml
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
from engine.whatif.what_if import Question

FOLDER = "staged"
HERE = "here"
FIELDS = (
    "name", "purpose", "experiment", "platform", "gpu", "folder", "profile", "epochs", "folds", "restarts", "knobs",
    "checks",
)  # fmt: skip
HEAD = ("title", "experiment")
FREE = Money(low=0.0, high=0.0, text="free")

Standing: TypeAlias = Literal["waiting", "under way", "passed", "failed", "stopped"]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """`experiment`: what is trained, the plan's own by default; a smaller model says as much of data and machine.
    `platform`: a session's name, or here. `gpu` empty: the one of the machine. `folder`: where it is trained."""

    name: str
    purpose: str = ""
    experiment: str
    platform: str = HERE
    gpu: str = ""
    folder: str
    profile: str | None = None
    epochs: int | None = None
    folds: tuple[int, ...] | None = None
    restarts: int | None = None
    knobs: dict[str, Value] = {}
    checks: tuple[str, ...] = ()


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    experiment: str
    stages: tuple[Stage, ...]


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


# ---------------------------------------------------------------- the file


def named(name: str) -> Staged:
    """A staged plan by name (./staged first) or path; raises UsageError with the nearest right name."""
    if name.endswith(".toml"):
        return load(Path(name))
    known = catalog.files(FOLDER)
    if name not in known:
        raise unknown("staged plan", name, known)
    return load(known[name][0])


def load(path: Path) -> Staged:
    """Raises UsageError naming file, line and remedy."""
    raw = read_toml(path)
    found = rows(path, "stage", HEAD)
    experiment, title = raw.get("experiment"), raw.get("title", "")
    if not isinstance(experiment, str) or not experiment:
        raise UsageError(f'{path}: experiment = "…" names what is trained (`steptop experiments`)')
    if not isinstance(title, str):
        raise UsageError(f"{path}: title is a text, in quotes")
    if not found:
        raise UsageError(f"{path}: a staged plan has a [[stage]] table for each stage, in their order")
    stages = tuple(_stage(row, experiment, number) for number, row in enumerate(found, 1))
    for field in ("name", "folder"):
        names = [getattr(stage, field) for stage in stages]
        for name, row in zip(names, found, strict=True):
            if names.count(name) > 1:
                raise UsageError(f"{row.where(field)}: two stages have the {field} {name!r}; give each its own")
    return Staged(title=title, experiment=experiment, stages=stages)


def _stage(row: Row, experiment: str, number: int) -> Stage:
    row.only(FIELDS)
    row.needs(("name", "checks"))
    texts = ("purpose", "experiment", "platform", "gpu", "profile")
    values: dict[str, Any] = {"experiment": experiment} | {k: row.text(k) for k in texts if k in row.values}
    for name in ("epochs", "restarts"):
        if name in row.values:
            values[name] = _whole(row, name, row.values[name], 1)
    if "folds" in row.values:
        folds = row.values["folds"]
        if not isinstance(folds, list) or not folds:
            raise UsageError(f"{row.where('folds')}: folds is a list of fold numbers, such as [0, 2]")
        values["folds"] = tuple(_whole(row, "folds", fold, 0) for fold in folds)
    if "knobs" in row.values:
        knobs = row.values["knobs"]
        if not isinstance(knobs, dict):
            raise UsageError(f"{row.where('knobs')}: knobs is a table, such as {{ num_workers = 4 }}")
        values["knobs"] = check_source(knobs, lambda _: row.where("knobs"))
    checks = row.texts("checks")
    for check in checks:
        if check not in CHECKS:
            raise unknown("check", check, CHECKS, row.where("checks"))
    stem = Path(experiment).stem
    folder = row.text("folder") if "folder" in row.values else f"{stem}-stage{number}"
    return Stage(name=row.text("name"), folder=checked_name(folder), checks=checks, **values)


def _whole(row: Row, name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{row.where(name)}: {name} = {value!r}: it is a whole number, {least} or more")
    return value


# ---------------------------------------------------------------- how far it has come


def progress(
    staged: Staged, logs: Path, sheet: Sequence[Gpu], sessions: Sequence[Session], data: Path | None = None
) -> tuple[Progressed, ...]:
    """Every stage. Raises UsageError for a platform, GPU or experiment that is not known."""
    return tuple(_progressed(stage, logs, tuple(sheet), sessions, data) for stage in staged.stages)


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
    found = Progressed(
        stage=stage, standing=_standing(state, ticks), ticks=ticks, command=_command(stage, data)
    )
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


def _command(stage: Stage, data: Path | None) -> tuple[str, ...]:
    words = ["steptop", "run", stage.experiment, "--name", stage.folder]
    words += ["--data", str(data)] if data is not None else []
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
