"""What the verbs share: which experiment is meant, and what a launch asks for."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from engine.config import profile
from engine.config.variants import NAME
from engine.errors import UsageError, unknown
from engine.journals.records import SupervisorInfo
from engine.live.state import ExperimentState
from engine.machine import cores
from engine.paths import ExperimentPaths, experiments_in, read_json
from engine.process import alive
from engine.runs import launch
from engine.text import clean
from tui import limit_options, settings

CLEAN = "nothing of it is left running"


def say(text: str = "") -> None:
    """A line for the terminal, cleaned of what it would obey."""
    print(clean(text), flush=True)


def find(logs: Path, name: str | None) -> Path:
    """The experiment's folder by name or path; without a name the only one there is, or the only one running.

    Raises UsageError that lists what there is.
    """
    if logs.is_dir() and not os.access(logs, os.R_OK | os.X_OK):
        raise UsageError(f"{logs} cannot be read (Permission denied): give yourself the right to, or --logs DIR")
    folders = experiments_in(logs) if logs.is_dir() else []
    if name is not None:
        for folder in (logs / name, Path(name)):
            if (folder / "plan.json").is_file():
                return folder.resolve()
        if not folders:
            raise UsageError(f"no experiment {name!r}: {logs} holds none. `steptop run quickstart` starts one")
        raise unknown("experiment", name, [folder.name for folder in folders], str(logs))
    if not folders:
        raise UsageError(f"{logs} holds no experiment. `steptop run quickstart` starts one; --logs DIR looks elsewhere")
    if len(folders) == 1:
        return folders[0].resolve()
    running = [folder for folder in folders if is_running(folder)]
    if len(running) == 1:
        return running[0].resolve()
    raise UsageError(f"several experiments are in {logs}; name one of: {', '.join(folder.name for folder in folders)}")


def recording(logs: Path, word: Path) -> Path:
    """The folder that a recording's name or path says; the path itself where that is all it can be. Raises UsageError
    for a name that no experiment in `logs` has."""
    for folder in (logs / word, word):
        if (folder / "plan.json").is_file():
            return folder.resolve()
    names = [folder.name for folder in experiments_in(logs)] if logs.is_dir() else []
    if names and len(word.parts) == 1 and not word.exists():
        raise unknown("experiment", str(word), names, str(logs))
    return word


def left_over(state: ExperimentState) -> str:
    """What still runs of an ended or lost experiment, as far as its end does not say that already."""
    if state.survivors:
        return f"still running: process {', '.join(str(pid) for pid in state.survivors)}"
    said = state.ended is not None and CLEAN in state.ended.text
    return "" if said or state.supervisor_alive or state.trainer_alive else CLEAN


def is_running(folder: Path) -> bool:
    info = read_json(ExperimentPaths(folder).supervisor, SupervisorInfo)
    return info is not None and alive(info.who)


def run_at(text: str, option: str = "--run") -> tuple[int, int, str]:
    """`0,1` or `mkdc,0,1`: fold, restart and variant. Raises UsageError for anything else."""
    words = [word.strip() for word in text.split(",")]
    variant, fold, restart = words if len(words) == 3 else ["", *words] if len(words) == 2 else ["", "", ""]
    if not (fold.isdecimal() and restart.isdecimal()) or (variant and not NAME.match(variant)):
        said = "write fold and restart with a comma, as 0,3, and a variant before them where there are any, as mkdc,0,3"
        raise UsageError(f"{option} {text!r}: {said}")
    return int(fold), int(restart), variant


def _notify(options: argparse.Namespace) -> tuple[str, ...]:
    typed = limit_options.addresses(options)
    return limit_options.settings_addresses(settings.path()) if typed is None else typed


def request_from(options: argparse.Namespace) -> launch.Request:
    """The launch the command line asks for; raises UsageError for what cannot be read."""
    folds: tuple[int, ...] | None = None
    if options.folds is not None:
        try:
            folds = tuple(int(word) for word in options.folds.split(","))
        except ValueError:
            raise UsageError(f"--folds {options.folds!r}: write fold numbers with commas, as 0,2") from None
    variants, retries = getattr(options, "variants", None), getattr(options, "retries", 0)
    if retries < 0:
        raise UsageError(f"--retries {retries}: it is 0 or more")
    return launch.Request(
        experiment=options.experiment,
        logs=options.logs,
        name=getattr(options, "name", None),
        profile=options.profile,
        data=options.data,
        folds=folds,
        restarts=options.restarts,
        variants=tuple(word.strip() for word in variants.split(",")) if variants is not None else None,
        epochs=options.epochs,
        device=options.devices,
        slots=getattr(options, "slots", None),
        order=getattr(options, "order", None),
        retries=retries,
        settings=profile.parse_settings(options.settings, cores.machine()),
        stop_after_runs=getattr(options, "stop_after_run", 0),
        override_locks=options.override_locks,
        over_budget=options.over_budget,
        command=("steptop", *limit_options.unsaid(options.words)),
        limits=limit_options.wanted(options),
        on_finish=limit_options.command(options),
        notify=_notify(options),
    )
