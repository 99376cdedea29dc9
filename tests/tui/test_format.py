"""Numbers as people read them."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, strategies as st

from tui import format as fmt


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0, "0 s"),
        (0.00042, "0.420 ms"),
        (0.34, "340 ms"),
        (0.9999, "1.00 s"),
        (18.06, "18.1 s"),
        (59.96, "1m 00s"),
        (1104, "18m 24s"),
        (3599.6, "1h 00m"),
        (18180, "5h 03m"),
        (133200, "1d 13h"),
        (46 * 86400, "46d"),
        (-90, "-1m 30s"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert fmt.duration(seconds) == text


@given(st.floats(0, 1e9))
def test_a_duration_fits_its_column(seconds: float) -> None:
    assert 2 <= len(fmt.duration(seconds)) <= 10


def test_a_range_is_a_margin_where_it_is_even_and_two_ends_where_it_is_not() -> None:
    assert fmt.margin(133_200, 129_600, 136_800) == "±1h"
    assert fmt.margin(100, 90, 400) == "1.5m–7m"
    assert fmt.margin(None, None, None) == ""
    assert fmt.margin(10, 10, 10) == ""


def test_clock_times_say_the_day_when_it_is_another_one() -> None:
    now = 1_795_203_720.0  # Friday 20 November 2026, 19:42 UTC
    assert fmt.clock(now + 600, now) == "19:52"
    assert fmt.clock(now + 86_400, now) == "Sat 19:42"
    assert fmt.clock(now + 47 * 86_400, now) == "Wed 6 Jan"
    assert fmt.clock(now + 400 * 86_400, now) == "25 Dec 2027"
    assert fmt.moment(now + 2 * 86_400, now) == "Sun 22 Nov 19:42"
    assert fmt.clock(None, now) == "–"
    assert fmt.clock(1e300, now) == "–"
    assert fmt.clock_seconds(now) == "19:42:00"
    assert time.tzname[0] == "UTC"


def test_sizes_share_their_unit() -> None:
    gib = 1 << 30
    assert fmt.fraction(67.2 * gib, 80 * gib) == "67.2/80 GiB"
    assert fmt.size(41 * (1 << 20)) == "41.0 MiB"
    assert fmt.size(512) == "512 B"
    assert fmt.fraction(None, 80 * gib) == "–"


def test_rates_keep_three_digits() -> None:
    assert fmt.rate(0.0553, "sample/s") == "0.0553 sample/s"
    assert fmt.rate(928_000, "voxel/s") == "0.928 Mvoxel/s"
    assert fmt.rate(32_400_000, "voxel/s") == "32.4 Mvoxel/s"
    assert fmt.rate(None, "step/s") == "–"


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_breaks_a_format(value: float) -> None:
    for write in (fmt.duration, fmt.whole, fmt.rough, fmt.size, fmt.loss, fmt.percent, fmt.significant):
        assert isinstance(write(value), str)
    assert isinstance(fmt.clock(value, 0.0), str)
    assert isinstance(fmt.moment(value, 0.0), str)
    assert isinstance(fmt.rate(value, "x/s"), str)
