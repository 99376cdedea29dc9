"""What is left where the dashboard does not fit: state, progress, end, and what would be needed."""

from __future__ import annotations

from tui.format import clock, percent
from tui.messages import View
from tui.widgets.line import Line
from tui.widgets.panel import Lines
from tui.widgets.progress import fraction_of_experiment
from tui.widgets.visiting import share_of, standing_of, test_end
from tui.words import ENDED, pending_stop, state_word

WIDTH, HEIGHT = 60, 15


def small_lines(view: View) -> list[Line]:
    state = view.state
    word = state_word(state)
    test = state.plan.test is not None
    done = share_of(view, standing_of(view)) if test else fraction_of_experiment(state)
    ends = test_end(view) if test else view.forecast.experiment.at
    lines: list[Line] = [
        [(f"{word.symbol} {word.text} ", word.role), (percent(done), "number")]
    ]
    if pending_stop(view):
        lines.append([(pending_stop(view), "notice")])
    elif state.phase not in ENDED:
        lines.append([("ends ", "label"), (clock(ends, state.now), "number")])
    lines.append([(state.plan.name, "text")])
    lines.append([(f"needs {WIDTH}×{HEIGHT} cells", "label")])
    return lines


class Small(Lines):
    """Shown alone, in a terminal too small for panels."""

    def draw(self, view: View, width: int, height: int) -> list[Line]:  # noqa: ARG002  it is cut
        return small_lines(view)
