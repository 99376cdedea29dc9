"""How to run: every field a knob, declared once with its range, unit, kind and help."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.errors import UsageError, unknown
from engine.paths import read_toml

Value = bool | int | float | str


class Kind(StrEnum):
    """What changing a knob may change."""

    SPEED = "speed only"
    OPTIMISATION = "changes the optimisation"
    METRIC = "changes the metric"


class Knob(NamedTuple):
    """One setting of how a training runs. `low`/`high` bound numbers; `choices` list the words allowed.

    `live`: it concerns the loader alone, so a training under way can change it between two steps.
    """

    name: str
    default: Value
    kind: Kind
    help: str
    unit: str = ""
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    def check(self, value: object, where: str = "") -> Value:
        """`value` as this knob's type; raises UsageError naming the range."""
        place = f" in {where}" if where else ""
        if self.choices:
            if isinstance(value, str) and value in self.choices:
                return value
            raise UsageError(f"{self.name} = {value!r}{place}: it is one of {', '.join(self.choices)}")
        if isinstance(self.default, bool):
            if isinstance(value, bool):
                return value
            raise UsageError(f"{self.name} = {value!r}{place}: it is true or false")
        if isinstance(value, bool) or not isinstance(value, int):
            raise UsageError(f"{self.name} = {value!r}{place}: it is a whole number, {self.low} to {self.high}")
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            raise UsageError(f"{self.name} = {value}{place}: it must lie in {self.low} to {self.high}")
        return value

    def parse(self, text: str) -> Value:
        """A command line's text as this knob's value."""
        words: dict[str, Value] = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        if not self.choices and isinstance(self.default, bool):
            return self.check(words.get(text.lower(), text))
        if self.choices:
            return self.check(text)
        try:
            return self.check(int(text))
        except ValueError:
            return self.check(text)


KNOBS: dict[str, Knob] = {
    knob.name: knob
    for knob in (
        Knob(
            "num_workers",
            2,
            Kind.SPEED,
            "processes that load samples; 0 loads in the trainer",
            "processes",
            0,
            64,
            live=True,
        ),
        Knob("prefetch_factor", 2, Kind.SPEED, "batches each worker keeps ready", "batches", 1, 64, live=True),
        Knob("persistent_workers", True, Kind.SPEED, "keep workers between epochs", live=True),
        Knob(
            "pin_memory",
            True,
            Kind.SPEED,
            "page-locked batches, for faster copies to a GPU (ignored on CPU)",
            live=True,
        ),
        Knob(
            "multiprocessing_context",
            "fork",
            Kind.SPEED,
            "how workers start; fork shares memory, spawn does not",
            choices=("fork", "forkserver", "spawn"),
            live=True,
        ),
        Knob(
            "in_order",
            True,
            Kind.SPEED,
            "hand batches out in sampler order even if a later one is ready first",
            live=True,
        ),
        Knob("batch_size", 1, Kind.OPTIMISATION, "samples in one forward pass", "samples", 1, 1024),
        Knob("accumulate_steps", 1, Kind.OPTIMISATION, "forward passes summed into one step", "passes", 1, 1024),
        Knob(
            "precision",
            "auto",
            Kind.OPTIMISATION,
            "auto is fp16 on CUDA and fp32 elsewhere; fp16 and bf16 are autocast",
            choices=("auto", "fp32", "fp16", "bf16"),
        ),
        Knob("channels_last", False, Kind.SPEED, "channels-last memory layout for the model and its input"),
        Knob("compile", False, Kind.SPEED, "torch.compile the model; the first step takes tens of seconds"),
        Knob(
            "cache",
            "disk",
            Kind.SPEED,
            "disk maps prepared volumes; ram copies each into every worker that meets it; none prepares anew each time",
            choices=("disk", "ram", "none"),
            live=True,
        ),
        Knob(
            "steps_per_epoch",
            0,
            Kind.OPTIMISATION,
            "optimizer steps in an epoch; 0 is every sample once",
            "steps",
            0,
            1_000_000,
        ),
        Knob(
            "val_batch_size",
            1,
            Kind.SPEED,
            "samples in one forward pass of validation and test",
            "samples",
            1,
            1024,
            live=True,
        ),
        Knob(
            "val_num_workers",
            0,
            Kind.SPEED,
            "processes that load for validation and test",
            "processes",
            0,
            64,
            live=True,
        ),
        Knob("val_every_epochs", 0, Kind.METRIC, "validate every so many epochs; 0 never", "epochs", 0, 100_000),
        Knob(
            "val_patches_per_volume",
            0,
            Kind.METRIC,
            "patches of half a volume's sides to validate on; 0 is whole volumes. The test is always on whole ones",
            "patches",
            0,
            10_000,
        ),
        Knob(
            "reconstruct_every_epochs",
            0,
            Kind.METRIC,
            "score every held-out volume as a whole every so many epochs; 0 only at the end",
            "epochs",
            0,
            100_000,
        ),
    )
}


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A named set of knobs, complete: every knob has a value."""

    name: str
    title: str = ""
    knobs: dict[str, Value]

    def __getitem__(self, name: str) -> Any:
        """The default where an older plan knows nothing of the knob."""
        return self.knobs[name] if name in self.knobs else KNOBS[name].default


def load(path: Path) -> tuple[str, dict[str, Value]]:
    """A profile file's title and the knobs it sets; raises UsageError naming the file and the knob."""
    raw = read_toml(path)
    for key in raw:
        if key not in ("title", "knobs"):
            raise unknown("field", key, ("title", "knobs"), str(path))
    title, values = raw.get("title", ""), raw.get("knobs", {})
    if not isinstance(title, str) or not isinstance(values, dict):
        raise UsageError(f"{path}: title is a text and [knobs] a table")
    return title, check_all(values, str(path))


def check_all(values: Mapping[str, object], where: str) -> dict[str, Value]:
    """Every knob of `values` within its range; raises UsageError for an unknown one with the nearest right name."""
    checked: dict[str, Value] = {}
    for name, value in values.items():
        if name not in KNOBS:
            raise unknown("knob", name, KNOBS, where)
        checked[name] = KNOBS[name].check(value, where)
    return checked


def parse_settings(texts: list[str]) -> dict[str, Value]:
    """`knob=value` texts of the command line."""
    values: dict[str, Value] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: write it as knob=value")
        if name not in KNOBS:
            raise unknown("knob", name, KNOBS, "--set")
        values[name] = KNOBS[name].parse(value)
    return values


def defaults() -> dict[str, Value]:
    return {name: knob.default for name, knob in KNOBS.items()}
