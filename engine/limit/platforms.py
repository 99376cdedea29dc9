"""When the platform ends the session this runs in: Slurm says so itself, of Kaggle and Colab it is quoted."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from engine.journals.limit_events import LimitKind, Session
from engine.limit import slurm
from engine.process import PROC, start_ticks


class Platform(NamedTuple):
    """`mark`: an environment variable that only it sets. `row`: what engine/whatif/sessions.toml calls its sessions; of
    several kinds the shortest, for nothing tells them apart."""

    kind: LimitKind
    name: str
    mark: str
    row: str


# Kaggle comes first: its images carry Colab's packages.
PLATFORMS = (
    Platform("kaggle", "Kaggle", "KAGGLE_KERNEL_RUN_TYPE", "Kaggle"),
    Platform("colab", "Colab", "COLAB_RELEASE_TAG", "Colab free"),
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
            seconds, quoted = (own_seconds, "") if own_seconds else quoted_seconds(platform)
            start = began if began is not None else machine_began(now)
            return Session(kind=platform.kind, name=platform.name, at=start + seconds, seconds=seconds, quoted=quoted)
    return None


def quoted_seconds(platform: Platform) -> tuple[float, str]:
    """How long its sessions last, and who says so."""
    from engine.whatif import session_limits  # a table to be read, on these platforms only

    row = session_limits.chosen(platform.row, session_limits.sessions())
    which = f"as {row.name}" if row.name != platform.name else ""
    return row.hours * session_limits.HOUR, "; ".join(filter(None, (which, row.note, f"{row.source}, {row.as_of}")))


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
