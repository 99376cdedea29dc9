"""What crosses from threads to the screen: whole frozen values, the newest wins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from textual.message import Message

from engine.beside import Beside
from engine.config.knob import Value
from engine.diagnosis.bottleneck import Bottleneck
from engine.eta.forecast import Forecast
from engine.limit.allowance import Allowance
from engine.live.state import ExperimentState
from engine.live.trend import Trend
from engine.runs.control import Answer


class View(NamedTuple):
    """Everything the dashboard shows, as it was at `state.now`. `allowance`: None where nothing limits it.
    `beside`: runs that go on side by side, `state.run` among them; nothing where only one does."""

    state: ExperimentState
    forecast: Forecast
    bottleneck: Bottleneck
    trend: Trend
    allowance: Allowance | None = None
    beside: tuple[Beside, ...] = ()


class StateChanged(Message):
    """The monitor looked again."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, StateChanged)


class SourceFailed(Message):
    """The experiment cannot be read now; the monitor tries again."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, SourceFailed)


class RunPicked(Message):
    """The panels shall show this run of those under way: fold, restart, variant."""

    def __init__(self, at: tuple[int, int, str]) -> None:
        super().__init__()
        self.at = at


class OpenExperiment(Message):
    """Show the dashboard of this folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder


class ApplyProfile(Message):
    """The training under way shall go on with these knobs. `override`: locks of the experiment are overridden."""

    def __init__(self, name: str, knobs: dict[str, Value], override: bool = False) -> None:
        super().__init__()
        self.name = name
        self.knobs = knobs
        self.override = override


class Asked(NamedTuple):
    """A profile that was asked for, and what the supervisor answered so far. `failed`: it could not be asked for."""

    name: str
    id: str = ""
    answer: Answer | None = None
    failed: str = ""


class Listed(NamedTuple):
    """One experiment of the list."""

    folder: Path
    view: View | None
    problem: str = ""


Post = Callable[[Message], object]
