"""What to train: an experiment file as typed data, variants × folds × restarts as runs, and the locks with reasons."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from engine.config import minimums, networks, variants as variant_sets
from engine.config.knob import shown
from engine.config.profile import KNOBS, Profile, Value, check_source, resolved
from engine.config.profile_file import line_in
from engine.config.ranges import check_ranges as check_ranges
from engine.config.shape import Where, problems
from engine.config.tables import (
    Checkpoints as Checkpoints,
    Data as Data,
    Lock as Lock,
    Loss as Loss,
    Minimum as Minimum,
    Model as Model,
    Optimizer as Optimizer,
    Patch as Patch,
    Prepare as Prepare,
    Runs as Runs,
    Schedule as Schedule,
    Table as Table,
    Target as Target,
    Term as Term,
    Variant as Variant,
)
from engine.counts import plural
from engine.errors import UsageError, unknown
from engine.journals.limit_events import Limits, OnFinish
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


class RunKey(msgspec.Struct, frozen=True, kw_only=True):
    """One training of the experiment. `variant`: '' where it has none."""

    fold: int
    restart: int
    seed: int
    variant: str = ""

    @property
    def at(self) -> tuple[int, int, str]:
        """What tells it from the experiment's others, as folders and records have it: fold, restart, variant."""
        return self.fold, self.restart, self.variant

    @property
    def name(self) -> str:
        return f"{self.variant} fold {self.fold} restart {self.restart}".lstrip()


class Phase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile to be tested: all its knobs, and in words what is expected of it and why it is tried."""

    name: str
    knobs: dict[str, bool | int | float | str]
    why: str = ""


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """What a test of profiles does instead of training: `bench` the first phase, `phases` all of them in order, `tune`
    looks for the best from the first one on.

    `steps` per phase, 0 for as many as the precision needs. `gate`: after an unstable phase the next one does not
    start. `batch_sizes`: those the tuner may choose from.
    """

    __test__ = False  # pytest takes what is called Test for tests

    kind: Literal["bench", "phases", "tune"]
    phases: tuple[Phase, ...]
    steps: int = 0
    gate: bool = True
    batch_sizes: tuple[int, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """plan.json: everything a supervisor and a trainer need to know, decided at launch. `slots`: runs that go on side
    by side, each on one of `devices` where that names several. `retries`: how often a run that failed is tried again.
    """

    format: int = 1
    name: str
    experiment_name: str
    experiment: Experiment
    profile: Profile
    runs: tuple[RunKey, ...]
    data_dir: str = ""
    cache_dir: str = ""
    device: str = "auto"
    devices: tuple[str, ...] = ()
    slots: int = 1
    retries: int = 0
    stop_after_runs: int = 0
    training_hash: str = ""
    overridden: dict[str, str] = {}
    over_budget: bool = False
    command: tuple[str, ...] = ()
    created: float = 0.0
    test: Test | None = None
    limits: Limits = Limits()
    on_finish: OnFinish | None = None


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One prepared image/label pair. `folder` holds image.npy (float32) and label.npy (uint8) of the prepared shape.
    `kept_bytes`: what the knob cache = ram keeps of it, `shape`: of the prepared volume; 0 where not written down."""

    id: str
    folder: str
    image_file: str = ""
    label_file: str = ""
    lesion_voxels: int = 0
    lesion_mm3: float = 0.0
    acquisition: str = ""
    sha256: str = ""
    kept_bytes: int = 0
    shape: tuple[int, int, int] = (0, 0, 0)


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """One outer fold: indices into Prepared.subjects. `draws`: samples in an epoch, 0 for each subject once."""

    fold: int
    train: tuple[int, ...]
    test: tuple[int, ...]
    draws: int = 0


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """data.json: what preparation left: subjects, folds, a hash over all contents, and what it had to say."""

    subjects: tuple[Subject, ...]
    splits: tuple[Split, ...]
    data_hash: str
    stratified_by: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    def split(self, fold: int) -> Split:
        return next(split for split in self.splits if split.fold == fold)


def of_variant(experiment: Experiment, variant: str) -> Experiment:
    """What a run of `variant` trains. Raises UsageError for one that is not there."""
    return variant_sets.applied(experiment, experiment.variants, variant)


def split_of(plan: Plan, prepared: Prepared | None, key: RunKey) -> Split | None:
    """The run's fold, an epoch's draws as its variant's patches make them; None before the volumes are prepared."""
    split = next((one for one in prepared.splits if one.fold == key.fold), None) if prepared is not None else None
    patch = of_variant(plan.experiment, key.variant).patch
    if split is None or patch.per_volume == plan.experiment.patch.per_volume:
        return split
    return msgspec.structs.replace(split, draws=len(split.train) * patch.per_volume)


