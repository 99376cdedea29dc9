"""Another profile for a training under way: profile.json in its folder, looked at between two steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from engine.config.profile import KNOBS, Profile
from engine.journals.records import ProfileRequest
from engine.paths import read_json

# Looking costs about 2 µs on a local disk and up to a millisecond on a network's.
LOOK_SECONDS = 0.25


class Requests:
    """What profile.json asks for, each request once."""

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._due = 0.0
        self._last = ""

    def next(self) -> ProfileRequest | None:
        """A request that was not there at the last look. Looks at most every LOOK_SECONDS."""
        if self._now() < self._due:
            return None
        self._due = self._now() + LOOK_SECONDS
        return self.look()

    def look(self) -> ProfileRequest | None:
        """As `next`, at once."""
        if not self._path.exists():
            return None
        request = read_json(self._path, ProfileRequest)
        if request is None or request.id == self._last:
            return None
        self._last = request.id
        return request


def changed(held: Profile, wanted: dict[str, bool | int | float | str]) -> tuple[str, ...]:
    """The knobs that differ. A file of another version may lack some, or know more."""
    return tuple(name for name in KNOBS if name in wanted and wanted[name] != held[name])


def with_knobs(held: Profile, request: ProfileRequest) -> Profile:
    """The held profile with what the request changes."""
    knobs = held.knobs | {name: request.knobs[name] for name in changed(held, request.knobs)}
    return Profile(name=request.name, title="", knobs=knobs)


def frozen(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those that cannot change between two steps."""
    return tuple(name for name in names if not KNOBS[name].live)
