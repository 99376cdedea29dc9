"""Every command of the screen, once: bindings, key bar, palette and help are read from this table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from engine.live.state import ExperimentState
from tui.messages import View
from tui.words import ENDED, ends_now, runs_stopped_here


class Situation(NamedTuple):
    """What decides which commands make sense."""

    view: View | None = None
    readonly: bool = False
    dashboard: bool = True
    recording: bool = False
    panel: Literal["", "focused", "enlarged"] = ""

    @property
    def state(self) -> ExperimentState | None:
        return self.view.state if self.view is not None else None

    @property
    def going(self) -> bool:
        """Something runs that could be stopped; what is played again does not."""
        state = self.state
        return (
            state is not None
            and not self.recording
            and (state.supervisor_alive or state.trainer_alive)
            and state.phase not in ENDED
        )

    @property
    def resumable(self) -> bool:
        state = self.state
        over = state is not None and not state.supervisor_alive and state.phase in ("stopped", "failed", "lost")
        return over and not self.recording

    @property
    def several(self) -> bool:
        """More than one run goes on, so that there is another one to look at."""
        return self.state is not None and len(self.state.under_way) > 1


class Command(NamedTuple):
    """One thing the screen can do. `bar`: its words in the key bar, '' to leave it out; `rank`: who goes first."""

    action: str
    key: str
    title: str
    help: str
    bar: str = ""
    rank: int = 9
    when: Callable[[Situation], bool] = lambda _: True
    writes: bool = False
    shown_key: str = ""

    def possible(self, situation: Situation) -> bool:
        return self.when(situation) and not (self.writes and situation.readonly)


def _stopping_now(situation: Situation) -> bool:
    return situation.state is not None and ends_now(situation.state)


COMMANDS: tuple[Command, ...] = (
    Command(
        "stop_after_run",
        "s",
        "Stop after this run",
        "Train this run to its end, start no other. Again: take it back.",
        "stop after run",
        1,
        lambda s: s.going and not _stopping_now(s),
        True,
    ),
    Command(
        "stop_now",
        "x",
        "Stop now",
        "Finish the step, write a checkpoint, end. Asks first.",
        "stop now",
        2,
        lambda s: s.going and not _stopping_now(s),
        True,
    ),
    Command(
        "stop_force",
        "X",
        "End by force",
        "Kill it; what is not saved is lost. Asks first.",
        "force",
        3,
        lambda s: s.going,
        True,
    ),
    Command(
        "resume",
        "r",
        "Resume",
        "Go on after a stop, a failure or a loss.",
        "resume",
        1,
        lambda s: s.resumable,
        True,
    ),
    Command(
        "limit",
        "u",
        "Limit",
        "A time, a date or a sum after which it stops, with a checkpoint.",
        when=lambda s: s.resumable or (s.going and s.state is not None and s.state.plan.test is None),
        writes=True,
    ),
    Command(
        "next_run",
        "right_square_bracket",
        "Next run",
        "Of those that go on side by side: the panels show it.",
        "next run",
        2,
        lambda s: s.several,
        shown_key="]",
    ),
    Command(
        "previous_run",
        "left_square_bracket",
        "Previous run",
        "As ], the other way round.",
        when=lambda s: s.several,
        shown_key="[",
    ),
    Command(
        "logs",
        "l",
        "Logs",
        "What the trainer printed: filter with /, follow with f.",
        "logs",
        4,
        lambda s: s.view is not None,
    ),
    Command(
        "profile",
        "p",
        "Profile",
        "Edit its knobs and see what that would bring; apply or save it.",
        "profile",
        3,
        lambda s: s.view is not None,
    ),
    Command(
        "phases",
        "c",
        "Compare profiles",
        "What each profile brought, and how sure; accept or roll back.",
        "compare",
        4,
        lambda s: s.view is not None,
    ),
    Command(
        "what_if",
        "w",
        "What if",
        "Other counts, knobs, GPUs: time, memory, cost; decide, launch.",
        "what if",
        5,
        lambda s: s.view is not None,
    ),
    Command("experiments", "e", "Experiments", "All experiments of this logs folder.", "experiments", 9),
    Command(
        "next_phase",
        "n",
        "Next phase",
        "Shows it; n once more, and the training takes it up.",
        "next",
        9,
        lambda s: s.going and s.state is not None and s.state.plan.test is None,
        True,
    ),
    Command(
        "test_profiles",
        "b",
        "Test its profiles",
        "A short test of its profiles, in a folder of its own.",
        when=lambda s: s.view is not None and not s.recording,
        writes=True,
    ),
    Command(
        "launch",
        "N",
        "Launch an experiment",
        "Choose experiment, profile, folds, data; see when it would end.",
        "new",
        10,
        writes=True,
    ),
    Command(
        "enlarge_focused",
        "enter",
        "Enlarge the panel",
        "The focused panel fills the screen; escape puts it back.",
        "enlarge",
        8,
        lambda s: s.dashboard,
    ),
    Command(
        "help", "question_mark,f1", "Help", "What the focused panel shows, and every key.", "help", 5, shown_key="?"
    ),
    Command(
        "report",
        "R",
        "Write a report",
        "What was measured, as one page of HTML in its folder.",
        when=lambda s: s.view is not None and not s.recording,
        writes=True,
    ),
    Command("command_palette", "ctrl+p", "Command palette", "Every command by name.", shown_key="ctrl+p"),
    Command(
        "log_scale",
        "g",
        "Logarithmic scale",
        "Switch the plots between linear and logarithmic.",
        when=lambda s: s.dashboard,
    ),
    Command(
        "next_curve",
        "m",
        "Next curve",
        "Another curve in the loss plot, such as validation figures.",
        when=lambda s: s.dashboard,
    ),
    Command("next_theme", "t", "Next theme", "dark, light, colour-blind, ansi (the terminal's). Remembered."),
    Command(
        "faster", "plus,equals_sign", "Refresh more often", "Down to four times a second. Remembered.", shown_key="+"
    ),
    Command("slower", "minus", "Refresh less often", "Up to every ten seconds. Remembered.", shown_key="-"),
    Command("redraw", "ctrl+l", "Draw again", "Send the whole screen again, if something else wrote on it."),
    Command("back", "escape", "Back", "One level back.", shown_key="esc"),
    Command(
        "quit",
        "q,ctrl+q,ctrl+c",
        "Quit",
        "Leave this screen. A training goes on without it.",
        "quit (training goes on)",
        0,
        shown_key="q",
    ),
)
# Commands of the dashboard alone; the others work everywhere.
DASHBOARD_ACTIONS = ("enlarge_focused", "log_scale", "next_curve")
BY_ACTION = {command.action: command for command in COMMANDS}


def bar_text(command: Command, situation: Situation) -> str:
    """What the key bar says of a command just now."""
    state = situation.state
    if command.action == "stop_after_run" and state is not None:
        if runs_stopped_here(state):
            return "cancel the stop"
        if state.plan.test is not None:
            return "stop after this visit"
        if len(state.under_way) > 1:
            return "stop after these runs"
        return f"stop after run {state.current + 1}" if state.current is not None else "stop before a run"
    if command.action == "quit" and state is not None and state.plan.test is not None and situation.going:
        return "quit (the test goes on)"
    if command.action == "quit" and (not situation.going or _stopping_now(situation)):
        return "quit"
    if command.action == "what_if" and state is not None and state.plan.test is not None and situation.going:
        return ""
    if command.action == "enlarge_focused":
        return {"": "panels", "focused": "enlarge", "enlarged": "put back"}[situation.panel]
    if command.action == "stop_force" and not _stopping_now(situation):
        return ""
    return command.bar


def bar_key(command: Command, situation: Situation) -> str:
    """The key it is shown with: before a panel can be enlarged, one must be chosen."""
    if command.action == "enlarge_focused" and not situation.panel:
        return "tab"
    return command.shown_key or command.key
