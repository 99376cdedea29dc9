"""Plans of test phases: TOML files that name profiles, or knobs, in the order they shall be tried."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from engine.config import catalog
from engine.config.knob import Value
from engine.config.profile_file import line_of
from engine.errors import UsageError, unknown
from engine.paths import read_toml

FOLDER = "profiles/plans"
FIELDS = ("title", "phases")
HEAD = re.compile(r"\s*\[\[\s*phases\s*\]\]")
PHASE_FIELDS = ("name", "profile", "why", "knobs")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A phase as a plan names it: a profile, knobs that differ from it, or both. `where`: file and line; `places`: the
    same of each knob."""

    name: str
    profile: str = ""
    knobs: dict[str, Value] = {}
    why: str = ""
    where: str = ""
    places: dict[str, str] = {}

    def place(self, knob: str) -> str:
        return self.places.get(knob) or self.where or self.name


class Lines:
    """Where a phase's fields stand in the text of its plan."""

    def __init__(self, path: Path, text: str, number: int) -> None:
        lines = text.splitlines()
        heads = [at for at, line in enumerate(lines) if HEAD.match(line)]
        self._path = path
        self._lines = lines
        # Written as a list of inline tables, phases have no lines of their own to name.
        self._begin = heads[number] if number < len(heads) else len(lines)
        self._end = heads[number + 1] if number + 1 < len(heads) else len(lines)

    def of(self, key: str = "") -> str:
        """`plan.toml, line 9`: where the field or knob is set; where the phase begins if that is not found."""
        field = re.compile(rf"""\s*(?:\w+\s*\.\s*)*["']?{re.escape(key)}["']?\s*=""")
        found = (at for at in range(self._begin, self._end) if key and field.match(self._lines[at]))
        at = next(found, self._begin)
        return str(self._path) if at >= len(self._lines) else f"{self._path}, line {at + 1}"


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
    phases = tuple(_phase(one, Lines(path, text, i), i) for i, one in enumerate(listed))
    first: dict[str, int] = {}
    for i, phase in enumerate(phases):
        if phase.name in first:
            places = [Lines(path, text, at).of("name") for at in (i, first[phase.name])]
            before = places[1].removeprefix(f"{path}, ")
            raise UsageError(
                f"{places[0]}: two phases are called {phase.name!r} (the other: {before}); give each a name of its own"
            )
        first[phase.name] = i
    return str(raw.get("title", "")), phases


def _phase(one: dict[str, Any], lines: Lines, number: int) -> Wanted:
    for key in one:
        if key not in PHASE_FIELDS:
            raise unknown("field", key, PHASE_FIELDS, lines.of(key))
    for key in ("name", "profile", "why"):
        if not isinstance(one.get(key, ""), str):
            raise UsageError(f"{lines.of(key)}: {key} is a text, in quotes")
    knobs = one.get("knobs", {})
    if not isinstance(knobs, dict):
        raise UsageError(f"{lines.of('knobs')}: [phases.knobs] is a table")
    profile = one.get("profile", "")
    if not profile and not knobs:
        raise UsageError(f'{lines.of()}: a phase names a profile (profile = "moderate") or sets [phases.knobs]')
    if profile and not profile.endswith(".toml") and profile not in catalog.profiles():
        raise unknown("profile", profile, catalog.profiles(), lines.of("profile"))
    if profile.endswith(".toml") and not Path(profile).is_file():
        raise UsageError(f"{lines.of('profile')}: there is no profile {profile}")
    name = one.get("name") or profile or f"phase {number + 1}"
    places = {str(knob): lines.of(str(knob)) for knob in knobs}
    return Wanted(name=name, profile=profile, knobs=knobs, why=one.get("why", ""), where=lines.of(), places=places)


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
