"""Everything the profile editor shows at one moment: what is edited, what it is compared with, what it would bring."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from engine.config.knob import Value, shown
from engine.config.plan import Plan
from engine.config.profile import KNOBS, defaults
from engine.config.tables import Lock
from engine.diagnosis.consequences import Consequences, consequences
from engine.eta.forecast import Forecast
from engine.journals.events import PhaseEnded
from engine.live.state import ExperimentState
from engine.memory.budget import Budget, Resource, budget
from engine.memory.footprint import footprint
from tui.draft import Draft, changed
from tui.format import count
from tui.messages import Asked, View
from tui.plain import clipped
from tui.widgets.line import Line, ends
from tui.words import ENDED, state_word

# Who could take a profile up: a training under way; one that is being launched; nobody.
Taker: TypeAlias = Literal["training", "launch", "nobody"]
AS_IT_RUNS, AS_LAUNCHED = "as it runs", "as it would be launched"
KEYS = (
    ("↑↓", "knob"),
    ("←→", "change"),
    ("a", "apply"),
    ("u", "undo"),
    ("w", "save"),
    ("d", "compare"),
    ("o", "load it"),
    ("r", "reset"),
    ("U", "redo"),
    ("?", "help"),
    ("esc", "back"),
)
HELP = (
    ("↑ ↓  j k", "Choose a knob", "home and end: the first and the last."),
    ("← →  - +", "Change it", "A choice goes round; space does as well. A locked knob asks first."),
    ("0 … 9", "Type a value", "enter begins with nothing and takes it, escape does not. cores/2 follows the machine."),
    ("a", "Apply", "To the training under way, between two of its steps; a locked knob is asked about first."),
    ("u  ctrl+z", "Undo", "Every change since the editor was opened."),
    ("U  ctrl+y", "Redo", "What was undone."),
    ("r", "Reset", "All knobs as the training has them; undo brings the edited ones back."),
    ("d", "Compare with another", "The next profile. ← marks what differs, with its value there."),
    ("o", "Load the compared profile", "Into the editor; undo brings back what was there."),
    ("w", "Save", "As a file in ./profiles; an existing one only when asked, its comments kept."),
    ("esc", "Back", "What was edited is there again when the editor is opened again."),
)


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What the draft is compared with."""

    name: str
    knobs: dict[str, Value]


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """`entry`: what is being typed, None if nothing is; `problem`: why it cannot be taken. `view` None: nothing was
    read yet. `memory`: of each kind what is taken now, and what would be; `advice`: what takes less."""

    draft: Draft
    plan: Plan
    cursor: str
    reference: Reference
    taker: Taker
    why_not: str = ""
    entry: str | None = None
    problem: str = ""
    view: View | None = None
    before: Consequences = Consequences()
    after: Consequences = Consequences()
    memory: tuple[tuple[Resource, Resource], ...] = ()
    advice: str = ""

    @property
    def locks(self) -> dict[str, Lock]:
        return self.plan.experiment.locks

    @property
    def changed(self) -> dict[str, Value]:
        """What differs from the training's own profile."""
        return changed(self.draft, self.plan.profile.knobs)

    @property
    def against(self) -> dict[str, Value]:
        """What differs from the profile it is compared with."""
        return changed(self.draft, self.reference.knobs)

    def fixed(self, name: str) -> bool:
        """Whether a knob cannot change in the training under way."""
        return self.taker == "training" and not KNOBS[name].live

    def locked(self, name: str) -> bool:
        """Whether it has a value that the experiment does not want."""
        lock = self.locks.get(name)
        return lock is not None and self.draft.knobs[name] != lock.value


def with_consequences(desk: Desk) -> Desk:
    """`desk` with what the draft would bring and cost."""
    if desk.view is None:
        return desk
    state, now = desk.view.state, _forecast(desk.view)
    held, there = _budgets(state, desk.plan.profile.knobs, desk.draft.knobs)
    return msgspec.structs.replace(
        desk,
        before=consequences(state, {}, now),
        after=consequences(state, desk.changed, now),
        memory=tuple(zip(held.resources, there.resources, strict=True)),
        advice=there.advice,
    )


def _budgets(state: ExperimentState, held: dict[str, Value], there: dict[str, Value]) -> tuple[Budget, Budget]:
    """What both profiles take of the machine."""
    known = footprint(state, [visit for visit in state.visits if isinstance(visit, PhaseEnded)])
    complete = defaults() | held
    return budget(complete, known), budget(complete | there, known)


def over(desk: Desk) -> tuple[Resource, ...]:
    """The memory that there is not enough of, and that the draft would take more of than is taken now."""
    return tuple(there for held, there in desk.memory if there.verdict == "over" and there.bytes > held.bytes)


