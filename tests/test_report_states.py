"""`steptop report` of an experiment in every state: real processes, real files, and what a user reads of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.config.tables import Lock
from engine.journals.events import (
    Begin,
    EpochEnded,
    ExperimentEnded,
    PrecisionActive,
    RunStarted,
    SpanEnded,
    Steps,
    SupervisorStarted,
    Verdict,
)
from engine.journals.journal import read, write_all
from engine.live.watch import Watch
from engine.paths import ExperimentPaths, read_json, write_json
from engine.report.build import report_of
from engine.report.files import as_json
from engine.report.render_markdown import render
from tests.conftest import Laboratory, fake_plan, wait_until
from tests.recordings import STARTED, state_of, write_recording
from tests.reported import number, row, said, tables
from tests.test_layers import HEAVY, loaded_by
from tests.tested import write_test

ROOT = Path(__file__).parent.parent


def steptop(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tui.cli", *words], cwd=folder, capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done


def section(markdown: str, title: str) -> str:
    return markdown.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    write_recording(folder / "logs" / "finished", "quickstart", 4)
    write_recording(folder / "logs" / "arc", "arc", 0.02)
    return folder


# ---------------------------------------------------------------- the command


def test_markdown_goes_to_stdout_and_begins_with_what_matters(logs: Path) -> None:
    text = steptop(logs, "report", "finished").stdout
    glance = section(text, "At a glance")
    rows = [line.split(" | ")[0].removeprefix("| ") for line in glance.splitlines() if line.startswith("| ")]
    assert rows[2:] == ["state", "data", "runs", "the last run", "pace", "learning", "is it well", "ended", "what held it back", "what to do next"]
    assert "`steptop results finished`" in glance
    assert "\x1b" not in text


def test_a_file_is_written_by_its_ending_and_said(logs: Path) -> None:
    out = logs / "out"
    out.mkdir()
    html = steptop(logs, "report", "finished", "-o", "out/r.html").stdout
    assert html == "written: out/r.html\n"
    assert (out / "r.html").read_text().startswith("<!doctype html>")
    markdown = steptop(logs, "report", "finished", "-o", "out/r.md").stdout.splitlines()
    assert markdown[0] == "written: out/r.md" and all(line.endswith(".svg") for line in markdown[1:])
    assert sorted(path.name for path in out.iterdir() if path.suffix == ".svg") == [
        "r-loss.svg", "r-memory.svg", "r-step-time.svg", "r-validation.svg"
    ]  # fmt: skip


def test_json_is_the_report_with_a_basis_on_every_number(logs: Path) -> None:
    found = json.loads(steptop(logs, "report", "finished", "--json").stdout)
    assert (found["format"], found["experiment"]) == (1, "finished")
    pieces = [piece for rows in tables(found).values() for cells in rows for cell in cells for piece in cell]
    kinds = {piece["basis"]["kind"] for piece in pieces if piece["is"] == "value"}
    assert kinds >= {"measured", "counted", "set"}
    assert number(row(tables(found)["results"], "fold 1 restart 1")[1]) == pytest.approx(0.7, abs=0.1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "r.pdf"), "a report's file ends in .md (Markdown) or .html"),
        (("-o", "nowhere/r.md"), "nowhere is no folder"),
        (("-o", "logs/r.html", "--json"), "leave one of them out"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_left(logs: Path, words: tuple[str, ...], said: str) -> None:
    before = sorted(logs.rglob("*"))
    done = steptop(logs, "report", "finished", *words, code=2)
    assert said in done.stderr and not done.stdout
    assert sorted(logs.rglob("*")) == before


def test_commands_find_it_wherever_it_lies(logs: Path, tmp_path: Path) -> None:
    said = steptop(tmp_path, "report", str(logs / "logs" / "finished")).stdout
    assert f"`steptop results {logs}/logs/finished --logs {logs}/logs`" in said
    there = steptop(tmp_path, "--logs", str(logs / "logs"), "report", "finished").stdout
    assert f"`steptop results finished --logs {logs}/logs`" in there


def test_a_folder_that_cannot_be_written_says_so(logs: Path) -> None:
    folder = logs / "full.html"
    folder.mkdir(exist_ok=True)
    assert "is a folder; name a file in it" in steptop(logs, "report", "finished", "-o", "full.html", code=2).stderr


# ---------------------------------------------------------------- states


def test_a_living_training_says_when_it_ends_and_what_to_type(tmp_path: Path) -> None:
    write_recording(tmp_path / "arc", "arc", 0.25)
    text = render(report_of(state_of(tmp_path / "arc")))
    glance = section(text, "At a glance")
    assert "| state | training |" in glance and "| everything ends | 20" in glance
    assert "`steptop change arc --set num_workers=4`" in glance
    assert "| `num_workers` | 1[^2] | critical |" in text
    assert "`steptop stop --after-run arc`" in section(text, "Next steps")


def test_a_test_of_profiles_has_its_own_report(tmp_path: Path) -> None:
    write_test(tmp_path / "arc-meshnet26-phases")
    text = render(report_of(state_of(tmp_path / "arc-meshnet26-phases")))
    assert "a test of profiles" in section(text, "At a glance")
    assert "| num_workers 1→2[^" in section(text, "Profiles before and after")
    assert "`steptop compare arc-meshnet26-phases`" in section(text, "Next steps")


def test_before_the_first_step_nothing_is_claimed(tmp_path: Path) -> None:
    write_recording(tmp_path / "quickstart", "quickstart", 0.01)
    paths = ExperimentPaths(tmp_path / "quickstart")
    for file in paths.folder.glob("fold_*/steps-*.jsonl"):
        file.unlink()
    for file in (paths.machine, paths.data):
        file.unlink()
    text = render(report_of(state_of(tmp_path / "quickstart")))
    assert "– (no step has been timed yet)" in section(text, "Where a step goes")
    assert "– (nothing to draw yet)" in section(text, "How it went")
    assert "- [ ] the training loop runs: – (no step has ended)" in text
    assert "waiting for data" not in text and "critical" not in text


def test_only_a_plan_is_a_report_of_a_plan(tmp_path: Path) -> None:
    paths = ExperimentPaths(tmp_path / "planned")
    paths.folder.mkdir()
    write_json(paths.plan, fake_plan("planned"))
    text = render(report_of(Watch(paths.folder).poll()))
    assert "| runs | 0[^1] of 4[^2] finished |" in section(text, "At a glance")
    assert "no step has been timed yet" in text


def test_a_trainer_of_ones_own_from_start_to_finish(
    tmp_path: Path, lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEPS", "20")
    paths = lab.launch(fake_plan("mine", folds=1, restarts=1))
    wait_until(lambda: Watch(paths.folder).poll().phase == "finished", what="the end")
    state = Watch(paths.folder).poll()
    text = render(report_of(state, lab.logs))
    assert "| state | finished |" in text
    assert f"`steptop results mine --logs {lab.logs}`" in text
    assert "with a trainer of its own" in section(text, "Configuration")
    assert "a trainer of its own, which has no knobs of steptop's" in section(text, "Profiles to choose from")
    steps = [line for line in read(paths.run(0, 0).segment(1)) if isinstance(line, Steps)]
    spent = row(tables(json.loads(as_json(report_of(state))))["spent"], "train")
    assert number(spent[1]) == 40 and number(spent[3]) == pytest.approx(sum(line.seconds for line in steps))
    assert "| `fold 0 restart 0` | 0.800 | 0.200 | 0.700[^" in section(text, "Results so far")


def test_a_failed_training_says_why_and_what_to_do(
    tmp_path: Path, lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "oom_text")
    paths = lab.launch(fake_plan("failing", folds=1, restarts=1))
    wait_until(lambda: Watch(paths.folder).poll().phase == "failed", what="the failure")
    text = render(report_of(Watch(paths.folder).poll()))
    glance = section(text, "At a glance")
    assert "| **state (critical)** | failed |" in glance
    assert "the GPU's memory was full" in glance
    assert "Evidence: `RuntimeError: CUDA out of memory. Tried to allocate 20.00 GiB`" in glance
    assert "`steptop resume failing`" in glance and "`steptop logs failing`" in section(text, "Next steps")
    assert "**failed:** runs come to their end" in text


def test_a_stopped_training_says_when_it_ended_and_how_it_goes_on(
    tmp_path: Path, lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STEPS", "2000")
    paths = lab.launch(fake_plan("halted", folds=1, restarts=1))
    wait_until(lambda: (run := Watch(paths.folder).poll().run) is not None and run.step > 5, what="steps")
    living = render(report_of(Watch(paths.folder).poll()))
    assert "| state | training |" in living and "`steptop stop --after-run halted`" in living
    steptop(tmp_path, "--logs", str(lab.logs), "stop", "--now", "halted")
    wait_until(lambda: Watch(paths.folder).poll().phase == "stopped", what="the stop")
    report = report_of(Watch(paths.folder).poll())
    text = render(report)
    assert "| state | stopped |" in text and "| ended | 20" in text
    assert "Why it ended: stopped as asked after step" in section(text, "At a glance")
    assert "| what to do next | `steptop resume halted`: go on from the last checkpoint |" in text
    assert "It has ended; nothing is left to foretell." in section(text, "How long it takes")
    steps = [line for line in read(paths.run(0, 0).segment(1)) if isinstance(line, Steps)]
    train = row(tables(json.loads(as_json(report)))["spent"], "train")
    assert number(train[1]) == len(steps) == steps[-1].step


# ---------------------------------------------------------------- what the documents got wrong


def recorded(folder: Path, *extra: object, **plan: object) -> str:
    """A small training whose journals hold these records; its report."""
    paths = ExperimentPaths(folder)
    run = paths.run(0, 0)
    run.folder.mkdir(parents=True)
    write_json(paths.plan, msgspec.structs.replace(fake_plan("mine", folds=1, restarts=1), **plan))  # type: ignore[arg-type]
    write_all(paths.events, [
        SupervisorStarted(pid=1, host="h", boot_id="b", runs=((0, 0),), t=STARTED, m=1.0),
        RunStarted(fold=0, restart=0, attempt=1, pid=2, t=STARTED, m=1.0),
        ExperimentEnded(outcome="stopped", text="stopped", verdict=Verdict(kind="user_stop", text="as asked"), t=STARTED + 900, m=901.0),
    ])  # fmt: skip
    begin = Begin(epochs=3, steps_per_epoch=10, num_workers=2, t=STARTED, m=1.0)
    write_all(run.segment(1), [begin, *extra])  # type: ignore[list-item]
    return render(report_of(state_of(folder)))


def test_cumulative_epoch_seconds_are_never_shown_as_an_epochs_own(tmp_path: Path) -> None:
    """97, 185 and 271 s were read as durations; the epochs took 97, 88 and 86."""
    lines: list[object] = []
    for number_, at in enumerate((97.0, 185.0, 271.0), start=1):
        lines += [
            Steps(epoch=number_, step=10 * number_, steps=10, seconds=80.0, low=8.0, high=8.0, t=STARTED + at - 1, m=at),
            EpochEnded(epoch=number_, step=10 * number_, steps=10, seconds=at, t=STARTED + at, m=1.0 + at),
        ]
    text = recorded(tmp_path / "mine", *lines)
    epochs = [line for line in section(text, "How long it takes").splitlines() if line.startswith(("| 1 |", "| 1[", "| 2", "| 3"))]
    took = [line.split(" | ")[2].split("[")[0] for line in epochs]
    assert took == ["1m 37s", "1m 28s", "1m 26s"]
    assert "they look cumulative" in section(text, "Risks").lower()


def test_the_parts_of_a_loss_are_named(tmp_path: Path) -> None:
    line = Steps(epoch=1, step=3, steps=3, seconds=3.0, low=1.0, high=1.0, loss=1.5, losses={"bce": 0.911, "soft|dice": 0.589}, t=STARTED, m=2.0)
    assert "Components of the newest loss: `bce` 0.9110, `soft|dice` 0.5890[^" in recorded(tmp_path / "mine", line)


def test_a_run_that_learned_nothing_is_said_to_be_no_model(tmp_path: Path) -> None:
    write_recording(tmp_path / "quickstart", "quickstart", 2)
    state = state_of(tmp_path / "quickstart")
    first = state.runs[0]
    assert first.test is not None and "nothing was learned" not in render(report_of(state))
    test = msgspec.structs.replace(first.test, values=first.test.values | {"dice": 0.0})
    runs = (msgspec.structs.replace(first, test=test), *state.runs[1:])
    text = section(render(report_of(msgspec.structs.replace(state, runs=runs))), "Results so far")
    assert f"`{first.key.name}`: nothing was learned, a Dice no better than marking nothing right. No usable model." in text


def test_precision_that_is_asked_for_and_not_active_is_critical(tmp_path: Path) -> None:
    """"precision: amp" was a no-op, and nobody saw it."""
    text = recorded(
        tmp_path / "mine", PrecisionActive(requested="fp16", active="float32", evidence="26 of 26 convolutions", t=STARTED, m=2.0)
    )
    assert "| `precision` | auto[^2] | critical | asked for `fp16`, but hidden layers compute in float32" in text
    assert "**failed:** precision is what was asked for" in text


def test_a_validation_of_no_case_is_critical(tmp_path: Path) -> None:
    """806 volumes to train on and none to validate: "Best SurfaceDice -1.0"."""
    write_recording(tmp_path / "quickstart", "quickstart", 0.5)
    paths = ExperimentPaths(tmp_path / "quickstart")
    prepared = read_json(paths.data, Prepared)
    assert prepared is not None
    splits = tuple(msgspec.structs.replace(split, test=()) for split in prepared.splits)
    write_json(paths.data, msgspec.structs.replace(prepared, splits=splits))
    text = render(report_of(state_of(paths.folder)))
    assert "| `val_every_epochs` | 2[^2] | critical | validation has 0[^" in text
    assert "**failed:** something is held out in every fold: 0[^" in text
    assert "validation goes through 15 samples where 0 volumes make 0" in section(text, "Risks")


def test_a_lock_and_its_override_are_told_with_the_reason(tmp_path: Path) -> None:
    write_recording(tmp_path / "arc", "arc", 0.02)
    paths = ExperimentPaths(tmp_path / "arc")
    plan = read_json(paths.plan, Plan)
    assert plan is not None
    reason = "deep supervision needs frequent small-batch updates"
    locks = {"batch_size": Lock(value=1, reason=reason), "num_workers": Lock(value=4, reason="the disk is shared")}
    experiment = msgspec.structs.replace(plan.experiment, locks=locks)
    overridden = {"num_workers": "the disk is shared"}
    write_json(paths.plan, msgspec.structs.replace(plan, experiment=experiment, overridden=overridden))
    report = report_of(state_of(paths.folder))
    text = render(report)
    knobs = {said(cells[0]): cells for cells in tables(json.loads(as_json(report)))["knobs"]}
    assert said(knobs["batch_size"][2]) == "locked" and reason in said(knobs["batch_size"][3])
    assert "the lock on `num_workers` was overridden, although: `the disk is shared`" in section(text, "Risks")


def test_missing_and_damaged_lines_are_counted(tmp_path: Path) -> None:
    write_recording(tmp_path / "quickstart", "quickstart", 1.0)
    paths = ExperimentPaths(tmp_path / "quickstart")
    with paths.run(0, 0).segment(1).open("ab") as file:
        file.write(b'{"k":"steps","epoch":9\n\x00\x00\n')
        file.write(b'{"k":"gap","n":1,"t":1,"m":1,"dropped":7,"reason":"no space left"}\n')
    text = render(report_of(Watch(paths.folder).poll()))
    risks = section(text, "Risks")
    assert "7 lines[^" in risks and "`no space left`" in risks
    assert "2[^" in risks and "damaged lines of the journals were passed over" in risks
    assert "**failed:** the journals are whole: 9[^" in text


def test_after_a_resume_only_the_steps_that_count_are_counted(tmp_path: Path) -> None:
    def steps(first: int, last: int, m: float) -> list[object]:
        return [
            Steps(epoch=(n - 1) // 10 + 1, step=n, steps=1, seconds=1.0, low=1.0, high=1.0, t=STARTED + m + n, m=m + n)
            for n in range(first, last + 1)
        ]

    folder = tmp_path / "mine"
    recorded(folder, *steps(1, 14, 10.0), SpanEnded(name="validate", seconds=4.0, items=2, t=STARTED + 30, m=30.0))
    again = Begin(attempt=2, epochs=3, steps_per_epoch=10, resumed_from_step=10, t=STARTED + 100, m=100.0)
    write_all(ExperimentPaths(folder).run(0, 0).segment(2), [again, *steps(11, 20, 110.0)])  # type: ignore[list-item]
    found = tables(json.loads(as_json(report_of(state_of(folder)))))
    train = row(found["spent"], "train")
    assert (number(train[1]), number(train[3])) == (20, 20.0)
    assert "- [x] resuming works: attempts that went on: 1, the last one after step 10[^" in render(report_of(state_of(folder)))




def test_writing_a_report_needs_neither_a_screen_nor_torch() -> None:
    program = "import engine.report.build, engine.report.files"
    assert not loaded_by(program) & (HEAVY | {"textual", "rich", "tui", "pynvml"})


def test_a_run_that_is_slower_than_the_first_is_a_risk(tmp_path: Path) -> None:
    """Three runs of one configuration took 63.6, 64.3 and 69.2 h, and the forecast said 61.7 each time."""
    write_recording(tmp_path / "quickstart", "quickstart", 2.0)
    journal = ExperimentPaths(tmp_path / "quickstart").run(0, 1).segment(1)
    records = [
        msgspec.structs.replace(one, seconds=1.2 * one.seconds) if isinstance(one, Steps) else one for one in read(journal)
    ]
    first, second = (
        sum(one.seconds for one in lines if isinstance(one, Steps))
        for lines in (read(ExperimentPaths(tmp_path / "quickstart").run(0, 0).segment(1)), records)
    )
    journal.unlink()
    write_all(journal, records)
    risks = section(render(report_of(state_of(tmp_path / "quickstart"))), "Risks")
    assert f"steps took longer than the first run's: `fold 0 restart 1` {100 * (second / first - 1):.0f} %[^" in risks


def test_growing_memory_is_as_grave_as_what_ends_first(tmp_path: Path) -> None:
    """Memory that is full in two weeks ends an experiment of six; one run of it is over long before."""
    write_recording(tmp_path / "arc", "arc", 0.25)
    paths = ExperimentPaths(tmp_path / "arc")
    risks = section(render(report_of(state_of(paths.folder))), "Risks")
    assert "**critical:** memory grows by 404 MiB[^" in risks and ", before the experiment's end" in risks
    plan = read_json(paths.plan, Plan)
    assert plan is not None
    write_json(paths.plan, msgspec.structs.replace(plan, runs=plan.runs[:1]))
    text = render(report_of(state_of(paths.folder)))
    assert "**note:** memory grows by 404 MiB[^" in text and ", after the experiment's end" in text
    assert "- [x] memory holds out: 404 MiB[^" in text and "but it ends before that matters" in text
