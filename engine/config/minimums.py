"""Figures that an experiment must not fall below, and why: locks for what is no knob, as `epochs`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.config.tables import Minimum
from engine.errors import UsageError, unknown


def check(minimums: Mapping[str, Minimum], experiment: msgspec.Struct, where: str) -> None:
    """Raises UsageError for a name that is no number of the experiment, no reason, or an experiment below its own."""
    for name, minimum in minimums.items():
        if not minimum.reason:
            raise UsageError(f"{where}: the minimum of {name} gives no reason")
        value = _value(experiment, name, f"{where} [minimums]")
        if value < minimum.least:
            raise UsageError(f"{where}: {name} = {value:g} is below its own minimum of {minimum.least:g}")


def below(minimums: Mapping[str, Minimum], experiment: msgspec.Struct) -> dict[str, str]:
    """What the experiment has less of than it must: the name, and the sentence that says so with the reason."""
    return {
        name: f"{name} is {minimum.least:g} or more by the experiment: {minimum.reason}"
        for name, minimum in minimums.items()
        if _value(experiment, name, "") < minimum.least
    }


def _value(experiment: msgspec.Struct, path: str, place: str) -> float:
    """Of a dotted field that holds a number."""
    found: Any = experiment
    for part in path.split("."):
        fields = [field.name for field in msgspec.structs.fields(found)] if isinstance(found, msgspec.Struct) else []
        if part not in fields:
            raise unknown("field", path, _numbers(experiment), place)
        found = getattr(found, part)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise unknown("number", path, _numbers(experiment), place)
    return found


def _numbers(table: msgspec.Struct, before: str = "") -> list[str]:
    names = []
    for field in msgspec.structs.fields(table):
        value = getattr(table, field.name)
        if isinstance(value, msgspec.Struct):
            names += _numbers(value, f"{before}{field.name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            names.append(f"{before}{field.name}")
    return names
