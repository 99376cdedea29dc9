"""The application: which screen is up, which experiment is watched, and what keys do. Owns no training."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import msgspec
from textual import work
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.filter import LineFilter
from textual.reactive import reactive
from textual.screen import Screen

from engine.errors import UsageError, unknown
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, experiments_in
from tui import settings as stored
from tui.actions import BY_ACTION, COMMANDS, DASHBOARD_ACTIONS, Situation
from tui.glyphs import AsciiFilter, terminal_is_ascii
from tui.messages import OpenExperiment, SourceFailed, StateChanged
from tui.monitor import Monitor, Source
from tui.palette import Commands
from tui.picking import Picking
from tui.plain import plain
from tui.recording import Recording
from tui.screens.dashboard import Dashboard
from tui.settings import Settings
from tui.tending import Tending
from tui.terminal import LeanDriver
from tui.theme import THEMES, variables_for
from tui.widgets.keybar import KeyBar
from tui.widgets.panel import Lines

# With --low-bandwidth the screen is looked at less often and shows no running seconds.
LOW_BANDWIDTH_INTERVAL = 2.0
KEYS: list[BindingType] = [
    Binding(command.key, command.action, command.title, show=False, id=command.action)
    for command in COMMANDS
    if command.action not in DASHBOARD_ACTIONS
]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to show; None takes what the settings file says. `recording`: what the given source plays again."""

    low_bandwidth: bool = False
    ascii: bool = False
    theme: str | None = None
    readonly: bool = False
    interval: float | None = None
    recording: Recording | None = None


