"""The forecast with room to say it all: every rung with its range, and what the time left of each consists of."""

from __future__ import annotations

from collections.abc import Sequence

from engine.eta.ladder import Part, Rung
from engine.live.pace_words import creep_words
from tui.format import DASH, clock_seconds, duration, margin, moment, percent, plural, whole
from tui.messages import View
from tui.plain import clipped, fit, wrapped
from tui.widgets.line import Line

# So many lines and the ladder is shown instead of the four rows.
FEWEST_LINES = 12
LABEL, LEFT, RANGE, WHEN, COLUMN, EACH = 17, 9, 14, 18, 14, 11
# A change of pace is beside the forecast for so long.
RECENT_SECONDS = 3600.0


def ladder_lines(view: View, width: int, height: int) -> list[Line]:
    """Rungs, what they consist of, what changed, what the ranges rest on."""
    expected, now = view.forecast, view.state.now
    bases = max((len(rung.estimate.basis) for rung in expected.ladder), default=0)
    wide = width - LABEL - LEFT - 2 - RANGE - WHEN >= max(16, bases)
    lines = [_head(wide), *(_row(rung, wide, now) for rung in expected.ladder), []]
    shown = [rung for rung in expected.ladder if rung.name not in ("step", "stop_here")]
    lines += _table(shown, width)
    notes = [*pace_lines(view), *((text, "label") for text in (expected.text, expected.intervals) if text)]
    lines.append([])
    for text, role in notes:
        parts = wrapped(text, width, 3) or [text]
        if len(lines) + len(parts) <= height:
            lines += [[(part, role)] for part in parts]
    return lines[:height]


def pace_lines(view: View, recent: bool = False) -> list[tuple[str, str]]:
    """What has become of the pace, with its role; `recent`: only what has just happened."""
    expected, said = view.forecast, []
    if expected.creep is not None:
        said.append((f"steps take longer and longer {creep_words(expected.creep, seconds=False)}", "warn"))
    for change in expected.changes[-1:]:
        if not recent or 0 <= view.state.now - change.noticed < RECENT_SECONDS:
            said.append((f"{change.words}: {change.cause}", "warn" if change.ratio > 1 else "label"))
    return said


def _head(wide: bool) -> Line:
    words = f"{'':<{LABEL}}{'left':>{LEFT}}  {'range':<{RANGE}}{'ends':<{WHEN}}"
    return [(words + ("how it is known" if wide else ""), "faint")]


def _row(rung: Rung, wide: bool, now: float) -> Line:
    end = rung.estimate
    runs = f" ({plural(rung.runs, 'run')})" if rung.runs > 1 and rung.name != "run" else ""
    label = clipped(f"{rung.label}{runs}", LABEL + 4)
    left = duration(end.seconds) if rung.name == "step" else whole(end.seconds)
    spread = margin(end.seconds, end.low, end.high) if rung.name != "step" else ""
    spread = spread or _fine(end.seconds, end.high)
    line: Line = [
        (f"{label:<{LABEL}}", "label"),
        (left.rjust(max(0, LABEL + LEFT - max(LABEL, len(label)))), "number"),
        (f"  {spread:<{RANGE}}", "label"),
        (f"{_when(rung, now):<{WHEN}}", "text"),
    ]
    return [*line, (rung.estimate.basis, "label")] if wide else line


def _when(rung: Rung, now: float) -> str:
    at = rung.estimate.at
    return clock_seconds(at) if rung.name == "step" and at is not None else moment(at, now)


def _fine(seconds: float | None, high: float | None) -> str:
    return f"±{duration(high - seconds)}" if seconds is not None and high is not None and high > seconds else ""


def _table(rungs: Sequence[Rung], width: int) -> list[Line]:
    """Parts down, rungs across; then each one's unit cost and how that is known."""
    if not rungs:
        return []
    names = list(dict.fromkeys(part.name for rung in reversed(rungs) for part in rung.parts))
    fits = max(1, (width - LABEL) // COLUMN)
    rungs = rungs[-fits:]
    room = width - LABEL - COLUMN * len(rungs)
    head = f"{'consists of':<{LABEL}}" + "".join(f"{_short(rung):>{COLUMN}}" for rung in rungs)
    head += f"{'each':>{EACH}}  how it is known" if room >= EACH + 18 else ""
    lines: list[Line] = [[(head, "faint")]]
    for name in names:
        parts = [_part(rung, name) for rung in rungs]
        line: Line = [(fit(name, LABEL), "label")]
        line += [(_cell(part, rung).rjust(COLUMN), "text") for part, rung in zip(parts, rungs, strict=True)]
        known = next((part for part in reversed(parts) if part is not None), None)
        if room >= EACH + 18 and known is not None:
            line += [(duration(known.each).rjust(EACH), "number"), (clipped(f"  {known.basis}", room - EACH), "label")]
        lines.append(line)
    return lines


def _cell(part: Part | None, rung: Rung) -> str:
    if part is None:
        return DASH
    total = sum(one.seconds for one in rung.parts)
    return f"{whole(part.seconds)} {percent(part.seconds / total).rjust(4)}" if total else whole(part.seconds)


def _part(rung: Rung, name: str) -> Part | None:
    return next((part for part in rung.parts if part.name == name), None)


def _short(rung: Rung) -> str:
    return clipped(rung.label, COLUMN - 1)
