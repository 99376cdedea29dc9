"""What one can decide: one run, all of them, fewer restarts; each with how long it takes, what one gets and loses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path

import msgspec

from engine.config.experiment import Experiment
from engine.config.run_keys import RunKey, dimensions, runs_of, variants_of
from engine.counts import plural
from engine.errors import UsageError
from engine.paths import ExperimentPaths, read_json, write_json
from engine.whatif import bring_about
from engine.whatif.hardware_table import TOO_SMALL, HardwareRow
from engine.whatif.known import Known
from engine.whatif.option import Option as Option
from engine.whatif.what_if import Question, shape_of

REDUCED = 3
# One run, all of them, fewer restarts.
MOST = 3


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """decision.json: what somebody chose, on what ground. `at`: s since 1970; seconds; `hardware` and `basis` as they
    were shown; `command` brings it about, where `then` names more of them one after the other."""

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
    then: tuple[tuple[str, ...], ...] = ()


def options(known: Known, question: Question, asked: Callable[[Question], HardwareRow]) -> tuple[Option, ...]:
    """Those that are offered, each with its time. None where a step does not fit into the memory of the hardware that
    is decided about.

    `asked`: what a question comes to on that hardware.
    """
    base, found = msgspec.structs.replace(question, rest=False), list[Option]()
    for option in offered(known, question):
        row = asked(msgspec.structs.replace(base, only=option.keys))
        if row.too_small:
            return ()
        found.append(msgspec.structs.replace(option, timeline=row.times.experiment, money=row.money))
    return tuple(found)


def offered(known: Known, question: Question) -> tuple[Option, ...]:
    """Of the training that `question` describes, finished runs included; those that come to the same are left out. With
    no time yet: that takes a while."""
    runs = shape_of(known, msgspec.structs.replace(question, rest=False)).runs
    folds, variants = tuple(dict.fromkeys(key.fold for key in runs)), variants_of(runs)
    restarts = len({key.restart for key in runs})
    fewer = max(1, round(restarts / REDUCED))
    reduced = _reduced(runs, fewer)
    experiment = known.plan.experiment
    of = plural(restarts, "restart") if _even(runs) else f"all {plural(len(runs), 'run')}"
    found = (
        _of(
            "One run",
            runs[:1],
            1,
            gets=(
                "one trained model, its weights in final.pt",
                f"its test figures on the subjects held out of fold {folds[0] if folds else 0}",
            ),
            loses=(
                "how much runs differ: no standard deviation",
                *((f"every variant but {variants[0]}: nothing is compared",) if len(variants) > 1 else ()),
                *_paper(experiment, "one run cannot be compared with"),
            ),
        ),
        _of(
            "All runs",
            runs,
            gets=(
                f"{_counted(runs)}: mean ± std of all of them, per run and per subject",
                *_paper(experiment, "a comparison with", like_for_like=True),
            ),
            loses=("nothing but time",),
        ),
        _of(
            "Fewer restarts",
            reduced,
            gets=(
                f"{_counted(reduced)}: every subject is tested on once"
                if fewer == 1
                else f"{_counted(reduced)}: a mean with its standard deviation",
            ),
            loses=(
                f"a mean {sqrt(len(runs) / max(1, len(reduced))):.1f} times less certain than of {of}",
                *(("how much restarts differ",) if fewer == 1 else ()),
            ),
        ),
    )
    kept = [one for place, one in enumerate(found) if all(one.runs != other.runs for other in found[:place])]
    return tuple(msgspec.structs.replace(one, number=number) for number, one in enumerate(kept, start=1))


def _of(
    title: str, runs: tuple[RunKey, ...], stop: int = 0, gets: tuple[str, ...] = (), loses: tuple[str, ...] = ()
) -> Option:
    return Option(
        number=0,
        title=title,
        runs=len(runs),
        folds=tuple(dict.fromkeys(key.fold for key in runs)),
        restarts=len({key.restart for key in runs}),
        variants=variants_of(runs),
        keys=runs,
        stop_after_runs=stop,
        gets=gets,
        loses=loses,
    )


def _reduced(runs: tuple[RunKey, ...], restarts: int) -> tuple[RunKey, ...]:
    """The first so many restarts that there are of every fold and variant."""
    there: dict[tuple[int, str], list[int]] = {}
    for key in runs:
        there.setdefault((key.fold, key.variant), []).append(key.restart)
    first = {of: sorted(each)[:restarts] for of, each in there.items()}
    return tuple(key for key in runs if key.restart in first[key.fold, key.variant])


def _even(runs: Sequence[RunKey]) -> bool:
    folds, restarts = {key.fold for key in runs}, {key.restart for key in runs}
    return len(folds) * len(restarts) * len(variants_of(runs)) == len(runs)


def _counted(runs: Sequence[RunKey]) -> str:
    """`2 folds × 3 restarts = 6 runs`; `4 runs, some of 2 folds × 3 restarts`."""
    many = plural(len(runs), "run")
    return f"{dimensions(runs)} = {many}" if _even(runs) else f"{many}, {dimensions(runs)}"


def _paper(experiment: Experiment, words: str, like_for_like: bool = False) -> tuple[str, ...]:
    target = experiment.target
    if target is None:
        return ()
    std = f" ({target.std:g})" if target.std else ""
    planned = len(runs_of(experiment))
    of = f", of {plural(planned, 'run')}" if like_for_like else ""
    return (f"{words} the published {target.dice:g}{std}{of}",)


def choose(found: Sequence[Option], number: int) -> Option:
    """Raises UsageError naming the numbers there are, or why there is none."""
    for option in found:
        if option.number == number:
            return option
    if not found:
        raise UsageError(f"--decide {number}: there is nothing to decide for, because {TOO_SMALL}")
    raise UsageError(f"--decide {number}: there are options 1 to {len(found)}")


def decide(
    known: Known, question: Question, hardware: str, option: Option, by: str, at: float, live: bool = False,
    here: bool = True,
) -> Decision:
    """`live` and `here` as of `bring_about.commands`."""
    found = bring_about.commands(known, question, option, live, here)
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
        command=found[0] if found else (),
        by=by,
        at=at,
        then=found[1:],
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
