"""experiment_results.json: every finished run of an experiment, pooled by run and by subject, beside its target.

`python -P -m engine.training.results EXPERIMENT_FOLDER` writes it anew from the runs' results.json.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.config.experiment import Plan, Prepared, RunKey, run_hash
from engine.errors import UsageError
from engine.paths import ExperimentPaths, read_json, write_json

FIGURES = ("dice", "avd", "mcc")


class RunResults(msgspec.Struct, frozen=True, kw_only=True):
    """results.json of one run. A figure that is not defined for a subject (AVD without any lesion) is null."""

    outer_fold: int
    restart: int
    seed: int
    test_dice: float | None
    test_avd: float | None
    test_mcc: float | None
    final_train_loss: float | None
    checkpoint_path: str
    duration_seconds: float
    per_subject_dice: list[float | None]
    per_subject_avd: list[float | None]
    per_subject_mcc: list[float | None]
    subject_indices: list[int]
    subject_ids: list[str]
    config_hash: str
    epochs: int
    attempts: int
    started: float = 0.0
    ended: float = 0.0
    variant: str = ""


def summarise(paths: ExperimentPaths, plan: Plan, prepared: Prepared) -> dict[str, Any]:
    """Write experiment_results.json and return it; missing, damaged and other configurations' runs are left out."""
    runs = [run for key in plan.runs if (run := _of(paths, plan, prepared, key)) is not None]
    summary: dict[str, Any] = {
        "num_runs": len(runs), "num_runs_planned": len(plan.runs),
        "num_test_subjects": len({i for run in runs for i in run.subject_indices}),
    }
    for figure in FIGURES:
        pooled = [value for run in runs for value in getattr(run, f"per_subject_{figure}")]
        per_run = [getattr(run, f"test_{figure}") for run in runs]
        summary |= {f"test_{name}_{figure}": value for name, value in spread(pooled).items()}
        summary |= {f"test_{name}_{figure}_per_run": value for name, value in spread(per_run).items()}
    target = plan.experiment.target
    if target is not None:
        mean = summary["test_mean_dice_per_run"]
        summary |= {
            "target_dice": target.dice, "target_std": target.std, "target_source": target.source,
            "difference_from_target": None if mean is None else mean - target.dice,
        }
    found = {
        "experiment": plan.experiment_name,
        "config": {
            "experiment": msgspec.to_builtins(plan.experiment), "profile": msgspec.to_builtins(plan.profile),
            "training_hash": plan.training_hash, "data_hash": prepared.data_hash,
        },
        "folds": [_fold(fold, runs) for fold in sorted({run.outer_fold for run in runs})],
        "summary": summary,
        "timing": _timing(runs),
    }
    write_json(paths.results, found)
    return found


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """mean, std (of a sample, n - 1), median and iqr [lower, upper quartile]; None where there are too few values.

    Quartiles are interpolated linearly between order statistics, as numpy.percentile does.
    """
    known = [value for value in values if value is not None]
    several = len(known) > 1
    return {
        "mean": statistics.fmean(known) if known else None,
        "std": statistics.stdev(known) if several else None,
        "median": statistics.median(known) if known else None,
        "iqr": statistics.quantiles(known, n=4, method="inclusive")[::2] if several else None,
    }


def _of(paths: ExperimentPaths, plan: Plan, prepared: Prepared, key: RunKey) -> RunResults | None:
    run = read_json(paths.run(*key.at).results, RunResults)
    return run if run is not None and run.config_hash == run_hash(plan, key, prepared.data_hash) else None


def _fold(fold: int, every: Sequence[RunResults]) -> dict[str, Any]:
    runs = [run for run in every if run.outer_fold == fold]
    dice = spread([run.test_dice for run in runs])
    known = [run.test_dice for run in runs if run.test_dice is not None]
    return {
        "outer_fold": fold, "mean_dice": dice["mean"], "std_dice": dice["std"], "best_dice": max(known, default=None),
        "num_restarts": len(runs), "runs": [msgspec.to_builtins(run) for run in runs],
    }


def _timing(runs: Sequence[RunResults]) -> dict[str, Any]:
    """Wall clock of the first start and last end, and the hours all runs took without the pauses between attempts."""
    starts, ends = [run.started for run in runs if run.started], [run.ended for run in runs if run.ended]
    return {
        "start": _clock(min(starts, default=0.0)), "end": _clock(max(ends, default=0.0)),
        "total_duration_hours": sum(run.duration_seconds for run in runs) / 3600,
    }


def _clock(t: float) -> str | None:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(t)) if t else None


def main(folder: Path) -> int:
    paths = ExperimentPaths(folder)
    plan, prepared = read_json(paths.plan, Plan), read_json(paths.data, Prepared)
    if plan is None or prepared is None:
        raise UsageError(f"{folder}: plan.json or data.json is missing or damaged")
    found = summarise(paths, plan, prepared)
    print(f"{paths.results}: {found['summary']['num_runs']} of {len(plan.runs)} runs")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: python -P -m engine.training.results EXPERIMENT_FOLDER", file=sys.stderr)
        raise SystemExit(2)
    try:
        raise SystemExit(main(Path(sys.argv[1]).absolute()))
    except UsageError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
