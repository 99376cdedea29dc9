"""A profile that is being edited: its knobs, what they were before each change, how one is stepped or typed."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.config.knob import Knob, Value
from engine.config.profile import KNOBS
from engine.errors import UsageError
from engine.machine import cores
from engine.machine.cores import Machine

MOST_UNDONE = 200
WORKERS = ("num_workers", "val_num_workers")


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """The knobs at one moment. `name`: the profile they came from; `scaled`: texts that numbers followed the machine
    by."""

    name: str
    knobs: dict[str, Value]
    scaled: dict[str, str] = {}


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """`origin` is what reset goes back to; `past` and `future` are what undo and redo go to, the nearest last."""

    origin: Version
    now: Version
    past: tuple[Version, ...] = ()
    future: tuple[Version, ...] = ()

    @property
    def knobs(self) -> dict[str, Value]:
        return self.now.knobs


def draft_of(name: str, knobs: Mapping[str, Value], scaled: Mapping[str, str] | None = None) -> Draft:
    """Nothing edited yet; a knob that `knobs` leaves out has its default. `scaled`: the texts that numbers followed the
    machine by, which go on doing so until they are edited."""
    complete = {knob.name: knobs.get(knob.name, knob.default) for knob in KNOBS.values()}
    version = Version(name=name, knobs=complete, scaled=dict(scaled or {}))
    return Draft(origin=version, now=version)


def with_version(draft: Draft, version: Version) -> Draft:
    """`version` as the newest change; the same draft if it changes nothing."""
    if version == draft.now:
        return draft
    return Draft(origin=draft.origin, now=version, past=(*draft.past, draft.now)[-MOST_UNDONE:])


def with_knob(draft: Draft, name: str, value: Value, machine: Machine) -> Draft:
    """One knob changed, a text that follows the machine as its number there.

    Raises UsageError naming the range, or for more loader processes than the machine allows.
    """
    knob = KNOBS[name]
    number = knob.resolve(knob.check(value), machine)
    if name in WORKERS and (words := cores.too_many(int(number), machine)):
        raise UsageError(f"{name} = {number}: {words}")
    now = draft.now
    scaled = {known: text for known, text in now.scaled.items() if known != name}
    if number != value:
        scaled[name] = str(value)
    return with_version(draft, Version(name=now.name, knobs=now.knobs | {name: number}, scaled=scaled))


def loaded(draft: Draft, name: str, knobs: Mapping[str, Value], scaled: Mapping[str, str]) -> Draft:
    """Another profile in its place; undo brings the former one back."""
    return with_version(draft, Version(name=name, knobs=draft.knobs | dict(knobs), scaled=dict(scaled)))


def undone(draft: Draft) -> Draft:
    if not draft.past:
        return draft
    return Draft(origin=draft.origin, now=draft.past[-1], past=draft.past[:-1], future=(*draft.future, draft.now))


def redone(draft: Draft) -> Draft:
    if not draft.future:
        return draft
    return Draft(origin=draft.origin, now=draft.future[-1], past=(*draft.past, draft.now), future=draft.future[:-1])


def reset(draft: Draft) -> Draft:
    """Back to the origin, as one more change."""
    return with_version(draft, draft.origin)


def rebased(
    draft: Draft, name: str, knobs: Mapping[str, Value], scaled: Mapping[str, str] | None = None
) -> Draft:
    """The training runs with other knobs now: reset goes back to those. What is being edited stays."""
    fresh = draft_of(name, knobs, scaled)
    if fresh.origin == draft.origin:
        return draft
    now = fresh.now if draft.now == draft.origin else draft.now
    return Draft(origin=fresh.origin, now=now, past=draft.past, future=draft.future)


def changed(draft: Draft, against: Mapping[str, Value]) -> dict[str, Value]:
    """The knobs that differ from those of `against`."""
    return {name: value for name, value in draft.knobs.items() if value != against.get(name, KNOBS[name].default)}


# ---------------------------------------------------------------- one knob


def stepped(knob: Knob, value: Value, by: int) -> Value:
    """The next value in that direction; a choice goes round, a number stays within its range."""
    if knob.choices:
        at = knob.choices.index(str(value)) if value in knob.choices else 0
        return knob.choices[(at + by) % len(knob.choices)]
    if isinstance(knob.default, bool):
        return not value
    number = int(value) + by
    if knob.low is not None:
        number = max(knob.low, number)
    return number if knob.high is None else min(knob.high, number)


def range_words(knob: Knob) -> str:
    """`0 to 64 processes, or a text such as cores/2`."""
    return f"{knob.allowed} {knob.unit}{', or a text such as cores/2' if knob.name in WORKERS else ''}".rstrip()


def meaningless(name: str, knobs: Mapping[str, Value]) -> str:
    """Why a knob has no effect beside the others; '' if it has."""
    if name in ("prefetch_factor", "persistent_workers", "multiprocessing_context", "in_order"):
        return "no effect without workers" if not knobs["num_workers"] else ""
    if name == "val_patches_per_volume":
        return "no effect without validation" if not knobs["val_every_epochs"] else ""
    return ""


def to_save(version: Version, held: Mapping[str, Value], base: Mapping[str, Value]) -> dict[str, Value]:
    """What a profile's file shall set: what `base` (the file that is built on) sets, and what differs from `held` (what
    a training has without a profile). Numbers that followed the machine go on doing so."""
    values = {
        name: version.scaled.get(name, value)
        for name, value in version.knobs.items()
        if name in base or value != held.get(name, KNOBS[name].default)
    }
    if not values.get("val_every_epochs", version.knobs["val_every_epochs"]):
        # A file that sets both would contradict itself.
        values.pop("val_patches_per_volume", None)
    return values
