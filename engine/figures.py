"""Figures in words: durations and numbers with the digits that matter. What is missing is a dash."""

from __future__ import annotations

import math

DASH = "–"
DAY = 86_400.0


def duration(seconds: float | None) -> str:
    """`340 ms`, `18.1 s`, `18m 24s`, `5h 03m`, `1d 13h`, `46d`."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 1e-6:
        return "0 s"
    if seconds < 0.9995:
        return f"{significant(seconds * 1000)} ms"
    if seconds < 59.95:
        return f"{significant(seconds)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    minutes = round(seconds / 60)
    if minutes < 1440:
        return f"{minutes // 60}h {minutes % 60:02d}m"
    hours = round(seconds / 3600)
    if hours < 240:
        return f"{hours // 24}d {hours % 24}h"
    return f"{round(seconds / DAY):,}d"


def significant(value: float, digits: int = 3) -> str:
    """Three digits that matter, never in exponent form between 1e-4 and 1e6: `18.1`, `0.0553`, `148`."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else DASH
    places = digits - 1 - math.floor(math.log10(abs(value)))
    if not -4 <= places <= 6:
        return f"{value:.{digits - 1}e}"
    rounded = round(value, places)
    # 9.996 is 10.0, not 10.00.
    places -= abs(rounded) >= 10 ** (digits - places)
    return f"{rounded:.{max(0, places)}f}"
