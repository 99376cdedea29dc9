"""What to train: an experiment file as typed data, checked in every field, and its locks with their reasons."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from engine.config import minimums, networks, variants as variant_sets
from engine.config.knob import shown
from engine.config.profile import KNOBS, Profile, Value, check_source, resolved
from engine.config.profile_file import line_in
from engine.config.ranges import check_ranges
from engine.config.shape import Where, problems
from engine.config.tables import (
    Checkpoints,
    Data,
    Lock,
    Loss,
    Minimum,
    Model,
    Optimizer,
    Patch,
    Prepare,
    Runs,
    Schedule,
    Table,
    Target,
    Term,
    Variant,
)
from engine.errors import UsageError, unknown
from engine.machine import cores
from engine.machine.cores import Machine
from engine.paths import read_toml


class Experiment(Table, frozen=True, kw_only=True):
    """`command`: a trainer of one's own, started with the run's folder as last argument; it writes the journal.
    `task`: what is learnt, and so what a sample, a loss and a figure are. `figures`: of whole held-out volumes, beside
    those of the task (engine.training.surfaces)."""

    title: str = ""
    task: Literal["segmentation", "peptides"] = "segmentation"
    command: tuple[str, ...] = ()
    epochs: int = 50
    profile: str = "conservative"
    data: Data = Data()
    prepare: Prepare = Prepare()
    patch: Patch = Patch()
    augment: dict[str, dict[str, float]] = {}
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    figures: tuple[Literal["surface_dice_2", "voi_score", "topo_score"], ...] = ()
    runs: Runs = Runs()
    variants: dict[str, Variant] = {}
    checkpoints: Checkpoints = Checkpoints()
    target: Target | None = None
    knobs: dict[str, bool | int | float | str] = {}
    locks: dict[str, Lock] = {}
    minimums: dict[str, Minimum] = {}

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Of what goes through the network at a time, voxels."""
        return self.prepare.shape if self.patch.whole else self.patch.shape


# Tables with names of the user's own in them, and what each name holds.
NAMED: dict[str, type[msgspec.Struct]] = {"locks": Lock, "minimums": Minimum, "terms": Term, "variants": Variant}


def load(path: Path) -> Experiment:
    """The experiment file; raises UsageError naming file, field and nearest right name."""
    raw = read_toml(path)
    return from_table(raw, str(path), partial(line_in, path))


def from_table(raw: dict[str, Any], where: str, line: Where | None = None) -> Experiment:
    """`raw` as an Experiment, checked in every field; `line` says where in its file a value stands."""
    raw = variant_sets.with_flat_sets(raw)
    _check_names(raw, Experiment, where)
    wrong = problems(raw, Experiment, line or (lambda *_: where))
    if wrong:
        raise UsageError("\n".join(wrong))
    experiment = msgspec.convert(raw, Experiment)
    check_source(experiment.knobs, partial(line, "knobs") if line else f"{where} [knobs]")
    for name, lock in experiment.locks.items():
        if name not in KNOBS:
            raise unknown("knob", name, KNOBS, f"{where} [locks]")
        KNOBS[name].check(lock.value, f"{where} [locks]")
        if not lock.reason:
            raise UsageError(f"{where}: the lock on {name} gives no reason")
    variant_sets.check(experiment.variants, Experiment, where, line)
    for name in ("", *experiment.variants):
        made, place = of_variant(experiment, name), f"{where} [variants.{name}]" if name else where
        check_ranges(made, place)
        minimums.check(experiment.minimums, made, place)
        if name or not experiment.variants:  # beside variants the file itself is not trained
            networks.check(made, place, not name or "loss.deep_supervision" in experiment.variants[name].set)
    return experiment


def _check_names(raw: dict[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for name, value in raw.items():
        if name not in fields:
            raise unknown("field", name, fields, where)
        inner = fields[name].type
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            _check_names(value, inner, f"{where} [{name}]")
        elif name in NAMED and isinstance(value, dict):
            for mine, one in value.items():
                if isinstance(one, dict):
                    _check_names(one, NAMED[name], f"{where} [{name}.{mine}]")


def of_variant(experiment: Experiment, variant: str) -> Experiment:
    """What a run of `variant` trains. Raises UsageError for one that is not there."""
    return variant_sets.applied(experiment, experiment.variants, variant)


def resolve_profile(
    experiment: Experiment,
    name: str,
    title: str,
    chosen: dict[str, Value],
    settings: dict[str, Value],
    override_locks: bool = False,
    machine: Machine | None = None,
) -> tuple[Profile, dict[str, str]]:
    """The complete profile and the locks that were overridden, with the reason each lock gave.

    A knob's value: its default, then the experiment's, then the profile's, then --set's. A lock beats a profile
    silently and --set loudly (UsageError) unless `override_locks`. Values that follow the `machine` (this one) become
    numbers here, and the profile keeps the texts they came from.
    """
    here = machine or cores.machine()
    values: dict[str, Value] = {knob.name: knob.default for knob in KNOBS.values()} | experiment.knobs | chosen
    overridden: dict[str, str] = {}
    for knob, lock in experiment.locks.items():
        wanted = settings.get(knob, lock.value)
        differs = KNOBS[knob].resolve(wanted, here) != KNOBS[knob].resolve(lock.value, here)
        if differs and not override_locks:
            raise UsageError(
                f"{knob} is locked at {shown(lock.value)} by the experiment: {lock.reason}. "
                f"To set it to {wanted} all the same, add --override-locks; it will be recorded"
            )
        if differs:
            overridden[knob] = lock.reason
        values[knob] = lock.value
    numbers, texts = resolved(values | settings, here)
    plain, _ = resolved(values, here)
    own = tuple(knob for knob in settings if numbers[knob] != plain[knob])
    return Profile(name=name, title=title, knobs=numbers, scaled=texts, own=own), overridden
