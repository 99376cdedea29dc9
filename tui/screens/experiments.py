"""All experiments of a logs folder: what each is doing and when it ends. Without any, a welcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.errors import UsageError
from engine.live.watch import Watch
from engine.paths import experiments_in
from tui.format import clock, moment, plural
from tui.glyphs import RUN_SYMBOLS
from tui.messages import Listed, OpenExperiment
from tui.monitor import view_of
from tui.plain import fit, plain
from tui.widgets.visiting import test_end, test_words
from tui.words import ENDED, state_word

# Many folders are looked at less often: this share of a core at most.
LOOK_SECONDS, SHARE = 2.0, 0.05
MOST = 200
# Columns for name, state, run and end: the end must be there on eighty columns.
WIDE, NARROW = (24, 20, 11, 26), (18, 17, 9, 22)
WELCOME = (
    "No experiment is in {logs} yet.\n\n"
    "n  launches one. quickstart trains a small network on volumes that steptop writes itself: two minutes on two "
    "processor cores.\n"
    "From the command line: steptop run quickstart"
)


def look(logs: Path) -> list[Listed]:
    """Every experiment folder with its newest state, the last touched first."""
    found = []
    for folder in (experiments_in(logs) if logs.is_dir() else [])[:MOST]:
        try:
            found.append(Listed(folder.resolve(), view_of(Watch(folder).quick())))
        except (OSError, UsageError) as error:
            found.append(Listed(folder, None, str(error)))
        except Exception as error:
            # One folder that cannot be worked out does not hide the others.
            found.append(Listed(folder, None, f"cannot be worked out: {type(error).__name__}: {error}"))
    return found


def entry(listed: Listed, width: int) -> Content:
    """One line of the list."""
    if listed.view is None:
        return Content.assemble((f" ✖ {fit(listed.folder.name, 24)} ", "$bad"), plain(listed.problem))
    state = listed.view.state
    word = state_word(state)
    run = state.run
    where = (
        f"run {(state.current or 0) + 1}/{len(state.runs)}"
        if state.current is not None
        else plural(len(state.runs), "run")
    )
    if state.plan.test is not None:
        where = test_words(listed.view)
    epoch = f"epoch {run.epoch}/{run.epochs}" if run is not None and run.epochs and state.plan.test is None else ""
    if state.phase in ENDED:
        at = state.ended.t if state.ended is not None else 0.0
        when = f"ended {moment(at, state.now)}" if at else ""
    else:
        ends = test_end(listed.view) if state.plan.test is not None else listed.view.forecast.experiment.at
        when = f"ends {clock(ends, state.now)}" if ends else "end not known yet"
    role = {"good": "$good", "warn": "$warn", "bad": "$bad", "accent": "$accent"}.get(word.role, "$label")
    names, words, wheres, whens = WIDE if width >= 100 else NARROW
    parts: list[tuple[str, str]] = [
        (f" {word.symbol} ", role),
        (fit(state.plan.name, names), "$number"),
        (f" {fit(word.text, words)}", role),
        (f" {fit(where, wheres)}", "$foreground"),
        (f" {fit(when, whens)}", "$foreground"),
        (f" {fit(epoch, 14)}", "$label"),
        (" " + "".join(RUN_SYMBOLS[run.phase] for run in state.runs[:30] if state.plan.test is None), "$label"),
    ]
    room, shown = width - 6, []
    for text, style in parts:
        if len(text) > room:
            break
        room -= len(text)
        shown.append((text, style))
    return Content.assemble(*shown)


class ExperimentsScreen(Screen[None]):
    """Enter opens the dashboard of the chosen one."""

    AUTO_FOCUS = "OptionList"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "app.launch", "new", show=False),
        Binding("j", "move(1)", "down", show=False),
        Binding("k", "move(-1)", "up", show=False),
    ]

    def __init__(
        self, logs: Path, readonly: bool = False, looker: Callable[[Path], list[Listed]] = look, onward: bool = False
    ) -> None:
        """`onward`: escape leads back to a dashboard."""
        super().__init__()
        self._onward = onward
        self._logs = logs
        self._readonly = readonly
        self._looker = looker
        self._listed: list[Listed] = []
        self._shown: list[Content] = []

    def compose(self) -> ComposeResult:
        yield Static(
            Content.assemble(
                (" steptop ", "$accent bold"), (" experiments ", "$number"), plain(f" {self._logs}", "$label")
            ),
            id="list-title",
            markup=False,
        )
        yield Static(plain_welcome(self._logs), id="welcome", markup=False)
        yield OptionList(id="list", markup=False, compact=True)
        keys = [
            ("enter", "open"),
            *([] if self._readonly else [("n", "new")]),
            *([("esc", "back")] if self._onward else []),
            ("?", "help"),
            ("ctrl+p", "commands"),
            ("q", "quit"),
        ]
        yield Static(
            Content.assemble(
                *(part for key, text in keys for part in ((f" {key}", "$accent bold"), (f" {text} ", "")))
            ),
            id="list-keys",
            markup=False,
        )

    def on_mount(self) -> None:
        self.query_one("#welcome").display = False
        self._look()

    @work(thread=True, exclusive=True, group="list")
    def _look(self) -> None:
        began = time.thread_time()
        listed = self._looker(self._logs)
        self.app.call_from_thread(self._show, listed, time.thread_time() - began)

    def _show(self, listed: list[Listed], cost: float) -> None:
        if not self.is_mounted:
            return
        self.set_timer(max(LOOK_SECONDS, cost / SHARE), self._look)
        options = self.query_one("#list", OptionList)
        contents = [entry(one, self.size.width) for one in listed]
        if [one.folder for one in listed] != [one.folder for one in self._listed]:
            chosen = (
                self._listed[options.highlighted].folder if options.highlighted is not None and self._listed else None
            )
            options.clear_options()
            options.add_options(Option(content) for content in contents)
            options.highlighted = (
                next((i for i, one in enumerate(listed) if one.folder == chosen), 0) if listed else None
            )
        else:
            for at, content in enumerate(contents):
                if content != self._shown[at]:
                    options.replace_option_prompt_at_index(at, content)
        self._listed, self._shown = listed, contents
        options.display = bool(listed)
        self.query_one("#welcome").display = not listed

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if event.option_index < len(self._listed):
            self.post_message(OpenExperiment(self._listed[event.option_index].folder))

    def action_move(self, step: int) -> None:
        options = self.query_one("#list", OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()


def plain_welcome(logs: Path) -> Content:
    return Content("\n".join(str(plain(part)) for part in WELCOME.format(logs=logs).split("\n")))
