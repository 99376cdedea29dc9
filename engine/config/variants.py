"""Variants of an experiment: the same data, folds and epochs, with some fields of the file set otherwise.

Pure: what a variant changes is applied to the experiment as typed data, and checked as the file itself is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from engine.config.shape import Where, problems
from engine.config.tables import Variant
from engine.errors import UsageError, unknown

E = TypeVar("E", bound=msgspec.Struct)

# A name begins the folder of a run, and stands between commas on the command line.
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9-]{0,31}$")
# What is compared: everything else is the same in every variant, or the difference would not be the variant's.
CHANGEABLE = ("augment", "loss", "model", "optimizer", "patch", "schedule")


def check(variants: Mapping[str, Variant], kind: type[msgspec.Struct], where: str, line: Where | None = None) -> None:
    """Raises UsageError for a name that cannot be a folder's, a field that `kind` does not have, or a wrong value."""
    for name, variant in variants.items():
        if not NAME.match(name):
            raise UsageError(
                f"{where} [variants]: {name!r} cannot be a variant's name: letters, digits and '-' (32 at most, "
                "starting with a letter or digit)"
            )
        place = f"{where} [variants.{name}]"
        for path in variant.set:
            _check_path(path, kind, place)
        wrong = problems(nested(variant.set), kind, _of(name, line, where))
        if wrong:
            raise UsageError("\n".join(wrong))


def applied(experiment: E, variants: Mapping[str, Variant], name: str) -> E:
    """`experiment` with what the variant sets; itself for ''. Raises UsageError for one that is not there."""
    if not name:
        return experiment
    if name not in variants:
        raise unknown("variant", name, variants)
    table = _merged(msgspec.to_builtins(experiment), nested(variants[name].set))
    return msgspec.convert(table, type(experiment))


def chosen(variants: Mapping[str, Variant], wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """The variants to train, in the file's order where none are asked for; ('',) for an experiment without any.

    Raises UsageError for one that is not there.
    """
    if wanted is None or not any(wanted):
        return tuple(variants) or ("",)
    for name in wanted:
        if not variants:
            raise UsageError(f"no variant {name!r}: the experiment has none ([variants.NAME] in its file makes one)")
        if name not in variants:
            raise unknown("variant", name, variants)
    return tuple(dict.fromkeys(wanted)) or ("",)


def flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """`{"model": {"mkdc": true}}`, which TOML makes of `model.mkdc` without quotes, as `{"model.mkdc": true}`."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) and value else {f"{before}{name}": value}
    return found


def with_flat_sets(raw: dict[str, Any]) -> dict[str, Any]:
    """An experiment file's table with every variant's `set` flat; whatever is no table stays for the check to name."""
    variants = raw.get("variants")
    if not isinstance(variants, dict):
        return raw
    made = {
        name: one | {"set": flat(one["set"])} if isinstance(one, dict) and isinstance(one.get("set"), dict) else one
        for name, one in variants.items()
    }
    return raw | {"variants": made}


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"model.mkdc": true}` as `{"model": {"mkdc": true}}`."""
    table: dict[str, Any] = {}
    for path, value in flat.items():
        *tables, field = path.split(".")
        inner = table
        for part in tables:
            inner = inner.setdefault(part, {})
        inner[field] = value
    return table


def _merged(table: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(table)
    for name, value in changes.items():
        held = found.get(name)
        found[name] = _merged(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return found


def _check_path(path: str, kind: type[msgspec.Struct], place: str) -> None:
    """Field by field through the tables; what a free table holds (`augment.rotate.p`) has names of its own."""
    first, *rest = path.split(".")
    known = {field.name: field.type for field in msgspec.structs.fields(kind)}
    if first not in known:
        raise unknown("field", first, CHANGEABLE, place)
    if first not in CHANGEABLE:
        raise UsageError(
            f"{place}: {path} is the same in every variant; a variant sets fields of {', '.join(CHANGEABLE)}"
        )
    inner: Any = known[first]
    for depth, part in enumerate(rest, start=1):
        inner = _without_none(inner)
        if get_origin(inner) is dict:
            inner = get_args(inner)[1]
        elif isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            fields = {field.name: field.type for field in msgspec.structs.fields(inner)}
            above = ".".join([first, *rest[: depth - 1]])
            if part not in fields:
                raise unknown("field", f"{above}.{part}", [f"{above}.{field}" for field in fields], place)
            inner = fields[part]
        else:
            raise UsageError(f"{place}: {path}: {'.'.join([first, *rest[: depth - 1]])} is a value, not a table")
    if _is_table(_without_none(inner)):
        raise UsageError(f"{place}: {path} is a table; set its fields one by one, as {path}.NAME = …")


def _is_table(kind: object) -> bool:
    return get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))


def _without_none(kind: object) -> Any:
    parts = [part for part in get_args(kind) if part is not NoneType]
    return parts[0] if get_origin(kind) in (UnionType, Union) and len(parts) == 1 else kind


def _of(name: str, line: Where | None, where: str) -> Where:
    """Where a value of the variant stands: its line in the file, or the variant."""
    place = f"{where} [variants.{name}]"
    return lambda *keys: line("variants", name, "set", ".".join(keys)) if line is not None else place
