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

from engine.config.hashes import run_hash
from engine.config.leading import Measure, measure
from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.config.run_keys import RunKey, variants_of
from engine.config.sources import trained_on
from engine.errors import UsageError
from engine.paths import ExperimentPaths, read_json, write_json
from engine.runs.ablation import Result, compare


class RunResults(msgspec.Struct, frozen=True, kw_only=True):
    """results.json of one run. A figure that is not defined for a subject (AVD without any lesion) is null.

    `data`: what it was trained on, as engine.config.sources says it. `figures`, `per_subject`: those beside Dice, AVD
    and MCC.
    """

    outer_fold: int
    restart: int
    seed: int
    test_dice: float | None = None
    test_avd: float | None = None
    test_mcc: float | None = None
    final_train_loss: float | None
    checkpoint_path: str
    duration_seconds: float
    per_subject_dice: list[float | None] = []
    per_subject_avd: list[float | None] = []
    per_subject_mcc: list[float | None] = []
    subject_indices: list[int]
    subject_ids: list[str]
    config_hash: str
    epochs: int
    attempts: int
    started: float = 0.0
    ended: float = 0.0
    variant: str = ""
    data: str = ""
    figures: dict[str, float | None] = {}
    per_subject: dict[str, list[float | None]] = {}

    def test(self, figure: str) -> float | None:
        """The run's, over all its held-out subjects."""
        found: float | None = self.figures.get(figure, getattr(self, f"test_{figure}", None))
        return found

    def each(self, figure: str) -> list[float | None]:
        """Of every subject; none for a figure that only all of them together have."""
        found: list[float | None] = self.per_subject.get(figure, getattr(self, f"per_subject_{figure}", []))
        return found


def summarise(paths: ExperimentPaths, plan: Plan, prepared: Prepared) -> dict[str, Any]:
    """Write experiment_results.json and return it; missing, damaged and other configurations' runs are left out."""
    runs = [run for key in plan.runs if (run := _of(paths, plan, prepared, key)) is not None]
    summary: dict[str, Any] = {
        "num_runs": len(runs), "num_runs_planned": len(plan.runs),
        "num_test_subjects": len({i for run in runs for i in run.subject_indices}),
    }
    judged, variants = measure(plan.experiment), variants_of(plan.runs)
    if len(variants) == 1:  # a mean over several says nothing about any of them
        summary |= _pooled(runs, judged)
    target = plan.experiment.target
    if target is not None and len(variants) == 1:
        mean = summary[f"test_mean_{judged.figure}_per_run"]
        summary |= {
            "target_dice": target.dice, "target_std": target.std, "target_source": target.source,
            "difference_from_target": None if mean is None else mean - target.dice,
        }
    found = {
        "experiment": plan.experiment_name,
        "data": trained_on(plan),
        "config": {
            "experiment": msgspec.to_builtins(plan.experiment), "profile": msgspec.to_builtins(plan.profile),
            "training_hash": plan.training_hash, "data_hash": prepared.data_hash,
        },
        "leading": {"figure": judged.figure, "title": judged.title, "better": judged.better},
        "folds": [
            _fold(fold, variant, runs, judged)
            for variant in variants
            for fold in sorted({run.outer_fold for run in runs if run.variant == variant})
        ],
        "variants": _variants(plan, variants, runs, judged),
        "summary": summary,
        "timing": _timing(runs),
    }
    write_json(paths.results, found)
    return found


def _pooled(runs: Sequence[RunResults], judged: Measure) -> dict[str, Any]:
    """Every figure's spread over subjects and over runs."""
    found: dict[str, Any] = {}
    for figure in dict.fromkeys((*judged.figures, *(name for run in runs for name in run.figures))):
        pooled = [value for run in runs for value in run.each(figure)]
        found |= {f"test_{name}_{figure}": value for name, value in spread(pooled).items()}
        per_run = spread([run.test(figure) for run in runs])
        found |= {f"test_{name}_{figure}_per_run": value for name, value in per_run.items()}
    return found


def _variants(
    plan: Plan, variants: Sequence[str], runs: Sequence[RunResults], judged: Measure
) -> list[dict[str, Any]]:
    """Each variant that has results: its spread, and its leading figure beside the first variant's, fold by fold."""
    told = [
        Result(run.variant, run.outer_fold, run.restart, value)
        for run in runs if run.variant and (value := run.test(judged.figure)) is not None
    ]
    return [
        {
            "title": plan.experiment.variants[one.variant].title, "verdict": one.verdict(judged.better),
            **msgspec.to_builtins(one), **_pooled([run for run in runs if run.variant == one.variant], judged),
        }
        for one in compare(told, variants)
    ]


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


def _fold(fold: int, variant: str, every: Sequence[RunResults], judged: Measure) -> dict[str, Any]:
    runs = [run for run in every if run.outer_fold == fold and run.variant == variant]
    name = judged.figure
    values = [run.test(name) for run in runs]
    known = spread(values)
    return {
        "outer_fold": fold, "variant": variant, f"mean_{name}": known["mean"], f"std_{name}": known["std"],
        f"best_{name}": judged.best([value for value in values if value is not None]), "num_restarts": len(runs),
        "runs": [_flat(run) for run in runs],
    }


def _flat(run: RunResults) -> dict[str, Any]:
    """As results.json has it, with every figure as `test_NAME`."""
    fields: dict[str, Any] = msgspec.to_builtins(run)
    return fields | {f"test_{name}": value for name, value in run.figures.items()}


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
