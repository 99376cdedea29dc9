"""How long a session lasts, where GPUs are lent by the session, and what fits into one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from engine.config.sheet import Row, rows
from engine.diagnosis.consequences import Range
from engine.errors import UsageError, unknown
from engine.whatif import hardware
from engine.whatif.hardware import OWN, Gpu

SHIPPED = Path(__file__).with_name("sessions.toml")
HOUR = 3600.0
SLURM_SECONDS = 5.0
FIELDS = ("name", "hours", "least_hours", "gpus", "free", "idle_minutes", "gpu_hours_a_week", "note", "source", "as_of",
          "unconfirmed")  # fmt: skip
DURATION = re.compile(r"^(\d+(?:\.\d+)?)(m|h|d)$")
UNITS = {"m": 60.0, "h": HOUR, "d": 86400.0}
GRES = re.compile(r"gres/gpu:([A-Za-z0-9_.-]+)=")
SLURM_TIME = re.compile(r"^(?:(\d+)-)?(\d+):(\d+):(\d+)$")

Fit: TypeAlias = Literal["fits", "may not fit", "too long", "not offered", "unknown"]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Lasts `hours` at most, and may end after `least_hours`. `gpus` empty: any; `here`: the machine's own, whatever it
    is. `unconfirmed`: fields without a source."""

    name: str
    hours: float
    least_hours: float | None = None
    gpus: tuple[str, ...] = ()
    here: bool = False
    free: bool = False
    idle_minutes: float | None = None
    gpu_hours_a_week: float | None = None
    note: str = ""
    source: str = ""
    as_of: str = ""
    unconfirmed: tuple[str, ...] = ()

    @property
    def sure_hours(self) -> float:
        return self.least_hours if self.least_hours is not None else self.hours

    @property
    def quoted(self) -> str:
        """`4? to 12 h, 30 GPU-hours a week, not guaranteed: its FAQ, 2026-05`: what it allows, who says so, when."""
        least = f"{self.sure_hours:g}{self._doubt('least_hours')} to " if self.sure_hours != self.hours else ""
        said = [f"{least}{self.hours:.4g}{self._doubt('hours')} h"]
        if self.gpu_hours_a_week is not None:
            said.append(f"{self.gpu_hours_a_week:g}{self._doubt('gpu_hours_a_week')} GPU-hours a week")
        if self.idle_minutes is not None:
            said.append(f"ends after {self.idle_minutes:g}{self._doubt('idle_minutes')} idle minutes")
        said += [self.note] if self.note else []
        return f"{', '.join(said)}: {', '.join(filter(None, (self.source, self.as_of)))}"

    def _doubt(self, field: str) -> str:
        return "?" if field in self.unconfirmed else ""

    def offers(self, gpu: str) -> bool:
        return not self.gpus or gpu in self.gpus


