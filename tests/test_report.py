"""A report says what its journals hold: every figure of its measured tables is worked out again from the lines."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from engine.figures import duration
from engine.report.build import report_of
from engine.report.files import as_json
from engine.report.model import Missing, Report, Value, Words, pieces_of
from engine.report.render_markdown import render
from tests.recordings import state_of, write_recording
from tests.reported import Journals, number, read_back, row, said, tables
from tests.tested import write_changed, write_test

SPANS = ("data", "h2d", "forward", "loss", "backward", "optimizer")


class Read:
    """A recorded experiment, its report, and its journals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report = report_of(state_of(folder))
        self.json: dict[str, Any] = json.loads(as_json(self.report))
        self.tables = tables(self.json)
        self.journals = Journals(folder)

    @property
    def run(self) -> str:
        """The present run's folder."""
        started = [line for line in self.journals.events if line["k"] == "run_started"][-1]
        return f"fold_{started.get('fold', 0)}_restart_{started.get('restart', 0)}"


@pytest.fixture(scope="module", params=[("quickstart", 2.5), ("arc", 0.25), ("compute", 1.3), ("quickstart", 4)])
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Read:
    kind, at = request.param
    folder = tmp_path_factory.mktemp("logs") / f"{kind}-report"
    write_recording(folder, kind, at)
    return Read(folder)


def test_where_a_step_goes_is_what_those_very_lines_say(read: Read) -> None:
    rows = read.tables["step"]
    basis = rows[0][2][0]["basis"]["text"]
    steps = re.search(r"steps ([\d,]+)–([\d,]+)$", basis)
    assert steps is not None and basis.startswith(f"measured: {read.run}/steps-001.jsonl")
    first, last = (int(word.replace(",", "")) for word in steps.groups())
    lines = [one for one in read.journals.of(read.run, "steps") if first <= one["step"] <= last]
    count, seconds = sum(one["steps"] for one in lines), sum(one["seconds"] for one in lines)
    assert count == last - first + 1
    spent = {name: sum(one["spans"].get(name, 0.0) for one in lines) for name in SPANS}
    spent["other"] = max(0.0, seconds - sum(spent.values()))
    whole = max(seconds, sum(spent.values()))
    for name, total in spent.items():
        cells = row(rows, name)
        assert number(cells[2]) == pytest.approx(total / count, rel=1e-6, abs=1e-9)
        assert number(cells[3]) == pytest.approx(total / whole, rel=1e-6, abs=1e-9)
    assert number(row(rows, "a step")[2]) == pytest.approx(seconds / count, rel=1e-6)
    loads = sum(one["loads"] for one in lines)
    assert number(row(rows, "loading a sample")[2]) == pytest.approx(sum(one["load_seconds"] for one in lines) / loads, rel=1e-6)
    assert len(rows) == len(spent) + 2


def test_what_was_spent_is_the_sum_of_all_lines(read: Read) -> None:
    rows = read.tables["spent"]
    steps = read.journals.every("steps")
    spans: dict[str, list[float]] = {}
    for line in read.journals.every("span"):
        spans.setdefault(line["name"], []).append(line["seconds"])
    trained = sum(line["seconds"] for line in steps)
    total = trained + sum(sum(times) for times in spans.values())
    expected = {"train": (sum(line["steps"] for line in steps), trained)} | {
        name: (len(times), sum(times)) for name, times in spans.items()
    }
    for name, (count, seconds) in expected.items():
        cells = row(rows, name)
        assert number(cells[1]) == count
        assert number(cells[2]) == pytest.approx(seconds / count, rel=1e-6)
        assert number(cells[3]) == pytest.approx(seconds, rel=1e-6)
        assert number(cells[4]) == pytest.approx(seconds / total, rel=1e-6)
    assert number(row(rows, "all that was recorded")[3]) == pytest.approx(total, rel=1e-6)
    prepared = next(line for line in read.journals.events if line["k"] == "prepare_ended")
    assert number(row(rows, "preparing volumes, once")[3]) == prepared["seconds"]
    known = {*expected, "all that was recorded", "preparing volumes, once", "between runs"}
    assert {said(cells[0]) for cells in rows} <= known


def test_every_run_has_its_own_steps_and_seconds(read: Read) -> None:
    rows = read.tables["runs"]
    assert len(rows) == sum(bool(lines) for lines in read.journals.runs.values())
    ended = {(line.get("fold", 0), line.get("restart", 0)): line for line in read.journals.events if line["k"] == "run_ended"}
    first = 0.0
    for cells in rows:
        fold, restart = (int(word) for word in re.findall(r"\d+", said(cells[0])))
        lines = read.journals.of(f"fold_{fold}_restart_{restart}", "steps")
        mean = sum(line["seconds"] for line in lines) / sum(line["steps"] for line in lines)
        first = first or mean
        assert number(cells[3]) == lines[-1]["step"]
        assert number(cells[5]) == pytest.approx(mean, rel=1e-6)
        if (fold, restart) in ended:
            assert said(cells[1]) == "finished"
            assert number(cells[4]) == ended[fold, restart]["seconds"]
        else:
            assert said(cells[1]) == "running" and cells[4][0]["is"] == "missing"
        if said(cells[6]):
            assert float(said(cells[6]).removesuffix(" %")) == pytest.approx(100 * (mean / first - 1), abs=0.051)


