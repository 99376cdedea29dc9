"""A recording played again on the dashboard: it says so, and offers nothing that only a training could obey."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.live.replay import Replay
from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths
from engine.runs import control
from tests.recordings import write_recording
from tests.tui.conftest import stopping, view
from tests.tui.terminal_session import TerminalSession, steptop
from tests.tui.test_screens import screen_text, shown
from tui.actions import COMMANDS, Situation
from tui.app import Options, SteptopApp
from tui.recording import Recording
from tui.screens.dashboard import Dashboard
from tui.widgets.finish import finish_lines
from tui.widgets.header import header_line
from tui.widgets.line import text_of, width_of

HOUR = 3600.0


@pytest.fixture
def recorded_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "logs" / "quickstart"
    write_recording(folder, "quickstart", 2.5)
    return folder


def playing(folder: Path, at: float, settings: Path) -> SteptopApp:
    """The dashboard over a recording that stands still at a part of it."""
    source = Replay(folder, speed=60.0, at=at, clock=lambda: 0.0)
    return SteptopApp(
        logs=folder.parent,
        folder=folder,
        source=source,
        options=Options(readonly=True, recording=Recording(60.0, source.begins, source.ends)),
        settings_file=settings,
    )


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_it_says_that_it_is_one_how_fast_and_where(
    recorded_folder: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with playing(recorded_folder, 0.5, tmp_path / "settings.toml").run_test(size=size) as pilot:
        app = await shown(pilot)
        said = screen_text(app)
        assert ("recording ×60 · 50 %" if size[0] < 110 else "recording ×60 · 51 s of 1m 42s") in said
        assert "read-only" not in said


async def test_it_offers_no_stop_and_q_only_quits(recorded_folder: Path, tmp_path: Path) -> None:
    async with playing(recorded_folder, 0.5, tmp_path / "settings.toml").run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        said = screen_text(app)
        assert "q quit" in said and "goes on" not in said
        assert "s stop" not in said and "stop now" not in said
        await pilot.press("s", "x", "X", "r", "n")
        await pilot.pause()
        assert isinstance(app.screen, Dashboard)
    assert control.pending(ExperimentPaths(recorded_folder)) == []


async def test_at_its_end_it_says_so(recorded_folder: Path, tmp_path: Path) -> None:
    async with playing(recorded_folder, 1.0, tmp_path / "settings.toml").run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        assert "recording ×60 · its end" in screen_text(app)


def test_no_command_of_a_recording_could_change_anything(arc: ExperimentState) -> None:
    offered = {c.action for c in COMMANDS if c.possible(Situation(view(arc), readonly=True, recording=True))}
    assert not offered & {"stop_after_run", "stop_now", "stop_force", "resume", "launch"}
    assert offered >= {"logs", "help", "quit"}


def test_the_finish_panel_of_a_reader_names_no_key(arc: ExperimentState) -> None:
    row = [text_of(line) for line in finish_lines(view(arc), 56, 5, readonly=True)][2]
    assert row.startswith("stop after it ")
    pending = [text_of(line) for line in finish_lines(view(stopping(arc)), 56, 5, readonly=True)][2]
    assert pending.startswith("stops after it ")


@pytest.mark.parametrize("width", [60, 80, 110, 160])
def test_the_header_of_a_recording_keeps_state_and_place(arc: ExperimentState, width: int) -> None:
    recording = Recording(600.0, arc.now - HOUR, arc.now + HOUR)
    line = header_line(view(arc), width, recording=recording)
    said = text_of(line)
    assert width_of(line) <= width
    assert "● training" in said and "recording ×600" in said
    assert ("1h 00m of 2h 00m" if width >= 110 else "50 %") in said
    assert ("Sat 21 Nov 05:08:53" in said) == (width >= 110)


def test_the_command_line_opens_it(recorded_folder: Path, tmp_path: Path) -> None:
    words = steptop("replay", str(recorded_folder), "--speed", "5", "--at", "0.4")
    with TerminalSession(words, env={"XDG_CONFIG_HOME": str(tmp_path)}) as session:
        session.wait_for("recording ×5 · ", "run 1/4", "q quit")
        session.send("q")
        assert session.wait() == 0
    assert b"goes on" not in session.raw
