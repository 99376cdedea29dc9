"""Whole numbers that follow the machine: `cores`, `cores/2`, `cores-1`, `2*gpus`, `2*cores/3`.

    sum  =  term (("+" | "-") term)*       term  =  part (("*" | "/") part)*       part  =  number | cores | gpus

Rounded down, once, at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

NAMES = ("cores", "gpus")
EXAMPLE = "cores/2"
LONGEST = 40
_TOKEN = re.compile(r"\s*(?:([0-9]{1,6})|([a-z]+)|([-+*/]))")


class NotScaled(ValueError):
    """The text is no such number; says what is wrong with it."""


def check(text: str) -> None:
    """Raises NotScaled unless `text` is a formula that has a value on every machine."""
    if not any(name in NAMES for _, name, _ in _tokens(text)):
        raise NotScaled("it names neither cores nor gpus")
    # The least there can be: what divides by the number of GPUs has no value where there are none.
    value(text, lambda name: 1 if name == "cores" else 0)


def value(text: str, count: Callable[[str], int]) -> int:
    """The number; `count` says how many cores or gpus there are. Raises NotScaled."""
    tokens = _tokens(text)
    total, at = _term(tokens, 0, count)
    while at < len(tokens):
        sign = tokens[at][2]
        if sign not in ("+", "-"):
            raise NotScaled("two numbers without a sign between them")
        term, at = _term(tokens, at + 1, count)
        total = total + term if sign == "+" else total - term
    return total.numerator // total.denominator


def _tokens(text: str) -> list[tuple[str, str, str]]:
    if len(text) > LONGEST:
        raise NotScaled(f"it is longer than {LONGEST} characters")
    tokens, at = [], 0
    rest = text.rstrip()
    while at < len(rest):
        match = _TOKEN.match(rest, at)
        if match is None:
            raise NotScaled("it is no formula of numbers, cores, gpus, +, -, * and /")
        number, name, sign = match.groups(default="")
        if name and name not in NAMES:
            raise NotScaled(f"{name} is neither cores nor gpus")
        tokens.append((number, name, sign))
        at = match.end()
    return tokens


def _term(tokens: list[tuple[str, str, str]], at: int, count: Callable[[str], int]) -> tuple[Fraction, int]:
    product, at = _part(tokens, at, count)
    while at < len(tokens) and tokens[at][2] in ("*", "/"):
        sign = tokens[at][2]
        factor, at = _part(tokens, at + 1, count)
        if sign == "/" and not factor:
            raise NotScaled("it divides by nothing")
        product = product * factor if sign == "*" else product / factor
    return product, at


def _part(tokens: list[tuple[str, str, str]], at: int, count: Callable[[str], int]) -> tuple[Fraction, int]:
    if at >= len(tokens) or tokens[at][2]:
        raise NotScaled("a number or a name is missing")
    number, name, _ = tokens[at]
    return Fraction(int(number) if number else count(name)), at + 1
