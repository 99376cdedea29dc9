"""The what-if screen: what is asked is answered, a GPU and an option are chosen, decided and launched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths
from engine.runs.launch import Request
from engine.whatif.options import recorded as decided
from tests.recordings import state_of, write_recording
from tests.tui.test_screens import AppOver, screen_text, settle, shown
from tui.app import SteptopApp
from tui.recording import Recording
from tui.screens.help import HelpScreen
from tui.screens.launch import LaunchScreen
from tui.screens.what_if import WhatIfScreen
from tui.what_if import Board
from tui.widgets.choosing import OptionsPanel
from tui.widgets.gpus import GpusPanel
from tui.widgets.oneline import Remark


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def second_run(tmp_path_factory: pytest.TempPathFactory) -> ExperimentState:
    folder = tmp_path_factory.mktemp("logs") / "arc-meshnet26"
    write_recording(folder, "compute", 1.05)
    return state_of(folder)


@pytest.fixture
def ended(second_run: ExperimentState) -> Iterator[ExperimentState]:
    """A training that computes most of the time, in its second run; nobody trains now, nothing is decided."""
    yield second_run
    ExperimentPaths(Path(second_run.folder)).decision.unlink(missing_ok=True)


def board(app: SteptopApp) -> Board:
    assert isinstance(app.screen, WhatIfScreen)
    assert app.screen.board is not None
    return app.screen.board


async def asked(pilot: Pilot[None]) -> SteptopApp:
    app = await shown(pilot)
    await pilot.press("w")
    await settle(pilot, lambda: isinstance(app.screen, WhatIfScreen) and answered(app))
    await pilot.pause()
    return app


def answered(app: SteptopApp) -> bool:
    now = board(app)
    return now.answer is not None and not now.waiting and (not now.gpu or now.gpu == now.answer.hardware)


async def press(pilot: Pilot[None], app: SteptopApp, *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot, lambda: answered(app))
    await pilot.pause()


def remark(app: SteptopApp) -> str:
    from tui.widgets.line import text_of

    return " ".join(text_of(line) for line in app.screen.query_one(Remark)._drawn)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_what_it_comes_to_here_and_elsewhere_is_read_at_a_glance(app_over: AppOver, ended: ExperimentState, size: tuple[int, int]) -> None:
    async with app_over(ended).run_test(size=size) as pilot:
        app = await asked(pilot)
        said = screen_text(app)
        assert "experiment" in said and "90 % range" in said
        assert "●A100-80 SXM" in said and "1.0×" in said
        assert "H200" in said and "2.3×" in said and "fits" in said and "USD" in said
        assert "One run" in said and "30 runs" in said
        assert "├" in said and "●" in said
        if size[0] >= 120:
            assert "The GPU is the limit: a faster one helps." in said
            assert "one trained model" in said


async def test_fewer_epochs_are_answered_as_they_are_typed(app_over: AppOver, ended: ExperimentState) -> None:
    async with app_over(ended).run_test(size=(120, 40)) as pilot:
        app = await asked(pilot)
        before = board(app).answer
        assert before is not None and before.own.experiment.value is not None
        await press(pilot, app, "2", "5", "enter")
        after = board(app).answer
        assert after is not None and after.own.experiment.value is not None
        assert board(app).question.epochs == 25
        assert after.own.experiment.value == pytest.approx(before.own.experiment.value / 2, rel=0.05)
        said = screen_text(app)
        assert "← 50" in said and "2× as fast" in said and "changed from how it is" in said
        await press(pilot, app, "r")
        assert "changed from how it is" not in screen_text(app)


async def test_arrows_change_what_is_asked_and_a_range_is_kept(app_over: AppOver, ended: ExperimentState) -> None:
    async with app_over(ended).run_test(size=(120, 40)) as pilot:
        app = await asked(pilot)
        await press(pilot, app, "down", "down", "left")
        assert board(app).question.folds == (0, 1)
        await press(pilot, app, "right", "right")
        assert "folds = 4: the experiment has 3" in remark(app)
        assert board(app).question.folds == (0, 1, 2)


async def test_several_gpus_and_a_session_of_a_platform(app_over: AppOver, ended: ExperimentState) -> None:
    async with app_over(ended).run_test(size=(200, 60)) as pilot:
        app = await asked(pilot)
        names = [ask.name for ask in board(app).asks]
        await press(pilot, app, *["down"] * names.index("gpus"), "right")
        assert "2 GPUs side by side: 2.0×" in screen_text(app)
        await press(pilot, app, *["down"] * (names.index("session") - names.index("gpus")), "right")
        assert board(app).session_name == "Colab free"
        assert "Colab free" in screen_text(app) and "Kaggle" not in screen_text(app)


@pytest.mark.parametrize("far", [0.3, 1.05])
async def test_what_is_left_can_be_asked_for_from_the_first_run_on(app_over: AppOver, tmp_path: Path, far: float) -> None:
    """In its first run, and once that has ended: the same words."""
    write_recording(tmp_path / "arc", "compute", far)
    async with app_over(state_of(tmp_path / "arc")).run_test(size=(120, 40)) as pilot:
        app = await asked(pilot)
        names = [ask.name for ask in board(app).asks]
        assert "all of it" in screen_text(app)
        whole = board(app).answer
        await press(pilot, app, *["down"] * names.index("rest"), "right")
        left = board(app).answer
        assert "what is left  ← all of it" in screen_text(app)
        assert whole is not None and left is not None and left.question.rest
        assert (left.own.experiment.value or 0.0) < (whole.own.experiment.value or 0.0)


async def test_the_gpu_that_is_chosen_is_the_one_the_options_are_of(app_over: AppOver, ended: ExperimentState) -> None:
    async with app_over(ended).run_test(size=(120, 40)) as pilot:
        app = await asked(pilot)
        app.screen.query_one(GpusPanel).focus()
        await press(pilot, app, "down")
        chosen = board(app).gpu
        assert chosen != "A100-80 SXM"
        assert board(app).answer is not None and board(app).answer.hardware == chosen  # type: ignore[union-attr]
        assert f"on {chosen}" in str(app.screen.query_one(OptionsPanel).border_title)
        await press(pilot, app, "end")
        assert "no claim: nothing measured on MPS" in screen_text(app)
        options = board(app).answer
        assert options is not None and options.options[0].timeline.value is None


async def test_an_option_is_recorded_with_the_experiment(app_over: AppOver, ended: ExperimentState) -> None:
    async with app_over(ended).run_test(size=(120, 40)) as pilot:
        app = await asked(pilot)
        app.screen.query_one(OptionsPanel).focus()
        await press(pilot, app, "down", "down", "d")
        held = decided(Path(ended.folder))
        assert held is not None
        assert (held.title, held.runs, held.by) == ("Fewer restarts", 9, "the dashboard")
        assert "decided: Fewer restarts" in remark(app)
        assert "decided: Fewer restarts, on A100-80 SXM" in screen_text(app)


async def test_enter_on_an_option_opens_the_launch_dialog_with_it(app_over: AppOver, ended: ExperimentState) -> None:
    async with app_over(ended).run_test(size=(120, 40)) as pilot:
        app = await asked(pilot)
        await press(pilot, app, "3", "0", "enter")
        app.screen.query_one(OptionsPanel).focus()
        await pilot.press("down", "down", "enter")
        await settle(pilot, lambda: isinstance(app.screen, LaunchScreen))
        dialog = app.screen
        assert isinstance(dialog, LaunchScreen)
        await pilot.pause()
        values = {name: dialog.query_one(f"#{name}", Input).value for name in ("data", "folds", "restarts", "epochs")}
        assert values == {"data": "/data/ds004884", "folds": "", "restarts": "3", "epochs": "30"}
        assert dialog._values()["experiment"] == "arc-meshnet26"
        request: Request = dialog._request(dialog._values())
        assert request.settings.get("num_workers") == 4, "as the measured training had it"


async def test_a_training_that_goes_on_is_not_launched_again(app_over: AppOver, ended: ExperimentState) -> None:
    living = msgspec.structs.replace(ended, supervisor_alive=True, trainer_alive=True)
    async with app_over(living).run_test(size=(120, 40)) as pilot:
        app = await asked(pilot)
        app.screen.query_one(OptionsPanel).focus()
        await pilot.press("enter")
        await pilot.pause()
        assert "s on the dashboard stops it after this run" in remark(app)
        await pilot.press("down", "enter")
        await pilot.pause()
        assert "it goes on as it is: nothing to start" in remark(app)
        assert isinstance(app.screen, WhatIfScreen)


async def test_a_recording_is_asked_but_neither_launched_nor_decided(app_over: AppOver, ended: ExperimentState) -> None:
    async with app_over(ended, recording=Recording(60.0, ended.now - 3600, ended.now)).run_test(size=(120, 40)) as pilot:
        app = await asked(pilot)
        app.screen.query_one(OptionsPanel).focus()
        await pilot.press("enter")
        await pilot.pause()
        assert "nothing is launched from here" in remark(app)
        await pilot.press("d")
        await pilot.pause()
        assert "nothing is recorded from here" in remark(app)
        assert decided(Path(ended.folder)) is None


async def test_before_a_step_is_measured_it_says_what_measures_one(app_over: AppOver, recorded: Callable[..., ExperimentState]) -> None:
    async with app_over(recorded("arc", 0.0)).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("w")
        await settle(pilot, lambda: isinstance(app.screen, WhatIfScreen) and bool(board(app).problem))
        await pilot.pause()
        assert "nothing was measured yet; `steptop bench arc-meshnet26 --data DIR`" in " ".join(screen_text(app).split())


async def test_escape_and_w_close_it_and_help_explains(app_over: AppOver, ended: ExperimentState) -> None:
    async with app_over(ended).run_test(size=(120, 40)) as pilot:
        app = await asked(pilot)
        await pilot.press("question_mark")
        await settle(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape")
        await settle(pilot, lambda: isinstance(app.screen, WhatIfScreen))
        await pilot.press("9", "escape")
        assert isinstance(app.screen, WhatIfScreen), "the first escape takes back what was being typed"
        await pilot.press("escape")
        await settle(pilot, lambda: not isinstance(app.screen, WhatIfScreen))


async def test_from_the_launch_dialog_it_is_asked_of_what_would_be_launched(app_over: AppOver, ended: ExperimentState, place: Path) -> None:
    async with app_over(ended).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("N")
        await settle(pilot, lambda: isinstance(app.screen, LaunchScreen))
        await pilot.press("ctrl+t")
        await settle(pilot, lambda: isinstance(app.screen, WhatIfScreen) and bool(board(app).problem))
        assert "nothing like it was measured" in board(app).problem, "quickstart never ran here"
        await pilot.press("escape")
        await settle(pilot, lambda: isinstance(app.screen, LaunchScreen))
