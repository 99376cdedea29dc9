"""Intervals on a scale that several lines share."""

from __future__ import annotations

from math import inf

import pytest

from tui.widgets.interval import Scale, empty, interval, labels, scale_of
from tui.widgets.line import text_of


def drawn(scale: Scale, width: int, low: float, value: float, high: float) -> str:
    return text_of(interval(scale, width, low, value, high, "good"))


def test_a_faster_one_lies_to_the_right_of_the_line() -> None:
    scale = scale_of([1.9, 2.1, 0.9])
    text = drawn(scale, 41, 1.9, 2.0, 2.1)
    assert text.index("│") < text.index("├") < text.index("●") < text.index("┤")
    assert text.index("│") == text_of(empty(scale, 41)).index("│")


def test_one_that_holds_the_line_crosses_it() -> None:
    text = drawn(scale_of([0.5, 2.0]), 41, 0.6, 1.2, 1.9)
    assert "┼" in text and "│" not in text


def test_what_is_not_known_reaches_to_both_edges() -> None:
    scale = scale_of([0.0, inf])
    text = drawn(scale, 41, 0.0, 1.5, inf)
    assert text[0] == "─" and text[-1] == "─" and len(text) == 41


@pytest.mark.parametrize("width", [0, 1, 2, 8, 30])
@pytest.mark.parametrize("bounds", [(0.0, inf), (1.0, 1.0), (1e-9, 1e9), (0.99, 1.01)])
def test_at_every_width_it_has_that_width(width: int, bounds: tuple[float, float]) -> None:
    scale = scale_of(list(bounds))
    assert len(drawn(scale, width, bounds[0], 1.0, bounds[1])) == width
    if width > 8:
        assert len(text_of(labels(scale, width))) == width


def test_the_scale_says_where_it_ends() -> None:
    said = text_of(labels(scale_of([0.5, 4.0]), 40))
    assert said.startswith("×0.5") and "×1" in said and said.endswith("×4")
