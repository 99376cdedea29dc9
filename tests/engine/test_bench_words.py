"""What a bench concludes from its three parts, and that parts are never called faster than the whole."""

from __future__ import annotations

import random

import msgspec
import pytest

from engine.config.profile import defaults
from engine.journals.events import Mode, Use
from engine.phase.bench_words import conclusions
from engine.phase.measure import measured
from engine.phase.phases import PhaseResult, against_first, effect
from tui.widgets.blockplot import block_lines
from tui.widgets.line import text_of


def part(number: int, mode: Mode, seconds: float, noise: float = 0.03, foreign: float = 0.0) -> PhaseResult:
    """So many seconds a sample, with noise, forty steps."""
    draw = random.Random(number)
    each = [seconds * draw.uniform(1 - noise, 1 + noise) for _ in range(40)]
    found = measured(each, [1] * len(each), 1, knobs=defaults(), mode=mode)
    names = {"train": "conservative", "resident": "one batch again and again", "load": "loading alone"}
    return PhaseResult(
        number=number, name=names[mode], knobs=defaults(), mode=mode, measured=found, verdict="ok",
        use=Use(foreign_cores=foreign), repeated=2 if foreign else 0,
    )  # fmt: skip


def bench(train: float, resident: float, load: float, noise: float = 0.03, foreign: float = 0.0) -> list[PhaseResult]:
    parts: tuple[tuple[Mode, float], ...] = (("train", train), ("resident", resident), ("load", load))
    return [part(number, mode, seconds, noise, foreign) for number, (mode, seconds) in enumerate(parts)]


def test_computing_that_keeps_the_loader_waiting_is_called_the_limit() -> None:
    said = conclusions(bench(0.5, 0.49, 0.01))
    assert said[0].startswith("Computing alone is 2.0") and "loading alone" in said[0]
    assert "Computing is the limit: loading alone is ×4" in said[-1]


def test_what_is_left_for_waiting_is_said_with_its_range() -> None:
    said = " ".join(conclusions(bench(1.0, 0.25, 0.95)))
    assert "is left for waiting, 75% (" in said
    assert "Loading is the limit: computing alone is ×3.8" in said


def test_parts_that_are_in_each_others_way() -> None:
    assert "in each other's way" in conclusions(bench(1.0, 0.6, 0.3))[-1]


def test_neither_is_the_limit_where_both_take_as_long() -> None:
    assert "Neither is surely the limit" in conclusions(bench(1.0, 0.9, 0.905, noise=0.3))[-1]


@pytest.mark.parametrize("foreign", [0.0, 1.8])
def test_a_part_that_is_slower_than_the_whole_is_called_impossible(foreign: float) -> None:
    """1.19 samples/s of computing alone beside 1.58 of computing and loading."""
    said = " ".join(conclusions(bench(1 / 1.58, 1 / 1.19, 0.002, foreign=foreign)))
    assert "Computing alone measured slower than training, which does all of it: that cannot be." in said
    assert ("other processes used up to 1.8 cores" in said.lower()) == bool(foreign)
    assert "is the limit" not in said


def test_slower_within_chance_is_no_contradiction() -> None:
    assert "cannot be" not in " ".join(conclusions(bench(0.5, 0.51, 0.01, noise=0.4)))


def test_nothing_is_concluded_from_two_parts() -> None:
    assert conclusions(bench(0.5, 0.49, 0.01)[:2]) == ()


def test_loading_alone_beside_training_is_no_speed_up() -> None:
    train, _, load = against_first(bench(0.63, 0.84, 0.00188))
    assert (load.ratio, load.verdict) == (None, "ok")
    assert effect(load).startswith("loading alone, ×33") and "not the same work, no gain" in effect(load)
    assert "faster" not in effect(load)
    assert effect(train) == ""


def test_what_does_other_work_has_a_scale_of_its_own() -> None:
    lines = [text_of(line) for line in block_lines(bench(0.5, 0.49, 0.001, noise=0.2), 90, 40)]
    curves = [line for line in lines if any("\u2801" <= letter <= "\u28ff" for letter in line)]
    first = [line for line in curves if "conservative" in line or curves.index(line) < 5]
    assert len({line.strip() for line in first}) > 1
    assert sum(any("\u2801" <= letter <= "\u28ff" for letter in line) for line in curves[:5]) >= 3, "not one flat line"
    alone = [text_of(line) for line in block_lines(bench(0.5, 0.49, 0.001, noise=0.2)[:1], 90, 7)]
    assert [line[:82].rstrip() for line in alone[1:6]] == [line[:82].rstrip() for line in lines[1:6]]


def test_an_unstable_part_makes_the_whole_unreliable() -> None:
    parts = bench(0.5, 0.49, 0.01)
    assert parts[0].measured is not None
    shaky = msgspec.structs.replace(parts[0].measured, unstable="it drifts")
    parts[0] = msgspec.structs.replace(parts[0], measured=shaky)
    assert conclusions(parts)[-1] == "None of it is to be relied on: it drifts."
