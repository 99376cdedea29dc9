"""What the trainer, the supervisor or the preparation printed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input, Static

from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths
from tui.format import count, size
from tui.logtail import Fresh, LogTail
from tui.plain import clipped
from tui.widgets.logview import LogView

POLL_SECONDS = 0.5


def logs_of(state: ExperimentState) -> list[tuple[str, Path]]:
    """Name and file of every log, the one that matters now first."""
    paths = ExperimentPaths(Path(state.folder))
    runs = [
        (f"run {index + 1}, {run.key.name}", paths.run(*run.key.at).console)
        for index, run in enumerate(state.runs)
        if run.phase != "waiting"
    ]
    others = [("preparation of volumes", paths.prepare_log), ("supervisor", paths.supervisor_log)]
    if state.current is None:
        return [*others, *runs]
    name = state.runs[state.current].key.name
    return [*(r for r in runs if r[0].endswith(name)), *others, *(r for r in runs if not r[0].endswith(name))]


class LogScreen(Screen[None]):
    """Follows one log; reads only while it is on top."""

    AUTO_FOCUS = "LogView"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter"),
        Binding("f", "follow", "follow"),
        Binding("o,right_square_bracket", "other(1)", "other log"),
        Binding("left_square_bracket", "other(-1)", "other log", show=False),
        Binding("escape", "leave", "back"),
    ]

    def __init__(self, state: ExperimentState) -> None:
        super().__init__()
        self._logs = logs_of(state)
        self._chosen = 0
        self._tail = LogTail(self._logs[0][1])
        self._timer: Timer | None = None
        self._missing = False
        self._problem = ""

    def compose(self) -> ComposeResult:
        yield Static(id="log-title", markup=False)
        yield LogView()
        yield Input(
            placeholder="show only lines with this text or regular expression; enter keeps it, escape clears it",
            id="log-filter",
            compact=True,
        )
        yield Static(self._keys(), id="log-keys", markup=False)

    def on_mount(self) -> None:
        self.query_one("#log-filter").display = False
        self._timer = self.set_interval(POLL_SECONDS, self._read)
        self._read()

    def on_screen_suspend(self) -> None:
        if self._timer is not None:
            self._timer.pause()

    def on_screen_resume(self) -> None:
        if self._timer is not None:
            self._timer.resume()

    @work(thread=True, exclusive=True, group="log")
    def _read(self) -> None:
        tail = self._tail
        fresh = tail.read()
        self.app.call_from_thread(self._show, tail, fresh)

    def _show(self, tail: LogTail, fresh: Fresh) -> None:
        if tail is not self._tail or not self.is_mounted:
            return
        view = self.query_one(LogView)
        self._missing = fresh.missing
        if fresh.restarted:
            view.clear()
        passed = [f"… {size(fresh.skipped)} passed over …"] if fresh.skipped else []
        view.add([*passed, *fresh.lines], fresh.unfinished)
        self._title()

    def _title(self) -> None:
        view, (name, path) = self.query_one(LogView), self._logs[self._chosen]
        shown, kept = view.counts
        lines = count(kept) if shown == kept else f"{count(shown)} of {count(kept)}"
        follow = "following" if view.follow else "held (f follows)"
        state = "there is no such file yet" if self._missing else f"{lines} lines · {follow}"
        room = max(10, self.size.width - len(name) - len(state) - 14)
        self.query_one("#log-title", Static).update(
            Content.assemble(
                (" log ", "$accent bold"),
                (f" {clipped(name, 40)}", "$number"),
                (f"  {clipped(str(path), room)}", "$faint"),
                (f"  {state}", "$label"),
                (f"  {clipped(self._problem, 80)}" if self._problem else "", "$bad bold"),
            ),
            layout=False,
        )

    def _keys(self) -> Content:
        keys = (("/", "filter"), ("f", "follow"), ("o", "other log"), ("g G", "first, last"), ("esc", "back"))
        return Content.assemble(
            *(part for key, text in keys for part in ((f" {key}", "$accent bold"), (f" {text} ", "")))
        )

    def action_filter(self) -> None:
        box = self.query_one("#log-filter", Input)
        box.display = True
        box.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._problem = self.query_one(LogView).filter_by(event.value)
        self._title()

    def on_input_submitted(self) -> None:
        box = self.query_one("#log-filter", Input)
        box.display = bool(box.value)
        self.query_one(LogView).focus()

    def action_follow(self) -> None:
        view = self.query_one(LogView)
        view.set_follow(not view.follow)
        self._title()

    def action_other(self, step: int) -> None:
        self._chosen = (self._chosen + step) % len(self._logs)
        self._tail = LogTail(self._logs[self._chosen][1])
        self.query_one(LogView).clear()
        self.query_one(LogView).set_follow(True)
        self._read()

    def action_leave(self) -> None:
        box = self.query_one("#log-filter", Input)
        if box.display:
            box.value = ""
            box.display = False
            self.query_one(LogView).focus()
        else:
            self.dismiss(None)
