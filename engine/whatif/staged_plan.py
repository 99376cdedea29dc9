"""The file of a staged plan: what is trained one after the other, where, and what each stage must show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from engine.config import catalog
from engine.config.knob import Value
from engine.config.profile import check_source
from engine.config.sheet import Row, rows
from engine.errors import UsageError, unknown
from engine.paths import checked_name, read_toml
from engine.whatif.checks import CHECKS

FOLDER = "staged"
HERE = "here"
FIELDS = (
    "name", "purpose", "experiment", "platform", "gpu", "folder", "profile", "epochs", "folds", "restarts", "knobs",
    "checks",
)  # fmt: skip
HEAD = ("title", "experiment")


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