def test_epochs_have_their_own_seconds(read: Read) -> None:
    epochs = read.journals.of(read.run, "epoch")
    rows = read.tables["epochs"]
    assert [number(cells[0]) for cells in rows] == [one["epoch"] for one in epochs] or len(epochs) > 20
    by_number = {one["epoch"]: one for one in epochs}
    for cells in rows:
        line = by_number[int(number(cells[0]))]
        assert number(cells[1]) == line["steps"]
        assert number(cells[2]) == pytest.approx(line["seconds"])
        assert number(cells[3]) == pytest.approx(line["seconds"] / line["steps"])
        assert number(cells[4]) == pytest.approx(line["loss"])
    markdown = render(read.report)
    told = re.search(r"Epochs of this run: (\d+)", markdown)
    assert told is not None and int(told[1]) == len(epochs)
    slowest = duration(max(one["seconds"] for one in epochs))
    assert f"the slowest {slowest}, on average" in markdown


def test_results_are_those_of_the_journals_with_their_spread(read: Read) -> None:
    done = {
        name: lines[-1]["values"] for name in read.journals.runs
        if (lines := [one for one in read.journals.of(name, "metrics") if one["split"] == "test"])
    }  # fmt: skip
    if not done:
        assert "results" not in read.tables
        return
    rows = read.tables["results"]
    for name, values in done.items():
        fold, restart = re.findall(r"\d+", name)
        cells = row(rows, f"fold {fold} restart {restart}")
        assert [number(cell) for cell in cells[1:]] == [values[figure] for figure in ("dice", "avd", "mcc")]
    if len(done) > 1:
        known = [values["dice"] for values in done.values()]
        spread = said(row(rows, "mean and deviation")[1])
        assert spread == f"{statistics.fmean(known):.3f} ± {statistics.stdev(known):.3f}"


def test_memory_is_that_of_the_newest_reading(read: Read) -> None:
    reading = read.journals.machine[-1]
    by_role: dict[str, list[dict[str, Any]]] = {}
    for one in reading["workers"]:
        by_role.setdefault(one.get("role", "worker"), []).append(one)
    rows = read.tables["processes"]
    assert number(row(rows, "trainer")[1]) == by_role["trainer"][0]["pss"]
    workers = by_role["worker"]
    mean = row(rows, f"a worker, mean of {len(workers)}")
    for cell, field in ((mean[1], "pss"), (mean[2], "uss")):
        assert number(cell) == round(sum(one[field] for one in workers) / len(workers))
    assert number(row(rows, "all of them")[1]) == sum(one["pss"] for one in reading["workers"])
    hardware = read.tables["hardware"]
    assert number(row(hardware, "RAM")[2]) == reading["ram_total"] - reading["ram_available"]
    assert number(row(hardware, "processor")[1]) == reading["cores"]


def test_configuration_is_the_plans_and_the_datas(read: Read) -> None:
    knobs = {said(cells[0]): said(cells[1]) for cells in read.tables["knobs"]}
    for name, value in read.journals.plan["profile"]["knobs"].items():
        assert knobs[name] == str(value).lower() if isinstance(value, bool) else str(value)
    rows = read.tables["experiment"]
    assert number(row(rows, "subjects")[1]) == len(read.journals.data["subjects"])
    for split in read.journals.data["splits"]:
        cells = row(rows, f"fold {split['fold']}")
        assert said(cells[1]) == f"{len(split['train'])} to learn from, {len(split['test'])} held out"


def test_the_forecast_is_the_sum_of_its_parts(read: Read) -> None:
    if "left" not in read.tables:
        assert read.json["sections"][0]["blocks"][0]["rows"][0]["cells"][1][0]["text"] == "finished"
        return
    *parts, whole = read.tables["left"]
    for cells in parts:
        assert number(cells[1]) * number(cells[2]) == pytest.approx(number(cells[3]), rel=1e-6)
        assert cells[1][0]["basis"]["kind"] == "counted" and cells[3][0]["basis"]["kind"] == "modelled"
    assert sum(number(cells[3]) for cells in parts) == pytest.approx(number(whole[3]), rel=1e-6)
    assert sum(number(cells[4]) for cells in parts) == pytest.approx(1.0, rel=1e-6)
    finished = sum(line["k"] == "run_ended" for line in read.journals.events)
    begun = len([lines for lines in read.journals.runs.values() if lines])
    total, ladder = len(read.journals.plan["runs"]), read.tables["ladder"]
    assert said(ladder[-1][0]).startswith("experiment")
    left = next(number(cells[1]) for cells in parts if said(cells[0]) == "between runs")
    assert left in (total - begun, total - finished)


