"""Numbers as Values: how each quantity is written, with the number itself for programs beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from engine.figures import DASH, duration, significant
from engine.phase import phases
from engine.report.model import Basis, Missing, Piece, Value
from engine.sizes import said
from engine.text import clean

UNKNOWN = "not known yet"
TOO_WIDE = "not known: what is possible lies too far apart to say anything"


def seconds(value: float | None, basis: Basis, why: str = UNKNOWN) -> Piece:
    """A duration."""
    if value is None or not math.isfinite(value):
        return Missing(why)
    return Value(text=duration(value), basis=basis, value=value, unit="s")


def hours(value: float | None, basis: Basis, why: str = UNKNOWN) -> Piece:
    """A sum of durations, with the digits to check it: `63.58 h`, `53m 18s`."""
    if value is None or not math.isfinite(value):
        return Missing(why)
    text = f"{value / 3600:,.2f} h" if value >= 3600 else duration(value)
    return Value(text=text, basis=basis, value=value, unit="s")


def span(low: float | None, high: float | None, basis: Basis, value: float | None = None, why: str = UNKNOWN) -> Piece:
    """A range of durations."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return Missing(why)
    text = f"{duration(low)} to {duration(high)}"
    return Value(text=text, basis=basis, value=value, unit="s", low=low, high=high)


def clock(at: float | None, basis: Basis, why: str = UNKNOWN) -> Piece:
    """A moment, local time with its zone."""
    text = moment(at)
    return Value(text=text, basis=basis, value=at, unit="s since 1970") if text != DASH else Missing(why)


def moment(at: float | None, seconds_too: bool = False) -> str:
    """`2026-11-22 16:45 +0100`; a dash for what is none."""
    if at is None or not math.isfinite(at) or at <= 0:
        return DASH
    try:
        return time.strftime(f"%Y-%m-%d %H:%M{':%S' if seconds_too else ''} %z", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return DASH


def count(value: int | None, basis: Basis, why: str = UNKNOWN, unit: str = "") -> Piece:
    if value is None:
        return Missing(why)
    text = f"{value:,} {unit}" if unit else f"{value:,}"
    return Value(text=text, basis=basis, value=value, unit=unit)


def amount(value: float | None, basis: Basis, why: str = UNKNOWN) -> Piece:
    """A number of things that need not be whole."""
    if value is None or not math.isfinite(value):
        return Missing(why)
    text = f"{value:,.0f}" if value >= 1000 or float(value).is_integer() else significant(value)
    return Value(text=text, basis=basis, value=value)


def number(
    value: float | None, basis: Basis, unit: str = "", digits: int = 3, why: str = UNKNOWN, fixed: int | None = None
) -> Piece:
    """`0.0553 samples/s`; with `fixed` so many decimals: `0.876`."""
    if value is None or not math.isfinite(value):
        return Missing(why)
    text = f"{value:.{fixed}f}" if fixed is not None else significant(value, digits)
    return Value(text=f"{text} {unit}" if unit else text, basis=basis, value=value, unit=unit)


def telling(low: float, high: float) -> bool:
    """Whether an interval says anything: not from a third to three times. An exact nothing does."""
    return low == high or (low > 0 and high <= phases.UNKNOWN * low)


def expected(
    low: float | None, high: float | None, basis: Basis, value: float | None = None, why: str = UNKNOWN
) -> Piece:
    """A range of durations that is foretold; one that says nothing is no forecast."""
    if low is not None and high is not None and not telling(low, high):
        return Missing(TOO_WIDE)
    return span(low, high, basis, value, why)


def interval(value: float | None, low: float, high: float, basis: Basis, prefix: str = "", unit: str = "") -> Piece:
    """`×1.94 (1.27–2.96)`; a question mark where the range says nothing."""
    if value is None:
        return Missing(UNKNOWN)
    sure = telling(low, high)
    inner = f"{significant(low)}–{significant(high)}" if sure else "?"
    text = f"{prefix}{significant(value)} ({inner})" + (f" {unit}" if unit else "")
    return Value(
        text=text, basis=basis, value=value, unit=unit, low=low if sure else None, high=high if sure else None
    )


def between(low: float | None, high: float | None, basis: Basis, unit: str = "", why: str = UNKNOWN) -> Piece:
    """`0.21–0.24 samples/s`; one that says nothing is left out."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return Missing(why)
    if not telling(low, high):
        return Missing(TOO_WIDE)
    text = f"{significant(low)}–{significant(high)}" + (f" {unit}" if unit else "")
    return Value(text=text, basis=basis, unit=unit, low=low, high=high)


def share(value: float | None, basis: Basis, why: str = UNKNOWN) -> Piece:
    """0 to 1 as percent."""
    if value is None or not math.isfinite(value):
        return Missing(why)
    text = f"{100 * value:.0f} %" if not 0 < value < 0.01 else f"{100 * value:.2g} %" if value >= 0.001 else "< 0.1 %"
    return Value(text=text, basis=basis, value=value)


def size(value: float | None, basis: Basis, why: str = UNKNOWN) -> Piece:
    if value is None or not math.isfinite(value):
        return Missing(why)
    return Value(text=said(value), basis=basis, value=value, unit="bytes")


def sentence(text: str, basis: Basis) -> Value:
    """Words that hold figures, all of one basis; commands in them lose their backticks, which would be shown."""
    return Value(text=clean(text).replace("`", ""), basis=basis)


def listed(pieces: Sequence[Piece | str]) -> tuple[Piece | str, ...]:
    """Pieces with commas between."""
    out: list[Piece | str] = []
    for piece in pieces:
        out += [", ", piece] if out else [piece]
    return tuple(out)
