"""Which experiments and profiles there are: the user's own folders first, then those that ship with steptop."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import msgspec

from engine.config import experiment, profile_file
from engine.config.experiment import Experiment
from engine.config.knob import Value
from engine.errors import UsageError, unknown
from engine.machine.cores import Machine

HERE = Path(__file__).parent.parent


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file that can be chosen by name. `problem`: why it cannot be used."""

    name: str
    path: Path
    title: str = ""
    own: bool = False
    problem: str = ""


def shipped_folder(kind: str) -> Path:
    """Inside the package in a wheel; beside it in a checkout."""
    inside = HERE / kind
    return inside if inside.is_dir() else HERE.parent / kind


def files(kind: str, own: Path | None = None) -> dict[str, tuple[Path, bool]]:
    """Name -> path and whether it is the user's own, of every TOML file of that kind."""
    mine = own if own is not None else Path.cwd() / kind
    shipped = shipped_folder(kind)
    found = {path.stem: (path, False) for path in sorted(shipped.glob("*.toml"))}
    if mine.is_dir() and mine.resolve() != shipped.resolve():
        found |= {path.stem: (path, True) for path in sorted(mine.glob("*.toml"))}
    return found


def experiments(own: Path | None = None) -> dict[str, Entry]:
    """Name -> entry; `own` (default ./experiments) wins over the built-in ones."""
    entries = {}
    for name, (path, mine) in files("experiments", own).items():
        try:
            title, problem = experiment.load(path).title, ""
        except UsageError as error:
            title, problem = "", str(error)
        entries[name] = Entry(name=name, path=path, title=title, own=mine, problem=problem)
    return entries


def profiles(own: Path | None = None) -> dict[str, Entry]:
    """Name -> entry; `own` (default ./profiles) wins over those that ship."""
    entries = {}
    for name, (path, mine) in files("profiles", own).items():
        try:
            title, problem = profile_file.load(path)[0], ""
        except UsageError as error:
            title, problem = "", str(error)
        entries[name] = Entry(name=name, path=path, title=title, own=mine, problem=problem)
    return entries


def experiment_named(name: str) -> Experiment:
    """An experiment by name or by the path of its file; raises UsageError with the nearest right name."""
    if name.endswith(".toml"):
        return experiment.load(Path(name))
    known = files("experiments")
    if name not in known:
        raise unknown("experiment", name, known)
    return experiment.load(known[name][0])


def about(name: str, own: Path | None = None) -> str:
    """The comment that an experiment's file begins with, where it says what it is and what it takes; '' without one."""
    known = files("experiments", own)
    path = Path(name) if name.endswith(".toml") else known[name][0] if name in known else None
    try:
        lines = path.read_text("utf-8").splitlines() if path is not None else []
    except (OSError, UnicodeDecodeError):
        return ""
    head = takewhile(lambda line: line.startswith("#"), lines)
    return "\n".join(line.removeprefix("#").strip() for line in head)


def profile_named(name: str, own: Path | None = None, machine: Machine | None = None) -> tuple[str, dict[str, Value]]:
    """A profile's title and knobs by name or path, texts that follow the machine as they stand there; with a
    `machine`, refused if it asks for more processes than that allows. Raises UsageError with the nearest right name.
    """
    if name.endswith(".toml"):
        return profile_file.load(Path(name), machine)
    known = files("profiles", own)
    if name not in known:
        raise unknown("profile", name, known)
    return profile_file.load(known[name][0], machine)
