"""Keys, dialogs and sizes: an app over a recorded moment, with a person's fingers on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Button

from engine.journals.events import Verdict
from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths
from engine.runs import control
from engine.runs.control import Request
from tests.tui.conftest import ended, stopping, view
from tui.actions import COMMANDS
from tui.app import SteptopApp
from tui.screens.confirm import Confirm
from tui.screens.dashboard import Dashboard
from tui.screens.experiments import ExperimentsScreen
from tui.screens.help import HelpScreen
from tui.screens.launch import LaunchScreen
from tui.screens.log import LogScreen
from tui.widgets.panel import Lines, Panel

AppOver = Callable[..., SteptopApp]
LOST = Verdict(kind="lost", text="nobody wrote down why", advice="resume goes on from the last checkpoint", sure=False)


@pytest.fixture
def folder(arc: ExperimentState, tmp_path: Path) -> ExperimentState:
    """The recorded moment in a folder of the test's own, so that requests can be left in it."""
    place = tmp_path / "logs" / "arc-meshnet26"
    place.mkdir(parents=True)
    (place / "plan.json").write_bytes(msgspec.json.encode(arc.plan))
    return msgspec.structs.replace(arc, folder=str(place))


async def shown(pilot: Pilot[None]) -> SteptopApp:
    """The app once the dashboard has its first view."""
    app = pilot.app
    assert isinstance(app, SteptopApp)
    for _ in range(200):
        await pilot.pause(0.01)
        if app.view is not None:
            break
    await pilot.pause()
    return app


def still(app: SteptopApp) -> None:
    """No more looks at the source: what the test posts from here on is the last that the screen hears."""
    assert app._monitor is not None
    app._monitor.stop()


def asked(state: ExperimentState) -> list[Request]:
    return control.pending(ExperimentPaths(Path(state.folder)))


async def settle(pilot: Pilot[None], until: Callable[[], object]) -> None:
    for _ in range(1500):
        if until():
            return
        await pilot.pause(0.01)
    raise AssertionError("waited in vain")


def screen_text(app: SteptopApp) -> str:
    """Every line of every panel that is drawn."""
    from tui.widgets.line import text_of

    return "\n".join(text_of(line) for widget in app.screen.query(Lines) if widget.display for line in widget._drawn)


# ---------------------------------------------------------------- stops


