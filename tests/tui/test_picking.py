"""Two real trainings at once: in a terminal, and played again; a key goes from one to the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.journals.events import RunEnded, RunStarted
from engine.journals.journal import read
from engine.live.replay import Replay
from engine.live.watch import Watch
from engine.paths import ExperimentPaths
from tests.conftest import Laboratory, fake_plan, until_ended, wait_until
from tests.test_slots import both_under_way
from tests.tui.terminal_session import TerminalSession, steptop
from tests.tui.test_screens import screen_text, settle, shown
from tui.app import Options, SteptopApp
from tui.cli import main
from tui.recording import Recording


@pytest.fixture
def going(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> ExperimentPaths:
    """Two of three runs, which go on until the laboratory is closed."""
    monkeypatch.setenv("FAKE_STEPS", "100000")
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    paths = lab.launch(fake_plan(folds=1, restarts=3, slots=2))
    wait_until(lambda: both_under_way(paths), 60, "two runs")
    return paths


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_both_are_on_the_screen_and_a_bracket_takes_the_other(
    going: ExperimentPaths, tmp_path: Path, size: tuple[int, int]
) -> None:
    words = steptop("--logs", str(going.folder.parent), "open", "fake")
    with TerminalSession(words, size=size, env={"XDG_CONFIG_HOME": str(tmp_path)}) as session:
        session.wait_for("Progress  run 2 · fold 0 restart 1", "● run 1  fold 0", "run 2/3", "CPU")
        session.send("]")
        session.wait_for("Progress  run 1 · fold 0 restart 0", "● run 2  fold 0", "run 1/3")
        session.send("[")
        session.wait_for("Progress  run 2 · fold 0 restart 1")
        session.send("q")
        assert session.wait() == 0
    assert len(Watch(going.folder).poll().under_way) == 2


def test_the_status_of_a_living_one_has_both_with_their_ends(
    going: ExperimentPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--logs", str(going.folder.parent), "--readonly", "status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (beside,) = told["beside"]
    assert {told["run"]["index"], beside["index"]} == {1, 2}
    for run in (told["run"], beside):
        assert run["device"] == "CPU" and run["step_seconds"] > 0 and "seconds" in run["ends"]
    assert told["so_far"][0]["missing"] == "no finished run has a Dice yet"


async def test_played_again_the_other_one_can_be_looked_at_too(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.1")
    paths = lab.launch(fake_plan(folds=1, restarts=2, slots=2))
    until_ended(paths, 90)
    records = read(paths.events)
    last_start = max(record.t for record in records if isinstance(record, RunStarted))
    first_end = min(record.t for record in records if isinstance(record, RunEnded))
    assert last_start < first_end
    source = Replay(paths.folder)
    at = (first_end - 0.01 - source.begins) / (source.ends - source.begins)
    source = Replay(paths.folder, at=at, clock=lambda: 0.0)
    app = SteptopApp(
        logs=lab.logs,
        folder=paths.folder,
        source=source,
        options=Options(readonly=True, recording=Recording(60.0, source.begins, source.ends)),
        settings_file=tmp_path / "settings.toml",
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot)
        await settle(pilot, lambda: "run 2 · fold 0 restart 1" in _title(app))
        said = screen_text(app)
        assert "● run 1  fold 0 restart 0" in said and "recording" in said
        await pilot.press("right_square_bracket")
        await settle(pilot, lambda: "run 1 · fold 0 restart 0" in _title(app))
        assert "▸ ● run 1 " in screen_text(app)


def _title(app: SteptopApp) -> str:
    from tui.widgets.progress import ProgressPanel

    return str(app.screen.query_one(ProgressPanel)._border_title)
