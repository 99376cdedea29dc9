"""Numbers with their nouns, in the journal's sentences and on the command line."""

from __future__ import annotations

import msgspec

from engine.counts import plural
from engine.journals import journal
from engine.journals.events import ExperimentEnded, Gap, RunEnded, SupervisorStarted, Verdict
from engine.live.fold_experiment import fold_supervisor
from engine.live.state import new_experiment
from engine.live.watch import Watch
from tests.conftest import Laboratory, fake_plan, wait_until
from tui.verbs.checking import check_lines


def test_one_is_one_and_thousands_are_separated() -> None:
    assert [plural(n, "run") for n in (0, 1, 2, 1234)] == ["0 runs", "1 run", "2 runs", "1,234 runs"]
    assert plural(2, "left-over process") == "2 left-over processes"


def test_sentences_about_one_thing_do_not_speak_of_many() -> None:
    verdict = Verdict(kind="finished", text="done")
    state = fold_supervisor(new_experiment("/logs/x", fake_plan(folds=2, restarts=1)), [
        SupervisorStarted(pid=1, host="h", boot_id="b", runs=((0, 0),), t=1.0),
        RunEnded(fold=0, restart=0, attempt=1, outcome="finished", verdict=verdict, seconds=1.0, swept=1, t=2.0),
        Gap(dropped=1, reason="No space left on device", t=3.0),
    ])
    said = [sentence.text for sentence in state.sentences]
    assert said[0] == "supervisor started, 1 run to do"
    assert said[1].endswith("1 left-over process ended")
    assert said[2].startswith("1 supervisor line could")


def test_an_experiment_of_one_run_ends_with_it(lab: Laboratory) -> None:
    plan = fake_plan(folds=2, restarts=1)
    paths = lab.launch(msgspec.structs.replace(plan, runs=plan.runs[:1]))
    wait_until(lambda: Watch(paths.folder).poll().ended is not None, what="the end")
    last = journal.read(paths.events)[-1]
    assert isinstance(last, ExperimentEnded)
    assert last.text.startswith("its one run finished")


def test_check_counts_shapes_and_separates_thousands() -> None:
    shapes = {f"{n} × 256 × 256": 1000 - n for n in range(100, 160)}
    lines = check_lines(fake_plan(folds=2, restarts=1), {
        "subjects": 1234, "shapes": shapes, "orientations": {"RAS": 1200, "LPS": 34},
        "spreads": {"lesion, mm³": {"low": 3.456, "middle": 98_479.07, "high": 293_129.01}},
        "folds": [{"fold": 0, "train": 1000, "test": 234, "steps_per_epoch": 1}],
        "model": {"name": "meshnet", "parameters": 147_474},
    })
    assert lines[0].startswith("fake: 2 runs of 2 epochs, profile")
    said = "\n".join(lines)
    assert "subjects: 1,234" in said
    assert f"100 × 256 × 256 (900), 101 × 256 × 256 (899), 102 × 256 × 256 (898), 103 × 256 × 256 (897), and 56 more shapes ({sum(shapes.values()) - 3594:,})" in said
    assert "orientations: RAS (1,200), LPS (34)" in said
    assert "lesion, mm³: 3.456 to 293,129, median 98,479" in said
    assert "fold 0: 1,000 train, 234 test, 1 step per epoch" in said
    assert "parameters 147,474" in said
