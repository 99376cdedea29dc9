"""The top line: which experiment, what it is doing, which run, on what."""

from __future__ import annotations

from tui.format import clock_seconds
from tui.messages import View
from tui.plain import clipped
from tui.widgets.line import Line, ends, width_of
from tui.widgets.panel import Lines
from tui.words import state_word


def header_line(view: View, width: int, marks: str = "", with_clock: bool = True) -> Line:
    """What does not fit goes from the right: device, profile, fold, run; never the state."""
    state, run = view.state, view.state.run
    word = state_word(state)
    name = clipped(state.plan.name, max(8, min(40, width // 3)))
    left: Line = [(" steptop ", "key"), (f" {name} ", "number"), (f" {word.symbol} {word.text} ", word.role)]
    if state.current is not None and run is not None:
        more: list[Line] = [
            [(" run ", "label"), (str(state.current + 1), "number"), (f"/{len(state.runs)}", "text")],
            [
                (" · fold ", "label"),
                (str(run.key.fold), "number"),
                (" · restart ", "label"),
                (str(run.key.restart), "number"),
            ],
        ]
    else:
        more = [[(f" {len(state.runs)} runs", "label")]]
    for part in more:
        if width_of(left) + width_of(part) < width - 12:
            left = [*left, *part]
    right: Line = [(f"{clock_seconds(state.now)} ", "label")] if with_clock else [(" ", "label")]
    if marks:
        right = [(f"{marks}  ", "notice"), *right]
    device = (
        run.begin.device_name or run.begin.device if run is not None and run.begin is not None else state.plan.device
    )
    device = device.removeprefix("NVIDIA ")
    for text, role, before in (
        (clipped(device, 28), "text", ""),
        (clipped(state.plan.profile.name, 24), "text", "profile "),
    ):
        part = [(before, "label"), (f"{text}   ", role)]
        if text and width_of(left) + width_of(right) + width_of(part) < width - 2:
            right = [*part, *right]
    return ends(left, right, width)


class Header(Lines):
    """One line, always there."""

    def __init__(self, marks: str = "", with_clock: bool = True) -> None:
        super().__init__()
        self._marks = marks
        self._with_clock = with_clock

    def lines(self, width: int, height: int) -> list[Line]:  # noqa: ARG002  it is cut
        if self.view is None:
            return [[(" steptop ", "key"), (" reading the journals …", "label")]]
        return [header_line(self.view, width, self._marks, self._with_clock)]
