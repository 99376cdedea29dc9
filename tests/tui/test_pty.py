"""The real program in a real terminal: it comes, it goes, and the terminal is as it was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Laboratory, fake_plan
from tests.tui import living
from tests.tui.terminal_session import ROOT, TerminalSession, steptop

RESTORED = (b"\x1b[?1049l", b"\x1b[?1000l", b"\x1b[?25h")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = living.make(tmp_path / "logs" / "quickstart", "quickstart", 1.5)
    living.claim(folder)
    return tmp_path / "logs"


@pytest.fixture
def dashboard(logs: Path, tmp_path: Path) -> Iterator[TerminalSession]:
    with TerminalSession(steptop("--logs", str(logs)), env={"XDG_CONFIG_HOME": str(tmp_path)}) as session:
        session.wait_for("Progress", "run 2/4", "quit")
        yield session


def test_q_leaves_and_says_that_training_goes_on(dashboard: TerminalSession) -> None:
    dashboard.send("q")
    assert dashboard.wait() == 0
    assert b"training goes on (quickstart); `steptop` brings this screen back" in dashboard.raw
    assert re.findall(rb"\x1b\[[0-9;]*m", dashboard.raw)[-1] == b"\x1b[m"
    for sequence in RESTORED:
        assert sequence in dashboard.raw


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_restores_the_terminal(dashboard: TerminalSession, number: signal.Signals) -> None:
    os.kill(dashboard.child.pid, number)
    assert dashboard.wait() == 128 + number
    for sequence in RESTORED:
        assert sequence in dashboard.raw


def test_a_terminal_that_goes_away_takes_the_screen_with_it(dashboard: TerminalSession) -> None:
    dashboard.hang_up()
    assert dashboard.wait(10) is not None


def test_with_hang_ups_ignored_it_ends_all_the_same_and_does_not_spin(logs: Path, tmp_path: Path) -> None:
    with TerminalSession(
        steptop("--logs", str(logs)), env={"XDG_CONFIG_HOME": str(tmp_path)}, ignore_hangup=True
    ) as session:
        session.wait_for("Progress", "run 2/4", "quit")
        before = session.cpu_seconds()
        session.hang_up()
        deadline = time.monotonic() + 10
        spent = 0.0
        while session.child.poll() is None and time.monotonic() < deadline:
            try:
                spent = session.cpu_seconds() - before
            except OSError:
                break
            time.sleep(0.01)
        assert session.wait(1) is not None
        assert spent < 0.5


def test_the_experiment_goes_on_when_the_screen_is_killed(logs: Path, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-m", "tests.tui.living", str(logs / "quickstart")], cwd=ROOT) as training:
        try:
            with TerminalSession(steptop("--logs", str(logs)), env={"XDG_CONFIG_HOME": str(tmp_path)}) as session:
                session.wait_for("Progress", "run 2/4")
                session.child.kill()
            journal = logs / "quickstart" / "fold_0_restart_1" / "steps-001.jsonl"
            size = journal.stat().st_size
            deadline = time.monotonic() + 10
            while journal.stat().st_size == size:
                assert time.monotonic() < deadline, "no step was added"
                time.sleep(0.05)
            with TerminalSession(steptop("--logs", str(logs)), env={"XDG_CONFIG_HOME": str(tmp_path)}) as session:
                session.wait_for("Progress", "run 2/4", "epoch 3 done")
        finally:
            training.kill()


def test_it_follows_the_size_of_the_terminal(dashboard: TerminalSession) -> None:
    for size in ((80, 24), (200, 60), (20, 5), (120, 40)) * 3:
        dashboard.resize(*size)
        time.sleep(0.05)
    dashboard.wait_for("Where a step goes", "Step time", "Events", "quit (training goes on)")
    dashboard.resize(20, 5)
    dashboard.wait_for("needs 60", "training")


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"TERM": "dumb"}, {"LANG": "de_DE.ISO-8859-1"}], ids=["C", "dumb", "latin-1"]
)
def test_a_terminal_that_knows_only_ascii_gets_ascii(logs: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    with TerminalSession(
        steptop("--logs", str(logs)), env={"XDG_CONFIG_HOME": str(tmp_path), **environment}
    ) as session:
        session.wait_for("Progress", "run 2/4", "quit")
        session.send("q")
        session.wait()
    drawn = session.raw.partition(b"\x1b[?1049l")[0]
    assert drawn.isascii()


def test_no_color_draws_without_colours(logs: Path, tmp_path: Path) -> None:
    with TerminalSession(
        steptop("--logs", str(logs)), env={"XDG_CONFIG_HOME": str(tmp_path), "NO_COLOR": "1"}
    ) as session:
        session.wait_for("Progress", "run 2/4", "quit")
        session.send("q")
        session.wait()
        colours = set()
        for part in session.raw.split(b"\x1b[")[1:]:
            words = part.partition(b"m")[0].split(b";")
            if b"38" in words and b"2" in words:
                at = words.index(b"38")
                colours.add(tuple(words[at + 2 : at + 5]))
    assert all(len(set(colour)) == 1 for colour in colours), colours


def test_stop_cancel_force_and_resume_over_a_real_supervisor(
    lab: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = {"FAKE_STEPS": "100000", "FAKE_STEP_SECONDS": "0.05"}
    for name, value in pace.items():
        monkeypatch.setenv(name, value)
    lab.launch(fake_plan("story"))
    with TerminalSession(steptop("--logs", str(lab.logs)), env={"XDG_CONFIG_HOME": str(tmp_path), **pace}) as session:
        session.wait_for("training", "run 1/4", "s stop after run 1")
        session.send("s")
        session.wait_for("■ stops after run 1", "s takes it back", "cancel the stop")
        session.send("s")
        session.wait_for("s stop after run 1", "cancelled by the dashboard")
        session.send("X")
        session.wait_for("End run 1 of story by force?", "would be lost")
        session.send("y")
        session.wait_for("nothing of it is left running", "r resume", "stopped as asked")
        session.send("r")
        session.wait_for("attempt 2", "s stop after run 1")
        session.send("q")
        assert session.wait() == 0
    assert b"training goes on (story)" in session.raw