def _forecast(view: View) -> Forecast | None:
    """A test of profiles trains nothing that would end; nor does what is over."""
    over = view.state.plan.test is not None or view.state.phase in ENDED
    return None if over else view.forecast


def taker_of(view: View | None, recording: bool = False, readonly: bool = False) -> tuple[Taker, str]:
    """Who could take a profile up, or why nobody can, with what to do instead."""
    if view is None:
        return "nobody", "the journals are being read"
    state = view.state
    if recording:
        return "nobody", "a recording takes nothing up: w saves the profile as a file"
    if state.plan.test is not None:
        return "nobody", "a test of profiles goes through its own: w saves this one as a file, to test or launch it"
    if state.plan.experiment.command:
        return "nobody", "this experiment brings its own trainer: its knobs are not steptop's to change"
    if state.phase in ENDED:
        launch = f"steptop run {state.plan.experiment_name} --profile NAME --name OTHER"
        resume = "" if state.phase == "finished" else "resume it (r) and apply then, or "
        return "nobody", f"nothing is training: {resume}save it (w) and launch with it (`{launch}`)"
    if readonly:
        return "nobody", "this screen was opened with --readonly"
    if state.stop is not None and state.stop.mode != "after_run" and state.stop.phase != "done":
        return "nobody", "it is about to stop: a profile would not be taken up any more"
    return "training", ""


def why_not_applied(desk: Desk) -> str:
    """Why nothing is asked for; '' if it can be."""
    if desk.why_not:
        return f"not applied: {desk.why_not}"
    if not desk.changed:
        return "nothing differs from the profile it runs with"
    short = "; ".join(f"{one.name} is not enough: {one.sentence}" for one in over(desk))
    short += f". {desk.advice}" if short and desk.advice else ""
    fixed = [change for change in desk.after.changes if not change.live]
    if fixed:
        names = ", ".join(f"{change.name} = {shown(change.after)}" for change in fixed)
        onward = f"Besides, {short}" if short else "u takes the change back"
        return (
            f"not applied: {names} cannot change while it trains. Save the profile (w), then stop (s) and launch with "
            f"it, or measure it first with `steptop phases`. {onward}"
        )
    if short:
        return f"refused: {short}"
    return ""


def asked_words(asked: Asked, state: ExperimentState | None) -> tuple[str, str]:
    """What became of a request for a profile, and the role that colours it."""
    if asked.failed:
        return f"the request could not be left: {asked.failed}", "alarm"
    taken = state.run.taken if state is not None and state.run is not None else None
    if taken is not None and asked.id and taken.id == asked.id:
        if taken.error:
            return f"profile {asked.name} was not taken up: {taken.error}", "alarm"
        return f"the training goes on with {asked.name} since step {count(taken.step + 1)}", "good"
    if asked.answer is None:
        return f"profile {asked.name} is asked for …", "label"
    if not asked.answer.accepted:
        return f"refused: {asked.answer.text}", "alarm"
    return f"profile {asked.name} is accepted: the trainer takes it up between two steps …", "label"


# ---------------------------------------------------------------- title and keys


def keys(desk: Desk, compared: bool) -> tuple[tuple[str, str], ...]:
    """Those that do something now. `compared`: with another profile than its own."""
    if desk.entry is not None:
        return (("enter", "take it"), ("esc", "leave it as it was"))
    missing = {"U": not desk.draft.future, "u": not desk.draft.past, "o": not compared, "a": desk.taker == "nobody"}
    names = {"a": "use it"} if desk.taker == "launch" else {}
    return tuple((key, names.get(key, text)) for key, text in KEYS if not missing.get(key))


def title_line(desk: Desk, width: int) -> Line:
    """What is edited, how much of it is changed, and what it is compared with."""
    number, owner = len(desk.changed), "the launch" if desk.taker == "launch" else "the training"
    left: Line = [(" profile ", "key"), (f" {clipped(desk.draft.now.name, 24)}", "number")]
    if number:
        left.append((f"  {number} {'knob differs' if number == 1 else 'knobs differ'} from {owner}", "accent"))
    else:
        left.append((f"  as {owner} has it", "label"))
    right: Line = [("compared with ", "label"), (f"{clipped(desk.reference.name, 24)} ", "text")]
    if desk.view is not None and desk.taker != "launch" and width >= 100:
        word = state_word(desk.view.state)
        right += [(f"  {clipped(desk.plan.name, 24)} ", "number"), (f"{word.symbol} {word.text} ", word.role)]
    return ends(left, right, width)
