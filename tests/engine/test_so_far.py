"""What finished runs amount to so far: the mean, how well it is known, and what one more would change."""

from __future__ import annotations

import random
from pathlib import Path
from statistics import fmean, stdev

import msgspec
import pytest

from engine.config.leading import MEASURES
from engine.config.plan import Plan
from engine.journals.events import Metrics
from engine.live.state import ExperimentState, new_experiment
from engine.runs.so_far import models_words, one_more, so_far
from engine.status import status
from tests.conftest import fake_plan
from tests.engine.test_variants import plan_with
from tui.verbs.results import result_lines
from tui.verbs.showing import status_lines
from tui.widgets.runs import summary_lines


def judged_by(plan: Plan, figures: list[float | None]) -> ExperimentState:
    """The first runs of a plan have finished with these figures; None: it has written none."""
    state = new_experiment("/logs/x", plan)
    runs = list(state.runs)
    for place, figure in enumerate(figures):
        test = Metrics(split="test", values={"dice": figure}, step=20) if figure is not None else None
        runs[place] = msgspec.structs.replace(runs[place], phase="finished", step=20, test=test)
    return msgspec.structs.replace(state, runs=tuple(runs), phase="running", now=1e9)


def test_mean_deviation_and_what_one_more_run_would_move() -> None:
    (found,) = so_far(judged_by(fake_plan(), [0.80, 0.82, 0.84, 0.86]))
    assert (found.per, found.count, found.runs, found.missing) == ("run", 4, 4, "")
    assert found.mean == pytest.approx(0.83) and found.std == pytest.approx(0.0258199, rel=1e-5)
    assert found.error == pytest.approx(0.0129099, rel=1e-5)
    # Student's t of 3 degrees of freedom: 2.353363 holds 90 %; times s over the root of 4 × 5.
    assert found.one_more == pytest.approx(2.353363 * 0.0258199 / 20**0.5, rel=1e-5)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_another_value_moves_the_mean_by_no_more_nine_times_in_ten(count: int) -> None:
    rng = random.Random(count)
    held, times = 0, 6000
    for _ in range(times):
        values = [rng.gauss(0.8, 0.03) for _ in range(count)]
        moved = fmean([*values, rng.gauss(0.8, 0.03)]) - fmean(values)
        held += abs(moved) <= one_more(count, stdev(values))
    assert 0.885 < held / times < 0.915


def test_nothing_is_made_up_before_two_runs_have_ended() -> None:
    (none,) = so_far(judged_by(fake_plan(), []))
    assert (none.mean, none.std, none.error, none.one_more) == (None, None, None, None)
    assert none.missing == "no finished run has a Dice yet"
    (one,) = so_far(judged_by(fake_plan(), [0.8]))
    assert (one.mean, one.count, one.std, one.error, one.one_more) == (0.8, 1, None, None, None)
    assert one.missing == "one run has no spread: a second one shows how much runs differ"


def test_a_run_that_wrote_no_figure_is_a_model_but_no_value() -> None:
    state = judged_by(fake_plan(), [0.8, None, 0.9])
    assert so_far(state)[0].count == 2
    assert status(state).runs_finished == 3


def test_of_variants_each_has_its_own_over_folds() -> None:
    # Variants of a fold come one after the other.
    state = judged_by(plan_with(), [0.70, 0.74, 0.72, None])
    base, mkdc = so_far(state)
    assert (base.variant, base.per, base.count, base.mean) == ("baseline", "fold", 2, pytest.approx(0.71))
    assert base.one_more is not None
    assert (mkdc.variant, mkdc.count, mkdc.mean, mkdc.one_more) == ("mkdc", 1, 0.74, None)
    assert mkdc.missing == "one fold has no spread: a second one shows how much folds differ"


def test_the_status_says_it_in_json_and_in_text() -> None:
    state = judged_by(fake_plan(), [0.80, 0.82, 0.84])
    (told,) = status(state).so_far
    assert (told.figure, told.per, told.count, told.mean) == ("dice", "run", 3, pytest.approx(0.82))
    assert told.one_more == so_far(state)[0].one_more
    assert b'"so_far":[{"variant":""' in msgspec.json.encode(status(state))
    lines = status_lines(state)
    assert "  3 runs = 3 usable models" in lines
    assert (
        "  Dice so far: 0.820 ± 0.020 over 3 runs (standard error 0.012); one more run would move the mean by "
        "±0.017 at most, 9 times in 10"
    ) in lines
    (one,) = [line for line in status_lines(judged_by(fake_plan(), [0.8])) if "so far" in line]
    assert one == "  Dice so far: 0.800 over 1 run; one run has no spread: a second one shows how much runs differ"


def test_runs_that_learned_nothing_are_no_models_and_their_likeness_is_no_certainty() -> None:
    """Two runs that mark no lesion at all, Dice 0.000."""
    nothing = judged_by(fake_plan(), [0.0, 0.0])
    lines = status_lines(nothing)
    assert "  2 runs = no usable model: 2 learned nothing" in lines
    assert "  Dice so far: 0.000 over 2 runs; nothing was learned" in lines
    (told,) = status(nothing).so_far
    assert (told.mean, told.std, told.standard_error, told.one_more) == (0.0, 0.0, None, None)
    assert not any("±" in text for line in summary_lines(nothing, 60, 12) for text, _ in line)
    assert models_words(judged_by(fake_plan(), [0.0])) == "1 run = no usable model: it learned nothing"
    assert models_words(judged_by(fake_plan(), [0.0, 0.7, None])) == "3 runs = 2 usable models: 1 learned nothing"
    (alike,) = [line for line in status_lines(judged_by(fake_plan(), [0.8, 0.8])) if "so far" in line]
    assert alike == "  Dice so far: 0.800 over 2 runs; all 2 are the same: how runs differ is not known"


def test_results_of_runs_that_learned_nothing_have_no_deviation_either() -> None:
    def lines(mean: object) -> list[str]:
        summary = {"test_mean_dice": 0.4, "test_std_dice": 0.1, "test_mean_dice_per_run": mean, "test_std_dice_per_run": 0.0}
        return result_lines({"folds": [], "summary": summary}, Path("/logs/x"))

    assert lines(0.0)[-1] == "  dice per run: 0.000, nothing was learned"
    assert lines(0.4)[-1].startswith("  dice per run: 0.400 ± 0.000") and lines("?")[-1].startswith("  dice per run: – ±")
    assert lines(0.0)[-2].startswith("  dice per subject, pooled: 0.400 ± 0.100")


def test_a_denoiser_that_guesses_blindly_has_learned_nothing() -> None:
    kind = MEASURES["peptides"]
    assert kind.learned(1.34) and not kind.learned(3.05) and kind.learned(float("nan"))


def test_one_run_is_one_usable_model() -> None:
    assert models_words(judged_by(fake_plan(), [0.8])) == "1 run = 1 usable model"
    assert models_words(judged_by(fake_plan(), [])) == "no model yet: 1 run = 1 usable model"
    assert "  no model yet: 1 run = 1 usable model" in status_lines(judged_by(fake_plan(), []))
