"""The runs under way, side by side: which slot each has, what a slot gets of the machine, and who has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from engine.config.plan import Plan
from engine.config.run_keys import RunKey
from engine.machine import cores
from engine.runs.attempt import Attempt
from engine.runs.devices import device_of


class Running(NamedTuple):
    """A run under way in a slot."""

    key: RunKey
    slot: int
    attempt: Attempt


class Slots:
    """At most `count` runs at a time, slots counted from 0."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.running: list[Running] = []

    def free(self) -> int | None:
        """The first slot that nothing runs in."""
        taken = {one.slot for one in self.running}
        return next((slot for slot in range(self.count) if slot not in taken), None)

    def begin(self, key: RunKey, slot: int, attempt: Attempt) -> None:
        self.running.append(Running(key, slot, attempt))

    def attempts(self) -> tuple[Attempt, ...]:
        return tuple(one.attempt for one in self.running)

    def ended(self) -> Iterator[Running]:
        """Those that have ended since the last look; they give their slots back."""
        for one in [one for one in self.running if one.attempt.ended()]:
            self.running.remove(one)
            yield one


def environment(plan: Plan, slot: int) -> dict[str, str]:
    """What a trainer in that slot finds set: its own GPU, and its share of the cores where others train beside it."""
    device = device_of(plan, slot)
    # Numbers are those of nvidia-smi, by which the preflight goes too; CUDA itself counts the fastest first, and on a
    # machine with several kinds `auto` would be another GPU than the one that was looked at.
    environ = {} if device == "cpu" else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    if device.isdigit():
        environ["CUDA_VISIBLE_DEVICES"] = device
    if plan.slots > 1:
        threads = str(max(1, cores.machine().cores // plan.slots))
        environ |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return environ
