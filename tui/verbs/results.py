"""`steptop results`: held-out figures of every run, of the variants beside each other, and beside the target."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from engine.config.leading import MEASURES, measure
from engine.config.run_keys import variants_of
from engine.config.sources import EXAMPLE, trained_on
from engine.errors import UsageError
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, read_json
from engine.runs.ablation import Result, compare
from engine.text import clean
from tui import format as fmt
from tui.verbs.common import find, say

# Columns.
MOST_FIGURES = 7


def results(options: argparse.Namespace) -> int:
    """experiment_results.json as a table."""
    folder = find(options.logs, options.experiment)
    path = ExperimentPaths(folder).results
    found = read_json(path, dict[str, Any]) or told_by_runs(folder)
    if found is None:
        raise UsageError(f"{folder.name} has no finished run yet ({path} is not there)")
    if options.json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return 0
    for line in result_lines(found, folder):
        say(line)
    return 0


def told_by_runs(folder: Path) -> dict[str, Any] | None:
    """The same from the runs' own journals, for trainers that write no experiment_results.json; None without any."""
    state = Watch(folder).poll()
    runs = [run for run in state.runs if run.phase == "finished"]
    if not runs:
        return None
    told = []
    for run in runs:
        values = {f"test_{name}": value for name, value in (run.test.values if run.test else {}).items()}
        told.append(
            {"outer_fold": run.key.fold, "restart": run.key.restart, "variant": run.key.variant}
            | {"duration_seconds": run.elapsed} | values
        )
    judged, variants = measure(state.plan.experiment), variants_of(state.plan.runs)
    figures = [
        Result(run.key.variant, run.key.fold, run.key.restart, run.test.values[judged.figure])
        for run in runs if run.test is not None and judged.figure in run.test.values
    ]
    compared = [
        msgspec.to_builtins(one) | {"verdict": one.verdict(judged.better)}
        for one in (compare(figures, variants) if any(variants) else ())
    ]
    return {"data": trained_on(state.plan), "folds": [{"runs": told}], "summary": {}, "variants": compared}


def result_lines(found: dict[str, Any], folder: Path) -> list[str]:
    names = figure_names(found)
    runs = [run for fold in found.get("folds", []) for run in fold.get("runs", [])]
    called = [
        f"{run.get('variant') or ''} fold {run.get('outer_fold')} restart {run.get('restart')}".lstrip() for run in runs
    ]
    wide = max(18, *(len(name) for name in called)) if called else 18
    lines = [f"{folder.name}: held-out test", f"  {'run':<{wide}}{''.join(f'{clean(n)[:9]:>10}' for n in names)}  took"]
    if str(found.get("data", "")).startswith(EXAMPLE):
        lines.insert(1, f"  {found['data']}")
    for name, run in zip(called, runs, strict=True):
        figures = "".join(f"{number(run.get(f'test_{figure}')):>10}" for figure in names)
        lines.append(f"  {name:<{wide}}{figures}  {fmt.duration(run.get('duration_seconds') or 0)}")
    lines += variant_lines(found.get("variants") or [], clean(names[0]))
    summary = found.get("summary", {})
    for kind, label in (("", "per subject, pooled"), ("_per_run", "per run")):
        first = names[0]
        mean, std = summary.get(f"test_mean_{first}{kind}"), summary.get(f"test_std_{first}{kind}")
        median, iqr = summary.get(f"test_median_{first}{kind}"), summary.get(f"test_iqr_{first}{kind}")
        if mean is not None and not _learned(first, mean):
            lines.append(f"  {clean(first)} {label}: {number(mean)}, nothing was learned")
        elif mean is not None:
            spread = f"{number(mean)} ± {number(std)}, median {number(median)}, IQR {_iqr(iqr)}"
            lines.append(f"  {clean(first)} {label}: {spread}")
    target = summary.get("target_dice")
    if target is not None:
        std = summary.get("target_std")
        lines.append(f"  target: {number(target)}" + (f" ({number(std)})" if std else ""))
    return lines


def _learned(figure: str, mean: Any) -> bool:
    kind = next((one for one in MEASURES.values() if one.figure == figure), None)
    return kind is None or not isinstance(mean, int | float) or kind.learned(mean)


def variant_lines(variants: list[dict[str, Any]], figure: str) -> list[str]:
    """Each variant's mean over folds, and how far it is from the first one, fold by fold."""
    if not variants:
        return []
    wide = max(7, *(len(str(one.get("variant"))) for one in variants))
    lines = [f"  {'variant':<{wide}}  {figure} over folds     to {variants[0].get('variant')}, paired, 95 %"]
    for one in variants:
        own = f"{number(one.get('mean'))} ± {number(one.get('std'))} ({one.get('folds')})"
        apart = one.get("difference")
        words = ""
        if apart is not None:
            low, high = one.get("low"), one.get("high")
            known = isinstance(low, int | float) and isinstance(high, int | float)
            between = f" ({low:+.3f} to {high:+.3f})" if known else ""
            words = f"{apart:+.3f}{between}  {one.get('verdict')}"
        lines.append(f"  {one.get('variant')!s:<{wide}}  {own:<19}  {words}".rstrip())
    return lines


def figure_names(found: dict[str, Any]) -> tuple[str, ...]:
    """What the runs are judged by, the leading figure first; at most MOST_FIGURES."""
    runs = [run for fold in found.get("folds", []) for run in fold.get("runs", [])]
    numbers = [name for run in runs for name, value in run.items() if isinstance(value, int | float)]
    there = [name.removeprefix("test_") for name in numbers if name.startswith("test_")]
    leading = found.get("leading", {}).get("figure", "dice")
    first = ("dice", "avd", "mcc") if leading == "dice" else (leading,)
    return tuple(dict.fromkeys((*first, *there)))[:MOST_FIGURES]


def _iqr(value: Any) -> str:
    return " to ".join(number(v) for v in value) if isinstance(value, list | tuple) else number(value)


def number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "–"