async def test_s_asks_for_a_stop_after_this_run(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        await shown(pilot)
        await pilot.press("s")
        await settle(pilot, lambda: asked(folder))
    assert [request.verb for request in asked(folder)] == ["stop_after_run"]
    assert asked(folder)[0].by == "the dashboard"


async def test_s_again_takes_it_back(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(stopping(folder)).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        assert "stops after run 1" in screen_text(app)
        await pilot.press("s")
        await settle(pilot, lambda: asked(folder))
    assert [request.verb for request in asked(folder)] == ["stop_cancel"]


@pytest.mark.parametrize("answer", ["enter", "escape", "n", "q"])
async def test_x_asks_first_and_the_usual_keys_mean_no(app_over: AppOver, folder: ExperimentState, answer: str) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("x")
        assert isinstance(app.screen, Confirm)
        assert isinstance(app.focused, Button) and app.focused.id == "no"
        await pilot.press(answer)
        await pilot.pause()
        assert isinstance(app.screen, Dashboard)
    assert asked(folder) == []


async def test_x_and_then_yes_stops_now(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        await shown(pilot)
        await pilot.press("x", "y")
        await settle(pilot, lambda: asked(folder))
    assert [request.verb for request in asked(folder)] == ["stop_now"]


async def test_force_names_what_is_lost(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("X")
        assert isinstance(app.screen, Confirm)
        text = app.screen._question.text
        assert "74 steps since the checkpoint of 04:46 (step 1,776) would be lost, about 22m" in text
        await pilot.press("tab", "enter")
        await settle(pilot, lambda: asked(folder))
    assert [request.verb for request in asked(folder)] == ["stop_force"]


async def test_force_without_a_checkpoint_says_that_all_is_lost(arc: ExperimentState) -> None:
    from tui.screens.confirm import force_question

    run = msgspec.structs.replace(arc.runs[0], checkpoint=None)
    question = force_question(view(msgspec.structs.replace(arc, runs=(run, *arc.runs[1:]))))
    assert "no checkpoint yet: all 1,850 steps of this run would be lost" in question.text


async def test_a_reader_cannot_stop_anything(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder, readonly=True).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("s", "x", "X", "r", "n")
        await pilot.pause()
        assert isinstance(app.screen, Dashboard)
        assert "read-only" in screen_text(app)
    assert asked(folder) == []


async def test_q_and_ctrl_c_leave_without_asking_anything_of_the_training(
    app_over: AppOver, folder: ExperimentState
) -> None:
    for key in ("q", "ctrl+c", "ctrl+q"):
        app = app_over(folder)
        async with app.run_test(size=(120, 40)) as pilot:
            await shown(pilot)
            await pilot.press(key)
        assert app.return_code == 0
    assert asked(folder) == []


async def test_r_offers_itself_only_when_there_is_something_to_resume(
    app_over: AppOver, folder: ExperimentState
) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        assert app.check_action("resume", ()) is False
    async with app_over(ended(folder, "failed", LOST, "run 1 failed")).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        assert app.check_action("resume", ()) is True
        assert app.check_action("stop_now", ()) is False
        assert "r resume" in screen_text(app)


# ---------------------------------------------------------------- palette, help, panels


async def test_the_palette_holds_every_command_that_is_possible(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        titles = [command.title for command in app.get_system_commands(app.screen)]
        for command in COMMANDS:
            listed = any(title.startswith(command.title) for title in titles)
            assert listed == (command.possible(app.situation) and command.action != "command_palette"), command.action
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"stop", "space", *"after", "enter")
        await settle(pilot, lambda: asked(folder))
    assert asked(folder)[0].verb == "stop_after_run"


async def test_question_mark_explains_the_focused_panel(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("3", "question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        said = " ".join(str(static.visual) for static in app.screen.query("Static"))
        assert "Where a step goes" in said and "inside the workers" in said
        assert "Stop after this run" in said
        await pilot.press("escape")
        assert isinstance(app.screen, Dashboard)


async def test_every_panel_has_a_number_and_a_help_text(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder).run_test(size=(200, 60)) as pilot:
        app = await shown(pilot)
        panels = [panel for panel in app.screen.query(Panel) if panel.display]
        assert sorted(panel.NUMBER for panel in panels) == list(range(1, 10))
        for panel in panels:
            await pilot.press(str(panel.NUMBER))
            assert app.focused is panel and panel.HELP


@pytest.mark.parametrize("number", ["1", "6", "8"])
async def test_enter_enlarges_a_panel_and_escape_puts_it_back(
    app_over: AppOver, folder: ExperimentState, number: str
) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press(number)
        panel = app.focused
        assert panel is not None
        before = panel.size
        await pilot.press("enter")
        await pilot.pause()
        assert app.screen.maximized is panel and panel.size.area > before.area
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen.maximized is None and panel.size == before


async def test_h_j_k_arrows_and_tab_walk_over_the_panels(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        walked = []
        for key in ("j", "j", "right", "j", "k", "h", "up"):
            await pilot.press(key)
            walked.append(app.focused.id if app.focused else None)
        assert walked == ["progress", "where", "machine", "runs", "machine", "where", "progress"]
        for focused in ("finish", "where", "machine", "step-time"):
            await pilot.press("tab")
            assert app.focused is not None and app.focused.id == focused
        await pilot.press("escape")
        assert app.focused is None


async def test_g_switches_the_plots_to_a_logarithmic_scale_and_back(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        linear = screen_text(app)
        await pilot.press("g")
        assert "step 10 log" in screen_text(app) and "step 2 log" in screen_text(app)
        await pilot.press("g")
        assert screen_text(app) == linear


async def test_a_click_on_the_key_bar_does_what_the_key_does(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        await shown(pilot)
        await pilot.click("KeyBar", offset=(5, 0))
        await settle(pilot, lambda: asked(folder))
    assert asked(folder)[0].verb == "stop_after_run"


async def test_a_double_click_enlarges_a_panel(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.double_click("#machine")
        await pilot.pause()
        assert app.screen.maximized is not None and app.screen.maximized.id == "machine"


# ---------------------------------------------------------------- themes and settings


async def test_t_goes_through_the_themes_and_remembers(
    app_over: AppOver, folder: ExperimentState, tmp_path: Path
) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        seen = [app.theme]
        for _ in range(4):
            await pilot.press("t")
            seen.append(app.theme)
        assert seen == ["dark", "light", "colour-blind", "ansi", "dark"]
        await pilot.press("t", "minus")
        assert app.interval == 2.0
    again = app_over(folder)
    assert (again.theme, again.interval) == ("light", 2.0)
    assert (tmp_path / "settings.toml").stat().st_mode & 0o777 == 0o600


async def test_low_bandwidth_looks_less_often_and_hides_running_seconds(
    app_over: AppOver, folder: ExperimentState
) -> None:
    state = msgspec.structs.replace(folder, now=folder.now + 12)
    async with app_over(state, low_bandwidth=True).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        assert app.interval == 2.0
        assert "ago" not in screen_text(app)
        assert "05:09:0" not in screen_text(app)


@pytest.mark.parametrize("theme", ["nord", "textual-light", "ansi-dark", "monokai"])
async def test_textuals_own_themes_can_be_chosen(app_over: AppOver, folder: ExperimentState, theme: str) -> None:
    async with app_over(folder, theme=theme).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        assert app.theme == theme and "training" in screen_text(app)


def test_an_unknown_theme_is_refused_with_the_nearest_name(app_over: AppOver, folder: ExperimentState) -> None:
    from engine.errors import UsageError

    with pytest.raises(UsageError, match="did you mean 'colour-blind'"):
        app_over(folder, theme="color-blind")


# ---------------------------------------------------------------- which screen


async def test_ascii_draws_nothing_beyond_ascii(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder, ascii=True).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        for keys in ((), ("x",), ("escape", "question_mark"), ("escape", "l"), ("escape", "N"), ("escape", "e")):
            await pilot.press(*keys)
            await pilot.pause()
            strips = app.screen._compositor.render_strips()
            text = "\n".join(strip.text for strip in strips)
            assert text.isascii(), {c for c in text if ord(c) > 127}


async def test_an_empty_logs_folder_welcomes_and_offers_a_launch(tmp_path: Path) -> None:
    app = SteptopApp(logs=tmp_path / "logs", settings_file=tmp_path / "settings.toml")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause(0.1)
        assert isinstance(app.screen, LaunchScreen)
        await pilot.press("escape")
        await settle(pilot, lambda: app.screen.query_one("#welcome").display)
        assert isinstance(app.screen, ExperimentsScreen)


async def test_l_shows_the_log_and_escape_comes_back(app_over: AppOver, folder: ExperimentState) -> None:
    async with app_over(folder).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("l")
        assert isinstance(app.screen, LogScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, Dashboard)
