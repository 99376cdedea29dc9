"""The picture, from recorded experiments: one per screen and size. `pytest --snapshot-update` after looking at the report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from engine.journals.events import Verdict
from engine.live.state import ExperimentState
from tests.tui.at_once import at_once
from tests.tui.conftest import ended, stopping
from tests.tui.test_screens import shown
from tui.app import SteptopApp

AppOver = Callable[..., SteptopApp]
Recorded = Callable[..., ExperimentState]
Compare = Callable[..., bool]
OOM = Verdict(
    kind="gpu_oom",
    text="the GPU's memory was full",
    advice="a smaller batch_size, or precision = fp16",
    evidence=("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",),
)


def press(*keys: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    """Wait for the view, then press."""

    async def run(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await pilot.press(*keys)
        await pilot.pause()

    return run


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_a_loader_bound_training(
    snap_compare: Compare, app_over: AppOver, arc: ExperimentState, size: tuple[int, int]
) -> None:
    assert snap_compare(app_over(arc), terminal_size=size, run_before=press())


def test_a_wide_terminal_shows_more(snap_compare: Compare, app_over: AppOver, recorded: Recorded) -> None:
    assert snap_compare(app_over(recorded("compute", 2.4)), terminal_size=(200, 60), run_before=press())


def test_a_pending_stop_in_light(snap_compare: Compare, app_over: AppOver, arc: ExperimentState) -> None:
    assert snap_compare(app_over(stopping(arc), theme="light"), terminal_size=(120, 40), run_before=press())


def test_a_failed_run(snap_compare: Compare, app_over: AppOver, arc: ExperimentState) -> None:
    state = ended(arc, "failed", OOM, "run 1 of 30 failed: the GPU's memory was full")
    assert snap_compare(app_over(state, theme="colour-blind"), terminal_size=(100, 30), run_before=press())


def test_a_finished_experiment_in_ascii(snap_compare: Compare, app_over: AppOver, recorded: Recorded) -> None:
    assert snap_compare(app_over(recorded("quickstart", 4.0), ascii=True), terminal_size=(80, 24), run_before=press())


def test_the_question_before_force(snap_compare: Compare, app_over: AppOver, arc: ExperimentState) -> None:
    assert snap_compare(app_over(arc), terminal_size=(80, 24), run_before=press("X"))


def test_an_enlarged_plot(snap_compare: Compare, app_over: AppOver, arc: ExperimentState) -> None:
    assert snap_compare(app_over(arc), terminal_size=(100, 30), run_before=press("5", "enter"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_two_runs_at_once(
    snap_compare: Compare, app_over: AppOver, recorded: Recorded, size: tuple[int, int]
) -> None:
    assert snap_compare(app_over(at_once(recorded("compute", 0.25))), terminal_size=size, run_before=press())
