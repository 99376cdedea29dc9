"""The launch dialog and the list: what is typed is checked in place, and nothing starts by mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from engine.errors import UsageError
from engine.eta.forecast import Estimate, Forecast
from tests.conftest import Laboratory
from tests.recordings import write_recording
from tests.tui.test_screens import settle
from tui.app import SteptopApp
from tui.screens.dashboard import Dashboard
from tui.screens.experiments import ExperimentsScreen
from tui.screens.launch import LaunchScreen, expectation, request_from


def app_in(place: Path, **more: object) -> SteptopApp:
    return SteptopApp(logs=place / "logs", settings_file=place / "settings.toml", **more)  # type: ignore[arg-type]


def said(app: SteptopApp) -> str:
    return str(app.screen.query_one("#expected", Static).visual)


async def filled(pilot: Pilot[None], **values: str) -> SteptopApp:
    app = pilot.app
    assert isinstance(app, SteptopApp)
    await settle(pilot, lambda: isinstance(app.screen, LaunchScreen) and app.screen.query("#experiment"))
    app.screen.query_one("#experiment").value = "standin"  # type: ignore[attr-defined]
    for name, value in values.items():
        app.screen.query_one(f"#{name}", Input).value = value
    return app


async def test_what_would_be_trained_is_said_before_anything_starts(place: Path) -> None:
    async with app_in(place).run_test(size=(120, 40)) as pilot:
        app = await filled(pilot, folds="0", restarts="3", stop_after_runs="1")
        await settle(pilot, lambda: "3 runs (1 fold × 3 restarts) of 2 epochs" in said(app))
        assert "stopping after 1 run" in said(app)
        await settle(pilot, lambda: "not known yet" in said(app))
    assert not (place / "logs" / "standin").exists()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("folds", "0,x", "write fold numbers with commas"),
        ("folds", "7", "no fold 7"),
        ("restarts", "many", "whole number"),
        ("epochs", "0", "must be 1 or more"),
        ("device", "0,0", "each once"),
        ("name", "../evil", "cannot be an experiment's name"),
        ("data", "/nowhere/[red]x[/red]", None),
    ],
)
async def test_what_cannot_be_is_said_in_place(place: Path, field: str, value: str, words: str | None) -> None:
    async with app_in(place).run_test(size=(120, 40)) as pilot:
        app = await filled(pilot, **{field: value})
        await settle(pilot, lambda: (words or "run") in said(app))
        assert isinstance(app.screen, LaunchScreen)


async def test_launching_opens_the_dashboard_of_what_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEPS", "100000")
    laboratory = Laboratory(place / "logs")
    laboratory.folders.append(place / "logs" / "standin")
    try:
        async with app_in(place).run_test(size=(120, 40)) as pilot:
            app = await filled(pilot)
            await pilot.press("ctrl+s")
            for _ in range(8):
                if isinstance(app.screen, Dashboard):
                    break
                await pilot.pause(1.0)
            assert isinstance(app.screen, Dashboard)
            await settle(pilot, lambda: app.view is not None and app.view.state.plan.name == "standin")
    finally:
        laboratory.close()


async def test_a_list_shows_every_experiment_and_enter_opens_one(place: Path) -> None:
    write_recording(place / "logs" / "first", "quickstart", 4.0)
    write_recording(place / "logs" / "second", "quickstart", 1.5)
    (place / "logs" / "third").mkdir()
    (place / "logs" / "third" / "plan.json").write_text("{")
    os.utime(place / "logs" / "first" / "plan.json", (2e9, 2e9))
    async with app_in(place).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        assert isinstance(app, SteptopApp) and isinstance(app.screen, ExperimentsScreen)
        options = app.screen.query_one(OptionList)
        await settle(pilot, lambda: options.option_count == 3)
        lines = [str(options.get_option_at_index(i).prompt) for i in range(3)]
        assert "first" in lines[0] and "finished" in lines[0]
        assert any("third" in line and "no readable plan.json" in line for line in lines)
        await pilot.press("enter")
        await settle(pilot, lambda: isinstance(app.screen, Dashboard) and app.view is not None)
        assert app.view is not None and app.view.state.plan.name == "first"
        await pilot.press("escape")
        await settle(pilot, lambda: isinstance(app.screen, ExperimentsScreen))


async def test_a_folder_that_is_gone_is_said_on_the_dashboard(place: Path) -> None:
    write_recording(place / "logs" / "gone", "quickstart", 1.5)
    (place / "logs" / "gone" / "plan.json").unlink()
    async with app_in(place, folder=place / "logs" / "gone").run_test(size=(120, 40)) as pilot:
        app = pilot.app
        assert isinstance(app, SteptopApp)
        await settle(pilot, lambda: "no readable plan.json" in app.problem)


def test_fields_become_a_request() -> None:
    request = request_from(
        {"experiment": "quickstart", "folds": "0, 2", "epochs": "3", "data": "/d", "device": "cpu"}, Path("logs")
    )
    assert (request.folds, request.epochs, str(request.data), request.device) == ((0, 2), 3, "/d", "cpu")
    assert request_from({"experiment": "quickstart"}, Path("logs")).restarts is None
    with pytest.raises(UsageError, match="whole number"):
        request_from({"experiment": "quickstart", "epochs": "three"}, Path("logs"))


def test_what_is_expected_is_said_with_its_range_and_basis() -> None:
    known = Estimate(3600.0, 3000.0, 4200.0, None, "from earlier runs")
    assert (
        expectation(Forecast(run=known, experiment=known)) == "a run 1h 00m, all of it 1h 00m ±10m · from earlier runs"
    )
    assert "not known yet" in expectation(None)
