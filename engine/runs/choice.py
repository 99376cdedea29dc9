"""Which profile an experiment is run with: chosen by name, made complete, and refused if the machine cannot bear it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.config import catalog
from engine.config.experiment import Experiment, resolve_profile
from engine.config.knob import Value
from engine.config.profile import Profile, check_workers
from engine.eta.costs import training_key
from engine.machine import cores
from engine.machine.cores import Machine
from engine.machine.device_preview import quick_device
from engine.phase import tuned

AUTO = "auto"


def choose(
    experiment: Experiment,
    name: str,
    settings: dict[str, Value],
    logs: Path,
    device: str = "auto",
    override_locks: bool = False,
    machine: Machine | None = None,
) -> tuple[Profile, dict[str, str]]:
    """The complete profile and the locks it overrides (see resolve_profile).

    `auto` takes what `steptop tune` found for this kind of training on `device`, where it did. Raises UsageError for
    anything unknown, locked, out of range, or beyond the machine.
    """
    here = machine or cores.machine()
    title, chosen = catalog.profile_named(name, machine=here)
    called = Path(name).stem

    def resolve(knobs: dict[str, Value]) -> tuple[Profile, dict[str, str]]:
        return resolve_profile(experiment, called, title, knobs, settings, override_locks, here)

    profile, overridden = resolve(chosen)
    if called == AUTO:
        found = tuned.recall(logs, training_key(experiment, profile, quick_device(device)["name"]))
        if found is not None:
            profile, overridden = resolve(found.knobs)
        basis = found.text if found is not None else untuned(profile, here)
        profile = msgspec.structs.replace(profile, basis=basis)
    check_workers(profile.knobs, lambda _: f"profile {called}", here)
    return profile, overridden


def untuned(profile: Profile, machine: Machine) -> str:
    """What `auto` is before anything was tuned."""
    by_cores = ", ".join(f"{name} {profile[name]} ({text})" for name, text in profile.scaled.items())
    return (
        f"nothing tuned for this model, shape, batch, precision and device on {machine.said} yet (`steptop tune` does "
        f"it); chosen by the machine: {by_cores or 'defaults'}"
    )