def steps_per_epoch(split: Split, profile: Profile) -> int:
    """Optimizer steps in one epoch of this fold; the last batch may be smaller where every sample comes once."""
    if profile["steps_per_epoch"]:
        return int(profile["steps_per_epoch"])
    batches = -(-(split.draws or len(split.train)) // int(profile["batch_size"]))
    return -(-batches // int(profile["accumulate_steps"]))


def draws_per_epoch(split: Split, profile: Profile) -> int:
    """Samples in one epoch of this fold, the same one more than once if the epoch is longer than the data."""
    if not profile["steps_per_epoch"]:
        return split.draws or len(split.train)
    return int(profile["steps_per_epoch"]) * int(profile["batch_size"]) * int(profile["accumulate_steps"])


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


def runs_of(
    experiment: Experiment,
    folds: tuple[int, ...] | None = None,
    restarts: int | None = None,
    variants: tuple[str, ...] | None = None,
) -> tuple[RunKey, ...]:
    """Fold by fold, restart by restart, and of each the variants one after the other: what is compared comes together.

    Raises UsageError for a fold or variant the experiment does not have.
    """
    wanted = folds if folds is not None else experiment.runs.only or tuple(range(experiment.runs.folds))
    for fold in wanted:
        if not 0 <= fold < experiment.runs.folds:
            raise UsageError(f"no fold {fold}: the experiment has folds 0 to {experiment.runs.folds - 1}")
    count = restarts if restarts is not None else experiment.runs.restarts
    if count < 1:
        raise UsageError("restarts must be 1 or more")
    names = variant_sets.chosen(experiment.variants, variants)
    return tuple(
        RunKey(fold=fold, restart=restart, seed=_seed(experiment.runs, fold, restart), variant=name)
        for fold in dict.fromkeys(wanted)
        for restart in range(count)
        for name in names
    )


def variants_of(runs: Iterable[RunKey]) -> tuple[str, ...]:
    """In the order they are trained in; ('',) where the experiment has none."""
    return tuple(dict.fromkeys(key.variant for key in runs))


def dimensions(runs: Sequence[RunKey]) -> str:
    """`4 variants × 5 folds × 1 restart`."""
    variants = variants_of(runs)
    folds, restarts = len({key.fold for key in runs}), len({key.restart for key in runs})
    said = f"{plural(folds, 'fold')} × {plural(restarts, 'restart')}"
    return f"{plural(len(variants), 'variant')} × {said}" if any(variants) else said


def _seed(runs: Runs, fold: int, restart: int) -> int:
    return runs.base_seed + (restart if runs.seed_by == "restart" else fold + runs.folds * restart)


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
    return Profile(name=name, title=title, knobs=numbers, scaled=texts), overridden


def training_hash(experiment: Experiment, profile: Profile) -> str:
    """What a run's result depends on beside its data, 16 hex digits: not its speed, nor how many runs there are."""
    # Values that are the default are left out: a knob or field that comes with a later version changes no hash.
    kept = {
        name: value
        for name, value in sorted(profile.knobs.items())
        if KNOBS[name].kind != "speed only" and value != KNOBS[name].default
    }
    runs = experiment.runs
    body = {
        "experiment": msgspec.structs.replace(
            experiment,
            title="",
            profile="",
            knobs={},
            locks={},
            target=None,
            minimums={},
            variants={},
            checkpoints=Checkpoints(),
            runs=msgspec.structs.replace(runs, restarts=1, only=()),
        ),
        "knobs": kept,
    }
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()[:16]


def _chosen(value: object) -> object:
    """`value` without the fields that are as they are by default."""
    if isinstance(value, dict):
        return {name: _chosen(inner) for name, inner in value.items()}
    if not isinstance(value, msgspec.Struct):
        return value
    left = {field.name: (getattr(value, field.name), field) for field in msgspec.structs.fields(value)}
    return {name: _chosen(one) for name, (one, field) in left.items() if one != _default(field)}


def _default(field: msgspec.structs.FieldInfo) -> object:
    factory: object = field.default_factory
    return factory() if callable(factory) else field.default


def run_hash(plan: Plan, key: RunKey, data_hash: str) -> str:
    """A run's identity: completion and checkpoints are keyed on it. Other variants than the run's own are no part of
    it: one more of them leaves what has been trained as it is."""
    text = f"{plan.training_hash}/{data_hash}/{key.fold}/{key.restart}/{key.seed}"
    if key.variant:
        own = plan.experiment.variants[key.variant].set
        text += f"/{key.variant}/{msgspec.json.encode(own, order='deterministic').decode()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
