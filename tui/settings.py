"""What the screen remembers: $XDG_CONFIG_HOME/steptop/settings.toml."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from engine.paths import write_atomic

SLOWEST, FASTEST = 10.0, 0.25

Alerts: TypeAlias = Literal["desktop", "bell", "off"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`interval`: seconds between refreshes, 0.25 to 10. `alerts`: how the dashboard calls its user."""

    theme: str = "dark"
    interval: float = 1.0
    alerts: Alerts = "desktop"


def path(environment: Mapping[str, str] | None = None) -> Path:
    known = os.environ if environment is None else environment
    base = known.get("XDG_CONFIG_HOME") or str(Path(known.get("HOME") or "~").expanduser() / ".config")
    return Path(base) / "steptop" / "settings.toml"


def load(file: Path) -> Settings:
    """The settings; what is missing, damaged or out of range is the default."""
    found = raw(file)
    theme, interval, alerts = found.get("theme"), found.get("interval"), found.get("alerts")
    settings = Settings()
    if alerts in get_args(Alerts):
        settings = msgspec.structs.replace(settings, alerts=alerts)
    if isinstance(theme, str):
        settings = msgspec.structs.replace(settings, theme=theme)
    if isinstance(interval, int | float) and not isinstance(interval, bool):
        settings = msgspec.structs.replace(settings, interval=within(float(interval)))
    return settings


def raw(file: Path) -> dict[str, Any]:
    """All that stands in the file; nothing where it is missing or damaged."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def save(file: Path, settings: Settings) -> None:
    """Theme and interval, atomically, for this user alone; the rest of the file stays as it is. Raises OSError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A JSON string is a TOML string.
    text = f"theme = {json.dumps(settings.theme)}\ninterval = {settings.interval:g}\n"
    if set(raw(file)) - {"theme", "interval"}:
        import tomlkit

        document = tomlkit.parse(file.read_text(encoding="utf-8"))
        document["theme"], document["interval"] = settings.theme, settings.interval
        text = tomlkit.dumps(document)
    write_atomic(file, text.encode())


def within(interval: float) -> float:
    """`interval` inside what is allowed; NaN becomes a second."""
    return min(max(interval, FASTEST), SLOWEST) if interval == interval else 1.0
