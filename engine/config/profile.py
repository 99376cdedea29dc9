"""How to run: every field a knob, declared once with its range, unit, kind and help."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from engine.config.knob import Kind as Kind, Knob as Knob, Value as Value, shown
from engine.errors import UsageError, unknown
from engine.machine import cores
from engine.machine.cores import Machine

Place = Callable[[str], str]
# So many knobs of its own are said beside a profile's name.
SAID = 3

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
            Kind.OPTIMISATION,
            "hand batches out in sampler order; false: the first that is ready, so samples come in another order",
        ),
        Knob(
            "batch_size",
            1,
            Kind.OPTIMISATION,
            "samples in one forward pass; where optimizer.lr_batch is set the learning rate grows with it",
            "samples",
            1,
            1024,
        ),
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
            "activation_checkpointing",
            False,
            Kind.SPEED,
            "keep no activations, compute them again in the backward pass, in networks that can: less VRAM, slower",
        ),
        Knob(
            "deterministic",
            False,
            Kind.SPEED,
            "on a GPU only algorithms that give the same bits every time, where PyTorch has them: slower",
        ),
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
            "patches to validate on, as large as those of training, else half a volume's sides; 0 is whole volumes. "
            "The test is always on whole ones",
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
    """A named set of knobs, complete: every knob has a value.

    `scaled`: the text a value followed the machine by, `cores/2` say; `basis`: where values came from, in words, where
    there is more to say than the name; `own`: the knobs that a launch gave another value than the profile of that name.
    """

    name: str
    title: str = ""
    knobs: dict[str, Value]
    scaled: dict[str, str] = {}
    basis: str = ""
    own: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """`conservative`, or `conservative with num_workers=2`."""
        values = [f"{name}={shown(self[name])}" for name in self.own[:SAID]]
        more = [f"{len(self.own) - SAID} more"] if len(self.own) > SAID else []
        return f"{self.name} with {', '.join([*values, *more])}" if values else self.name

    def __getitem__(self, name: str) -> Any:
        """The default where an older plan knows nothing of the knob."""
        return self.knobs[name] if name in self.knobs else KNOBS[name].default


def defaults() -> dict[str, Value]:
    return {name: knob.default for name, knob in KNOBS.items()}


def check_all(values: Mapping[str, object], where: str | Place) -> dict[str, Value]:
    """Every knob of `values` within its range; raises UsageError, for an unknown knob with the nearest right name.

    `where`: what they come from, or what says where in it a knob stands.
    """
    place: Place = where if callable(where) else lambda _: where
    checked: dict[str, Value] = {}
    for name, value in values.items():
        if name not in KNOBS:
            raise unknown("knob", name, KNOBS, place(name))
        try:
            checked[name] = KNOBS[name].check(value, "")
        except UsageError:  # only now is its line looked for: that reads the file once for each of its lines
            checked[name] = KNOBS[name].check(value, place(name))
    return checked


def check_source(values: Mapping[str, object], where: str | Place, machine: Machine | None = None) -> dict[str, Value]:
    """check_all, for what somebody wrote down in one place: there values must not contradict each other either, nor, on
    `machine`, ask for more loader processes than it allows. A complete profile may hold a prefetch_factor that means
    nothing because its num_workers is 0."""
    place: Place = where if callable(where) else lambda _: where
    checked = check_all(values, place)
    check_agreement(checked, place)
    if machine is not None:
        check_workers(checked, place, machine)
    return checked


def check_agreement(values: Mapping[str, Value], place: Place) -> None:
    """Raises UsageError for values of one source that contradict each other."""
    if values.get("num_workers") == 0:
        against = [name for name in ("prefetch_factor", "persistent_workers") if values.get(name, False) is not False]
        if against:
            said = " and ".join(f"{name} = {shown(values[name])}" for name in against)
            raise UsageError(
                f"num_workers = 0 contradicts {said} ({_places(('num_workers', *against), place)}): without workers "
                f"nothing is loaded ahead or kept. Leave {' and '.join(against)} out, or give num_workers 1 or more"
            )
    if values.get("val_every_epochs") == 0 and values.get("val_patches_per_volume", 0) != 0:
        where = _places(("val_patches_per_volume", "val_every_epochs"), place)
        raise UsageError(
            f"val_patches_per_volume = {shown(values['val_patches_per_volume'])} contradicts val_every_epochs = 0 "
            f"({where}): there is no validation to cut patches for. Leave val_patches_per_volume out, or give "
            "val_every_epochs 1 or more"
        )


def check_workers(values: Mapping[str, Value], place: Place, machine: Machine) -> None:
    """Raises UsageError for more loader processes than the machine allows this one."""
    for name in ("num_workers", "val_num_workers"):
        if name in values:
            count = int(KNOBS[name].resolve(values[name], machine))
            if words := cores.too_many(count, machine):
                raise UsageError(f"{name} = {shown(values[name])} in {place(name)}: {words}")


def _places(names: Iterable[str], place: Place) -> str:
    """`mine.toml, line 3 and line 5`: each place once, the file not repeated."""
    found = list(dict.fromkeys(place(name) for name in names))
    source = found[0].partition(", line ")[0]
    return " and ".join([found[0], *(text.removeprefix(f"{source}, ") for text in found[1:])])


def resolved(values: Mapping[str, Value], machine: Machine) -> tuple[dict[str, Value], dict[str, str]]:
    """`values` as numbers on this machine, and the text that each scaled one came from."""
    numbers = {name: KNOBS[name].resolve(value, machine) for name, value in values.items()}
    return numbers, {name: str(values[name]) for name, number in numbers.items() if number != values[name]}


def parse_settings(texts: list[str], machine: Machine | None = None) -> dict[str, Value]:
    """`knob=value` texts of the command line."""
    values: dict[str, Value] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: write it as knob=value")
        if name not in KNOBS:
            # Only now: an experiment's fields are declared with the knobs of this file.
            from engine.config.file_fields import no_knob

            raise no_knob(name, value) or unknown("knob", name, KNOBS, "--set")
        values[name] = KNOBS[name].parse(value, "--set")
    return check_source(values, "--set", machine)


def kind_of_change(changed: Iterable[str]) -> str:
    """What changing these knobs together may change, and whether its effect can be told."""
    names = list(dict.fromkeys(changed))
    if not names:
        return "nothing changes"
    kinds = {KNOBS[name].kind for name in names}
    effects = " and ".join(kind.value for kind in (Kind.OPTIMISATION, Kind.METRIC) if kind in kinds)
    said = effects or Kind.SPEED.value
    if len(names) == 1:
        return said
    return f"{said}; {len(names)} knobs at once: the effect cannot be attributed to one"
