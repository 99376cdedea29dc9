"""Plans of test phases: TOML files that name profiles, or knobs, in the order they shall be tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from engine import catalog
from engine.errors import UsageError, unknown
from engine.knob import Value
from engine.paths import read_toml
from engine.profile_file import line_of

FOLDER = "profiles/plans"
FIELDS = ("title", "phases")
PHASE_FIELDS = ("name", "profile", "why", "knobs")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A phase as a plan names it: a profile, knobs that differ from it, or both. `where`: file and line."""

    name: str
    profile: str = ""
    knobs: dict[str, Value] = {}
    why: str = ""
    where: str = ""


def load(path: Path) -> tuple[str, tuple[Wanted, ...]]:
    """A plan's title and phases. Raises UsageError naming file, line and remedy; knobs are checked by who uses them."""
    raw = read_toml(path)
    text = path.read_text("utf-8")
    for key in raw:
        if key not in FIELDS:
            raise unknown("field", key, FIELDS, _where(path, line_of(text, key)))
    listed = raw.get("phases")
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise UsageError(f"{path}: a plan has one [[phases]] table for each phase, in their order")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.strip() == "[[phases]]"]
    places = [*lines, *[None] * len(listed)]
    phases = tuple(_phase(one, path, places[i], i) for i, one in enumerate(listed))
    names = [phase.name for phase in phases]
    for phase in phases:
        if names.count(phase.name) > 1:
            raise UsageError(f"{phase.where}: two phases are called {phase.name!r}; give each a name of its own")
    return str(raw.get("title", "")), phases


def _phase(one: dict[str, Any], path: Path, line: int | None, number: int) -> Wanted:
    where = _where(path, line)
    for key in one:
        if key not in PHASE_FIELDS:
            raise unknown("field", key, PHASE_FIELDS, where)
    for key in ("name", "profile", "why"):
        if not isinstance(one.get(key, ""), str):
            raise UsageError(f"{where}: {key} is a text, in quotes")
    knobs = one.get("knobs", {})
    if not isinstance(knobs, dict):
        raise UsageError(f"{where}: [phases.knobs] is a table")
    profile = one.get("profile", "")
    if not profile and not knobs:
        raise UsageError(f'{where}: a phase names a profile (profile = "moderate") or sets [phases.knobs]')
    if profile and not profile.endswith(".toml") and profile not in catalog.profiles():
        raise unknown("profile", profile, catalog.profiles(), where)
    if profile.endswith(".toml") and not Path(profile).is_file():
        raise UsageError(f"{where}: there is no profile {profile}")
    name = one.get("name") or profile or f"phase {number + 1}"
    return Wanted(name=name, profile=profile, knobs=knobs, why=one.get("why", ""), where=where)


def _where(path: Path, line: int | None) -> str:
    return str(path) if line is None else f"{path}, line {line}"


def named(name: str) -> tuple[str, tuple[Wanted, ...]]:
    """A plan by name (./profiles/plans first) or path; raises UsageError with the nearest right name."""
    if name.endswith(".toml"):
        return load(Path(name))
    known = catalog.files(FOLDER)
    if name not in known:
        raise unknown("plan", name, known)
    return load(known[name][0])


def of_profiles(first: str) -> tuple[Wanted, ...]:
    """The plan where none is given: the profile in use, then every other one that ships or is the user's own."""
    own = [name for name, entry in catalog.profiles().items() if not entry.problem and name not in (first, "auto")]
    return tuple(Wanted(name=Path(name).stem, profile=name) for name in (first, *own))
