"""Profiles compared: the phases of a test, or what a training under way has run with; and the next one."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.reactive import reactive

from engine.config import catalog
from engine.config.knob import Value
from engine.config.plan import Plan
from engine.config.profile import KNOBS
from engine.diagnosis.candidates import Candidate, candidates
from engine.errors import UsageError
from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths
from engine.phase import plans
from engine.phase.phases import PhaseResult
from engine.phase.plans import Wanted
from engine.phase.space import Finished
from engine.phase.tuning import read_answer
from tui.comparison import HELP, Comparison, change_words, found_of, gate, keys, marks_of, title_line
from tui.desk import Taker, asked_words, taker_of
from tui.draft import draft_of
from tui.messages import ApplyProfile, Asked, View
from tui.plain import plain
from tui.screens.confirm import Confirm, gate_question
from tui.screens.covering import Covering
from tui.screens.saveas import SaveAs
from tui.widgets.oneline import Remark, Written, keys_line
from tui.widgets.phasedetail import FiguresPanel, MeaningPanel
from tui.widgets.phasetable import PhaseTable, height_of
from tui.widgets.ranking import RankingPanel, wanted_height

PROFILES = "all profiles"


class PhasesScreen(Covering[None]):
    """Over the phases of `view`, which is bound."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]
    KEYS = HELP
    AUTO_FOCUS = "PhaseTable"
    ALLOW_IN_MAXIMIZED_VIEW = "#phases-title, #phases-keys"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "next", "next phase"),
        Binding("o", "other", "other plan"),
        Binding("a", "accept", "accept"),
        Binding("b", "roll_back", "roll back"),
        Binding("m", "again", "measure again"),
        Binding("w", "save", "save"),
        Binding("question_mark,f1", "help", "help"),
        Binding("escape,c", "leave", "back"),
    ]

    view: reactive[View | None] = reactive(None, repaint=False, init=False, always_update=True)
    asked: reactive[Asked | None] = reactive(None, repaint=False, init=False)
    comparison: reactive[Comparison | None] = reactive(None, repaint=False, init=False, always_update=True)

    class Launch(Message):
        """Launch the experiment with these knobs, or the same test once more."""

        def __init__(self, plan: Plan, knobs: dict[str, Value] | None) -> None:
            super().__init__()
            self.plan = plan
            self.knobs = knobs

    def __init__(self, logs: Path, *, recording: bool = False, readonly: bool = False) -> None:
        super().__init__()
        self._logs = logs
        self._answered = ("", "")
        self._recording, self._readonly = recording, readonly
        self._plans: tuple[str, ...] = (PROFILES, *catalog.files(plans.FOLDER))
        self._chosen = 0
        self._candidates: tuple[Candidate, ...] = ()
        self._for: tuple[object, ...] = ()
        self._found: tuple[PhaseResult, ...] = ()
        self._folded: tuple[object, ...] = ()
        self._selected: int | None = None
        self._ended = ""
        self._answer: Finished | None = None

    def compose(self) -> ComposeResult:
        yield Written(id="phases-title")
        yield Remark(id="phases-remark")
        yield PhaseTable(id="phase-table").data_bind(PhasesScreen.comparison)
        yield RankingPanel(id="ranking").data_bind(PhasesScreen.comparison)
        with Horizontal(id="phase-detail"):
            yield FiguresPanel(id="figures").data_bind(PhasesScreen.comparison)
            yield MeaningPanel(id="meaning").data_bind(PhasesScreen.comparison)
        yield Written(id="phases-keys")

    # ------------------------------------------------------------ what is shown

    def watch_view(self) -> None:
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
        return taker_of(self.view, self._recording, self._readonly)

    def show(self) -> None:
        view = self.view
        if view is None or not self.is_mounted:
            return
        state = view.state
        found = self._results(state)
        now, winner = marks_of(state, found)
        # Whoever has not chosen looks at what is newest.
        last = now if now is not None else winner if winner is not None else len(found) - 1
        taker, why_not = self._taker
        self._look_ahead(state)
        self._look_back(state)
        comparison = Comparison(
            view=view,
            found=found,
            selected=min(self._selected if self._selected is not None else last, len(found) - 1),
            living=state.plan.test is None,
            now=now,
            winner=winner,
            taker=taker,
            why_not=why_not,
            plan_name=self._plans[self._chosen],
            candidates=self._candidates,
            answer=self._answer,
        )
        self.comparison = comparison
        size = self.app.size
        self.query_one(PhaseTable).styles.height = min(height_of(comparison) + 2, max(6, size.height * 9 // 20))
        ranking = self.query_one(RankingPanel)
        height = wanted_height(comparison, size.height)
        ranking.display, ranking.styles.height = height > 0, max(1, height)
        self.query_one("#phases-title", Written).write([title_line(comparison, size.width)])
        self.query_one("#phases-keys", Written).write([keys_line(keys(comparison), size.width)])

    def _results(self, state: ExperimentState) -> tuple[PhaseResult, ...]:
        """Worked out again only when something was measured."""
        run = state.run
        measured = (run.tested or run.recent) if run is not None else None
        parts = (state.visits, state.plan, state.prepared, state.ended, measured)
        if len(parts) != len(self._folded) or any(a is not b for a, b in zip(parts, self._folded, strict=True)):
            self._folded, self._found = parts, found_of(state)
        return self._found

    def _look_back(self, state: ExperimentState) -> None:
        """Read a tuner's ranking once it has ended."""
        test = state.plan.test
        ended = state.folder if test is not None and test.kind == "tune" and state.ended is not None else ""
        if ended != self._ended:
            self._ended, self._answer = ended, None
            if ended:
                self._read_answer(Path(ended))

    @work(thread=True, exclusive=True, group="ranking")
    def _read_answer(self, folder: Path) -> None:
        self.app.call_from_thread(self._answered_with, read_answer(ExperimentPaths(folder)))

    def _answered_with(self, answer: Finished | None) -> None:
        self._answer = answer
        self.show()

    # ------------------------------------------------------------ what comes next

    def _look_ahead(self, state: ExperimentState) -> None:
        """Read the profiles again when the training's own, or the plan, is another one."""
        tried = len(state.run.tested) if state.run is not None else 0
        parts = (state.plan, self._chosen, tried)
        if self._taker[0] == "training" and parts != self._for:
            self._for = parts
            self._read(state, self._plans[self._chosen])

    @work(thread=True, exclusive=True, group="candidates")
    def _read(self, state: ExperimentState, name: str) -> None:
        tested = state.run.tested if state.run is not None else ()
        try:
            found = candidates(state.plan, wanted(name, state.plan), self._logs, tested)
        except UsageError as error:
            found = (Candidate(name=name, problem=str(error)),)
        self.app.call_from_thread(self._known, found)

    def _known(self, found: tuple[Candidate, ...]) -> None:
        self._candidates = found
        self.show()

    def action_other(self) -> None:
        if self._taker[0] == "training":
            self._chosen = (self._chosen + 1) % len(self._plans)
            self.remark(f"next profiles: {self._plans[self._chosen]}")
            self.show()

    def action_next(self) -> None:
        comparison = self.comparison
        if comparison is None:
            return
        coming = comparison.next
        if comparison.taker != "training":
            self.remark(f"no next phase from here: {comparison.why_not}", "alarm")
        elif coming is None:
            self.remark(f'nothing of "{comparison.plan_name}" is left to try; o chooses another plan', "warn")
        elif why := gate(comparison.found):
            question = gate_question(coming.name, change_words(coming), why)
            self.app.push_screen(Confirm(question), lambda yes: self._take(coming) if yes else None)
        else:
            self._take(coming)

    def _take(self, one: Candidate) -> None:
        self._selected = None
        self.post_message(ApplyProfile(one.name, one.knobs))

    # ------------------------------------------------------------ what came of it

    def on_phase_table_moved(self, message: PhaseTable.Moved) -> None:
        if self.comparison is not None and self.comparison.found:
            at = self.comparison.selected + message.by
            self._selected = min(max(0, at), len(self.comparison.found) - 1)
            self.show()

    def action_accept(self) -> None:
        """Of a training: keep the present one, or take the chosen one again. Of a test: launch with it."""
        comparison, one = self.comparison, self.comparison.one if self.comparison is not None else None
        if comparison is None or one is None:
            return
        if not comparison.living:
            self.post_message(self.Launch(comparison.view.state.plan, launched(one)))
        elif one.number == comparison.now:
            self.remark(f"{one.name} stays: runs to come start with it too", "good")
        else:
            self._apply(one)

    def action_roll_back(self) -> None:
        comparison = self.comparison
        if comparison is None:
            return
        if not comparison.living or len(comparison.found) < 2:
            self.remark("nothing to go back to: the training has run with one profile", "warn")
        else:
            self._selected = None
            self._apply(comparison.found[-2])

    def action_again(self) -> None:
        comparison, one = self.comparison, self.comparison.one if self.comparison is not None else None
        if comparison is None or one is None:
            return
        if not comparison.living:
            self.post_message(self.Launch(comparison.view.state.plan, None))
        elif one.number == comparison.now:
            self.remark(
                f"{one.name} is being measured still; to measure it anew go back (b), then choose it (m)", "warn"
            )
        else:
            self._selected = None
            self._apply(one)

    def _apply(self, one: PhaseResult) -> None:
        if self._taker[0] != "training":
            self.remark(f"not applied: {self._taker[1]}", "alarm")
            return
        live = {name: value for name, value in one.knobs.items() if name in KNOBS and KNOBS[name].live}
        self.post_message(ApplyProfile(one.name, live))

    def action_save(self) -> None:
        comparison, one = self.comparison, self.comparison.one if self.comparison is not None else None
        if comparison is not None and one is not None:
            held = comparison.view.state.plan.profile
            scaled = {name: text for name, text in held.scaled.items() if one.knobs.get(name) == held.knobs[name]}
            version = draft_of(one.name, one.knobs, scaled).now
            reason = "measured " + (f"×{one.ratio.value:.2f} as fast" if one.ratio is not None else "")
            self.app.push_screen(SaveAs(version, comparison.view.state.plan, None, reason.strip()), self._saved)

    def _saved(self, path: Path | None) -> None:
        if path is not None:
            self.notify(str(plain(f"saved as {path}")), markup=False, timeout=6)


def wanted(name: str, plan: Plan) -> tuple[Wanted, ...]:
    """The phases of a plan, or every profile beside the one in use."""
    return plans.of_profiles(plan.profile.name)[1:] if name == PROFILES else plans.named(name)[1]


def launched(one: PhaseResult) -> dict[str, Value]:
    return dict(one.knobs)
