"""replay --forecast: what was foretold at every percent of a recorded run, and what became of run and experiment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec

from engine.config.plan import Plan
from engine.config.run_keys import RunKey
from engine.errors import UsageError
from engine.eta import timings
from engine.eta.replayed import Foretold, foretold
from engine.journals.events import ExperimentEnded
from engine.journals.journal import read
from engine.paths import ExperimentPaths, read_json
from tui import format as fmt
from tui.verbs.common import recording, run_at, say

# From here on a forecast is held against the truth in the summary.
FROM_PERCENT = 2


def replay(options: argparse.Namespace) -> int:
    """Without a dashboard. Raises UsageError for a folder or a run of which nothing can be told."""
    folder = recording(options.logs, options.folder).resolve()
    plan = read_json(ExperimentPaths(folder).plan, Plan)
    known = timings.earlier(folder.parent, folder.name, before=plan.created) if plan is not None else None
    found = [one for one in foretold(folder, options.every, known) if one.rung != "epoch"]
    if options.run is not None:
        found = [one for one in found if one.run.endswith(f"/{_named(options.run)}")]
    names = dict.fromkeys(one.run for one in found if one.rung == "run")
    if not names:
        which = f"run {options.run} has not" if options.run is not None else "no run has"
        raise UsageError(f"{folder.name}: {which} finished, so there is no truth to hold a forecast against")
    runs = {name: _rungs(found, name) for name in names}
    if options.json:
        told = [run_json(name, own, whole) for name, (own, whole) in runs.items()]
        body = {"format": 1, "experiment": folder.name, "runs": told}
        sys.stdout.write(msgspec.json.encode(body).decode() + "\n")
        return 0
    several = plan is not None and len(plan.runs) > 1
    for name, (own, whole) in runs.items():
        for line in (*table(name, own), *(table(f"{name}: the experiment", whole) if whole and several else ())):
            say(line)
    if several and not any(whole for _, whole in runs.values()):
        say(f"{folder.name}, the experiment: {_untold(folder)}")
    return 0


def _untold(folder: Path) -> str:
    """Why there is no forecast of an experiment to hold against its end."""
    ends = [event for event in read(ExperimentPaths(folder).events) if isinstance(event, ExperimentEnded)]
    if not any(event.outcome == "finished" for event in ends):
        return "it has not finished, so there is no truth to hold a forecast against"
    if len(ends) > 1:
        return (
            f"it ended {len(ends)} times and was gone on with, so there is no one end to hold a forecast against"
        )
    return "nothing was foretold of it"


def _rungs(found: Sequence[Foretold], run: str) -> tuple[list[Foretold], list[Foretold]]:
    """What was foretold of a run, and meanwhile of the experiment: nothing where nobody knows when that ended."""
    own = [one for one in found if one.run == run]
    return [one for one in own if one.rung == "run"], [one for one in own if one.rung == "experiment"]


def _named(text: str) -> str:
    """`0,1` or `mkdc,0,1` as the run is called."""
    fold, restart, variant = run_at(text)
    return RunKey(fold=fold, restart=restart, seed=0, variant=variant).name


def table(name: str, found: Sequence[Foretold]) -> list[str]:
    """A line for every percent of a run, and what they come to."""
    head = f"{'%':>4}{'gone':>10}{'total':>10}{'low':>10}{'high':>10}{'truth':>10}{'error':>9}  inside  basis"
    lines = [name, head]
    for one in found:
        low, high = one.gone + one.low, one.gone + one.high
        cells = "".join(f"{fmt.duration(value):>10}" for value in (one.gone, one.total, low, high, one.true_total))
        inside = "yes" if one.inside else "NO"
        lines.append(f"{one.percent:>4}{cells}{100 * one.error:>+8.1f}%  {inside:<6}  {one.basis}")
    return [*lines, f"  {summary(found)}", ""]


def summary(found: Sequence[Foretold]) -> str:
    """How good the forecasts were, in a sentence."""
    counted = [one for one in found if one.percent >= FROM_PERCENT] or list(found)
    errors = [abs(one.error) for one in counted]
    tenth = min(found, key=lambda one: abs(one.percent - 10))
    held = sum(one.inside for one in counted)
    return (
        f"from {counted[0].percent} % on: mean error {100 * sum(errors) / len(errors):.1f} %, median "
        f"{100 * median(errors):.1f} %; at {tenth.percent} % {100 * tenth.error:+.1f} %; the 90 % range held "
        f"{held} of {len(counted)} times ({100 * held / len(counted):.0f} %)"
    )


def run_json(name: str, own: Sequence[Foretold], whole: Sequence[Foretold]) -> dict[str, object]:
    """As docs/forecast.md has it."""
    return {"run": name, **_rung_json(own), "experiment": _rung_json(whole) if whole else None}


def _rung_json(found: Sequence[Foretold]) -> dict[str, object]:
    counted = [one for one in found if one.percent >= FROM_PERCENT] or list(found)
    errors = [abs(one.error) for one in counted]
    return {
        "seconds": found[-1].true_total,
        "mean_error": sum(errors) / len(errors),
        "median_error": median(errors),
        "error_at_10": min(found, key=lambda one: abs(one.percent - 10)).error,
        "inside": sum(one.inside for one in counted) / len(counted),
        "percents": [
            {
                "percent": one.percent,
                "step": one.step,
                "gone": one.gone,
                "total": one.total,
                "low": one.gone + one.low,
                "high": one.gone + one.high,
                "truth": one.true_total,
                "error": one.error,
                "inside": one.inside,
                "basis": one.basis,
            }
            for one in found
        ],
    }
