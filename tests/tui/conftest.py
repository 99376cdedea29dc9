"""Recorded experiments as views, and apps that are handed them: no thread, no clock, one time zone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from engine.journals.events import ExperimentEnded, StopChanged, Verdict
from engine.live.fold_experiment import fold_supervisor
from engine.live.state import ExperimentState
from tests.conftest import FAKE_TRAINER
from tests.recordings import state_of, write_recording
from tui.app import Options, SteptopApp
from tui.messages import View
from tui.monitor import view_of

NAMES = {"arc": "arc-meshnet26", "compute": "arc-meshnet26", "quickstart": "quickstart"}

STAND_IN = f"""
title = "stand-in"
command = [{sys.executable!r}, "-P", {str(FAKE_TRAINER)!r}]
epochs = 2
[runs]
folds = 2
restarts = 2
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an experiment file of its own."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "standin.toml").write_text(STAND_IN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def one_time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    for name in ("NO_COLOR", "TERM", "LC_ALL", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, float], ExperimentState]:
    """The last moment of a recording: kind, run number reached."""
    known: dict[tuple[str, float], ExperimentState] = {}

    def state(kind: str = "arc", at: float = 0.25) -> ExperimentState:
        if (kind, at) not in known:
            folder = tmp_path_factory.mktemp("logs") / NAMES[kind]
            write_recording(folder, kind, at)
            found = state_of(folder)
            known[kind, at] = msgspec.structs.replace(
                found, supervisor_alive=found.ended is None, trainer_alive=found.ended is None
            )
        return known[kind, at]

    return state


@pytest.fixture
def arc(recorded: Callable[..., ExperimentState]) -> ExperimentState:
    """A loader-bound first run, a quarter done."""
    return recorded("arc", 0.25)


class Held:
    """A source that always gives the state it holds."""

    def __init__(self, state: ExperimentState) -> None:
        self.state = state

    def quick(self) -> ExperimentState:
        return self.state

    def poll(self) -> ExperimentState:
        return self.state

    def recall(self) -> None:
        """Nothing is beside it."""


@pytest.fixture
def app_over(tmp_path: Path) -> Callable[..., SteptopApp]:
    """An app over a fixed state; its settings are the test's own."""

    def make(state: ExperimentState, **options: object) -> SteptopApp:
        return SteptopApp(
            logs=Path(state.folder).parent,
            folder=Path(state.folder),
            source=Held(state),
            options=Options(**options),
            settings_file=tmp_path / "settings.toml",  # type: ignore[arg-type]
        )

    return make


def stopping(state: ExperimentState, mode: str = "after_run") -> ExperimentState:
    """`state` after a stop was asked for and taken up."""
    return fold_supervisor(
        state, [StopChanged(id="1", mode=mode, phase="acknowledged", by="the dashboard", t=state.now)]
    )  # type: ignore[arg-type]


def ended(
    state: ExperimentState, outcome: str, verdict: Verdict, text: str, survivors: tuple[int, ...] = ()
) -> ExperimentState:
    """`state` after the supervisor's last line."""
    over = ExperimentEnded(outcome=outcome, text=text, verdict=verdict, survivors=survivors, t=state.now)  # type: ignore[arg-type]
    return msgspec.structs.replace(fold_supervisor(state, [over]), supervisor_alive=False, trainer_alive=False)


def view(state: ExperimentState) -> View:
    return view_of(state)
