"""Which devices runs train on, and how many go on side by side, from what the user asks for."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from engine.config.plan import Plan
from engine.counts import plural
from engine.errors import UsageError
from engine.machine.cores import Machine


class Places(NamedTuple):
    """`device` is where everything runs but for `devices`, which are those of the slots where there are several."""

    device: str
    devices: tuple[str, ...]
    slots: int


def places(devices: str | None, slots: int | None, here: Machine) -> Places:
    """auto, cpu, or CUDA devices by number: one, or several with commas. A slot for each device unless `slots`
    says otherwise. Raises UsageError for what is no device, or for more runs than there are cores."""
    names = [word.strip() for word in (devices or "auto").split(",") if word.strip()] or ["auto"]
    known = tuple(_checked(name, devices or "auto") for name in names)
    if len(known) > 1 and not all(name.isdigit() for name in known):
        raise UsageError(f"--devices {devices}: several at once are CUDA devices by their numbers, as 0,1")
    if len(set(known)) < len(known):
        raise UsageError(f"--devices {devices}: each once; `--slots {len(known)}` puts that many runs on what is named")
    count = slots if slots is not None else len(known)
    if count < 1:
        raise UsageError(f"--slots {count}: it is 1 or more")
    if count > here.cores:
        raise UsageError(f"--slots {count}: {plural(here.cores, 'core')} here, and every run needs one of its own")
    if count < len(known):
        raise UsageError(f"--slots {count}: {len(known)} devices are named; name as many as shall be used")
    return Places(known[0], known if len(known) > 1 else (), count)


def share(here: Machine, slots: int) -> Machine:
    """What one of so many runs side by side has of the machine: cores by number, the group's limits by their part."""
    return here if slots == 1 else msgspec.structs.replace(here, cores=max(1, here.cores // slots), runs=slots)


def device_of(plan: Plan, slot: int) -> str:
    """What a run in that slot trains on, as `plan.device` is written."""
    return plan.devices[slot % len(plan.devices)] if plan.devices else plan.device


def _checked(word: str, text: str) -> str:
    if word in ("auto", "cpu", "mps", "cuda") or word.isdigit() or (word.startswith("cuda:") and word[5:].isdigit()):
        return word.removeprefix("cuda:") if word != "cuda" else "0"
    raise UsageError(f"--devices {text!r}: it is auto, cpu or a CUDA device's number")
