"""Under which conditions a trainer takes its steps: what was measured under others tells nothing of them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.journals.events import Begin

# Knobs of what is done between the steps.
BESIDE = ("val_", "reconstruct_")


class Anew(msgspec.Struct, frozen=True):
    """Since when a run's steps are taken as they are now: the pace's `attempt` that began then, and the `step` before
    it. `words` say what is another since; '' where nothing is."""

    attempt: int = 0
    step: int = 0
    words: str = ""


class Former(msgspec.Struct, frozen=True):
    """Conditions that a run has had before its present ones, as an attempt that begins with them would write them: for
    so many `steps`, in the pace's attempts from `attempt` on and before `until`."""

    begin: Begin
    attempt: int
    until: int
    steps: int


def alike(one: Begin, other: Begin) -> bool:
    """Whether steps taken as these attempts take them can be averaged."""
    return same_device(one, other) and same_profile(one, other)


def same_device(one: Begin, other: Begin) -> bool:
    """A GPU of the same name; a processor of the same model, with as many cores where both say how many."""
    counted = one.device == "cpu" and one.cores and other.cores
    return one.device_name == other.device_name and (not counted or one.cores == other.cores)


def same_profile(one: Begin, other: Begin) -> bool:
    """By all knobs that a step depends on, where both attempts wrote them down, else by the two that each does."""
    if one.knobs and other.knobs:
        return _paced(one.knobs) == _paced(other.knobs)
    return (one.num_workers, one.batch_size) == (other.num_workers, other.batch_size)


def _paced(knobs: Mapping[str, bool | int | float | str]) -> dict[str, bool | int | float | str]:
    return {name: value for name, value in knobs.items() if not name.startswith(BESIDE)}