class Fitting(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a run and an experiment there. `sessions`: how many the whole experiment takes, a stop with a
    checkpoint and a resume between two; None where no time is known. `weeks`: over how many its weekly quota spreads
    them; None without one. `text` says it; `quoted`, `source`, `as_of`: what the session allows, who says so, when."""

    session: str
    run: Fit
    experiment: Fit
    sessions: int | None = None
    weeks: int | None = None
    text: str = ""
    quoted: str = ""
    source: str = ""
    as_of: str = ""


def sessions(extra: Path | None = None) -> tuple[Session, ...]:
    """The shipped table with the user's rows over it (`extra`, default ./hardware.toml), then this machine's Slurm.

    Raises UsageError naming file, line and remedy.
    """
    sheet = hardware.gpus(extra)
    found = {row.text("name"): _session(row, sheet) for row in rows(SHIPPED, "session")}
    own = extra if extra is not None else OWN
    if extra is not None or own.is_file():
        found |= {row.text("name"): _session(row, sheet) for row in rows(own, "session", ("gpu",))}
    return (*found.values(), *slurm(os.environ, time.time()))


def _session(row: Row, sheet: tuple[Gpu, ...]) -> Session:
    row.only(FIELDS)
    row.needs(("name", "hours", "source", "as_of"))
    numbers = ("hours", "least_hours", "idle_minutes", "gpu_hours_a_week")
    values: dict[str, object] = {name: row.positive(name) for name in numbers if name in row.values}
    values |= {name: row.text(name) for name in ("name", "note", "source", "as_of") if name in row.values}
    values |= {name: row.texts(name) for name in ("gpus", "unconfirmed") if name in row.values}
    if "gpus" in values:
        values["gpus"] = tuple(_gpu(row, name, sheet) for name in row.texts("gpus"))
    if not isinstance(row.values.get("free", False), bool):
        raise UsageError(f"{row.where('free')}: free is true or false")
    made = Session(**values, free=row.values.get("free", False))  # type: ignore[arg-type]
    if made.sure_hours > made.hours:
        raise UsageError(f"{row.where('least_hours')}: least_hours of {made.sure_hours:g} is more than hours")
    return made


def _gpu(row: Row, name: str, sheet: tuple[Gpu, ...]) -> str:
    found = hardware.find(name, sheet)
    if found is None:
        raise unknown("GPU", name, [gpu.name for gpu in sheet], row.where("gpus"))
    return found.name


def chosen(text: str, known: Sequence[Session]) -> Session:
    """A session by name, or a limit of one's own such as 12h. Raises UsageError with the nearest name."""
    for one in known:
        if one.name.casefold() == text.strip().casefold():
            return msgspec.structs.replace(one, here=False)
    if re.match(r"^[\d.-]", text.strip()):
        hours = duration(text) / HOUR
        return Session(name=f"your limit of {text.strip()}", hours=hours, source="you")
    raise UsageError(f"{unknown('session', text, [one.name for one in known])}; or a limit of your own, such as 12h")


def duration(text: str) -> float:
    """`90m`, `12h`, `2d` in seconds; raises UsageError."""
    match = DURATION.match(text.strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"{text!r} is no duration: a number above 0 with its unit, such as 90m, 12h or 2d")
    return float(match[1]) * UNITS[match[2]]


# ---------------------------------------------------------------- Slurm


def slurm(environ: Mapping[str, str], now: float) -> tuple[Session, ...]:
    """The job this runs in, and the partitions there are; nothing without Slurm."""
    found = []
    end = environ.get("SLURM_JOB_END_TIME", "")
    if end.isdigit() and float(end) > now:
        partition = environ.get("SLURM_JOB_PARTITION", "")
        hours = (float(end) - now) / HOUR
        source = "SLURM_JOB_END_TIME"
        found.append(Session(name="this Slurm job", hours=hours, here=True, note=partition, source=source))
    return (*found, *_partitions(shutil.which("scontrol", path=environ.get("PATH"))))


@lru_cache(maxsize=4)
def _partitions(scontrol: str | None) -> tuple[Session, ...]:
    if scontrol is None:
        return ()
    command = [scontrol, "show", "partition", "--oneliner"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SLURM_SECONDS, check=True)
    except (subprocess.SubprocessError, OSError):
        return ()
    return partitions(done.stdout.decode(errors="replace"))


def partitions(text: str) -> tuple[Session, ...]:
    """`scontrol show partition --oneliner` as sessions; those without a limit are left out."""
    found = []
    for line in text.splitlines():
        fields = dict(word.partition("=")[::2] for word in line.split() if "=" in word)
        match = SLURM_TIME.match(fields.get("MaxTime", ""))
        if match is None or not fields.get("PartitionName"):
            continue
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        whole = days * 24 + hours + minutes / 60 + seconds / HOUR
        if whole > 0:
            gpus = _lent(line)
            name = f"Slurm {fields['PartitionName']}"
            found.append(Session(name=name, hours=whole, gpus=gpus, here=not gpus, source="scontrol"))
    return tuple(found)


def _lent(line: str) -> tuple[str, ...]:
    """GPUs of the sheet that a partition's line names as `gres/gpu:a100=8`; nothing where it does not say which."""
    named = (hardware.find(name) for name in dict.fromkeys(GRES.findall(line)))
    return tuple(dict.fromkeys(gpu.name for gpu in named if gpu is not None))


# ---------------------------------------------------------------- what fits


def fitting(session: Session, gpu: str, run: Range, experiment: Range, gpus: int = 1) -> Fitting:
    """Whether a run, and the whole experiment, end within one session on that GPU, of which `gpus` train side by side;
    '' is none of the sheet. A weekly quota of GPU-hours is a limit as the session's own end is."""
    found = Fitting(
        session=session.name, run="not offered", experiment="not offered", text="not offered",
        quoted=session.quoted, source=session.source, as_of=session.as_of,
    )  # fmt: skip
    if not session.offers(gpu):
        return found
    quota = session.gpu_hours_a_week / gpus if session.gpu_hours_a_week is not None else None
    one, every = _fit(session, run, quota), _fit(session, experiment, quota)
    found = msgspec.structs.replace(found, run=one, experiment=every)
    if every == "unknown":
        return msgspec.structs.replace(found, text="not known")
    hours = (experiment.high or 0.0) / HOUR
    count = max(1, ceil(hours / session.sure_hours))
    weeks = max(1, ceil(hours / quota)) if quota is not None else None
    if quota is not None:
        count = max(count, weeks or 1)
    over = f" over {weeks:,} weeks" if weeks is not None and weeks > 1 else ""
    if every == "fits":
        text = "all of it fits"
    elif one == "fits":
        text = f"a run fits; all of it {count:,} sessions{over}"
    else:
        text = f"a run {'may not fit' if one == 'may not fit' else 'is too long'}; {count:,} sessions{over} with resume"
    return msgspec.structs.replace(found, sessions=count, weeks=weeks, text=text)


def _fit(session: Session, time_: Range, quota: float | None) -> Fit:
    """`quota`: hours a week on that many GPUs."""
    if time_.value is None or time_.low is None or time_.high is None:
        return "unknown"
    sure = session.sure_hours if quota is None else min(session.sure_hours, quota)
    most = session.hours if quota is None else min(session.hours, quota)
    if time_.high <= sure * HOUR:
        return "fits"
    return "too long" if time_.low > most * HOUR else "may not fit"
