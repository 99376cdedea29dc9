"""Numbers that follow the machine: read without eval, rounded down, the same on every reading."""

from __future__ import annotations

from math import floor

import pytest
from hypothesis import given, strategies as st

from engine.config import scaled
from engine.config.profile import KNOBS
from engine.machine.cores import Machine

WORKERS = KNOBS["num_workers"]


def on(cores: int, gpus: int = 0) -> Machine:
    return Machine(cores=cores, scheduled=cores, gpus=gpus)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cores", 12), ("cores/2", 6), ("cores/3", 4), ("2*cores/3", 8), ("cores*2/3", 8), ("cores-1", 11),
        ("2*gpus", 4), (" cores / 5 ", 2), ("cores/5+1", 3), ("4*gpus-cores/12", 7), ("cores/7*7", 12), ("1+cores", 13),
    ],
)
def test_texts_are_worked_out_as_they_are_written(text: str, expected: int) -> None:
    assert scaled.value(text, on(12, 2).count) == expected
    assert WORKERS.resolve(WORKERS.check(text), on(12, 2)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "many", "4", "cores/0", "cores/gpus", "cores cores", "cores**2", "cores//2", "(cores)", "-cores", "cores-",
        "/cores", "cores.__class__", "__import__('os')", "cores;1", "Cores", "cores/2.5", "1e3*cores", "٣*cores",
        "cores" + "+1" * 30, "1234567*cores", "\x1b[2Jcores", "cores\u202e",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(scaled.NotScaled):
        scaled.check(text)


@given(st.text(alphabet="cores gpus+-*/0123456789().", max_size=24))
def test_no_text_does_anything_but_count_or_explain(text: str) -> None:
    try:
        scaled.check(text)
    except scaled.NotScaled as error:
        assert str(error)
    else:
        assert isinstance(scaled.value(text, on(7, 3).count), int)


@given(st.integers(1, 512), st.integers(1, 99), st.integers(1, 99), st.integers(0, 99))
def test_a_share_of_the_cores_is_rounded_down_once(cores: int, times: int, parts: int, more: int) -> None:
    assert scaled.value(f"{times}*cores/{parts}-{more}", on(cores).count) == floor(times * cores / parts) - more


@given(st.integers(1, 512), st.sampled_from(["cores/3", "cores-4", "2*gpus", "gpus", "9*cores", "cores/2"]))
def test_workers_by_the_machine_are_at_least_one_and_in_range(cores: int, text: str) -> None:
    workers = WORKERS.resolve(text, on(cores))
    assert 1 <= int(workers) <= 64


def test_what_is_no_worker_may_be_as_little_as_its_range_allows() -> None:
    assert KNOBS["val_every_epochs"].resolve("gpus", on(4)) == 0
    assert KNOBS["batch_size"].resolve("2*gpus", on(4)) == 1
    assert KNOBS["batch_size"].resolve("2*gpus", on(4, 4)) == 8
