"""What the launch dialog can do with an experiment: train it, or test its profiles, with knobs of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Select, Static

from engine.errors import UsageError
from engine.runs.launch import Request
from tests.tui.test_screens import settle
from tui.app import SteptopApp
from tui.launching import Preset, Task, planned, summary, tasks
from tui.screens.editor import EditorScreen
from tui.screens.launch import LaunchScreen

ALL = "test all profiles, in turns"


def request(tmp_path: Path, **more: object) -> Request:
    return Request(experiment="quickstart", logs=tmp_path / "logs", **more)  # type: ignore[arg-type]


def task(title: str) -> Task:
    return next(one for one in tasks() if one.title == title)


def test_every_plan_of_phases_can_be_chosen() -> None:
    titles = [one.title for one in tasks()]
    assert titles[0] == "train it" and ALL in titles and "test plan workers-then-batch" in titles


def test_training_is_what_happens_if_nothing_else_is_chosen(tmp_path: Path) -> None:
    plan = planned(request(tmp_path), tasks()[0], None)
    assert plan.test is None and summary(plan).startswith("4 runs")


def test_a_test_of_all_profiles_begins_with_the_one_in_use(tmp_path: Path) -> None:
    plan = planned(request(tmp_path), task(ALL), 30)
    assert plan.test is not None and plan.test.steps == 30
    assert plan.test.phases[0].name == "conservative"
    assert "of 30 steps each, in turns: conservative" in summary(plan)


def test_a_plan_a_bench_and_the_tuner_say_what_they_do(tmp_path: Path) -> None:
    said = {one.kind: summary(planned(request(tmp_path), one, None)) for one in tasks() if one.kind != "phases"}
    assert "computing alone" in said["bench"] and "within the limits" in said["tune"]
    plan = planned(request(tmp_path), task("test plan workers-then-batch"), None)
    assert [phase.name for phase in plan.test.phases] == ["start", "more workers", "larger batch"]  # type: ignore[union-attr]


def test_too_few_steps_and_foreign_trainers_are_refused(place: Path) -> None:
    with pytest.raises(UsageError, match="4 or more"):
        planned(request(place), task(ALL), 2)
    with pytest.raises(UsageError, match="brings its own trainer"):
        planned(Request(experiment="standin", logs=place), task(ALL), None)


# ---------------------------------------------------------------- in the dialog


async def dialog(pilot: Pilot[None], preset: Preset | None = None) -> SteptopApp:
    app = pilot.app
    assert isinstance(app, SteptopApp)
    await settle(pilot, lambda: isinstance(app.screen, LaunchScreen) and app.screen.query("#experiment"))
    if preset is not None:
        app.pop_screen()
        app.push_screen(LaunchScreen(app.logs, preset))
        await settle(pilot, lambda: isinstance(app.screen, LaunchScreen) and app.screen.query("#experiment"))
    return app


def text(app: SteptopApp, name: str) -> str:
    return str(app.screen.query_one(f"#{name}", Static).visual)


def app_in(place: Path) -> SteptopApp:
    return SteptopApp(logs=place / "logs", settings_file=place / "settings.toml")


async def test_what_would_be_tested_is_said(tmp_path: Path) -> None:
    async with app_in(tmp_path).run_test(size=(80, 24)) as pilot:
        app = await dialog(pilot)
        app.screen.query_one("#task", Select).value = ALL
        await settle(pilot, lambda: "in turns: conservative" in text(app, "expected"))
        assert app.screen.query_one("#go").region.bottom < 24, "the buttons are on the screen"


async def test_knobs_are_edited_on_top_of_the_profile(tmp_path: Path) -> None:
    async with app_in(tmp_path).run_test(size=(120, 40)) as pilot:
        app = await dialog(pilot)
        await pilot.press("ctrl+e")
        await settle(pilot, lambda: isinstance(app.screen, EditorScreen) and app.screen.desk is not None)
        await pilot.press("down", "right", "a")
        await settle(pilot, lambda: isinstance(app.screen, LaunchScreen))
        assert "prefetch_factor = 3" in text(app, "settings")
        app.screen.query_one("#profile", Select).value = "aggressive"
        await settle(pilot, lambda: "as the profile says" in text(app, "settings"))


async def test_a_preset_brings_its_knobs(tmp_path: Path) -> None:
    async with app_in(tmp_path).run_test(size=(120, 40)) as pilot:
        app = await dialog(pilot, Preset("quickstart", settings={"num_workers": 0}))
        await settle(pilot, lambda: "num_workers = 0" in text(app, "settings"))
        await settle(pilot, lambda: "4 runs" in text(app, "expected"))
        screen = app.screen
        assert isinstance(screen, LaunchScreen)
        assert screen._request(screen._values()).settings == {"num_workers": 0}
