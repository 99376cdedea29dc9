"""Student's t without scipy agrees with scipy."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import t as student

from engine.phase.student import outside, quantile


@settings(deadline=None)
@given(st.floats(0.5, 0.9999), st.floats(1, 1e4))
def test_quantiles_are_those_of_the_textbook(level: float, freedom: float) -> None:
    expected = student.ppf((1 + level) / 2, round(freedom, 2))
    assert quantile(level, freedom) == pytest.approx(min(expected, 1e4), rel=1e-5)


@settings(deadline=None)
@given(st.floats(0, 50), st.floats(1, 1e4))
def test_what_lies_outside_is_that_of_the_textbook(t: float, freedom: float) -> None:
    assert outside(t, freedom) == pytest.approx(2 * student.sf(t, freedom), rel=1e-6, abs=1e-12)


def test_fewer_than_one_degree_of_freedom_count_as_one() -> None:
    assert quantile(0.95, 0.3) == quantile(0.95, 1) == pytest.approx(12.706, rel=1e-4)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(ValueError, match="outside 0 to 1"):
        quantile(level, 3)