def test_what_was_shown_is_counted_from_the_journals(read: Read) -> None:
    markdown = render(read.report)
    steps = sum(line["steps"] for line in read.journals.every("steps"))
    saved = len([line for line in read.journals.every("checkpoint") if line["verified"]])
    epochs = len(read.journals.every("epoch"))
    assert re.search(rf"- \[x\] the training loop runs: {steps:,}\[\^\d+\] steps", markdown)
    assert re.search(rf"- \[x\] checkpoints can be written: {saved} written", markdown)
    assert re.search(rf"- \[x\] epochs end: {epochs}\[\^\d+\] so far", markdown)
    assert f"{min(len(split['test']) for split in read.journals.data['splits'])}[^" in markdown


# ---------------------------------------------------------------- of every report


def every_report(folder: Path) -> list[Report]:
    """Of recordings, tests of profiles, and a training that went through two."""
    logs = folder / "logs"
    write_recording(logs / "arc-meshnet26", "arc", 0.25)
    write_test(logs / "arc-meshnet26-phases")
    write_test(logs / "under-way", over=False)
    write_changed(logs / "changed")
    write_recording(logs / "quickstart", "quickstart", 0.02)
    names = ("arc-meshnet26", "arc-meshnet26-phases", "under-way", "changed", "quickstart")
    return [report_of(state_of(logs / name)) for name in names]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    return every_report(tmp_path_factory.mktemp("every"))


def test_no_number_is_without_its_basis(reports: list[Report]) -> None:
    for report in reports:
        for piece in pieces_of(report):
            match piece:
                case Words():
                    assert not re.search(r"\d", piece.text), piece
                case Missing():
                    assert not re.search(r"(?<![\w.])\d+(?![\w.])", piece.reason), piece
                case Value():
                    assert piece.basis.text.startswith(f"{piece.basis.kind}"), piece


def test_a_figure_is_shown_as_what_it_is(reports: list[Report]) -> None:
    checked = 0
    for report in reports:
        for piece in pieces_of(report):
            if not isinstance(piece, Value) or piece.value is None or piece.unit == "s since 1970" or "< " in piece.text:
                continue
            first = re.split(r" to | \(|–(?=\d)| ± ", piece.text)[0]
            if piece.low is not None and " to " in piece.text:
                shown, off = read_back(first)
                assert abs(shown - piece.low) <= off + 1e-12, piece
            else:
                shown, off = read_back(first)
                assert abs(shown - float(piece.value)) <= off + 1e-12, piece
            checked += 1
    assert checked > 500


def test_the_same_input_gives_the_same_report(tmp_path: Path) -> None:
    write_recording(tmp_path / "arc", "arc", 0.25)
    first, second = (report_of(state_of(tmp_path / "arc")) for _ in range(2))
    assert first == second and as_json(first) == as_json(second)
    assert render(first).count(" +") >= 1


def test_a_test_beside_it_is_told_with_its_intervals(reports: list[Report]) -> None:
    rows = tables(json.loads(as_json(reports[0])))["phases-arc-meshnet26-phases"]
    assert [said(cells[0]) for cells in rows] == ["as it is", "2 workers", "4 workers, further ahead", "batch 2"]
    assert said(rows[1][1]) == "num_workers 1→2"
    ratio = rows[1][5][0]
    assert ratio["low"] < 2 < ratio["high"] and ratio["value"] == pytest.approx(2, rel=0.05)
    assert rows[1][2][0]["basis"]["kind"] == "modelled" and rows[1][3][0]["basis"]["kind"] == "measured"
    assert said(rows[3][6]).startswith("gpu oom: the GPU's memory was full")
    assert "torch.OutOfMemoryError" in render(reports[0])


def test_a_profile_that_was_tried_says_what_it_brought(reports: list[Report]) -> None:
    changed = tables(json.loads(as_json(reports[3])))["phases-own"]
    assert said(changed[1][1]) == "num_workers 1→2"
    assert said(changed[1][6]) in ("faster", "measured") or changed[1][6]
    mark = next(cells for cells in tables(json.loads(as_json(reports[3])))["knobs"] if said(cells[0]) == "num_workers")
    assert "changed while it trained, after step 1,850" in said(mark[1])


def test_a_mark_gives_its_measured_reason(reports: list[Report]) -> None:
    knobs = {said(cells[0]): cells for cells in tables(json.loads(as_json(reports[0])))["knobs"]}
    assert said(knobs["num_workers"][2]) == "critical"
    assert re.match(r"waiting for data is 8\d % of a step", said(knobs["num_workers"][3]))
    assert said(knobs["batch_size"][2]) == "note", "the batch size is not blamed for what the loader does"
    assert "the loader is the limit" in said(knobs["batch_size"][3])
