"""Numbers for people: durations, clock times, sizes, rates. A missing number is a dash."""

from __future__ import annotations

import math
import time

from engine.figures import DASH as DASH, DAY as DAY, duration as duration, significant as significant

_BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SI = ("", "k", "M", "G", "T")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def whole(seconds: float | None) -> str:
    """A duration without parts of a second: `18 s`, `18m 24s`."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    return f"{round(seconds)} s" if abs(seconds) < 59.5 else duration(float(round(seconds)))


def rough(seconds: float | None) -> str:
    """A duration in one unit, for margins: `50m`, `2d`, `1.5h`."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    for unit, size in (("d", DAY), ("h", 3600.0), ("m", 60.0)):
        if seconds >= size:
            value = seconds / size
            return f"{value:.0f}{unit}" if value >= 3 else f"{value:.1f}{unit}".replace(".0", "")
    return f"{seconds:.0f}s"


def margin(seconds: float | None, low: float | None, high: float | None) -> str:
    """`±50m` where the range is about as wide on both sides, else `1d 2h–3d 4h`; nothing without a range."""
    if seconds is None or low is None or high is None or high - low < 1.0:
        return ""
    down, up = seconds - low, high - seconds
    if min(down, up) >= 0.5 * max(down, up):
        return f"±{rough(max(down, up))}"
    return f"{rough(low)}–{rough(high)}"


def clock(at: float | None, now: float) -> str:
    """`14:21` today, `Sun 16:45` within the week, `Wed 6 Jan` later, with its year when that is another one."""
    if at is None or not math.isfinite(at):
        return DASH
    try:
        there, here = time.localtime(at), time.localtime(now)
    except (OverflowError, ValueError, OSError):
        return DASH
    hours = f"{there.tm_hour:02d}:{there.tm_min:02d}"
    day = _DAYS[there.tm_wday]
    if (there.tm_year, there.tm_yday) == (here.tm_year, here.tm_yday):
        return hours
    if abs(at - now) < 6 * DAY:
        return f"{day} {hours}"
    date = f"{there.tm_mday} {_MONTHS[there.tm_mon - 1]}"
    return f"{day} {date}" if there.tm_year == here.tm_year or abs(at - now) < 180 * DAY else f"{date} {there.tm_year}"


def moment(at: float | None, now: float) -> str:
    """As `clock`, with the date and the hour of whatever is not today and less than two weeks away."""
    if at is None or not math.isfinite(at) or not DAY / 4 < abs(at - now) < 14 * DAY:
        return clock(at, now)
    there, here = time.localtime(at), time.localtime(now)
    if (there.tm_year, there.tm_yday) == (here.tm_year, here.tm_yday):
        return clock(at, now)
    return f"{_DAYS[there.tm_wday]} {there.tm_mday} {_MONTHS[there.tm_mon - 1]} {there.tm_hour:02d}:{there.tm_min:02d}"


def date(at: float) -> str:
    """`Sun 22 Nov`."""
    try:
        there = time.localtime(at)
    except (OverflowError, ValueError, OSError):
        return DASH
    return f"{_DAYS[there.tm_wday]} {there.tm_mday} {_MONTHS[there.tm_mon - 1]}"


def clock_seconds(at: float) -> str:
    """`14:03:07`."""
    try:
        there = time.localtime(at)
    except (OverflowError, ValueError, OSError):
        return "--:--:--"
    return f"{there.tm_hour:02d}:{there.tm_min:02d}:{there.tm_sec:02d}"


def size(count: float | None) -> str:
    """Bytes: `41 MiB`, `7.0 GiB`."""
    if count is None or not math.isfinite(count):
        return DASH
    value, unit = scaled(count)
    return f"{value} {unit}"


def scaled(count: float, like: float | None = None) -> tuple[str, str]:
    """A size as number and unit; `like` chooses the unit, so that `67.2/80 GiB` can share one."""
    power = 0
    reference = abs(count if like is None else like)
    while reference >= 1000 and power < len(_BYTES) - 1:
        reference /= 1024
        power += 1
    value = count / 1024**power
    digits = 0 if power < 2 or abs(value) >= 99.95 else 1
    return f"{value:.{digits}f}", _BYTES[power]


def fraction(used: float | None, total: float | None) -> str:
    """`67.2/80.0 GiB`."""
    if used is None or total is None:
        return DASH
    whole, unit = scaled(total)
    return f"{scaled(used, total)[0]}/{whole.removesuffix('.0')} {unit}"


def rate(value: float | None, unit: str) -> str:
    """`0.055 sample/s`, `0.93 Mvoxel/s`: three digits, with the prefix the number needs."""
    if value is None or not math.isfinite(value):
        return DASH
    power = 0
    while abs(value) >= 999.5 and power < len(_SI) - 1:
        value /= 1000
        power += 1
    if unit == "voxel/s" and 0 < power < len(_SI) - 1 and abs(value) >= 99.95:
        value, power = value / 1000, power + 1
    return f"{significant(value)} {_SI[power]}{unit}"


def loss(value: float | None) -> str:
    """Four digits: losses are compared."""
    return DASH if value is None or not math.isfinite(value) else significant(value, 4)


def figure(value: float | None) -> str:
    """What held-out cases are judged by, in three places: what differs by less is the same."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.3f}" if not 0 < value < 0.0005 else "<0.001"


def percent(share: float | None) -> str:
    return DASH if share is None or not math.isfinite(share) else f"{100 * share:.0f} %"


def count(number: int) -> str:
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
