"""Commands in sentences, with the name of the experiment they are for: where several are there, they need it."""

from __future__ import annotations

from typing import overload

from msgspec.structs import replace

from engine.journals.record import Verdict

RESUME = "`steptop resume`"


def for_experiment(text: str, name: str) -> str:
    """`text` with "`steptop resume NAME`" where it says only to resume, as journals do: their folder may be renamed."""
    return text.replace(RESUME, f"{RESUME[:-1]} {name}`")


@overload
def with_name(verdict: Verdict, name: str) -> Verdict: ...


@overload
def with_name(verdict: Verdict | None, name: str) -> Verdict | None: ...


def with_name(verdict: Verdict | None, name: str) -> Verdict | None:
    """The verdict, its advice for the experiment of that name."""
    return replace(verdict, advice=for_experiment(verdict.advice, name)) if verdict is not None else None
