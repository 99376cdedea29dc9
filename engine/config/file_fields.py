"""Fields of an experiment's file that somebody takes for knobs: told as what they are, with the way to set them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.config import catalog
from engine.config.experiment import Experiment
from engine.config.tables import Table
from engine.errors import UsageError
from engine.text import clean

# What a launch has an option of its own for.
OPTIONS = {"epochs": "--epochs", "profile": "--profile"}


def no_knob(name: str, value: str) -> UsageError | None:
    """Of `--set name=value`: the error to raise if the experiment's file has a field of that name, else None."""
    dotted = field(name)
    if not dotted:
        return None
    table, _, last = dotted.rpartition(".")
    place = f"below [{table}]" if table else "at its top"
    own = _shown(catalog.shipped_folder("experiments"))
    copied = f"copy the file to ./experiments/NAME.toml (steptop's own are in {own})"
    option = f"give {OPTIONS[dotted]} {value} at launch, or " if dotted in OPTIONS else ""
    return UsageError(
        clean(
            f"--set {name}={value}: {name!r} is no knob but a field of the experiment's file, fixed once it trains. To "
            f"set it: {option}{copied}, write {last} = {value} {place} there, and train NAME"
        )
    )


def field(name: str) -> str:
    """The whole dotted name of a field of an experiment's file, which may leave its table out where only one has it;
    '' for what is none."""
    tables = {one.name: one.type for one in msgspec.structs.fields(Experiment)}
    first, _, rest = name.partition(".")
    if first in tables:
        kind = tables[first]
        if not rest:
            return "" if _is_table(kind) else name
        if not _is_table(kind):  # named by the user: transforms, locks
            return name if str(kind).startswith("dict") else ""
        return name if rest.partition(".")[0] in kind.__struct_fields__ else ""
    owners = [table for table, kind in tables.items() if _is_table(kind) and name in kind.__struct_fields__]
    return f"{owners[0]}.{name}" if len(owners) == 1 else ""


def _is_table(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Table)


def _shown(folder: Path) -> str:
    """As it is typed from here."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
