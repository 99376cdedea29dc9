"""One setting of how a training runs: its kind, range, unit and help, and what it takes for a value."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from engine.config import scaled
from engine.errors import UsageError
from engine.machine.cores import Machine

Value = bool | int | float | str

WORDS: dict[str, bool] = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
LONGEST = 60


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

    @property
    def whole(self) -> bool:
        """Whether it is a number, which may then follow the machine (engine.config.scaled)."""
        return not self.choices and not isinstance(self.default, bool)

    @property
    def allowed(self) -> str:
        """`0 to 64`, `true | false`, `fork | forkserver | spawn`."""
        if self.choices:
            return " | ".join(self.choices)
        return f"{self.low} to {self.high}" if self.whole else "true | false"

    def check(self, value: object, where: str = "") -> Value:
        """`value` as this knob's type; raises UsageError naming the range."""
        said = f"{self.name} = {_short(value)}" + (f" in {where}" if where else "")
        if self.choices:
            if isinstance(value, str) and value in self.choices:
                return value
            raise UsageError(f"{said}: it is one of {', '.join(self.choices)}")
        if isinstance(self.default, bool):
            if isinstance(value, bool):
                return value
            raise UsageError(f"{said}: it is true or false")
        if isinstance(value, str):
            try:
                scaled.check(value)
            except scaled.NotScaled as error:
                raise UsageError(
                    f"{said}: it is a whole number, {self.low} to {self.high}, or follows the machine as "
                    f'"{scaled.EXAMPLE}" does ({error})'
                ) from None
            return value
        if isinstance(value, bool) or not isinstance(value, int):
            raise UsageError(
                f'{said}: it is a whole number, {self.low} to {self.high}, or a text such as "{scaled.EXAMPLE}"'
            )
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            raise UsageError(f"{said}: it must lie in {self.low} to {self.high}")
        return value

    def parse(self, text: str, where: str = "") -> Value:
        """A command line's text as this knob's value."""
        if not self.choices and isinstance(self.default, bool):
            return self.check(WORDS.get(text.lower(), text), where)
        if self.choices:
            return self.check(text, where)
        try:
            return self.check(int(text), where)
        except ValueError:
            return self.check(text, where)

    def resolve(self, value: Value, machine: Machine) -> Value:
        """A text that follows the machine as its number there, within the knob's range; anything else as it is.

        Processes are at least one: a profile that asks for a share of the cores wants some.
        """
        if not self.whole or not isinstance(value, str):
            return value
        least = max(self.low or 0, 1 if self.unit == "processes" else 0)
        number = max(least, scaled.value(value, machine.count))
        return number if self.high is None else min(number, self.high)


def shown(value: object) -> str:
    """A value as TOML and the command line write it: `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(value: Any) -> str:
    text = shown(value) if isinstance(value, bool) else repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
