"""Key bar, help, palette and list of events: what they offer, where, and that it is true."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from textual.command import CommandList
from textual.events import MouseScrollUp
from textual.widgets import Static

from engine.live.state import ExperimentState, Sentence
from tests.tui.conftest import ended, view
from tests.tui.test_lines import KILLED
from tests.tui.test_screens import AppOver, screen_text, settle, shown, still
from tui.actions import COMMANDS
from tui.app import SteptopApp
from tui.messages import StateChanged
from tui.screens.experiments import ExperimentsScreen
from tui.widgets.events import EventsPanel
from tui.widgets.keybar import KeyBar
from tui.widgets.line import text_of

ROOT = Path(__file__).parent.parent.parent


def bar_of(app: SteptopApp) -> str:
    return text_of(app.screen.query_one(KeyBar)._drawn[0])


# ---------------------------------------------------------------- key bar


async def test_the_key_bar_leads_from_a_panel_to_the_whole_screen_and_back(
    app_over: AppOver, arc: ExperimentState
) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        assert " tab panels " in bar_of(app)
        for key, words in (("tab", "enter enlarge"), ("enter", "enter put back"), ("escape", "enter enlarge")):
            await pilot.press(key)
            await pilot.pause()
            assert f" {words} " in bar_of(app)
        await pilot.press("escape")
        await pilot.pause()
        assert " tab panels " in bar_of(app)


# ---------------------------------------------------------------- palette and help


async def test_enter_in_haste_on_the_palette_changes_nothing(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("ctrl+p")
        await settle(pilot, lambda: app.screen.query(CommandList) and app.screen.query_one(CommandList).option_count)
        options = app.screen.query_one(CommandList).options
        writing = {command.title for command in COMMANDS if command.writes}
        offered = [str(option.prompt).split(" (")[0] for option in options]
        assert offered[0] == "Logs" and writing & set(offered)
        assert {title in writing for title in offered[: -len(writing & set(offered))]} == {False}


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_help_names_every_key_and_how_to_leave_it(
    app_over: AppOver, arc: ExperimentState, size: tuple[int, int]
) -> None:
    async with app_over(arc).run_test(size=size) as pilot:
        app = await shown(pilot)
        await pilot.press("question_mark")
        await pilot.pause()
        said = str(list(app.screen.query(Static))[-1].visual)
        lines = said.splitlines()
        for command in COMMANDS:
            key = command.shown_key or command.key
            assert any(line.strip().startswith(f"{key}  {command.title}") for line in lines), key
        assert app.screen.query_one(".dialog").border_subtitle == "↑ ↓ scroll · esc closes"
        if size[0] >= 120:
            assert len(lines) == len(COMMANDS) + 5
        assert "steptop queue NAME --first, --last, --skip or --add" in " ".join(said.split())
        await pilot.press("j")
        await pilot.pause()
        assert app.screen.query_one(".dialog-body").scroll_y == (1 if size == (80, 24) else 0)


def test_the_readme_knows_every_key() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"`{command.shown_key or command.key}`" in readme, command.title


async def test_a_notice_takes_the_place_of_the_one_before(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(80, 24)) as pilot:
        app = await shown(pilot)
        await pilot.press("t", "t", "t")
        await pilot.pause()
        assert [notice.message for notice in app._notifications] == ["theme: ansi"]


# ---------------------------------------------------------------- events


async def test_the_wheel_looks_back_and_leaving_the_panel_returns(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        panel = app.screen.query_one(EventsPanel)
        newest = panel._drawn[-1]
        panel.post_message(MouseScrollUp(panel, 1, 1, 0, -1, 0, False, False, False))
        await pilot.pause()
        assert app.focused is panel and panel.back == 3 and panel._drawn[-1] != newest
        assert "looking back" in str(panel._border_title)
        await pilot.press("1")
        await pilot.pause()
        assert panel.back == 0 and panel._drawn[-1] == newest


async def test_what_is_read_stays_where_it_is_while_new_events_come(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        panel = app.screen.query_one(EventsPanel)
        await pilot.press("8", "pageup")
        await pilot.pause()
        read = list(panel._drawn)
        still(app)
        for number in range(1, 4):
            fresh = Sentence(arc.now + number, f"something new {number}")
            arc = msgspec.structs.replace(arc, sentences=(*arc.sentences, fresh))
            app.post_message(StateChanged(view(arc)))
            await pilot.pause()
            assert panel._drawn == read
        await pilot.press("end")
        await pilot.pause()
        assert "something new 3" in text_of(panel._drawn[-1])


# ---------------------------------------------------------------- the list of experiments


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_list_says_when_each_ends_and_how_to_leave_it(
    app_over: AppOver, arc: ExperimentState, size: tuple[int, int]
) -> None:
    app = app_over(arc)
    async with app.run_test(size=size) as pilot:
        await shown(pilot)
        await pilot.press("e")
        await settle(pilot, lambda: isinstance(app.screen, ExperimentsScreen) and app.screen._listed)
        assert isinstance(app.screen, ExperimentsScreen)
        assert "lost" in str(app.screen._shown[0]) and "run 1/30" in str(app.screen._shown[0])
        keys = str(app.screen.query_one("#list-keys", Static).visual)
        assert "esc back" in keys and "? help" in keys
        await pilot.press("escape")
        await settle(pilot, lambda: "Progress" not in keys and app.view is not None)
        assert "arc-meshnet26" in screen_text(app)


@pytest.mark.parametrize(
    "kind", ["running", pytest.param("ended", marks=pytest.mark.slow), pytest.param("none", marks=pytest.mark.slow)]
)
async def test_every_command_that_changes_nothing_runs_from_the_palette(
    app_over: AppOver, arc: ExperimentState, tmp_path: Path, kind: str
) -> None:
    state = ended(arc, "failed", KILLED, "run 1 failed") if kind == "ended" else arc
    for command in COMMANDS:
        if command.writes or command.action == "quit":
            continue
        settings = tmp_path / "settings.toml"
        app = app_over(state) if kind != "none" else SteptopApp(logs=tmp_path / "logs", settings_file=settings)
        async with app.run_test(size=(80, 24)) as pilot:
            await (shown(pilot) if kind != "none" else pilot.press("escape"))
            if not command.possible(app.situation):
                continue
            await app.perform(command.action)
            await pilot.pause()
            await pilot.press("escape", "escape")
            await pilot.pause()
            assert app.is_running


async def test_the_help_of_the_runs_names_the_command_for_another_order(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("7", "question_mark")
        await pilot.pause()
        said = " ".join(str(static.visual) for static in app.screen.query(Static))
        assert "steptop queue NAME --first FOLD,RESTART" in said and "--skip (leave out)" in said
