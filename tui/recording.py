"""A recording that is played again: how fast, and where in it."""

from __future__ import annotations

from typing import NamedTuple

from tui.format import percent, whole


class Recording(NamedTuple):
    """`speed`: times as fast as it was; `begins` and `ends`: the clock of its first and last record."""

    speed: float
    begins: float
    ends: float

    def words(self, now: float, brief: bool = False) -> str:
        """`recording ×60 · 2h 10m of 5h 03m`; brief: `recording ×60 · 43 %`."""
        length = self.ends - self.begins
        name = f"recording ×{self.speed:g}"
        if now >= self.ends:
            return f"{name} · its end"
        if brief:
            return f"{name} · {percent((now - self.begins) / length)}"
        return f"{name} · {whole(now - self.begins)} of {whole(length)}"
