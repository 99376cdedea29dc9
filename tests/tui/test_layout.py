"""What is on the screen at which size, with a banner and without."""

from __future__ import annotations

import pytest
from textual.events import Resize
from textual.geometry import Size

from engine.live.state import ExperimentState
from tests.tui.conftest import ended, stopping
from tests.tui.test_lines import KILLED
from tests.tui.test_screens import AppOver, screen_text, shown
from tui.widgets.line import text_of
from tui.widgets.panel import Panel

SIZES = [(80, 22), (80, 24), (80, 32), (80, 50), (100, 22), (120, 24), (120, 32), (120, 40), (200, 60)]


async def test_a_storm_of_resizes_leaves_a_whole_dashboard(app_over: AppOver, arc: ExperimentState) -> None:
    sizes = ((20, 5), (200, 60), (1, 1), (300, 100), (80, 24), (60, 15), (59, 14), (20, 5), (120, 40))
    async with app_over(arc).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        for size in sizes:
            app.post_message(Resize(Size(*size), Size(*size)))
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert "The loader is the limit" in screen_text(app)
        assert len(app.screen.query_one("#events", Panel)._drawn) == 5


async def test_too_small_a_terminal_says_what_it_needs(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(arc).run_test(size=(20, 5)) as pilot:
        app = await shown(pilot)
        said = screen_text(app)
        assert "needs 60×15 cells" in said and "● training" in said and "ends Wed 6 Jan" in said


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (120, 40), (200, 60), (120, 15), (80, 60)])
async def test_at_every_size_the_answers_are_there(
    app_over: AppOver, arc: ExperimentState, size: tuple[int, int]
) -> None:
    async with app_over(arc).run_test(size=size) as pilot:
        app = await shown(pilot)
        said = screen_text(app)
        assert "● training" in said and "Wed 6 Jan" in said
        if size[1] >= 22:
            assert "The loader is the limit" in said
        if size == (200, 60):
            assert app.screen.query_one("#dice").region.area > 0


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("kind", ["nothing to say", "a pending stop", "a failure"])
async def test_a_banner_pushes_no_panel_away(
    app_over: AppOver, arc: ExperimentState, size: tuple[int, int], kind: str
) -> None:
    state = {
        "nothing to say": arc,
        "a pending stop": stopping(arc),
        "a failure": ended(
            arc, "failed", KILLED, "run 1 of 30 failed: the GPU's memory was full, " + "as it says " * 9
        ),
    }[kind]
    async with app_over(state).run_test(size=size) as pilot:
        app = await shown(pilot)
        panels = [panel for panel in app.screen.query(Panel) if panel.region.area]
        assert {"progress", "finish", "where", "machine"} <= {panel.id for panel in panels}
        assert all(panel.region.height >= 3 for panel in panels)
        assert max(panel.region.bottom for panel in panels) == size[1] - 1
        said = screen_text(app)
        assert "The loader is the limit" in said and "GPU 0" in said
        if kind == "a failure":
            assert "r resume   l logs" in said


async def test_at_eighty_by_twenty_four_a_lost_run_keeps_the_machine_in_one_line(
    app_over: AppOver, arc: ExperimentState
) -> None:
    async with app_over(ended(arc, "failed", KILLED, "run 1 of 30 failed")).run_test(size=(80, 24)) as pilot:
        app = await shown(pilot)
        (line,) = app.screen.query_one("#machine", Panel)._drawn
        assert text_of(line).startswith("GPU 0   1 %  VRAM 67.2/80 GiB   CPU   9 % of 12   RAM ")


async def test_a_tiny_terminal_has_no_banner_over_its_few_lines(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(stopping(arc)).run_test(size=(40, 8)) as pilot:
        app = await shown(pilot)
        assert not app.screen.query_one("Banner").display
        assert "stops after run 1" in screen_text(app)


async def test_a_terminal_that_shrinks_makes_the_banner_shrink(app_over: AppOver, arc: ExperimentState) -> None:
    state = ended(arc, "failed", KILLED, "run 1 of 30 failed")
    async with app_over(state).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        banner = app.screen.query_one("Banner")
        whole = banner.size.height
        await pilot.resize_terminal(120, 22)
        await pilot.pause()
        await pilot.pause()
        assert banner.size.height == 2 < whole
