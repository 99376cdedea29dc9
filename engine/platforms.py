"""When the platform ends the session this runs in: Slurm says so itself, of Kaggle and Colab it is quoted."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from engine import slurm
from engine.limit_events import LimitKind, Session
from engine.process import PROC, start_ticks


class Platform(NamedTuple):
    """`mark`: an environment variable that only it sets. A session lasts `hours`; `quoted`: who says so, and when."""

    kind: LimitKind
    name: str
    mark: str
    hours: float
    quoted: str


# Kaggle comes first: its images carry Colab's packages.
PLATFORMS = (
    Platform("kaggle", "Kaggle", "KAGGLE_KERNEL_RUN_TYPE", 12.0, "12 h a session, secondary sources, 2025-11"),
    Platform("colab", "Colab", "COLAB_RELEASE_TAG", 12.0, "12 h at most, Pro+ 24 h, not guaranteed; its FAQ, 2026-05"),
)


def session(
    environ: Mapping[str, str],
    now: float,
    own_seconds: float | None = None,
    began: float | None = None,
) -> Session | None:
    """None where no platform is known to end it. `own_seconds`: the session's length in place of what is quoted, 0 for
    without end. `began`: the session's start (s since 1970), by default that of its first process."""
    if (at := slurm.job_end(environ)) is not None:
        return Session(kind="slurm", name="Slurm", at=at)
    for platform in PLATFORMS:
        if environ.get(platform.mark):
            if own_seconds == 0:
                return None
            seconds = own_seconds or platform.hours * 3600
            start = began if began is not None else machine_began(now)
            quoted = "" if own_seconds else platform.quoted
            return Session(kind=platform.kind, name=platform.name, at=start + seconds, seconds=seconds, quoted=quoted)
    return None


def machine_began(now: float, proc: Path = PROC) -> float:
    """When this container or machine came up: its first process's start; s since 1970."""
    ticks = start_ticks(1, proc)
    try:
        uptime = float((proc / "uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return now
    return now - uptime + (ticks or 0) / os.sysconf("SC_CLK_TCK")


def here(own_seconds: float | None = None) -> Session | None:
    """Of this process."""
    return session(os.environ, time.time(), own_seconds)
