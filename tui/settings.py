"""What the screen remembers: $XDG_CONFIG_HOME/steptop/settings.toml."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.paths import write_atomic

SLOWEST, FASTEST = 10.0, 0.25


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`interval`: seconds between refreshes, 0.25 to 10."""

    theme: str = "dark"
    interval: float = 1.0


def path(environment: Mapping[str, str] | None = None) -> Path:
    known = os.environ if environment is None else environment
    base = known.get("XDG_CONFIG_HOME") or str(Path(known.get("HOME") or "~").expanduser() / ".config")
    return Path(base) / "steptop" / "settings.toml"


def load(file: Path) -> Settings:
    """The settings; what is missing, damaged or out of range is the default."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Settings()
    theme, interval = raw.get("theme"), raw.get("interval")
    settings = Settings()
    if isinstance(theme, str):
        settings = msgspec.structs.replace(settings, theme=theme)
    if isinstance(interval, int | float) and not isinstance(interval, bool):
        settings = msgspec.structs.replace(settings, interval=within(float(interval)))
    return settings


def save(file: Path, settings: Settings) -> None:
    """Atomically, for this user alone. Raises OSError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A JSON string is a TOML string.
    text = f"theme = {json.dumps(settings.theme)}\ninterval = {settings.interval:g}\n"
    write_atomic(file, text.encode())


def within(interval: float) -> float:
    """`interval` inside what is allowed; NaN becomes a second."""
    return min(max(interval, FASTEST), SLOWEST) if interval == interval else 1.0
