"""What `steptop tune` found, kept in tuned.toml under the logs folder: profile `auto` takes it from there."""

from __future__ import annotations

import fcntl
import os
import socket
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from pathlib import Path

import msgspec

from engine.config.knob import Value, shown
from engine.config.profile import KNOBS, check_all
from engine.errors import UsageError
from engine.machine import cores
from engine.paths import tuned_file, write_atomic
from engine.text import clean

HEAD = """\
# What `steptop tune` found for each kind of training on this machine; profile "auto" takes it from here. An entry is
# replaced when that kind is tuned again; deleting one is safe.
"""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What the profile reached when it was measured: samples per second with its 95 % interval."""

    samples_per_second: float
    low: float | None = None
    high: float | None = None
    steps: int = 0


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """The knobs found for one `key` (engine.eta.costs.training_key) with so many cores. `found`: s since 1970.
    `variant`: of the experiment, that was measured; '' where it has none, or where the file is older than that."""

    key: str
    cores: int
    variant: str = ""
    host: str = ""
    found: float = 0.0
    samples_per_second: float = 0.0
    low: float | None = None
    high: float | None = None
    steps: int = 0
    knobs: dict[str, bool | int | float | str] = {}

    @property
    def kind(self) -> tuple[str, str, int]:
        """What there is one entry of."""
        return self.key, self.variant, self.cores

    @property
    def text(self) -> str:
        """One sentence for whoever chose `auto`."""
        day = time.strftime("%Y-%m-%d", time.localtime(self.found))
        other = {name: value for name, value in self.knobs.items() if value != KNOBS[name].default}
        knobs = ", ".join(f"{name} {shown(value)}" for name, value in other.items())
        on = (f" on {self.host}" if self.host else "") + (f" with variant {self.variant}" if self.variant else "")
        pace = f"{self.samples_per_second:.3g} samples/s{self._range}"
        return f"as tuned {day}{on}: {knobs or 'every knob at its default'} ({pace})"

    @property
    def _range(self) -> str:
        """95 % interval; a figure without one must not look surer than it is."""
        if self.low is None or self.high is None or not isfinite(self.high):
            return ", its range not known"
        return f", {self.low:.3g}–{self.high:.3g}"


class _File(msgspec.Struct, frozen=True):
    tuned: tuple[Tuned, ...] = ()


def remember(logs: Path, key: str, knobs: Mapping[str, Value], measured: Measured, variant: str = "") -> Tuned:
    """Write down what was found for `key` with that variant; replaces what was known of it. Raises UsageError for
    impossible knobs."""
    fresh = Tuned(
        key=clean(key),
        variant=clean(variant),
        cores=cores.machine().cores,
        host=socket.gethostname(),
        found=time.time(),
        knobs=check_all(knobs, "what was tuned"),
        **msgspec.structs.asdict(measured),
    )
    with _alone(logs):
        kept = [entry for entry in entries(logs) if entry.kind != fresh.kind]
        write_atomic(tuned_file(logs), _text([fresh, *kept]).encode())
    return fresh


def recall(logs: Path, key: str, variant: str = "") -> Tuned | None:
    """What was found for `key` with as many cores as there are now: with that variant, else where no variant is named;
    None if nothing was.

    Host names are not compared: a container gets another one every time it starts.
    """
    here = cores.machine().cores
    found = {entry.kind: entry for entry in reversed(entries(logs))}
    return found.get((clean(key), clean(variant), here)) or found.get((clean(key), "", here))


def entries(logs: Path) -> list[Tuned]:
    """Everything found, newest first; what cannot be read or is no longer valid is left out."""
    try:
        found = msgspec.convert(tomllib.loads(tuned_file(logs).read_text("utf-8")), _File).tuned
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError):
        return []
    return sorted((entry for entry in found if _valid(entry)), key=lambda entry: -entry.found)


def _valid(entry: Tuned) -> bool:
    try:
        check_all(entry.knobs, "tuned.toml")
    except UsageError:
        return False
    return True


@contextmanager
def _alone(logs: Path) -> Iterator[None]:
    """Two tunings that end at once do not lose each other's entry."""
    folder = os.open(logs, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _text(found: list[Tuned]) -> str:
    lines = [HEAD.rstrip()]
    for entry in found:
        fields = {name: value for name, value in msgspec.structs.asdict(entry).items() if name != "knobs"}
        lines += ["", "[[tuned]]", *(f"{name} = {_toml(value)}" for name, value in fields.items() if value is not None)]
        lines += ["[tuned.knobs]", *(f"{name} = {_toml(value)}" for name, value in entry.knobs.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """JSON's texts, numbers and words are TOML's too."""
    return msgspec.json.encode(value).decode()
