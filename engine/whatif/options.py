"""What one can decide: one run, all of them, fewer restarts; each with how long it takes, what one gets and loses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path

import msgspec

from engine.config.experiment import Experiment
from engine.config.knob import Value, shown
from engine.config.plan import Plan
from engine.config.run_keys import runs_of, variants_of
from engine.counts import plural
from engine.diagnosis.consequences import Range
from engine.errors import UsageError
from engine.paths import ExperimentPaths, read_json, write_json
from engine.runs import launch
from engine.whatif.hardware_table import TOO_SMALL, HardwareRow, Money
from engine.whatif.known import Known
from engine.whatif.remarks import below_minimum
from engine.whatif.what_if import Question, shape_of

REDUCED = 3


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """`number` from 1. `folds`, `restarts` and `variants`: those it trains, ("",) where the plan has none;
    `stop_after_runs` ends it earlier, 0 does not. `timeline`: seconds until it is done, with a 90 % range."""

    number: int
    title: str
    runs: int
    folds: tuple[int, ...]
    restarts: int
    variants: tuple[str, ...] = ("",)
    stop_after_runs: int = 0
    timeline: Range = Range()
    money: Money = Money()
    gets: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """decision.json: what somebody chose, on what ground. `at`: s since 1970; seconds; `hardware` and `basis` as they
    were shown; `command` launches it."""

    number: int
    title: str
    runs: int
    folds: tuple[int, ...]
    restarts: int
    stop_after_runs: int
    seconds: float | None
    low: float | None
    high: float | None
    hardware: str
    basis: str
    command: tuple[str, ...]
    by: str
    at: float


def options(known: Known, question: Question, asked: Callable[[Question], HardwareRow]) -> tuple[Option, ...]:
    """Of the training that `question` describes, finished runs included; those that come to the same are left out.
    None where a step does not fit into the memory of the hardware that is decided about.

    `asked`: what a question comes to on that hardware.
    """
    base = msgspec.structs.replace(question, rest=False)
    shape = shape_of(known, base)
    folds, variants = tuple(dict.fromkeys(key.fold for key in shape.runs)), variants_of(shape.runs)
    restarts = len({key.restart for key in shape.runs})
    fewer = max(1, round(restarts / REDUCED))
    experiment = known.plan.experiment
    one = Option(
        number=0,
        title="One run",
        runs=1,
        folds=folds[:1],
        restarts=1,
        variants=variants[:1],
        stop_after_runs=1,
        gets=(
            "one trained model, its weights in final.pt",
            f"its test figures on the subjects held out of fold {folds[0] if folds else 0}",
        ),
        loses=(
            "how much runs differ: no standard deviation",
            *((f"every variant but {variants[0]}: nothing is compared",) if len(variants) > 1 else ()),
            *_paper(experiment, "one run cannot be compared with"),
        ),
    )
    whole = len(folds) * restarts * len(variants)
    every = Option(
        number=0,
        title="All runs",
        runs=whole,
        folds=folds,
        restarts=restarts,
        variants=variants,
        gets=(
            f"{_counted(variants, len(folds), restarts)}: mean ± std of all of them, per run and per subject",
            *_paper(experiment, "a comparison with", like_for_like=True),
        ),
        loses=("nothing but time",),
    )
    reduced = Option(
        number=0,
        title="Fewer restarts",
        runs=len(folds) * fewer * len(variants),
        folds=folds,
        restarts=fewer,
        variants=variants,
        gets=(
            f"{_counted(variants, len(folds), fewer)}: every subject is tested on once"
            if fewer == 1
            else f"{_counted(variants, len(folds), fewer)}: a mean with its standard deviation",
        ),
        loses=(
            f"a mean {sqrt(restarts / fewer):.1f} times less certain than of {plural(restarts, 'restart')}",
            *(("how much restarts differ",) if fewer == 1 else ()),
        ),
    )
    found: list[Option] = []
    for option in (one, every, reduced):
        if any(option.runs == other.runs for other in found):
            continue
        row = asked(
            msgspec.structs.replace(
                base, folds=option.folds, restarts=option.restarts, variants=option.variants
            )
        )
        if row.too_small:
            return ()
        timed = msgspec.structs.replace(option, timeline=row.times.experiment, money=row.money)
        found.append(msgspec.structs.replace(timed, number=len(found) + 1))
    return tuple(found)


def _counted(variants: tuple[str, ...], folds: int, restarts: int) -> str:
    said = f"{plural(folds, 'fold')} × {plural(restarts, 'restart')} = "
    said = f"{plural(len(variants), 'variant')} × {said}" if any(variants) else said
    return said + plural(len(variants) * folds * restarts, "run")


def _paper(experiment: Experiment, words: str, like_for_like: bool = False) -> tuple[str, ...]:
    target = experiment.target
    if target is None:
        return ()
    std = f" ({target.std:g})" if target.std else ""
    planned = len(runs_of(experiment))
    of = f", of {plural(planned, 'run')}" if like_for_like else ""
    return (f"{words} the published {target.dice:g}{std}{of}",)


def command(known: Known, question: Question, option: Option, live: bool = False) -> tuple[str, ...]:
    """What brings it about, as words; nothing where it is under way already. `live`: that very training goes on here,
    so that one run of it is a stop after this one."""
    unchanged = not question.knobs and question.epochs is None and question.steps_per_epoch is None
    if live and unchanged and option.stop_after_runs:
        return ("steptop", "stop", known.name, "--after-run")
    if live and unchanged and option.runs == len(known.runs):
        return ()
    return ("steptop", "run", *_launch_words(known, question, option))


def _launch_words(known: Known, question: Question, option: Option) -> list[str]:
    plan = known.plan
    words = [_experiment_word(plan.command, plan.experiment_name)]
    if plan.data_dir:
        words += ["--data", plan.data_dir]
    knobs = known.knobs | question.knobs
    if question.steps_per_epoch is not None:
        knobs |= {"steps_per_epoch": question.steps_per_epoch}
    held = _own_knobs(known, words[0])
    settings = {name: value for name, value in knobs.items() if value != held.get(name, value)}
    for name, value in settings.items():
        words += ["--set", f"{name}={shown(value)}"]
    locked = any(name in plan.experiment.locks for name in settings)
    if locked or below_minimum(plan.experiment, question.epochs or plan.experiment.epochs):
        words.append("--override-locks")
    epochs = question.epochs or plan.experiment.epochs
    if question.epochs is not None or "--epochs" in plan.command:
        words += ["--epochs", str(epochs)]
    if option.folds != (plan.experiment.runs.only or tuple(range(plan.experiment.runs.folds))):
        words += ["--folds", ",".join(str(fold) for fold in option.folds)]
    if option.restarts != plan.experiment.runs.restarts:
        words += ["--restarts", str(option.restarts)]
    if option.variants != variants_of(runs_of(plan.experiment)):
        words += ["--variants", ",".join(option.variants)]
    return words + _places(plan, question, option.runs)


def devices_for(plan: Plan, question: Question, runs: int) -> tuple[str, ...]:
    """The devices that so many runs are shared out to: as many as asked for, else those of the training that is known;
    nothing where one does."""
    if question.gpus > 1:
        count = min(question.gpus, runs)
        return tuple(str(number) for number in range(count)) if count > 1 else ()
    return plan.devices


def _places(plan: Plan, question: Question, runs: int) -> list[str]:
    """How many go on side by side, and on what."""
    devices = devices_for(plan, question, runs)
    words = ["--devices", ",".join(devices)] if devices else []
    if question.gpus < 2 and plan.slots > max(1, len(devices)):
        words += ["--slots", str(plan.slots)]
    return words


def _own_knobs(known: Known, name: str) -> dict[str, Value]:
    """What a launch without --set would run with; where it cannot be told, what this one was launched with."""
    data = Path(known.plan.data_dir) if known.plan.data_dir else None
    try:
        return launch.plan_for(launch.Request(experiment=name, logs=Path(known.folder).parent, data=data)).profile.knobs
    except UsageError:
        return known.plan.profile.knobs


def _experiment_word(words: Sequence[str], name: str) -> str:
    """A file of one's own is launched by its path again."""
    path = next((word for word in words if word.endswith(".toml") and Path(word).stem == name), "")
    return path or name


def choose(found: Sequence[Option], number: int) -> Option:
    """Raises UsageError naming the numbers there are, or why there is none."""
    for option in found:
        if option.number == number:
            return option
    if not found:
        raise UsageError(f"--decide {number}: there is nothing to decide for, because {TOO_SMALL}")
    raise UsageError(f"--decide {number}: there are options 1 to {len(found)}")


def decide(
    known: Known, question: Question, hardware: str, option: Option, by: str, at: float, live: bool = False
) -> Decision:
    return Decision(
        number=option.number,
        title=option.title,
        runs=option.runs,
        folds=option.folds,
        restarts=option.restarts,
        stop_after_runs=option.stop_after_runs,
        seconds=option.timeline.value,
        low=option.timeline.low,
        high=option.timeline.high,
        hardware=hardware,
        basis=option.timeline.basis,
        command=command(known, question, option, live),
        by=by,
        at=at,
    )


def record(folder: Path, decision: Decision) -> Path:
    """With the experiment; the one before it is replaced. Raises UsageError if it cannot be written."""
    path = ExperimentPaths(folder).decision
    try:
        write_json(path, decision)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    return path


def recorded(folder: Path) -> Decision | None:
    return read_json(ExperimentPaths(folder).decision, Decision)
