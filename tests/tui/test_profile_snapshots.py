"""The picture of profiles, from recorded journals: the editor, the comparison, a test under way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.live.state import ExperimentState
from tests.tested import write_test
from tests.tui.test_editor import locking
from tests.tui.test_screens import AppOver, settle, shown
from tui.screens.editor import EditorScreen
from tui.screens.phases import PhasesScreen

Compare = Callable[..., bool]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no profiles of one's own lie."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_the_editor_over_a_locked_knob(
    snap_compare: Compare, app_over: AppOver, arc: ExperimentState, size: tuple[int, int]
) -> None:
    async def edit(pilot: Pilot[None]) -> None:
        app = await shown(pilot)
        await pilot.press("p")
        await settle(pilot, lambda: isinstance(app.screen, EditorScreen) and app.screen._shelf)
        await pilot.press("4", "enter", "end", *["up"] * 6, "right", "y")
        await pilot.pause()

    assert snap_compare(app_over(locking(arc, batch_size=1)), terminal_size=size, run_before=edit)


def test_phases_compared(snap_compare: Compare, app_over: AppOver, tmp_path: Path) -> None:
    async def compare(pilot: Pilot[None]) -> None:
        app = await shown(pilot)
        await pilot.press("c")
        await settle(pilot, lambda: isinstance(app.screen, PhasesScreen) and app.screen.comparison is not None)
        await pilot.press("up")
        await pilot.pause()

    assert snap_compare(app_over(write_test(tmp_path / "arc-phases")), terminal_size=(120, 40), run_before=compare)


def test_a_test_under_way(snap_compare: Compare, app_over: AppOver, tmp_path: Path) -> None:
    async def look(pilot: Pilot[None]) -> None:
        await shown(pilot)

    state = write_test(tmp_path / "arc-phases", over=False)
    assert snap_compare(app_over(state), terminal_size=(120, 40), run_before=look)
