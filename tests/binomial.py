"""How many of so many ranges of 90 % may hold before it is no chance any more."""

from __future__ import annotations

from math import comb

# On each side: of a hundred tests of ranges that are right, one fails. Seeds are fixed, so it does so every time or never.
TAIL = 0.005


def held(cases: int, probability: float = 0.9, tail: float = TAIL) -> tuple[int, int]:
    """The fewest and the most of `cases` independent ranges that hold the truth, but for chances of `tail`."""
    chances = [comb(cases, k) * probability**k * (1 - probability) ** (cases - k) for k in range(cases + 1)]
    low = next(k for k in range(cases + 1) if sum(chances[: k + 1]) > tail)
    high = next(k for k in range(cases, -1, -1) if sum(chances[k:]) > tail)
    return low, high
