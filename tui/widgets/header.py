"""The top line: which experiment, what it is doing, which run, on what."""

from __future__ import annotations

from engine.config.sources import EXAMPLE, example
from engine.live.state import ExperimentState
from tui.format import DASH, clock, clock_seconds, date, plural
from tui.messages import View
from tui.plain import clipped
from tui.recording import Recording
from tui.widgets.line import Line, ends, width_of
from tui.widgets.panel import Lines
from tui.widgets.visiting import phase_words, standing_of
from tui.words import ENDED, state_word

KINDS = {"bench": "test of one profile", "phases": "test of profiles", "tune": "tuner"}

# From here on the header has room for the length of a recording and the day it was made.
ROOMY = 110


def header_line(
    view: View, width: int, marks: str = "", with_clock: bool = True, recording: Recording | None = None
) -> Line:
    """What does not fit goes from the right: device, profile, fold, run; never the state."""
    state, run = view.state, view.state.run
    word = state_word(state)
    name = clipped(state.plan.name, max(8, min(40, width // 3)))
    left: Line = [(" steptop ", "key"), (f" {name} ", "number"), (f" {word.symbol} {word.text} ", word.role)]
    right: Line = [(f"{clock_seconds(state.now)} ", "label")] if with_clock else [(" ", "label")]
    if recording is not None:
        marks = recording.words(state.now, brief=width < ROOMY)
        right = [(f"{date(state.now)} ", "label"), *right] if with_clock and width >= ROOMY else right
    if marks:
        noted: Line = [(f"{marks}  ", "notice")]
        right = [*noted, *right] if width_of(left) + width_of(noted) + width_of(right) < width else noted
    if state.plan.test is not None:
        at = standing_of(view)
        more: list[Line] = [[(f" {phase_words(at)} ", "number")]] if at is not None else []
        more.append([(f" {KINDS[state.plan.test.kind]}", "label")])
    elif state.current is not None and run is not None:
        more = [
            [(" run ", "label"), (str(state.current + 1), "number"), (f"/{len(state.runs)}", "text")],
            [
                (f" · {run.key.variant}" if run.key.variant else "", "number"),
                (" · fold ", "label"),
                (str(run.key.fold), "number"),
                (" · restart ", "label"),
                (str(run.key.restart), "number"),
            ],
            [(" · ", "label"), (str(len(view.beside)), "number"), (" at once", "label")] if view.beside else [],
        ]
    else:
        more = [[(f" {plural(len(state.runs), 'run')}", "label")]]
    if view.allowance is not None and state.phase not in ENDED:
        more.append([(" · ends by ", "label"), (clock(view.allowance.first.at, state.now), "number")])
    if example(state.plan.experiment):
        more.insert(0, [(f" {EXAMPLE} ", "notice")])
    for part in more:
        if width_of(left) + width_of(part) + width_of(right) < width:
            left = [*left, *part]
    device = device_words(state)
    for text, role, before in (
        (clipped(device, 28), "text", "device " if device == DASH else ""),
        (clipped(state.plan.profile.name, 24) if state.plan.test is None else "", "text", "profile "),
    ):
        part = [(before, "label"), (f"{text}   ", role)]
        if text and width_of(left) + width_of(right) + width_of(part) < width - 2:
            right = [*part, *right]
    return ends(left, right, width)


def device_words(state: ExperimentState) -> str:
    """What trains, in its own words; before a trainer has said, what was asked for, and nothing of `auto`."""
    begins = [run.begin for run in (state.run, *state.runs[::-1]) if run is not None and run.begin is not None]
    if begins:
        return (begins[0].device_name or begins[0].device).removeprefix("NVIDIA ")
    wanted = state.plan.device.removeprefix("cuda").removeprefix(":")
    if wanted == "auto":
        return DASH
    return f"GPU {wanted or 0}" if wanted.isdigit() or not wanted else wanted.upper()


class Header(Lines):
    """One line, always there."""

    def __init__(self, marks: str = "", with_clock: bool = True, recording: Recording | None = None) -> None:
        super().__init__()
        self._marks = marks
        self._with_clock = with_clock
        self._recording = recording

    def lines(self, width: int, height: int) -> list[Line]:  # noqa: ARG002  it is cut
        if self.view is None:
            return [[(" steptop ", "key"), (" reading the journals …", "label")]]
        return [header_line(self.view, width, self._marks, self._with_clock, self._recording)]
