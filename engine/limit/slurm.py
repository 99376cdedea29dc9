"""When Slurm ends the job this runs in: what the job's environment says, else what `scontrol` does."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping

SCONTROL_SECONDS = 10.0
_JOB = re.compile(r"\d+(?:_\d+|\+\d+)?", re.ASCII)
_END = re.compile(r"\bEndTime=(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})\b", re.ASCII)


def job_end(environ: Mapping[str, str]) -> float | None:
    """Seconds since 1970; None outside a job, for one without end, and where nobody says."""
    job = environ.get("SLURM_JOB_ID", "")
    if not _JOB.fullmatch(job):
        return None
    said = environ.get("SLURM_JOB_END_TIME", "")
    if said.isascii() and said.isdigit() and int(said) > 0:
        return float(said)
    try:
        done = subprocess.run(
            ["scontrol", "show", "job", job],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SCONTROL_SECONDS,
            check=False,
            env=dict(environ),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return end_in(done.stdout) if done.returncode == 0 else None


def end_in(text: str) -> float | None:
    """`EndTime=` in what scontrol prints (local time); None for `Unknown`."""
    found = _END.search(text)
    if found is None:
        return None
    try:
        return time.mktime(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return None
