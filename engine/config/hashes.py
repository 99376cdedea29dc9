"""By which hashes results and checkpoints are known to belong to an experiment, a profile and data."""

from __future__ import annotations

import hashlib

import msgspec

from engine.config.experiment import Experiment
from engine.config.plan import Plan
from engine.config.profile import KNOBS, Profile
from engine.config.run_keys import RunKey
from engine.config.tables import Checkpoints


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
        "experiment": chosen(
            msgspec.structs.replace(
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
            )
        ),
        "knobs": kept,
    }
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()[:16]


def chosen(value: object) -> object:
    """`value` without the fields that are as they are by default."""
    if isinstance(value, dict):
        return {name: chosen(inner) for name, inner in value.items()}
    if not isinstance(value, msgspec.Struct):
        return value
    fields = {field.name: (getattr(value, field.name), field) for field in msgspec.structs.fields(value)}
    return {name: chosen(one) for name, (one, field) in fields.items() if one != _default(field)}


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
