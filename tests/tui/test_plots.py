"""What the curves are drawn from, and what stands there while there is no curve."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from engine.config.leading import MEASURES
from engine.config.run_keys import RunKey
from engine.journals.events import Begin, Metrics, Steps
from engine.live.fold_run import fold_run
from engine.live.state import ExperimentState, RunState, new_run
from tests.tui.conftest import view
from tests.tui.test_screens import AppOver, screen_text, shown
from tui.widgets.plots import LossPlot, figure_words
from tui.widgets.steptime import step_times


def steps(seconds: Sequence[float], first: int = 1) -> list[Steps]:
    return [
        Steps(epoch=1, step=number, steps=1, seconds=took, low=took, high=took, t=float(number))
        for number, took in enumerate(seconds, start=first)
    ]


def trained(*attempts: tuple[int, Sequence[float]]) -> RunState:
    """A run of attempts, each resumed behind a step."""
    run = new_run(RunKey(fold=0, restart=0, seed=42))
    for number, (behind, seconds) in enumerate(attempts, start=1):
        begin = Begin(attempt=number, epochs=4, steps_per_epoch=100, resumed_from_step=behind)
        run = fold_run(run, [begin, *steps(seconds, behind + 1)])
    return run


def validated(state: ExperimentState, values: Sequence[float], split: str = "val") -> ExperimentState:
    """`state` with these Dice figures in its first run, and no others."""
    run = msgspec.structs.replace(state.runs[0], curves={}, validation=None, test=None)
    run = fold_run(run, [Metrics(split=split, values={"dice": v}, step=148 * n) for n, v in enumerate(values, start=1)])
    return msgspec.structs.replace(state, runs=(run, *state.runs[1:]))


def with_knob(state: ExperimentState, name: str, value: int) -> ExperimentState:
    profile = msgspec.structs.replace(state.plan.profile, knobs={**state.plan.profile.knobs, name: value})
    return msgspec.structs.replace(state, plan=msgspec.structs.replace(state.plan, profile=profile))


# ---------------------------------------------------------------- step time


def test_the_warm_up_is_not_in_the_plot() -> None:
    run = trained((0, [3.0, 2.0, *[0.1] * 60]))
    assert run.pace.warm_steps == 2
    assert max(seconds for _, seconds in step_times(run)) == pytest.approx(0.1)


def test_a_first_step_that_is_no_warm_up_to_the_pace_is_left_out_all_the_same() -> None:
    run = trained((0, [0.15, *[0.1, 0.2, 0.07] * 20]))
    assert run.pace.warm_steps == 0 and not run.pace.warming
    assert 0.15 not in [seconds for _, seconds in step_times(run)]
    assert min(step for step, _ in step_times(run)) > 1


def test_after_a_resume_both_warm_ups_are_left_out() -> None:
    run = trained((0, [3.0, 2.0, *[0.1] * 60]), (50, [4.0, *[0.1] * 60]))
    points = step_times(run)
    assert max(seconds for _, seconds in points) == pytest.approx(0.1)
    assert points[0][0] < 5 and points[-1][0] > 100
    assert not any(50 < step < 51 for step, _ in points)


# ---------------------------------------------------------------- Dice


@pytest.mark.parametrize(
    ("every", "values", "words"),
    [
        (0, [], ["no validation: val_every_epochs = 0", "the test Dice comes at the run's end"]),
        (4, [], ["no validation yet: one every 4 epochs (val_every_epochs)", "the test Dice comes at the run's end"]),
        (
            1,
            [],
            ["no validation yet: one after every epoch (val_every_epochs)", "the test Dice comes at the run's end"],
        ),
        (4, [0.71], ["one validation so far: 0.710 after step 148", "the test Dice comes at the run's end"]),
    ],
)
def test_without_a_curve_it_says_why_and_when_there_will_be_one(
    arc: ExperimentState, every: int, values: list[float], words: list[str]
) -> None:
    assert figure_words(view(with_knob(validated(arc, values), "val_every_epochs", every)), MEASURES["segmentation"]) == words


def test_a_trainer_of_ones_own_is_not_told_of_knobs_it_does_not_know(arc: ExperimentState) -> None:
    experiment = msgspec.structs.replace(arc.plan.experiment, command=("./train",))
    state = msgspec.structs.replace(arc, plan=msgspec.structs.replace(arc.plan, experiment=experiment))
    assert figure_words(view(validated(state, [])), MEASURES["segmentation"])[0] == "no validation yet: the trainer has written no Dice"


async def test_the_panel_shows_the_words_then_the_test_figure(app_over: AppOver, arc: ExperimentState) -> None:
    for state, words in (
        (validated(arc, []), "val_every_epochs = 0"),
        (validated(arc, [0.71]), "one validation so far: 0.710"),
        (validated(arc, [0.871], split="test"), "test Dice at the run's end: 0.871"),
    ):
        async with app_over(with_knob(state, "val_every_epochs", 0)).run_test(size=(200, 60)) as pilot:
            app = await shown(pilot)
            assert words in screen_text(app)


async def test_m_shows_the_next_curve_or_says_that_there_is_none(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(validated(arc, [0.4])).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("m")
        assert [notice.message.split(":")[0] for notice in app._notifications] == ["no other curve yet"]
    async with app_over(validated(arc, [0.4, 0.71])).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        plot = app.screen.query_one(LossPlot)
        for title in ("6 Loss  val/dice 0.710", "6 Loss  0.3930"):
            await pilot.press("m")
            await pilot.pause()
            assert str(plot._border_title) == title


async def test_two_validations_are_a_curve(app_over: AppOver, arc: ExperimentState) -> None:
    async with app_over(validated(arc, [0.4, 0.71])).run_test(size=(200, 60)) as pilot:
        app = await shown(pilot)
        assert "so far" not in screen_text(app).replace("so far      –", "")
        assert "step 148" in screen_text(app)
