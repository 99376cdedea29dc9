"""experiment_results.json: only complete runs of this very configuration, pooled by run and by subject."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, strategies as st

from engine.paths import ExperimentPaths, write_json
from engine.training.results import RunResults, spread, summarise
from tests.training.world import build, config_hash, plan_of, prepared_of


def finished(paths: ExperimentPaths, index: int, dice: list[float], **more: Any) -> None:
    """results.json of the plan's run number `index`."""
    key = plan_of(paths).runs[index]
    fields: dict[str, Any] = {
        "outer_fold": key.fold, "restart": key.restart, "seed": key.seed, "test_dice": statistics.fmean(dice),
        "test_avd": 0.3, "test_mcc": 0.6, "final_train_loss": 0.1, "checkpoint_path": "final.pt",
        "duration_seconds": 3600.0, "per_subject_dice": dice, "per_subject_avd": [0.3] * len(dice),
        "per_subject_mcc": [0.6] * len(dice), "subject_indices": list(range(key.fold, 6, 2)), "subject_ids": ["s"] * 3,
        "config_hash": config_hash(paths, index), "epochs": 2, "attempts": 1, "started": 1e9, "ended": 1e9 + 3600,
    }
    write_json(paths.run(key.fold, key.restart).results, RunResults(**(fields | more)))


@pytest.fixture
def paths(tmp_path: Path) -> ExperimentPaths:
    table = {"runs": {"folds": 2, "restarts": 2}, "target": {"dice": 0.876, "std": 0.016, "source": "arXiv 2503.05531"}}
    return build(tmp_path, table=table, shape=(8, 8, 8))


def summary(paths: ExperimentPaths) -> dict[str, Any]:
    found: dict[str, Any] = summarise(paths, plan_of(paths), prepared_of(paths))["summary"]
    return found


def test_runs_and_subjects_are_pooled_apart(paths: ExperimentPaths) -> None:
    finished(paths, 0, [0.9, 0.8, 0.1])
    finished(paths, 2, [0.7, 0.7, 0.7])
    found = summary(paths)
    assert found["test_mean_dice"] == pytest.approx((0.9 + 0.8 + 0.1 + 2.1) / 6)
    assert found["test_median_dice"] == pytest.approx(0.7)
    assert found["test_mean_dice_per_run"] == pytest.approx((0.6 + 0.7) / 2)
    assert found["test_std_dice_per_run"] == pytest.approx(statistics.stdev([0.6, 0.7]))
    assert (found["num_runs"], found["num_runs_planned"], found["num_test_subjects"]) == (2, 4, 6)
    assert (found["target_dice"], found["target_std"]) == (0.876, 0.016)
    assert found["difference_from_target"] == pytest.approx(0.65 - 0.876)


def test_a_smoke_run_of_another_configuration_is_not_averaged_in(paths: ExperimentPaths) -> None:
    finished(paths, 0, [0.9, 0.9, 0.9])
    finished(paths, 1, [0.1, 0.1, 0.1], config_hash="another")
    assert summary(paths)["test_mean_dice"] == pytest.approx(0.9)


@pytest.mark.parametrize("contents", [b"", b"{", b"[]", b'{"test_dice": "high"}', b"\xff\xfe"])
def test_a_damaged_result_is_left_out(paths: ExperimentPaths, contents: bytes) -> None:
    finished(paths, 0, [0.9, 0.9, 0.9])
    paths.run(1, 1).results.write_bytes(contents)
    assert summary(paths)["num_runs"] == 1


def test_without_any_run_the_file_is_there_and_empty_handed(paths: ExperimentPaths) -> None:
    found = summary(paths)
    assert found["num_runs"] == 0
    assert found["test_mean_dice"] is None
    assert paths.results.exists()


def test_a_figure_that_is_not_defined_for_a_subject_does_not_spoil_the_mean(paths: ExperimentPaths) -> None:
    finished(paths, 0, [0.9, 0.9, 0.9], per_subject_avd=[None, 0.2, 0.4])
    assert summary(paths)["test_mean_avd"] == pytest.approx(0.3)


def test_folds_keep_their_runs_and_the_best(paths: ExperimentPaths) -> None:
    finished(paths, 0, [0.6, 0.6, 0.6])
    finished(paths, 1, [0.8, 0.8, 0.8])
    (fold,) = summarise(paths, plan_of(paths), prepared_of(paths))["folds"]
    assert (fold["outer_fold"], fold["num_restarts"]) == (0, 2)
    assert (fold["mean_dice"], fold["best_dice"]) == (pytest.approx(0.7), pytest.approx(0.8))
    assert [run["restart"] for run in fold["runs"]] == [0, 1]


def test_the_hours_are_those_of_all_runs(paths: ExperimentPaths) -> None:
    finished(paths, 0, [0.6, 0.6, 0.6])
    finished(paths, 1, [0.8, 0.8, 0.8], started=2e9, ended=2e9 + 10)
    timing = summarise(paths, plan_of(paths), prepared_of(paths))["timing"]
    assert timing["total_duration_hours"] == pytest.approx(2.0)
    assert timing["start"] < timing["end"]


def test_it_can_be_written_anew_by_a_command_that_imports_no_torch(paths: ExperimentPaths) -> None:
    finished(paths, 0, [0.9, 0.8, 0.1])
    code = (
        "import runpy, sys; sys.argv[0] = 'results'\n"
        "try: runpy.run_module('engine.training.results', run_name='__main__')\n"
        "except SystemExit as left: print(left.code, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(paths.folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 False False"
    assert msgspec.json.decode(paths.results.read_bytes())["summary"]["num_runs"] == 1


def test_a_folder_that_is_no_experiment_is_refused_in_words(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "engine.training.results", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "plan.json" in done.stderr
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.floats(0, 1), max_size=30))
def test_the_spread_is_numpy_s(values: list[float]) -> None:
    found = spread([None, *values])
    if not values:
        assert set(found.values()) == {None}
        return
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["median"] == pytest.approx(np.median(values))
    if len(values) > 1:
        assert found["std"] == pytest.approx(np.std(values, ddof=1))
        assert found["iqr"] == pytest.approx(np.percentile(values, [25, 75]))
