"""One run as its folder describes it: which variant, fold and restart, what to train on, as which attempt."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.config.experiment import of_variant
from engine.config.hashes import run_hash
from engine.config.plan import Plan
from engine.config.prepared import Prepared, Split, Subject, draws_per_epoch, split_of, steps_per_epoch
from engine.config.profile import Profile
from engine.config.run_keys import RunKey
from engine.errors import UsageError
from engine.journals.records import ProfileRequest
from engine.paths import ExperimentPaths, RunPaths, read_json, run_named


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`folder` is the run's. `planned`: the experiment's plan; `plan`: the same with what the run's variant sets.
    `config_hash` keys its checkpoints and its result. `trial`: profiles are measured, and what it trains is thrown
    away."""

    folder: Path
    planned: Plan
    plan: Plan
    prepared: Prepared
    key: RunKey
    split: Split
    attempt: int
    config_hash: str
    trial: bool = False

    @property
    def run(self) -> RunPaths:
        return RunPaths(self.folder)

    @property
    def experiment(self) -> ExperimentPaths:
        return ExperimentPaths(self.folder.parent)

    @property
    def training(self) -> tuple[Subject, ...]:
        return tuple(self.prepared.subjects[i] for i in self.split.train)

    @property
    def held_out(self) -> tuple[Subject, ...]:
        return tuple(self.prepared.subjects[i] for i in self.split.test)

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.split, self.plan.profile)

    @property
    def draws(self) -> int:
        """Samples in an epoch."""
        return draws_per_epoch(self.split, self.plan.profile)

    @property
    def steps(self) -> int:
        return self.plan.experiment.epochs * self.steps_per_epoch


def read(folder: Path, environ: Mapping[str, str] = os.environ) -> Job:
    """The job of a run's folder. Raises UsageError naming what is missing."""
    at = run_named(folder)
    if at is None:
        raise UsageError(f"{folder}: not a run's folder; those are called fold_F_restart_R or VARIANT_fold_F_restart_R")
    fold, restart, variant = at
    paths = ExperimentPaths(folder.parent)
    plan = read_json(paths.plan, Plan)
    if plan is None:
        raise UsageError(f"{paths.plan}: missing or damaged; `steptop run` writes it")
    prepared = read_json(paths.data, Prepared)
    if prepared is None:
        raise UsageError(f"{paths.data}: missing or damaged; `steptop run` prepares the volumes and writes it")
    key = next((key for key in plan.runs if key.at == at), None)
    split = split_of(plan, prepared, key) if key is not None else None
    if key is None or split is None:
        of = f" of variant {variant}" if variant else ""
        raise UsageError(f"{folder}: the plan has no fold {fold} restart {restart}{of}")
    if not split.train or not split.test:
        counts = f"{len(split.train)} subjects to train on and {len(split.test)} held out"
        raise UsageError(f"{paths.data}: fold {fold} has {counts}")
    segments = RunPaths(folder).segments()
    if plan.test is not None:
        asked = read_json(RunPaths(folder).profile, ProfileRequest)
        if asked is None:
            raise UsageError(f"{RunPaths(folder).profile}: missing or damaged; it names the profile to measure")
        plan = msgspec.structs.replace(plan, profile=Profile(name=asked.name, knobs=asked.knobs))
    given = environ.get("STEPTOP_ATTEMPT", "")
    own = msgspec.structs.replace(plan, experiment=of_variant(plan.experiment, variant))
    return Job(
        folder=folder, planned=plan, plan=own, prepared=prepared, key=key, split=split,
        attempt=int(given) if given.isdigit() else len(segments) + 1,
        config_hash=run_hash(plan, key, prepared.data_hash), trial=plan.test is not None,
    )
