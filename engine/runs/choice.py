"""Which profile an experiment is run with: chosen by name, made complete, and refused if the machine cannot bear it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.config import catalog
from engine.config.experiment import Experiment, of_variant, resolve_profile
from engine.config.knob import Value
from engine.config.profile import Profile, check_workers
from engine.eta.costs import training_key
from engine.machine import cores
from engine.machine.cores import Machine
from engine.machine.device_preview import quick_device
from engine.phase import tuned
from engine.phase.tuned import Tuned

AUTO = "auto"


def choose(
    experiment: Experiment,
    name: str,
    settings: dict[str, Value],
    logs: Path,
    device: str = "auto",
    override_locks: bool = False,
    machine: Machine | None = None,
    variants: tuple[str, ...] | None = None,
) -> tuple[Profile, dict[str, str]]:
    """The complete profile and the locks it overrides (see resolve_profile).

    `auto` takes what `steptop tune` found for this kind of training on `device`, where it did: of several `variants`
    (None: all there are) what the first found that was tuned. Raises UsageError for anything unknown, locked, out of
    range, or beyond the machine.
    """
    here = machine or cores.machine()
    title, chosen = catalog.profile_named(name, machine=here)
    called = Path(name).stem

    def resolve(knobs: dict[str, Value]) -> tuple[Profile, dict[str, str]]:
        return resolve_profile(experiment, called, title, knobs, settings, override_locks, here)

    profile, overridden = resolve(chosen)
    if called == AUTO:
        found = _found(experiment, profile, logs, quick_device(device)["name"], variants)
        if found is not None:
            profile, overridden = resolve(found.knobs)
        basis = found.text if found is not None else untuned(profile, here)
        profile = msgspec.structs.replace(profile, basis=basis)
    check_workers(profile.knobs, lambda _: f"profile {called}", here)
    return profile, overridden


def _found(
    experiment: Experiment, profile: Profile, logs: Path, device_name: str, variants: tuple[str, ...] | None
) -> Tuned | None:
    """With one of the variants, else of the training without any: an older file does not name the one it measured."""
    names = [name for name in variants or tuple(experiment.variants) if name in experiment.variants]
    keys = {name: training_key(of_variant(experiment, name), profile, device_name) for name in names}
    held = [tuned.recall(logs, key, name) for name, key in keys.items()]
    named = next((one for one in held if one is not None and one.variant), None)
    return named or tuned.recall(logs, training_key(experiment, profile, device_name))


def untuned(profile: Profile, machine: Machine) -> str:
    """What `auto` is before anything was tuned."""
    by_cores = ", ".join(f"{name} {profile[name]} ({text})" for name, text in profile.scaled.items())
    return (
        f"nothing tuned for this model, shape, batch, precision and device on {machine.said} yet (`steptop tune` does "
        f"it); chosen by the machine: {by_cores or 'defaults'}"
    )
