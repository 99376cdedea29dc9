"""Profiles compared: what each brought, what comes next, and that nothing is taken up that was not meant."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from engine.diagnosis.queueing import Prediction
from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths, write_json
from engine.phase.phases import results
from engine.phase.space import Finished, Ranked
from engine.runs import control
from tests.tested import write_changed, write_test
from tests.tui.conftest import view
from tests.tui.test_screens import AppOver, asked, screen_text, settle, shown
from tui.app import SteptopApp
from tui.comparison import found_of, gate
from tui.messages import Listed
from tui.screens.confirm import Confirm
from tui.screens.dashboard import Dashboard
from tui.screens.experiments import entry
from tui.screens.launch import LaunchScreen
from tui.screens.phases import PhasesScreen
from tui.screens.saveas import SaveAs
from tui.widgets.blockplot import block_lines
from tui.widgets.line import text_of
from tui.widgets.panel import Panel

PLAN = """title = "one change at a time"
[[phases]]
name = "three"
[phases.knobs]
num_workers = 3
[[phases]]
name = "larger batch"
[phases.knobs]
batch_size = 2
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a plan of its own."""
    (tmp_path / "profiles" / "plans").mkdir(parents=True)
    (tmp_path / "profiles" / "plans" / "mine.toml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def test(tmp_path: Path) -> ExperimentState:
    """A test of four phases that is over."""
    return write_test(tmp_path / "logs" / "arc-phases")


@pytest.fixture
def changed(tmp_path: Path) -> ExperimentState:
    """A training that went on with two workers forty steps ago."""
    return write_changed(tmp_path / "logs" / "arc-meshnet26")


async def compared(pilot: Pilot[None]) -> SteptopApp:
    app = await shown(pilot)
    await pilot.press("c")
    await settle(pilot, lambda: isinstance(app.screen, PhasesScreen) and app.screen.comparison is not None)
    await pilot.pause()
    return app


def screen(app: SteptopApp) -> PhasesScreen:
    assert isinstance(app.screen, PhasesScreen)
    return app.screen


async def with_plan(pilot: Pilot[None], app: SteptopApp, name: str) -> None:
    """Go through the plans to `name`, and wait until its profiles are read."""
    while screen(app)._plans[screen(app)._chosen] != name:
        await pilot.press("o")
    await settle(pilot, lambda: any(one.name == "three" for one in screen(app)._candidates))
    await pilot.pause()


# ---------------------------------------------------------------- a test of profiles


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_each_phase_has_its_ratio_and_its_verdict(
    app_over: AppOver, test: ExperimentState, size: tuple[int, int]
) -> None:
    async with app_over(test).run_test(size=size) as pilot:
        app = await compared(pilot)
        said = screen_text(app)
        assert "×2.00" in said and "×4.00" in said and "the measure" in said and "gpu oom" in said
        assert "best: 3. 4 workers" in said and "├" in said
        assert "2 knobs changed at once" in said, "the winner is looked at first"


async def test_a_phase_that_failed_says_why_and_what_to_do(app_over: AppOver, test: ExperimentState) -> None:
    async with app_over(test).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        await pilot.press("down")
        await pilot.pause()
        said = screen_text(app)
        assert "The GPU's memory was full" in said and "OutOfMemoryError" in said and "A smaller batch_size" in said
        assert "batch_size changes more than the speed" in said


async def test_expected_and_measured_lie_on_one_scale(app_over: AppOver, test: ExperimentState) -> None:
    async with app_over(test).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        await pilot.press("up")
        await pilot.pause()
        said = screen_text(app)
        assert "expected" in said and "measured" in said and "0.106–0.132" in said
        assert "epoch" in said and "22m 10s" in said and "44m 21s" in said
        assert "waiting" in said and "computing" in said


async def test_accepting_a_phase_leads_to_a_launch_with_its_knobs(app_over: AppOver, test: ExperimentState) -> None:
    async with app_over(test).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        await pilot.press("a")
        await settle(pilot, lambda: isinstance(app.screen, LaunchScreen) and app.screen.query("#settings"))
        await pilot.pause()
        said = str(app.screen.query_one("#settings", Static).visual)
        assert "prefetch_factor = 4" in said
        assert app.screen.query_one("#experiment").value == "arc-meshnet26"  # type: ignore[attr-defined]


async def test_the_winner_can_be_saved(app_over: AppOver, test: ExperimentState, place: Path) -> None:
    async with app_over(test).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        await pilot.press("w")
        assert isinstance(app.screen, SaveAs)
        await pilot.press(*"fast", "ctrl+s")
        await settle(pilot, lambda: isinstance(app.screen, PhasesScreen))
    text = (place / "profiles" / "fast.toml").read_text()
    assert "num_workers = 4 # measured ×4.00 as fast" in text.replace("  #", " #")


async def test_the_dashboard_of_a_test_says_what_it_is(app_over: AppOver, tmp_path: Path) -> None:
    half = write_test(tmp_path / "logs" / "arc-phases", over=False)
    for size in ((80, 24), (120, 40), (200, 60)):
        async with app_over(half).run_test(size=size) as pilot:
            app = await shown(pilot)
            said = screen_text(app)
            assert "● measuring" in said and "12/24" in said
            assert "phase 3, round 1" in said and "whole test" in said
            assert "2. 2 workers" in said and "×2.0" in said and "stop after this visit" in said
            assert app.screen.query_one("#phases", Panel).region.area and not app.screen.query_one("#runs").display
            if size[0] > 80:
                assert "test of profiles" in said and "phase 3/4" in said and "expected" in said


# ---------------------------------------------------------------- a training under way


async def test_a_training_shows_what_its_change_brought(app_over: AppOver, changed: ExperimentState) -> None:
    async with app_over(changed).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        said = screen_text(app)
        assert "1. as it was" in said and "2. moderate" in said and "×1.99" in said and "faster" in said
        assert "The training stood still for 120 ms" in said


async def test_the_next_profile_is_shown_before_it_is_taken_up(app_over: AppOver, changed: ExperimentState) -> None:
    async with app_over(changed).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        await with_plan(pilot, app, "mine")
        said = screen_text(app)
        assert "n next  three  num_workers = 3" in said and "samples/s expected" in said
        assert "batch_size = 2 cannot change while it trains: `steptop phases` tests it" in said
        assert asked(changed) == []
        await pilot.press("n")
        await settle(pilot, lambda: asked(changed))
        (request,) = asked(changed)
        assert request.verb == "profile" and request.name == "three" and request.knobs["num_workers"] == 3
        control.answer(ExperimentPaths(Path(changed.folder)), request, False, "not now")
        await settle(pilot, lambda: "refused: not now" in screen_text(app))


async def test_the_gate_asks_while_the_last_one_is_not_measured(app_over: AppOver, tmp_path: Path) -> None:
    state = write_changed(tmp_path / "logs" / "arc-meshnet26", steps=8)
    async with app_over(state).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        await with_plan(pilot, app, "mine")
        assert gate(screen(app)._found)
        await pilot.press("n")
        assert isinstance(app.screen, Confirm)
        await pilot.press("enter")
        await pilot.pause()
        assert asked(state) == []
        await pilot.press("n", "y")
        await settle(pilot, lambda: asked(state))


async def test_roll_back_and_measure_again(app_over: AppOver, changed: ExperimentState) -> None:
    async with app_over(changed).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        await pilot.press("b")
        await settle(pilot, lambda: asked(changed))
        (request,) = asked(changed)
        assert request.knobs["num_workers"] == 1 and "batch_size" not in request.knobs
        control.answer(ExperimentPaths(Path(changed.folder)), request, True)
        await settle(pilot, lambda: "is accepted" in screen_text(app))
        await pilot.press("m")
        await pilot.pause()
        assert "is being measured still" in screen_text(app)
        await pilot.press("up", "m")
        await settle(pilot, lambda: asked(changed))
        assert asked(changed)[0].knobs["num_workers"] == 1
        await pilot.press("a")
        await pilot.pause()


async def test_accepting_the_present_profile_asks_for_nothing(app_over: AppOver, changed: ExperimentState) -> None:
    async with app_over(changed).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        await pilot.press("a")
        await pilot.pause()
        assert "moderate stays" in screen_text(app)
    assert asked(changed) == []


async def test_n_on_the_dashboard_shows_before_it_does(app_over: AppOver, changed: ExperimentState) -> None:
    async with app_over(changed).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("n")
        await settle(pilot, lambda: isinstance(app.screen, PhasesScreen))
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, Dashboard)
    assert asked(changed) == []


@pytest.mark.parametrize("options", [{"readonly": True}, {}], ids=["readonly", "a training with one profile"])
async def test_where_nothing_can_be_compared_that_is_said(
    app_over: AppOver, arc: ExperimentState, options: dict[str, bool]
) -> None:
    async with app_over(arc, **options).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        said = " ".join(screen_text(app).split())
        assert ("in this training. This screen was opened with --readonly." if options else "has run with one profile so far") in said
        await pilot.press("b", "m", "a")
        await pilot.pause()
    assert asked(arc) == []


async def test_names_of_phases_are_shown_and_obeyed_by_nothing(app_over: AppOver, test: ExperimentState) -> None:
    evil = "[red]x[/red]\x1b]0;PWNED\x07"
    phases = tuple(msgspec.structs.replace(phase, name=evil) for phase in test.plan.test.phases)  # type: ignore[union-attr]
    visits = tuple(msgspec.structs.replace(visit, name=evil) for visit in test.visits)
    plan = msgspec.structs.replace(test.plan, test=msgspec.structs.replace(test.plan.test, phases=phases))  # type: ignore[type-var]
    async with app_over(msgspec.structs.replace(test, plan=plan, visits=visits)).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        strips = "".join(strip.text for strip in app.screen._compositor.render_strips())
        assert "[red]x[/red]" in strips and "\x1b" not in strips and "\x07" not in strips


async def test_a_test_in_a_small_terminal_and_in_the_list(app_over: AppOver, tmp_path: Path) -> None:
    half = write_test(tmp_path / "logs" / "arc-phases", over=False)
    async with app_over(half).run_test(size=(30, 8)) as pilot:
        said = screen_text(await shown(pilot))
        assert "● measuring 41 %" in said and "ends " in said
    listed = str(entry(Listed(Path(half.folder), view(half)), 120))
    assert "phase 3/4" in listed and "ends " in listed and "epoch" not in listed
    over = write_test(tmp_path / "logs" / "over")
    assert "phases" in str(entry(Listed(Path(over.folder), view(over)), 120))


async def test_the_end_of_a_test_points_to_the_comparison(app_over: AppOver, test: ExperimentState) -> None:
    async with app_over(test).run_test(size=(80, 24)) as pilot:
        assert "c compare   l logs" in screen_text(await shown(pilot))


def tuned(folder: Path) -> ExperimentState:
    """The same phases as what a tuner went through, with its ranking; the second one was measured alone as a probe."""
    state = write_test(folder)
    assert state.plan.test is not None
    found = results(state.plan, state.prepared, state.visits)
    ranked = tuple(
        Ranked(
            knobs=one.knobs,
            measured=one.measured,
            predicted=Prediction(step_seconds=2.0, samples_per_second=0.5, low=1.8, high=2.2, limit="loader"),
            out="24% slower (20% to 28%)" if one.number == 1 else "",
        )
        for one in found
    )
    untried = Ranked(knobs=found[0].knobs | {"num_workers": 7}, predicted=ranked[0].predicted)
    why = "The profile in use is kept: num_workers 2 fell out of the race."
    write_json(ExperimentPaths(folder).tuning, Finished(best=found[0].knobs, why=why, ranking=(*ranked, untried)))
    plan = msgspec.structs.replace(state.plan, test=msgspec.structs.replace(state.plan.test, kind="tune"))
    return msgspec.structs.replace(state, plan=plan)


async def test_a_tuners_ranking_is_on_the_screen_with_the_figures_of_its_table(
    app_over: AppOver, tmp_path: Path
) -> None:
    """Configuration, what was measured, what the model says, and why one is out."""
    state = tuned(tmp_path / "logs" / "arc-tune")
    async with app_over(state).run_test(size=(120, 40)) as pilot:
        app = await compared(pilot)
        await settle(pilot, lambda: "configuration" in screen_text(app))
        lines = screen_text(app).splitlines()
        assert any("The profile in use is kept: num_workers 2 fell out" in line for line in lines)
        (taken,) = [line for line in lines if line.rstrip("│ ").endswith("taken")]
        assert "✔ 1 worker, prefetch" in taken
        assert any("24% slower" in line and "2 workers" in line for line in lines)
        (untried,) = [line for line in lines if "7 workers" in line]
        assert "loader the limit" in untried
        measured = results(state.plan, state.prepared, state.visits)[0].measured
        assert measured is not None
        assert f"{measured.samples_per_second:.3g} (" in taken


def test_with_room_every_phase_shows_how_steady_it_was(test: ExperimentState) -> None:
    found = found_of(test)
    lines = [text_of(line) for line in block_lines(found, 96, 30)]
    named = [line[:12].rstrip() for line in lines[1:] if line[:1].isdigit()]
    assert named == [f"{one.number + 1}. {one.name}"[:12].rstrip() for one in found if one.measured is not None]
    assert all(len(line) <= 96 for line in lines) and len(lines) == 1 + 5 * len(named)
    assert block_lines(found, 96, 2 * len(named)) == [], "two lines each and a title, or none"
    assert block_lines((), 96, 30) == []
