"""One phase: expected beside measured, this one beside the first, and what it means."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config.knob import shown
from engine.config.profile import KNOBS
from engine.diagnosis.consequences import Range
from engine.journals.events import SPANS
from engine.machine import contention
from engine.machine.contention import DISTURBED_CORES, DISTURBED_GPU
from engine.phase.bench_words import conclusions
from engine.phase.extrapolation import ranges
from engine.phase.phases import PhaseResult, effect, optimisation
from tui.comparison import Comparison
from tui.format import DASH, duration, percent, significant, size
from tui.glyphs import BLOCK
from tui.plain import fit, wrapped
from tui.widgets.blockplot import block_lines
from tui.widgets.comparing import ComparisonPanel
from tui.widgets.interval import interval, scale_of
from tui.widgets.line import Line, block
from tui.widgets.phaselist import role_of

LABEL, FIGURE, SHARE = 11, 10, 6
# A loader that was there at once was there already.
SWAPPED = 0.001
COMPUTING = ("forward", "loss", "backward", "optimizer")
USES = (
    ("GPU", "gpu_util", lambda value: f"{value:.0f} %"),
    ("RAM peak", "ram_peak", size),
    ("RAM grows", "ram_slope", lambda value: f"{size(value * 3600)}/h"),
    ("shm peak", "shm_peak", size),
    ("VRAM used", "vram_allocated", size),
    ("VRAM held", "vram_reserved", size),
    ("GPU memory", "vram_device", size),
)


def figure_lines(one: PhaseResult, first: PhaseResult | None, width: int) -> list[Line]:
    """This phase and the first one: pace, expectation, spans, what it used."""
    beside = first if first is not None and first is not one else None
    lines: list[Line] = [_head(one, beside)] if beside is not None else []
    lines += [_pair("samples/s", one, beside, lambda found: significant(found)), _pair("s/step", one, beside, duration)]
    lines += _expectation(one, width)
    lines += _spans(one, beside, width)
    for label, name, said in USES:
        values = [getattr(which.use, name) if which is not None else None for which in (one, beside)]
        if any(value is not None for value in values):
            texts = [said(value) if value is not None else DASH for value in values]
            lines.append(_texts(label, texts[0], texts[1] if beside is not None else ""))
    return lines


def _head(one: PhaseResult, beside: PhaseResult) -> Line:
    return [
        (" " * LABEL, "text"),
        (f"phase {one.number + 1}".rjust(FIGURE), "faint"),
        (f"phase {beside.number + 1}".rjust(FIGURE), "faint"),
    ]


def _texts(label: str, here: str, there: str) -> Line:
    return [(f"{label:<{LABEL}}", "label"), (here.rjust(FIGURE), "number"), (there.rjust(FIGURE), "text")]


def _pair(label: str, one: PhaseResult, beside: PhaseResult | None, said: object) -> Line:
    assert callable(said)
    name = {"samples/s": "samples_per_second", "s/step": "step_seconds"}[label]
    texts = [
        said(getattr(which.measured, name)) if which is not None and which.measured is not None else DASH
        for which in (one, beside)
    ]
    return _texts(label, texts[0], texts[1] if beside is not None else "")


def _expectation(one: PhaseResult, width: int) -> list[Line]:
    """Expected and measured samples per second on one scale."""
    found = one.measured
    expected = Range(None, one.low, one.high, one.basis)
    if expected.low is None or expected.high is None:
        return []
    middle = (expected.low * expected.high) ** 0.5
    bounds = [expected.low, expected.high]
    if found is not None:
        bounds += [found.samples_low, found.samples_per_second, found.samples_high]
    scale, room = scale_of(bounds, middle), max(10, width - LABEL - 2 * FIGURE)
    lines: list[Line] = [
        [
            (f"{'expected':<{LABEL}}", "label"),
            *interval(scale, room, expected.low, middle, expected.high, "accent", None),
            (f" {significant(expected.low)}–{significant(expected.high)}", "text"),
        ]
    ]
    if found is not None:
        inside = found.samples_high >= expected.low and found.samples_low <= expected.high
        role = "good" if inside else "warn"
        lines.append(
            [
                (f"{'measured':<{LABEL}}", "label"),
                *interval(scale, room, found.samples_low, found.samples_per_second, found.samples_high, role, None),
                (f" {_range(found.samples_low, found.samples_high)}", "text"),
            ]
        )
    return lines


def _range(low: float, high: float) -> str:
    return f"{significant(low)}–{significant(high)}" if high < 1e6 * max(low, 1e-9) else "not known"


def _spans(one: PhaseResult, beside: PhaseResult | None, width: int) -> list[Line]:
    """Where a step goes, in the order it happens."""
    found = one.measured
    if found is None or not found.spans:
        return []
    other = beside.measured if beside is not None else None
    room = max(4, width - LABEL - (2 if other is not None else 1) * FIGURE - SHARE - 1)
    lines: list[Line] = []
    for name in SPANS:
        seconds, there = found.spans.get(name, 0.0), other.spans.get(name, 0.0) if other is not None else 0.0
        if max(seconds, there) < 0.005 * found.step_seconds:
            continue
        share = min(1.0, seconds / found.step_seconds)
        lines.append(
            [
                (f"{name:<{LABEL}}", "label"),
                (duration(seconds).rjust(FIGURE), "number"),
                (duration(there).rjust(FIGURE) if other is not None else "", "text"),
                (percent(share).rjust(SHARE), "label"),
                (" ", "text"),
                *block(share, room),
            ]
        )
    return lines


def split_lines(found: Sequence[PhaseResult], width: int) -> list[Line]:
    """What a sample takes in every phase, as one bar each on one scale: waiting for data, computing, the rest."""
    known = [one for one in found if one.measured is not None and one.mode == "train" and one.measured.spans]
    if len(known) < 2:
        return []
    each = {one.number: _parts(one) for one in known}
    longest = max(sum(parts) for parts in each.values())
    room = max(8, width - LABEL - 2 * FIGURE)
    lines: list[Line] = [
        [
            ("a sample takes  ", "faint"),
            (BLOCK, "badbar"),
            (" waiting  ", "label"),
            (BLOCK, "bar"),
            (" computing  ", "label"),
            (BLOCK, "track"),
            (" the rest", "label"),
        ]
    ]
    for one in known:
        line: Line = [(fit(f"{one.number + 1}. {one.name}", LABEL + FIGURE - 1) + " ", "label")]
        for seconds, role in zip(each[one.number], ("badbar", "bar", "track"), strict=True):
            line.append((BLOCK * round(seconds / longest * room), role))
        line.append((f" {duration(sum(each[one.number]))}", "text"))
        lines.append(line)
    return lines


def _parts(one: PhaseResult) -> tuple[float, float, float]:
    """Seconds a sample: waiting for data, computing, the rest of its step."""
    found = one.measured
    assert found is not None
    each = 1 / (found.samples_per_second * found.step_seconds)
    data = min(found.step_seconds, found.spans.get("data", 0.0))
    computing = min(found.step_seconds - data, sum(found.spans.get(name, 0.0) for name in COMPUTING))
    return each * data, each * computing, each * (found.step_seconds - data - computing)


# ---------------------------------------------------------------- in words


def meaning(comparison: Comparison) -> list[tuple[str, str]]:
    """What came of the phase, the gravest first, each text with its role."""
    one, first = comparison.one, comparison.first
    if one is None:
        return []
    said: list[tuple[str, str]] = []
    headline = effect(one)
    if headline:
        said.append((headline[0].upper() + headline[1:], role_of(one.verdict)))
    elif one.verdict == "waiting":
        said.append(("Not begun.", "label"))
    elif one.measured is None:
        said.append(("Being measured: no whole block of steps after the warm-up yet.", "accent"))
    elif one is first:
        alone = comparison.living and len(comparison.found) == 1
        bench = conclusions(comparison.found)
        what = "All of it, beside its parts." if bench else "What the others are compared with."
        said.append((nothing_words(comparison) if alone else what, "label"))
    if "(?)" in headline:
        said.append(("(?): the interval is so wide that the figure says next to nothing; more steps help.", "label"))
    said += [(text, "text") for text in conclusions(comparison.found)]
    said += [(f"  {line}", "label") for line in one.evidence]
    if one.advice:
        said.append((f"{one.advice[0].upper()}{one.advice[1:]}.", "warn"))
    if one.changed:
        kinds = ", ".join(f"{name} = {shown(value)} ({KNOBS[name].kind})" for name, value in one.changed.items())
        said.append((f"Differs from phase 1 in {kinds}.", "text"))
    if other := optimisation(one):
        said.append((f"{', '.join(other)} changes more than the speed: it is another training.", "warn"))
    if one.low is not None and one.basis:
        said.append((f"Expected before it began: {one.basis}.", "label"))
    if (one.swap_seconds or 0.0) >= SWAPPED:
        what = "The training stood still for {}." if comparison.living else "Its first batch was there after {}."
        said.append((what.format(duration(one.swap_seconds)), "label"))
    if one.repeated:
        said.append((f"Repeated {one.repeated}×: other processes disturbed it.", "warn"))
    disturbed = (one.use.foreign_cores or 0.0) > DISTURBED_CORES or (one.use.foreign_gpu or 0.0) > DISTURBED_GPU
    if disturbed and "other processes used" not in one.text:
        others = contention.said(one.use.foreign_cores, one.use.foreign_gpu)
        said.append((f"{others[0].upper()}{others[1:]} in what counts.", "warn"))
    return said


def ahead(one: PhaseResult, first: PhaseResult | None) -> list[Line]:
    """Epoch, run and experiment with this profile and with the first, training steps alone."""
    if not one.seconds:
        return []
    beside = first if first is not None and first is not one and first.seconds else None
    lines: list[Line] = [[("training steps alone, extrapolated", "faint")]]
    for name in ("epoch", "run", "experiment"):
        lines.append(
            _texts(name, duration(one.seconds[name]), duration(beside.seconds[name]) if beside is not None else "")
        )
    low, high = ranges(one).get("experiment", (None, None))
    known = f"{duration(low)} to {duration(high)}" if low is not None else "not known: more steps narrow it"
    lines.append([(f"{'range':<{LABEL}}", "label"), (known, "text"), (" (95 %, experiment)", "faint")])
    return lines


def meaning_lines(comparison: Comparison, width: int, height: int) -> list[Line]:
    one = comparison.one
    if one is None:
        return [[(line, "label")] for line in wrapped(nothing_words(comparison), width, height)]
    lines: list[Line] = []
    for text, role in meaning(comparison):
        lines += [[(part, role)] for part in wrapped(text, width, 6)]
    after = ahead(one, comparison.first)
    if len(lines) + len(after) + 1 <= height:
        return [*lines, [], *after]
    return [*lines, *after[1:]] if len(lines) + len(after) - 1 <= height else lines


def nothing_words(comparison: Comparison) -> str:
    """Why there is nothing to compare, and how there would be."""
    if comparison.taker == "training":
        return (
            "This training has run with one profile so far, which the others will be compared with. n takes up the "
            "next one between two of its steps; p edits one. A test of its own, in turns and with its memory measured, "
            "is `steptop phases`."
        )
    why = comparison.why_not
    return f"No other profile was tried in this training. {why[:1].upper()}{why[1:]}{'.' if why else ''}".strip()


class FiguresPanel(ComparisonPanel):
    """Expected and measured, this and the first."""

    TITLE = "Expected and measured"
    NUMBER = 2
    HELP = (
        "The chosen phase beside the first: samples per second, seconds per step, the range that was expected before "
        "and the one measured on one scale, the parts of a step, and what it used of the machine.\n"
        "With room: what a sample takes in every phase, and how steady each was, block by block on one scale."
    )

    def show(self, comparison: Comparison, width: int, height: int) -> list[Line]:
        one = comparison.one
        self.entitle(f"{one.number + 1}. {one.name}" if one is not None else "")
        if one is None:
            return []
        lines = figure_lines(one, comparison.first, width)
        split = split_lines(comparison.found, width)
        for more in (split, block_lines(comparison.found, width, height - len(lines) - len(split) - 2)):
            if more and len(lines) + len(more) < height:
                lines += [[], *more]
        return lines


class MeaningPanel(ComparisonPanel):
    """What came of it."""

    TITLE = "What it means"
    NUMBER = 3
    HELP = (
        "The ratio of samples per second to the first phase's with its 95 % interval, in words; the evidence and the "
        "advice where a phase failed; the knobs that differ and what they may change; and how long an epoch, a run and "
        "the experiment would take with it."
    )

    def show(self, comparison: Comparison, width: int, height: int) -> list[Line]:
        return meaning_lines(comparison, width, height)
