"""The report's sections on other GPUs, options, sessions and limits say what the estimates say, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.journals.events import LimitSet
from engine.journals.journal import read, write_all
from engine.journals.limit_events import Limits, Rate
from engine.paths import ExperimentPaths
from engine.report.build import report_of
from engine.report.files import as_json
from engine.report.render_markdown import render
from engine.whatif import hardware
from engine.whatif.known import known_of
from engine.whatif.scaling import scaling
from tests.recordings import STARTED, state_of, write_recording
from tests.reported import number, row, said, tables
from tests.test_report_states import section


@pytest.fixture(scope="module")
def arc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere") / "arc"
    write_recording(folder, "arc", 0.25)
    return folder


def test_a_faster_gpu_that_would_wait_for_the_same_loader_is_said_to(arc: Path) -> None:
    report = report_of(state_of(arc))
    rows = tables(json.loads(as_json(report)))["other-hardware"]
    faster = row(rows, "H100 SXM")
    assert said(faster[7]) == "it waits for the same loader: 1.0×"
    speed = faster[4][0]
    assert speed["low"] < 1.1 and speed["high"] < 1.2 and speed["basis"]["kind"] == "modelled"
    assert faster[6][0]["basis"]["kind"] == "quoted"
    text = section(render(report), "On other hardware")
    assert "A step does not fit into the memory of:" in text and "T4[^" in text
    assert "M1 Max" in text and "no claim: nothing measured on MPS" in text


def test_a_gpu_bound_training_scales_as_the_rule_says(tmp_path: Path) -> None:
    write_recording(tmp_path / "compute", "compute", 0.4)
    state = state_of(tmp_path / "compute")
    rows = tables(json.loads(as_json(report_of(state))))["other-hardware"]
    known = known_of(state, hardware.gpus())
    ratio = scaling(known.gpu, hardware.named("H100 SXM"), known.precision)
    speed = row(rows, "H100 SXM")[4][0]
    assert ratio.value is not None and speed["low"] < ratio.value < speed["high"]


def test_nothing_is_claimed_of_gpus_from_a_cpu(tmp_path: Path) -> None:
    write_recording(tmp_path / "quickstart", "quickstart", 1.5)
    text = section(render(report_of(state_of(tmp_path / "quickstart"))), "On other hardware")
    assert "– (no claim: nothing measured on a GPU; run steptop bench there)" in text
    assert "| GPU |" not in text


def test_options_say_what_one_gets_and_what_to_type(arc: Path) -> None:
    report = report_of(state_of(arc))
    rows = tables(json.loads(as_json(report)))["options"]
    assert [number(cells[1]) for cells in rows] == [1, 30, 9]
    one, every, fewer = (cells[2][0] for cells in rows)
    assert one["high"] < fewer["low"] and fewer["high"] < every["low"]
    typed = said(rows[2][5]).split()
    assert typed[:5] == ["steptop", "queue", "arc", "--skip", "0,3"] and len(typed) == 3 + 2 * 21, "what waits is left out"
    assert "no standard deviation" in said(rows[0][4])


def test_sessions_are_quoted_and_what_does_not_fit_is_said(arc: Path) -> None:
    rows = tables(json.loads(as_json(report_of(state_of(arc)))))["sessions"]
    free = row(rows, "Colab free")
    assert free[1][0]["basis"]["kind"] == "quoted" and "2026" in free[1][0]["basis"]["text"]
    assert said(free[2]) == "T4" and free[3][0]["reason"] == "a step does not fit into its memory"


def test_without_limits_there_is_no_section_of_them(arc: Path) -> None:
    assert "## Limits" not in render(report_of(state_of(arc)))


def test_a_limit_says_what_fits_before_it_and_what_was_spent(tmp_path: Path) -> None:
    write_recording(tmp_path / "arc", "arc", 0.25)
    paths = ExperimentPaths(tmp_path / "arc")
    events = read(paths.events)
    rate = Rate(hourly=2.0, currency="USD", basis="as given")
    limit = LimitSet(limits=Limits(asked=STARTED, deadline=STARTED + 5 * 86_400, budget=500.0, rate=rate), t=STARTED, m=1.0)
    paths.events.unlink()
    write_all(paths.events, [events[0], limit, *events[1:]])
    state = state_of(paths.folder)
    report = report_of(state)
    rows = tables(json.loads(as_json(report)))["limits"]
    assert number(rows[0][1]) == pytest.approx(STARTED + 5 * 86_400)
    text = render(report)
    assert "3 of 30 runs fit" in section(text, "Limits")
    hours = (state.now - STARTED) / 3600
    assert f"Spent so far: {2 * hours:.2f} USD" in section(text, "Limits")
    assert "not everything is done before its limit: 3 of 30 runs fit" in section(text, "Risks")
