"""Whether a run is complete: results.json, keyed on the very configuration that it is the result of."""

from __future__ import annotations

from pathlib import Path

from engine.config.hashes import run_hash
from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.config.run_keys import RunKey
from engine.journals.records import Completion
from engine.paths import ExperimentPaths, read_json


def wanted_hash(paths: ExperimentPaths, plan: Plan, key: RunKey) -> str:
    """The hash that this run's result must bear."""
    if plan.experiment.command:
        return plan.training_hash
    prepared = read_json(paths.data, Prepared)
    return run_hash(plan, key, prepared.data_hash if prepared else "")


def completed(paths: ExperimentPaths, plan: Plan, key: RunKey) -> tuple[Completion | None, Path | None]:
    """The run's result if it is this configuration's; another's is moved aside, not overwritten, to the path given."""
    run = paths.run(*key.at)
    done = read_json(run.results, Completion)
    if done is None or done.config_hash == wanted_hash(paths, plan, key):
        return done, None
    aside = run.results.with_name(f"results.{done.config_hash or 'unknown'}.json")
    run.results.replace(aside)
    return None, aside