class SteptopApp(Picking):
    """The dashboard of `folder`; without one, of the only experiment in `logs`, or a list, or a welcome.

    Raises UsageError for an unknown theme.
    """

    TITLE = "steptop"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {Commands}
    BINDINGS = KEYS

    problem: reactive[str] = reactive("", repaint=False, init=False)

    def __init__(
        self,
        *,
        logs: Path,
        folder: Path | None = None,
        source: Source | None = None,
        options: Options | None = None,
        settings_file: Path | None = None,
    ) -> None:
        super().__init__(driver_class=LeanDriver)
        self.options = options or Options()
        self.logs = logs
        self.folder = folder
        self.animation_level = "none"
        self._source = source
        self._recording: Recording | None = None
        self._settings_file = settings_file or stored.path()
        self._settings = stored.load(self._settings_file)
        self._monitor: Monitor | None = None
        self._ascii = [AsciiFilter()] if self.options.ascii or terminal_is_ascii() else []
        for theme in THEMES.values():
            self.register_theme(theme)
        wanted = self.options.theme or self._settings.theme
        if wanted not in self.available_themes:
            if self.options.theme:
                raise unknown("theme", wanted, self.available_themes)
            wanted = "dark"
        self.theme = wanted

    # ------------------------------------------------------------ how it looks

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variables_for(self.current_theme)

    def get_line_filters(self) -> list[LineFilter]:
        return [*super().get_line_filters(), *self._ascii]

    @property
    def interval(self) -> float:
        """Seconds between refreshes."""
        wanted = stored.within(self.options.interval or self._settings.interval)
        return max(wanted, LOW_BANDWIDTH_INTERVAL) if self.options.low_bandwidth else wanted

    # ------------------------------------------------------------ begin and end

    def on_mount(self) -> None:
        self.set_class(bool(self._ascii), "-ascii")
        self.set_class(self.options.low_bandwidth, "-calm")
        if not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self._ended_by, number)
        self._first_screen()

    def _ended_by(self, number: int) -> None:
        self.exit(return_code=128 + number)

    def _first_screen(self) -> None:
        if self.folder is not None:
            self.watch_folder(self.folder)
            return
        folders = experiments_in(self.logs) if self.logs.is_dir() else []
        if len(folders) == 1:
            self.watch_folder(folders[0].resolve())
        else:
            self.action_experiments()
            if not folders and not self.options.readonly:
                self.action_launch()

    def on_unmount(self) -> None:
        self._stop_watching()

    def on_resize(self) -> None:
        if isinstance(self._driver, LeanDriver):
            self._driver.forget()
            self.screen.refresh()

    # ------------------------------------------------------------ what is watched

    def watch_folder(self, folder: Path) -> None:
        """Show the dashboard of `folder`, from its newest state on."""
        self._stop_watching()
        source = self._source if self.folder == folder else None
        self.folder, self._source = folder, None
        self._recording = self.options.recording if source is not None else None
        make: Callable[[], Source] = (lambda: source) if source is not None else (lambda: Watch(folder))
        tend = Tending() if source is None and not self.options.readonly else None
        self._monitor = Monitor(make, self._post_from(folder), self.interval, tend)
        self._monitor.start()
        board = Dashboard(self.options.readonly, self.options.low_bandwidth, self._recording)
        self._base(board.data_bind(SteptopApp.view, SteptopApp.problem))

    def _stop_watching(self) -> None:
        if self._monitor is not None:
            self._monitor.stop()
        self._monitor, self.problem, self._picked_run = None, "", None
        self.set_reactive(SteptopApp.view, None)
        self.set_reactive(SteptopApp.asked, None)

    def _base(self, screen: Screen[None]) -> None:
        """`screen` with nothing below it but Textual's empty one."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.push_screen(screen)

    def _post_from(self, folder: Path) -> Callable[..., object]:
        """Messages of a monitor that was replaced meanwhile are nobody's."""
        return lambda message: self.post_message(message) if self.folder == folder else False

    def on_state_changed(self, message: StateChanged) -> None:
        self.problem, before = "", self.view
        self.view = message.view
        self.run_is_shown(message.view)
        self.call(before, message.view)

    def on_source_failed(self, message: SourceFailed) -> None:
        self.problem = message.text

    def on_open_experiment(self, message: OpenExperiment) -> None:
        self.watch_folder(message.folder)

    @property
    def situation(self) -> Situation:
        return Situation(
            self.view,
            self.options.readonly,
            any(isinstance(screen, Dashboard) for screen in self.screen_stack),
            self._recording is not None,
        )

    # ------------------------------------------------------------ commands

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  Textual's signature
        command = BY_ACTION.get(action)
        return command.possible(self.situation) if command is not None else True

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:  # noqa: ARG002  Textual's signature
        for command in sorted(COMMANDS, key=lambda command: command.writes):
            if command.action != "command_palette" and command.possible(self.situation):
                # The palette reads its lines as markup, in which a bracket begins a style.
                key = command.shown_key or command.key
                key = {"[": "left bracket", "]": "right bracket"}.get(key, key)
                yield SystemCommand(f"{command.title} ({key})", command.help, self._runner(command.action))

    def _runner(self, action: str) -> Callable[[], object]:
        return lambda: self.call_later(self.perform, action)

    async def on_key_bar_chosen(self, message: KeyBar.Chosen) -> None:
        await self.perform(message.action)

    async def perform(self, action: str) -> None:
        """Run one of COMMANDS where it belongs."""
        await self.run_action(action, self.screen if action in DASHBOARD_ACTIONS else self)

    def say(self, text: str, severity: str = "information") -> None:
        """A short notice; `text` may hold untrusted words. News takes the place of the news before."""
        if severity == "information":
            self.clear_notifications()
        self.notify(str(plain(text)), severity=severity, markup=False, timeout=6)  # type: ignore[arg-type]

    def action_report(self) -> None:
        if self.folder is not None:
            self.say(f"{self.folder.name}: writing a report …")
            self._write_report(self.folder)

    @work(thread=True, exclusive=True, group="report")
    def _write_report(self, folder: Path) -> None:
        from engine.report import build, files

        try:
            path = ExperimentPaths(folder).report
            files.write(build.report_of(Watch(folder).poll(), self.logs), path)
        except (OSError, UsageError) as error:
            self.call_from_thread(self.say, f"no report: {error}", "error")
        else:
            self.call_from_thread(self.say, f"report written: {path}")

    def action_logs(self) -> None:
        from tui.screens.log import LogScreen

        if self.view is not None and not isinstance(self.screen, LogScreen):
            self.push_screen(LogScreen(self.view.state))

    def action_experiments(self) -> None:
        from tui.screens.experiments import ExperimentsScreen

        if not isinstance(self.screen, ExperimentsScreen):
            self._stop_watching()
            self._base(ExperimentsScreen(self.logs, self.options.readonly, onward=self.folder is not None))

    def action_launch(self) -> None:
        from tui.screens.launch import LaunchScreen

        if not isinstance(self.screen, LaunchScreen):
            self.push_screen(LaunchScreen(self.logs), self.launched)

    def launched(self, folder: Path | None) -> None:
        if folder is not None:
            self.watch_folder(folder)

    def action_help(self) -> None:
        from tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.focused, self.situation))

    async def action_back(self) -> None:
        screen = self.screen
        if screen.maximized is not None:
            screen.minimize()
        elif isinstance(screen, Dashboard) and screen.focused is not None:
            screen.set_focus(None)
        elif len(self.screen_stack) > 2:
            self.pop_screen()
        elif not isinstance(screen, Dashboard):
            if self.folder is not None:
                self.watch_folder(self.folder)
        elif self.logs.is_dir() and len(experiments_in(self.logs)) > 1:
            self.action_experiments()

    def action_next_theme(self) -> None:
        names = list(THEMES)
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]
        self.say(f"theme: {self.theme}")
        self._remember(msgspec.structs.replace(self._settings, theme=self.theme))

    def action_faster(self) -> None:
        self._pace(0.5)

    def action_slower(self) -> None:
        self._pace(2.0)

    def _pace(self, factor: float) -> None:
        interval = stored.within(self._settings.interval * factor)
        self.options = replace(self.options, interval=None)
        self._remember(msgspec.structs.replace(self._settings, interval=interval))
        if self._monitor is not None:
            self._monitor.interval = self.interval
        self.say(f"refreshed every {self.interval:g} s")

    def _remember(self, settings: Settings) -> None:
        self._settings = settings
        try:
            stored.save(self._settings_file, self._settings)
        except OSError as error:
            self.say(f"{self._settings_file} could not be written: {error.strerror}", "warning")

    def action_redraw(self) -> None:
        if isinstance(self._driver, LeanDriver):
            self._driver.forget()
        for lines in self.screen.query(Lines):
            lines.redraw()
        self.screen.refresh()

    async def action_quit(self) -> None:
        self.exit()
