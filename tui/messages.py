"""What crosses from threads to the screen: whole frozen values, the newest wins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from textual.message import Message

from engine.bottleneck import Bottleneck
from engine.forecast import Forecast
from engine.state import ExperimentState
from engine.trend import Trend


class View(NamedTuple):
    """Everything the dashboard shows, as it was at `state.now`."""

    state: ExperimentState
    forecast: Forecast
    bottleneck: Bottleneck
    trend: Trend


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


class OpenExperiment(Message):
    """Show the dashboard of this folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder


class Listed(NamedTuple):
    """One experiment of the list."""

    folder: Path
    view: View | None
    problem: str = ""


Post = Callable[[Message], object]
