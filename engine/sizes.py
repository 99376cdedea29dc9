"""Sizes in words."""

from __future__ import annotations

GIB = 1 << 30


def said(count: float) -> str:
    """Bytes in words: `7.0 GiB`, `41 MiB`, `0.5 MiB`."""
    if abs(count) >= 0.95 * GIB:
        value = count / GIB
        return f"{value:.0f} GiB" if abs(value) >= 99.5 else f"{value:.1f} GiB"
    value = count / (1 << 20)
    return f"{value:.0f} MiB" if abs(value) >= 9.95 or not value else f"{value:.1f} MiB"
