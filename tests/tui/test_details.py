"""What panels add where there is room, and what they leave out where there is none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.diagnosis.bottleneck import Bottleneck, Share
from engine.journals.events import PrecisionActive
from engine.live.state import ExperimentState, Part, RunState
from tests.tui.conftest import view
from tests.tui.test_lines import Recorded, roles_of, texts
from tui.messages import Listed
from tui.screens.confirm import force_question
from tui.screens.experiments import entry
from tui.widgets.finish import finish_lines
from tui.widgets.header import header_line
from tui.widgets.line import text_of, width_of
from tui.widgets.machine import machine_lines
from tui.widgets.progress import progress_lines
from tui.widgets.where import where_lines


def with_run(state: ExperimentState, **values: object) -> ExperimentState:
    run = msgspec.structs.replace(state.runs[0], **values)
    return msgspec.structs.replace(state, runs=(run, *state.runs[1:]))


def run_of(state: ExperimentState) -> RunState:
    assert state.run is not None
    return state.run


# ---------------------------------------------------------------- progress


def test_where_there_is_no_line_for_the_loss_it_stands_beside_what_happens(arc: ExperimentState) -> None:
    short = texts(progress_lines(view(arc), 76, 4))
    assert len(short) == 4 and short[3].startswith("now    training · loss 0.3930 ")
    assert "loss" not in texts(progress_lines(view(arc), 76, 5))[3]


def test_a_number_that_gets_a_digit_more_moves_nothing(arc: ExperimentState) -> None:
    begin = run_of(arc).begin
    assert begin is not None
    bars = set()
    for step in (148 + 9, 148 + 10, 148 + 100):
        lines = texts(progress_lines(view(with_run(arc, step=step, epoch=2)), 56, 5))
        bars.add((lines[0].index("/"), lines[0].index("━"), lines[1].index("/")))
    assert len(bars) == 1


@pytest.mark.parametrize(("since", "word"), [(0.5, "training"), (3.0, "writing a checkpoint · for 3 s")])
def test_what_is_over_in_a_moment_does_not_make_the_screen_flicker(
    arc: ExperimentState, since: float, word: str
) -> None:
    state = with_run(arc, activity="checkpoint", activity_total=1, activity_done=0, activity_since=arc.now - since)
    assert texts(progress_lines(view(state), 100, 5))[3].startswith(f"now    {word} ")
    assert ("writing a checkpoint" in text_of(header_line(view(state), 120))) == (since > 2)


def test_before_the_first_step_starting_is_said_at_once(arc: ExperimentState) -> None:
    state = with_run(arc, activity="startup", activity_total=0, activity_since=arc.now - 0.5, step=0, recent=())
    assert texts(progress_lines(view(state), 100, 5))[3].startswith("now    starting")


def test_enlarged_it_tells_where_the_run_comes_from(arc: ExperimentState) -> None:
    begin = msgspec.structs.replace(run_of(arc).begin, attempt=2, resumed_from_step=1776)
    seen = PrecisionActive(requested="auto", active="float16", evidence="output of conv")
    said = texts(progress_lines(view(with_run(arc, begin=begin, precision=seen)), 116, 30))
    facts = {line[:12].strip(): line[12:] for line in said[6:]}
    assert facts["steps"] == "1,850 of 7,400 of this run"
    assert facts["checkpoint"].startswith("step 1,776, ") and facts["checkpoint"].endswith("verified")
    assert facts["attempt"] == "2, resumed after step 1,776"
    assert facts["precision"] == "float16 (output of conv)"
    assert "batch 1, 1 worker, seed" in facts["trainer"]
    assert facts["folder"] == arc.folder


# ---------------------------------------------------------------- where a step goes, finish


def test_time_in_no_span_is_of_the_rest_unless_it_is_much(recorded: Recorded) -> None:
    seen = view(recorded("compute", 0.25))
    limit = seen.bottleneck
    for share, shown in ((0.03, False), (0.3, True)):
        spans = tuple(span for span in limit.shares if span.name != "other")
        shares = (*spans, Share("other", share * (limit.step_seconds or 1.0), share))
        lines = texts(where_lines(seen._replace(bottleneck=msgspec.structs.replace(limit, shares=shares)), 56, 8))
        assert any(line.startswith("the rest") for line in lines)
        assert any(line.startswith("other") for line in lines) == shown


def test_enlarged_it_counts_what_happens_beside_the_steps(arc: ExperimentState) -> None:
    parts = {"checkpoint": Part(count=12, seconds=3.6, last=0.3), "validate": Part(count=3, seconds=60.0, last=20.0)}
    lines = texts(where_lines(view(with_run(arc, parts=parts)), 96, 40))
    at = next(i for i, line in enumerate(lines) if line.startswith("beside steps"))
    assert lines[at + 1].split() == ["validate", "3", "20.0", "s", "1m", "00s"]
    assert lines[at + 2].split() == ["checkpoint", "12", "300", "ms", "3.60", "s"]


@pytest.mark.parametrize(("height", "room"), [(5, False), (40, True)])
def test_with_room_it_says_what_shows_the_limit_and_what_will_not_help(
    arc: ExperimentState, height: int, room: bool
) -> None:
    limit = Bottleneck(
        kind="storage",
        headline="Storage is the limit",
        confidence="likely",
        evidence=("waiting for data: 84 % of a step",),
        useless=("a faster GPU: ×1.0 at most",),
        shares=(Share("data", 15.0, 0.84), Share("forward", 2.9, 0.16)),
        step_seconds=17.9,
    )
    parts = {"validate": Part(count=3, seconds=60.0, last=20.0)}
    lines = where_lines(view(with_run(arc, parts=parts))._replace(bottleneck=limit), 96, height)
    said = texts(lines)
    assert len(said) <= height
    assert roles_of(lines, "Storage is the limit") == {"alarm"} and roles_of(lines, "data") >= {"bad"}
    wanted = (
        "shown by   waiting for data: 84 %",
        "           this is likely",
        "no help    a faster GPU",
        "beside steps",
    )
    assert [any(line.startswith(words) for line in said) for words in wanted] == [room] * 4


def test_a_wide_finish_says_what_the_time_left_goes_into(arc: ExperimentState) -> None:
    wide, narrow = finish_lines(view(arc), 96, 5), finish_lines(view(arc), 64, 5)
    assert all(width_of(line) <= 96 for line in wide)
    assert "train" in texts(wide)[0] and texts(wide)[0].endswith("%")
    assert [text_of(line)[:64].rstrip() for line in wide] == texts(narrow)


@pytest.mark.parametrize("width", [40, 56, 64, 76])
def test_the_basis_is_said_whole_or_without_its_range(arc: ExperimentState, width: int) -> None:
    basis = texts(finish_lines(view(arc), width, 5))[4]
    assert basis.startswith("measured here")
    assert basis.endswith("ranges hold 9 times in 10") == (width >= 56)


# ---------------------------------------------------------------- machine, experiments, questions


def test_the_rates_of_the_disk_keep_their_columns(arc: ExperimentState) -> None:
    places = set()
    for read, write in ((4e3, 3e8), (1.2e7, 0.0), (9.99e5, 1.02e9)):
        sample = msgspec.structs.replace(arc.samples[-1], disk_read=read, disk_write=write)
        line = texts(machine_lines(view(msgspec.structs.replace(arc, samples=(sample,))), 56, 7))[-1]
        places.add((line.index("read"), line.index("write"), len(line)))
        assert line.endswith("/s")
    assert len(places) == 1


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_has_room_for_the_end_on_eighty_columns(arc: ExperimentState, width: int) -> None:
    said = str(entry(Listed(Path(arc.folder), view(arc)), width))
    assert "arc-meshnet26" in said and "training" in said and "run 1/30" in said and "ends Wed 6 Jan" in said
    assert len(said) <= width


def test_the_price_of_force_is_given_in_whole_seconds(arc: ExperimentState) -> None:
    state = with_run(arc, step=1777)
    assert (
        "1 step since the checkpoint of 04:46 (step 1,776) would be lost, about 18 s of"
        in force_question(view(state)).text
    )
