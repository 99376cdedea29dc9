"""What the launch dialog asks of several runs: variants, slots, devices, order, retries; checked as on the command line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from textual.widgets import Input, Select

from engine.errors import UsageError
from engine.runs import launch
from engine.runs.launch import Request
from tests.conftest import Laboratory
from tests.tui.test_launch_screen import app_in, filled, said
from tests.tui.test_launching import ALL
from tests.tui.test_screens import settle
from tui.app import SteptopApp
from tui.cli import main
from tui.launching import request_from, summary, variants_in
from tui.screens.dashboard import Dashboard
from tui.screens.launch import LaunchScreen
from tui.widgets.launchform import LaunchForm


def request(tmp_path: Path, **values: str) -> Request:
    return request_from({"experiment": "stroke-small", **values}, tmp_path / "logs")


def rows(app: SteptopApp) -> dict[str, bool]:
    """Which of the fields of several runs are shown."""
    names = ("variants", "slots", "order", "retries")
    return {name: app.screen.query_one(f"#row-{name}").display for name in names}


# ---------------------------------------------------------------- what is typed


def test_what_is_typed_becomes_the_plan_of_the_command_line(tmp_path: Path) -> None:
    every = variants_in("stroke-small")
    assert len(every) == 2
    typed = request(tmp_path, variants=every[1], slots="2", device="cpu", order="restarts", retries="1", folds="1,0")
    assert (typed.variants, typed.slots, typed.order, typed.retries) == ((every[1],), 2, "restarts", 1)
    plan = launch.plan_for(typed)
    assert {key.variant for key in plan.runs} == {every[1]}
    assert (plan.slots, plan.retries) == (2, 1)
    assert "2 at a time, " in summary(plan) and "device cpu, 1 more try of a run that fails" in summary(plan)


def test_several_devices_are_named_each(tmp_path: Path) -> None:
    plan = launch.plan_for(request(tmp_path, device="0,1"))
    assert plan.slots == 2 and "2 at a time" in summary(plan) and "devices 0 and 1" in summary(plan)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("variants", "baselin", "did you mean 'baseline'"),
        ("slots", "two", "slots 'two': it is a whole number"),
        ("slots", "0", "it is 1 or more"),
        ("slots", "999", "every run needs one of its own"),
        ("device", "cpu,0", "several at once are CUDA devices"),
        ("retries", "-1", "retries -1: it is 0 or more"),
    ],
)
def test_what_cannot_be_is_refused_as_on_the_command_line(tmp_path: Path, field: str, value: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        launch.plan_for(request(tmp_path, **{field: value}))


def test_the_command_line_refuses_less_than_no_retries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--logs", str(tmp_path / "logs"), "run", "quickstart", "--retries", "-1"]) == 2
    assert "--retries -1: it is 0 or more" in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()


# ---------------------------------------------------------------- in the dialog


async def test_variants_are_asked_for_only_where_the_experiment_has_them(place: Path) -> None:
    async with app_in(place).run_test(size=(120, 40)) as pilot:
        app = await filled(pilot)
        await settle(pilot, lambda: not rows(app)["variants"])
        assert rows(app) == {"variants": False, "slots": True, "order": True, "retries": True}
        app.screen.query_one("#experiment", Select).value = "stroke-small"
        await settle(pilot, lambda: rows(app)["variants"])
        box = app.screen.query_one("#variants", Input)
        assert box.placeholder == f"all; or some of {', '.join(variants_in('stroke-small'))}"
        box.value = "baseline"
        await settle(pilot, lambda: "(1 variant × " in said(app))
        app.screen.query_one("#experiment", Select).value = "standin"
        await settle(pilot, lambda: "4 runs (2 folds × 2 restarts)" in said(app))
        assert app.screen.query_one(LaunchForm).value("variants") == "", "what is not shown says nothing"


async def test_a_test_of_profiles_asks_for_none_of_them(place: Path) -> None:
    async with app_in(place).run_test(size=(120, 40)) as pilot:
        app = await filled(pilot, slots="2", retries="1")
        await settle(pilot, lambda: "2 at a time" in said(app))
        app.screen.query_one("#experiment", Select).value = "quickstart"
        app.screen.query_one("#task", Select).value = ALL
        await settle(pilot, lambda: "in turns: conservative" in said(app))
        assert rows(app) == {"variants": False, "slots": False, "order": False, "retries": False}
        screen = app.screen
        assert isinstance(screen, LaunchScreen)
        asked = screen._request(screen._values())
        assert (asked.slots, asked.retries) == (None, 0)


async def test_two_at_a_time_are_launched_and_both_are_shown(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEPS", "100000")
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    laboratory = Laboratory(place / "logs")
    laboratory.folders.append(place / "logs" / "standin")
    try:
        async with app_in(place).run_test(size=(120, 40)) as pilot:
            app = await filled(pilot, slots="2", device="cpu")
            app.screen.query_one("#order", Select).value = "restarts"
            await settle(pilot, lambda: "2 at a time" in said(app))
            await pilot.press("ctrl+s")
            deadline = time.monotonic() + 60
            while not (isinstance(app.screen, Dashboard) and app.view is not None and app.view.beside):
                assert time.monotonic() < deadline, said(app) if isinstance(app.screen, LaunchScreen) else "no view"
                await pilot.pause(0.1)
            state = app.view.state
            assert [state.runs[place].key.at[:2] for place in state.under_way] == [(0, 0), (1, 0)]
    finally:
        laboratory.close()
