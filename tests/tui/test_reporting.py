"""R on the screen: the report of what is looked at, written into its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.paths import ExperimentPaths
from tests.recordings import write_recording
from tests.tui.test_screens import settle, shown
from tui.actions import COMMANDS, Situation
from tui.app import Options, SteptopApp


def app_of(folder: Path, **options: bool) -> SteptopApp:
    return SteptopApp(
        logs=folder.parent, folder=folder, options=Options(**options), settings_file=folder.parent / "settings.toml"
    )


async def test_it_is_written_and_said_where(tmp_path: Path) -> None:
    write_recording(tmp_path / "logs" / "quickstart", "quickstart", 4)
    paths = ExperimentPaths(tmp_path / "logs" / "quickstart")
    app = app_of(paths.folder)
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot)
        await pilot.press("R")
        await settle(pilot, lambda: any("report written" in notice.message for notice in app._notifications))
        said = [notice.message for notice in app._notifications]
        assert said == [f"report written: {paths.report}"]
    page = paths.report.read_text()
    assert page.startswith("<!doctype html>") and "fold_1_restart_1/steps-001.jsonl" in page


async def test_where_it_cannot_be_written_the_reason_is_said(tmp_path: Path) -> None:
    write_recording(tmp_path / "logs" / "quickstart", "quickstart", 1)
    paths = ExperimentPaths(tmp_path / "logs" / "quickstart")
    paths.report.mkdir()
    app = app_of(paths.folder)
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot)
        await pilot.press("R")
        await settle(pilot, lambda: any("no report" in notice.message for notice in app._notifications))
        assert any("is a folder" in notice.message for notice in app._notifications)


@pytest.mark.parametrize("situation", [Situation(), Situation(readonly=True), Situation(recording=True)])
def test_a_reader_and_a_recording_have_none(situation: Situation) -> None:
    assert "report" not in {command.action for command in COMMANDS if command.possible(situation)}
