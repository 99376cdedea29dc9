"""Whether this machine ends a user's processes at logout, which no detaching survives."""

from __future__ import annotations

import getpass
import re
from pathlib import Path

ADVICE = (
    "this machine ends your processes at logout (systemd's KillUserProcesses=yes): "
    "`loginctl enable-linger` lets the training go on"
)


def warning(root: Path = Path("/"), user: str | None = None) -> str:
    """The advice if logind is configured to kill at logout and the user does not linger; else ''."""
    configuration = root / "etc/systemd/logind.conf"
    files = [configuration, *sorted((root / "etc/systemd/logind.conf.d").glob("*.conf"))]
    kills = False
    for file in files:
        try:
            text = file.read_text(errors="replace")
        except OSError:
            continue
        for value in re.findall(r"^\s*KillUserProcesses\s*=\s*(\w+)", text, re.MULTILINE):
            kills = value.lower() in ("yes", "true", "1", "on")
    if not kills:
        return ""
    try:
        name = user or getpass.getuser()
    except (KeyError, OSError):
        return ADVICE
    return "" if (root / "var/lib/systemd/linger" / name).exists() else ADVICE
