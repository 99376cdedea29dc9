"""A question before something is ended or overridden. Enter, escape and n mean no; y, or the button, means yes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from engine.config.knob import Value, shown
from engine.config.plan import Plan
from engine.diagnosis.consequences import Change
from engine.live.state import RunState
from tui.format import clock, count, plural, whole
from tui.messages import View
from tui.plain import plain
from tui.words import runs_words

KILLED = "The processes are killed. To end it with a checkpoint, cancel and press x."
# Of runs side by side, how many are told of one by one.
MOST_NAMED = 6


class Question(NamedTuple):
    """What would be done, to what, and what follows; `yes` is the button's word."""

    title: str
    text: str
    yes: str


def stop_now_question(view: View) -> Question:
    state, run = view.state, view.state.run
    name = state.plan.name
    if state.plan.test is not None and run is not None:
        return Question(
            f"Stop {name} now?",
            "The visit under way does not count; what was measured before it is kept. Resume (r) goes on from there.",
            "Stop now",
        )
    if state.phase == "preparing" or run is None:
        return Question(f"Stop {name} now?", "Volumes that are prepared are kept. Resume (r) goes on.", "Stop now")
    if those := runs_words(state):
        return Question(
            f"Stop {those} of {name} now?",
            "Each finishes its step, writes a checkpoint and ends; no further run starts. Nothing is lost: resume (r) "
            "goes on from there with all of them.\nTo let these runs end first, cancel and press s.",
            "Stop now",
        )
    step = f"step {count(run.step + 1)}" if run.step else "its first step"
    return Question(
        f"Stop run {(state.current or 0) + 1} of {name} now?",
        f"It finishes {step}, writes a checkpoint and ends; no further run starts. Nothing is lost: resume (r) goes on "
        "from there.\n"
        "To let this run end first, cancel and press s.",
        "Stop now",
    )


def force_question(view: View) -> Question:
    """Names what is lost: the steps behind the newest checkpoint, and how long they took."""
    state, run = view.state, view.state.run
    name = state.plan.name
    if state.plan.test is not None:
        what = "The visit under way does not count; what was measured before it is kept."
        return Question(f"End {name} by force?", what, "End by force")
    if those := runs_words(state):
        said = [
            f"Run {one.place + 1}: {_lost(one.run, one.step_seconds, state.now)}" for one in view.beside[:MOST_NAMED]
        ]
        more = len(view.beside) - len(said)
        said += [f"And of {plural(more, 'more run')} what is not saved."] if more else []
        return Question(f"End {those} of {name} by force?", "\n".join([*said, KILLED]), "End by force")
    if run is None or not run.step:
        return Question(f"End {name} by force?", "No step has been trained yet: nothing is lost.", "End by force")
    what = _lost(run, view.bottleneck.step_seconds, state.now)
    return Question(f"End run {(state.current or 0) + 1} of {name} by force?", f"{what}\n{KILLED}", "End by force")


def _lost(run: RunState, step_seconds: float | None, now: float) -> str:
    """Of one run, in a sentence."""
    if not run.step:
        return "No step has been trained yet: nothing is lost."
    kept = run.checkpoint if run.checkpoint is not None and not run.checkpoint.error else None
    resumed = run.begin.resumed_from_step if run.begin is not None else 0
    saved = max(kept.step if kept is not None else 0, resumed)
    lost = max(0, run.step - saved)
    took = f", about {whole(lost * step_seconds)} of training" if lost and step_seconds else ""
    if not lost:
        return "No step is lost: the newest checkpoint is of this very step."
    if saved:
        when = f" of {clock(kept.t, now)}" if kept is not None and kept.t else ""
        return f"{plural(lost, 'step')} since the checkpoint{when} (step {count(saved)}) would be lost{took}."
    return f"There is no checkpoint yet: all {plural(lost, 'step')} of this run would be lost{took}."


def locks_question(plan: Plan, locked: Sequence[Change]) -> Question:
    """Names each lock with the experiment's reason; the override is recorded with who asked for it."""
    said = [
        f"{change.name} = {shown(plan.experiment.locks[change.name].value)}, not {shown(change.after)}: {change.lock}."
        for change in locked
    ]
    return Question(
        f"Override {'a lock' if len(locked) == 1 else f'{len(locked)} locks'} of {plan.experiment_name}?",
        "\n".join([*said, "The override is recorded in the plan and the journal, for this run and those that follow."]),
        "Override",
    )


def unlock_question(plan: Plan, name: str, value: Value) -> Question:
    """One locked knob, before it is edited."""
    lock = plan.experiment.locks[name]
    return Question(
        f"Override the lock of {name}?",
        f"{plan.experiment_name} needs {name} = {shown(lock.value)}, not {shown(value)}: {lock.reason}.\n"
        "Nothing changes yet: what is applied or launched with it is asked about again, and recorded as overridden.",
        "Override",
    )


def gate_question(name: str, change: str, why: str) -> Question:
    """The next phase, although the last one tells little."""
    return Question(
        f"Go on with {name} all the same?",
        f"{why[0].upper()}{why[1:]}. What the next one brings could not be told from it.\nNext: {change}.\n"
        "To let it be measured first, cancel and wait for more steps.",
        "Go on",
    )


def replace_question(path: Path) -> Question:
    return Question(
        f"Change {path.name}?",
        f"{path} is there already. Its values are replaced where they differ, its comments stay, and so do knobs that "
        "only it sets.\nTo leave it as it is, cancel and give another name.",
        "Change it",
    )


class Confirm(ModalScreen[bool]):
    """Yes or no; no unless said otherwise."""

    AUTO_FOCUS = "#no"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
        Binding("left,right,h,l", "app.focus_next", "other button", show=False),
    ]

    def __init__(self, question: Question) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(plain(self._question.title), classes="dialog-title", markup=False)
            yield Static(plain_lines(self._question.text), classes="dialog-text", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button(plain("Cancel (n)"), id="no", compact=True)
                yield Button(plain(f"{self._question.yes} (y)"), id="yes", compact=True, classes="danger")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


def plain_lines(text: str) -> str:
    """Several lines, each cleaned; for widgets with markup off."""
    return "\n".join(str(plain(line)) for line in text.split("\n"))
