"""The profile editor: every knob, what it would bring as it is edited, undo, comparison, saving, applying."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import msgspec
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.reactive import reactive
from textual.screen import ModalScreen

from engine.config.knob import Value
from engine.config.plan import Plan
from engine.config.profile import KNOBS
from engine.diagnosis.candidates import Candidate, candidates, every_profile
from engine.errors import UsageError
from engine.machine import cores
from engine.runs.living import called
from tui import draft as drafts
from tui.desk import (
    AS_IT_RUNS,
    AS_LAUNCHED,
    HELP,
    Desk,
    Reference,
    Taker,
    asked_words,
    keys,
    taker_of,
    title_line,
    why_not_applied,
    with_consequences,
)
from tui.draft import Draft
from tui.messages import ApplyProfile, Asked, View
from tui.plain import plain
from tui.screens.confirm import Confirm, locks_question, unlock_question
from tui.screens.covering import Covering
from tui.screens.saveas import SaveAs
from tui.widgets.knobnote import KnobNote
from tui.widgets.knobs import GROUPED, KnobList
from tui.widgets.oneline import Remark, Written, keys_line
from tui.widgets.outcome import OutcomePanel


class EditorScreen(Covering[Draft | None], ModalScreen[Draft | None]):
    """Over a training, whose `view` is bound, or over a launch that is being prepared, with the view it is given.

    Letters are the editor's own here, so it is modal; it covers the whole screen. Dismissed with the draft.
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-medium"), (50, "-tall")]
    KEYS = HELP
    AUTO_FOCUS = "KnobList"
    ALLOW_IN_MAXIMIZED_VIEW = "#editor-title, #editor-keys"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "apply", "apply"),
        Binding("u,ctrl+z", "undo", "undo"),
        Binding("U,ctrl+y", "redo", "redo"),
        Binding("r", "reset", "reset"),
        Binding("d", "compare(1)", "compare"),
        Binding("D", "compare(-1)", "compare", show=False),
        Binding("o", "load", "load"),
        Binding("w", "save", "save"),
        Binding("escape", "leave", "back"),
        Binding("question_mark,f1", "help", "help"),
        Binding("ctrl+l", "app.redraw", "draw again", show=False),
        Binding("q,ctrl+q,ctrl+c", "app.quit", "quit", show=False),
    ]

    view: reactive[View | None] = reactive(None, repaint=False, init=False, always_update=True)
    asked: reactive[Asked | None] = reactive(None, repaint=False, init=False)
    desk: reactive[Desk | None] = reactive(None, repaint=False, init=False, always_update=True)

    def __init__(
        self,
        plan: Plan,
        logs: Path,
        *,
        draft: Draft | None = None,
        launching: bool = False,
        recording: bool = False,
        readonly: bool = False,
        view: View | None = None,
    ) -> None:
        """`draft`: what was edited before."""
        super().__init__()
        self.set_reactive(EditorScreen.view, view)
        self._plan = plan
        self._logs = logs
        self._answered = ("", "")
        self._launching, self._recording, self._readonly = launching, recording, readonly
        self._machine = cores.machine()
        self._shelf: tuple[Candidate, ...] = ()
        profile = plan.profile
        fresh = drafts.draft_of(profile.name, profile.knobs, profile.scaled)
        self._draft = drafts.rebased(draft or fresh, profile.name, profile.knobs, profile.scaled)
        self._cursor = GROUPED[0]
        self._compared = 0
        self._entry: str | None = None
        self._problem = ""

    def compose(self) -> ComposeResult:
        yield Written(id="editor-title")
        yield Remark(id="editor-remark")
        with Horizontal(id="editor-top"):
            yield KnobList(id="knobs").data_bind(EditorScreen.desk)
            yield OutcomePanel(id="outcome").data_bind(EditorScreen.desk)
        yield KnobNote(id="knob-note").data_bind(EditorScreen.desk)
        yield Written(id="editor-keys")

    def on_mount(self) -> None:
        self._read_shelf()
        self.show()

    @work(thread=True, exclusive=True, group="shelf")
    def _read_shelf(self) -> None:
        found = candidates(self._plan, every_profile(), self._logs)
        self.app.call_from_thread(self._shelved, found)

    def _shelved(self, found: tuple[Candidate, ...]) -> None:
        self._shelf = tuple(one for one in found if not one.problem)
        self.show()

    # ------------------------------------------------------------ what is shown

    def watch_view(self, view: View | None) -> None:
        if view is not None and view.state.plan is not self._plan:
            self._plan = view.state.plan
            profile = self._plan.profile
            self._draft = drafts.rebased(self._draft, profile.name, profile.knobs, profile.scaled)
        self.show()
        self.watch_asked(self.asked)

    def watch_asked(self, asked: Asked | None) -> None:
        """Said once: what was remarked meanwhile stays until there is more to say of the request."""
        if asked is not None:
            words = asked_words(asked, self.view.state if self.view is not None else None)
            if words != self._answered:
                self._answered = words
                self.remark(*words)

    @property
    def _taker(self) -> tuple[Taker, str]:
        return ("launch", "") if self._launching else taker_of(self.view, self._recording, self._readonly)

    @property
    def _references(self) -> list[Reference]:
        own = Reference(name=AS_LAUNCHED if self._launching else AS_IT_RUNS, knobs=self._plan.profile.knobs)
        return [own, *(Reference(name=one.name, knobs=one.knobs) for one in self._shelf)]

    def show(self) -> None:
        if not self.is_mounted:
            return
        taker, why_not = self._taker
        references = self._references
        self.desk = with_consequences(
            Desk(
                draft=self._draft,
                plan=self._plan,
                cursor=self._cursor,
                reference=references[self._compared % len(references)],
                taker=taker,
                why_not=why_not,
                entry=self._entry,
                problem=self._problem,
                view=self.view,
            )
        )
        width = self.app.size.width
        self.query_one("#editor-title", Written).write([title_line(self.desk, width)])
        self.query_one("#editor-keys", Written).write([keys_line(keys(self.desk, self._compared > 0), width)])

    # ------------------------------------------------------------ editing

    def on_knob_list_moved(self, message: KnobList.Moved) -> None:
        self._cursor, self._entry, self._problem = message.knob, None, ""
        self.show()

    def on_knob_list_stepped(self, message: KnobList.Stepped) -> None:
        self._take(drafts.stepped(KNOBS[self._cursor], self._draft.knobs[self._cursor], message.by))

    def on_knob_list_typed(self, message: KnobList.Typed) -> None:
        """Each letter is checked; what is not a value yet is said and not taken."""
        knob, text = KNOBS[self._cursor], message.text
        self._entry, self._problem = text, ""
        if text is not None and text.strip():
            try:
                value = knob.parse(text.strip())
                drafts.with_knob(self._draft, knob.name, value, self._machine)
            except UsageError as error:
                self._problem = str(error)
            else:
                if message.done:
                    self._take(value)
        elif message.done:
            self._entry = None
        self.show()

    def on_knob_list_left(self) -> None:
        self.action_leave()

    def _take(self, value: Value) -> None:
        """The knob looked at has `value` from now on, or it is said why it has not. One that the experiment locks
        changes only when that is confirmed; then it is free, until it has its locked value again."""
        try:
            draft = drafts.with_knob(self._draft, self._cursor, value, self._machine)
        except UsageError as error:
            self._problem = str(error)
            self.show()
            return
        name, lock = self._cursor, self._plan.experiment.locks.get(self._cursor)
        held, wanted = self._draft.knobs[name], draft.knobs[name]
        if lock is None or wanted == lock.value or held != lock.value:
            self._edit(draft)
            return
        self._entry = None
        self.show()
        question = unlock_question(self._plan, name, wanted)
        self.app.push_screen(Confirm(question), lambda yes: self._edit(draft) if yes else None)

    def _edit(self, draft: Draft) -> None:
        """What was said of an earlier request is no longer about this draft."""
        self._draft, self._entry, self._problem = draft, None, ""
        self.set_reactive(EditorScreen.asked, None)
        self._answered = ("", "")
        self.remark("")
        self.show()

    def action_undo(self) -> None:
        self._edit(drafts.undone(self._draft))

    def action_redo(self) -> None:
        self._edit(drafts.redone(self._draft))

    def action_reset(self) -> None:
        self._edit(drafts.reset(self._draft))

    def action_compare(self, by: int) -> None:
        self._compared = (self._compared + by) % len(self._references)
        self.show()

    def action_load(self) -> None:
        """What it is compared with becomes what is edited."""
        if not self._compared:
            self.action_reset()
            return
        one = self._shelf[self._compared - 1]
        self._edit(drafts.loaded(self._draft, one.name, one.knobs, one.scaled))

    # ------------------------------------------------------------ what comes of it

    def action_apply(self) -> None:
        desk = self.desk
        if desk is None:
            return
        why = "" if self._launching else why_not_applied(desk)
        if why:
            self.remark(why, "alarm")
        elif desk.after.locked:
            question = locks_question(desk.plan, desk.after.locked)
            self.app.push_screen(Confirm(question), lambda yes: self._apply(override=True) if yes else None)
        else:
            self._apply(override=False)

    def _apply(self, override: bool) -> None:
        if self._launching:
            self.dismiss(self._draft)
        else:
            self.post_message(ApplyProfile(self.profile_name, self._draft.knobs, override))

    @property
    def profile_name(self) -> str:
        """The profile it was loaded from, where nothing of it was changed since; else what was changed."""
        now = self._draft.now
        same = any(one.name == now.name and one.knobs == now.knobs for one in self._shelf)
        return now.name if same else called(drafts.changed(self._draft, self._plan.profile.knobs))

    def action_save(self) -> None:
        base = next((one for one in self._shelf if one.name == self._draft.now.name), None)
        self.app.push_screen(SaveAs(self._draft.now, self._plan, base), self._saved)

    def _saved(self, path: Path | None) -> None:
        if path is not None:
            now = msgspec.structs.replace(self._draft.now, name=path.stem)
            self._draft = msgspec.structs.replace(self._draft, now=now)
            self.notify(str(plain(f"saved as {path}")), markup=False, timeout=6)
            self._read_shelf()

    def back(self) -> Draft | None:
        return None if self._launching else self._draft
