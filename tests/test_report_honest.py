"""What a report must not say: cases that were not validated, ranges that say nothing, one attempt for all of them,
commands that are refused."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.prepared import Prepared
from engine.journals.events import (
    AnyRecord,
    Begin,
    ExperimentEnded,
    LimitReached,
    LimitSet,
    RunEnded,
    RunStarted,
    SpanEnded,
    Steps,
    SupervisorStarted,
    Verdict,
)
from engine.journals.journal import read, write_all
from engine.journals.limit_events import Limits
from engine.limit.afterwards import refused, resume_options
from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths, read_json, write_json
from engine.process import boot_id
from engine.report import numbers
from engine.report.build import report_of
from engine.report.files import as_json
from engine.report.model import Basis, Missing, Report, Value
from engine.report.render_markdown import render
from tests.conftest import fake_plan
from tests.fixtures.example_report import TARGET, report
from tests.recordings import STARTED, state_of, write_recording
from tests.reported import number, row, said, tables
from tests.test_report_states import section
from tests.tested import write_test
from tests.tui.conftest import view
from tests.tui.test_lines import texts
from tui.verbs.limiting import ended_lines
from tui.verbs.showing import status_lines
from tui.widgets.finish import finish_lines

HERE = Basis("modelled", "modelled: for a test")
STOPPED = Verdict(kind="user_stop", text="stopped as asked after step 10, checkpoint saved", advice="`steptop resume` goes on")


def read_report(report: Report) -> dict[str, Any]:
    return tables(json.loads(as_json(report)))


# ---------------------------------------------------------------- validation


def validating(folder: Path, held_out: int, items: int) -> ExperimentState:
    """The quickstart, holding out so many and validating so many of them."""
    write_recording(folder, "quickstart", 0.9)
    paths = ExperimentPaths(folder)
    prepared = read_json(paths.data, Prepared)
    assert prepared is not None
    splits = tuple(msgspec.structs.replace(split, test=tuple(range(held_out))) for split in prepared.splits)
    write_json(paths.data, msgspec.structs.replace(prepared, splits=splits))
    journal = paths.run(0, 0).segment(1)
    records = [
        msgspec.structs.replace(one, items=items) if isinstance(one, SpanEnded) and one.name == "validate" else one
        for one in read(journal)
    ]
    journal.unlink()
    write_all(journal, records)
    return state_of(folder)


def test_sixteen_of_twenty_four_cases_are_not_told_as_twenty_four(tmp_path: Path) -> None:
    """Whole volumes take long: validation goes through 16 of those held out at most."""
    report = report_of(validating(tmp_path / "quickstart", 24, 16))
    mark = said(row(read_report(report)["knobs"], "val_every_epochs")[3])
    assert mark.startswith("16 of 24 held-out cases, evenly spread; each validation took")
    text = render(report)
    assert "validation goes through" not in section(text, "Risks")
    assert "times over 16[^" in text and "held-out cases, evenly spread" in section(text, "What has been shown")


def test_where_all_are_validated_all_are_told(tmp_path: Path) -> None:
    mark = said(row(read_report(report_of(validating(tmp_path / "quickstart", 15, 15)))["knobs"], "val_every_epochs")[3])
    assert mark.startswith("15 held-out cases; each")


# ---------------------------------------------------------------- ranges


def test_a_range_that_says_nothing_is_not_shown() -> None:
    for piece in (numbers.expected(0.1, 10.0, HERE), numbers.between(0.0, 3.0, HERE), numbers.between(0.1, 10.0, HERE)):
        assert piece == Missing(numbers.TOO_WIDE)
    kept = numbers.expected(4.0, 9.0, HERE)
    assert isinstance(kept, Value) and kept.text == "4.00 s to 9.00 s"


@pytest.mark.parametrize("at", [0.0005, 0.002, 0.25])
def test_profiles_promise_nothing_that_could_be_anything(tmp_path: Path, at: float) -> None:
    """After four steps, after twenty, and after a quarter of a run."""
    write_recording(tmp_path / "arc", "arc", at)
    found = read_report(report_of(state_of(tmp_path / "arc")))
    for cells in found["profiles"]:
        for cell in cells[2:5]:
            for piece in cell:
                if piece.get("low") is not None:
                    assert piece["high"] <= 9 * piece["low"], piece["text"]


# ---------------------------------------------------------------- resumed runs


def attempts(folder: Path, *seconds: float, phase: str = "stopped", limits: Limits | None = None) -> ExperimentPaths:
    """One run in as many attempts, an hour apart; `limits`: what the last one was stopped for."""
    paths = ExperimentPaths(folder)
    run = paths.run(0, 0)
    run.folder.mkdir(parents=True)
    plan = fake_plan(folder.name, folds=1, restarts=1)
    write_json(paths.plan, msgspec.structs.replace(plan, limits=limits) if limits is not None else plan)
    events: list[AnyRecord] = []
    for number_, took in enumerate(seconds, start=1):
        at, last = 3600.0 * number_, number_ == len(seconds)
        ends = at + took
        outcome = phase if last else "stopped"
        events += [
            SupervisorStarted(pid=1, host="h", boot_id="b", runs=((0, 0),), t=STARTED + at, m=at),
            RunStarted(fold=0, restart=0, attempt=number_, pid=2, t=STARTED + at, m=at),
        ]
        if limits is not None and last:
            text = "time limit (12 h)" if limits.seconds is not None else "deadline"
            record = LimitSet(limits=limits, boot_id=boot_id(), t=STARTED + at, m=at)
            kind = "time" if limits.seconds is not None else "deadline"
            events += [record, LimitReached(kind=kind, text=text, left=3.0, needed=3.0, t=STARTED + ends - 3, m=ends - 3)]  # type: ignore[arg-type]
        done = RunEnded(
            fold=0, restart=0, attempt=number_, outcome=outcome, rc=0, seconds=took, verdict=STOPPED,  # type: ignore[arg-type]
            t=STARTED + ends, m=ends,
        )  # fmt: skip
        events += [done, ExperimentEnded(outcome=outcome, text=outcome, t=STARTED + ends + 1, m=ends + 1)]  # type: ignore[arg-type]
        begin = Begin(
            attempt=number_, epochs=2, steps_per_epoch=10, resumed_from_step=5 * (number_ - 1), t=STARTED + at, m=at,
        )  # fmt: skip
        steps = [
            Steps(epoch=1, step=5 * number_ - 4 + i, steps=1, seconds=1.0, low=1.0, high=1.0, t=STARTED + at + i, m=at + i)
            for i in range(5)
        ]
        write_all(run.segment(number_), [begin, *steps])
    write_all(paths.events, events)
    return paths


def test_a_run_took_what_all_its_attempts_took(tmp_path: Path) -> None:
    paths = attempts(tmp_path / "mine", 100.0, 60.0, 40.0, phase="finished")
    state = state_of(paths.folder)
    assert state.runs[0].elapsed == 200.0
    cells = row(read_report(report_of(state))["runs"], "fold 0 restart 0")
    assert (number(cells[2]), number(cells[4])) == (3, 200.0)
    (line,) = [line for line in texts(finish_lines(view(state), 56, 5)) if line.startswith("training in all")]
    assert line.endswith(" 3m 20s")


def test_an_attempt_whose_end_nobody_saw_is_said_to_be_missing(tmp_path: Path) -> None:
    paths = attempts(tmp_path / "mine", 100.0, 60.0)
    kept = [one for one in read(paths.events) if not (isinstance(one, RunEnded) and one.attempt == 1)]
    paths.events.unlink()
    write_all(paths.events, kept)
    cells = row(read_report(report_of(state_of(paths.folder)))["runs"], "fold 0 restart 0")
    assert said(cells[4]) == "1m 00s without 1 whose end nobody saw"


# ---------------------------------------------------------------- limits


def test_after_a_limit_the_command_to_go_on_is_one_that_works(tmp_path: Path) -> None:
    paths = attempts(tmp_path / "mine", 600.0, limits=Limits(asked=STARTED, seconds=43_200.0))
    state = state_of(paths.folder)
    assert refused(state) == "its time limit (12 h) is used up"
    text = render(report_of(state))
    assert "`steptop resume mine --until 12h`: go on from the last checkpoint" in section(text, "Next steps")
    assert "`steptop resume mine`" not in text
    rows = read_report(report_of(state))["limits"]
    assert [said(cell) for cell in rows[0]] == ["time limit (12 h)", "ended it"]
    assert ended_lines(state) == ["  it is stopped; its time limit (12 h) ended it"]
    assert any("`steptop resume mine --until 12h` goes on" in line for line in status_lines(state))


def test_as_little_time_again_is_not_proposed_where_nothing_could_be_begun_in_it(tmp_path: Path) -> None:
    paths = attempts(tmp_path / "mine", 600.0, limits=Limits(asked=STARTED, seconds=43_200.0))
    events = [
        msgspec.structs.replace(one, begun=False) if isinstance(one, LimitReached) else one for one in read(paths.events)
    ]
    paths.events.unlink()
    write_all(paths.events, events)
    state = state_of(paths.folder)
    assert resume_options(state, refused(state)) == " --no-limit"


def test_a_deadline_that_has_passed_is_not_made_up_anew(tmp_path: Path) -> None:
    paths = attempts(tmp_path / "mine", 600.0, limits=Limits(asked=STARTED, deadline=1_000_000.0))
    state = state_of(paths.folder)
    assert resume_options(state, refused(state)) == " --no-limit"


def test_what_was_left_of_a_limit_is_not_told_as_left(tmp_path: Path) -> None:
    paths = attempts(tmp_path / "mine", 600.0, phase="finished", limits=Limits(asked=STARTED, seconds=2_280.0))
    events = [one for one in read(paths.events) if not isinstance(one, LimitReached)]
    paths.events.unlink()
    write_all(paths.events, events)
    state = state_of(paths.folder)
    rows = read_report(report_of(state))["limits"]
    assert [said(cell) for cell in rows[0]] == ["time limit (38 min)", "had 28 min left"]
    assert ended_lines(state) == ["  it is finished; its time limit (38 min) had 28 min left"]


# ---------------------------------------------------------------- risks, tests


def test_every_slow_run_is_a_risk_and_the_slowest_comes_first(tmp_path: Path) -> None:
    """Three runs of one configuration took 63.6, 64.3 and 69.2 h: a later quick one does not make that undone."""
    write_recording(tmp_path / "quickstart", "quickstart", 4)
    paths = ExperimentPaths(tmp_path / "quickstart")
    for (fold, restart), factor in {(0, 1): 1.3, (1, 0): 1.6}.items():
        journal = paths.run(fold, restart).segment(1)
        slower = [
            msgspec.structs.replace(one, seconds=factor * one.seconds) if isinstance(one, Steps) else one
            for one in read(journal)
        ]
        journal.unlink()
        write_all(journal, slower)
    risks = section(render(report_of(state_of(paths.folder))), "Risks")
    (line,) = [line for line in risks.splitlines() if "steps took longer than the first run's" in line]
    assert line.index("`fold 1 restart 0` ") < line.index("`fold 0 restart 1` ")
    assert "`fold 1 restart 1`" not in line


def test_what_slowed_a_run_that_is_over_is_not_forgotten(tmp_path: Path) -> None:
    """A neighbour for 100 steps of run 1: told while run 2 trains, and after the end too."""
    write_recording(tmp_path / "arc", "arc", 1.02)
    risks = section(render(report_of(state_of(tmp_path / "arc"))), "Risks")
    assert "- **note:** in `fold 0 restart 0`, which is over, steps became 1" in risks and "% slower since" in risks


def test_a_finished_test_of_profiles_has_nothing_to_resume(tmp_path: Path) -> None:
    """Each of its trainers was stopped when it had done its part, and its last one may have failed."""
    write_test(tmp_path / "arc-meshnet26-bench")
    paths = ExperimentPaths(tmp_path / "arc-meshnet26-bench")
    events = read(paths.events)
    end = next(at for at, one in enumerate(events) if isinstance(one, ExperimentEnded))
    killed = Verdict(kind="crash", text="it crashed", advice="`steptop resume` starts this run again")
    paths.events.unlink()
    last = RunEnded(fold=0, restart=0, attempt=9, outcome="failed", verdict=killed, seconds=1.0, t=events[end].t, m=events[end].m)
    write_all(paths.events, [*events[:end], last, *events[end:]])
    state = state_of(paths.folder)
    assert state.phase == "finished"
    assert "resume" not in "\n".join(status_lines(state))
    glance = section(render(report_of(state)), "At a glance")
    assert "resume" not in glance and "Why it ended" not in glance


# ---------------------------------------------------------------- the example


def outline(text: str) -> list[str]:
    """Headings, and the heads of tables."""
    lines = text.splitlines()
    heads = [line for line, below in pairwise(lines) if below.startswith("| ---")]
    return [line for line in lines if line.startswith("## ") or line in heads]


def test_the_example_is_as_new_as_its_code() -> None:
    """`python -m tests.fixtures.example_report` writes it again."""
    assert outline(TARGET.read_text("utf-8")) == outline(render(report()))
