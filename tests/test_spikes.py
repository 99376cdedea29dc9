"""A term of the loss at every k-th step: told as the spike it is, from the journal's lines."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from engine.config.plan import Plan
from engine.config.run_keys import RunKey
from engine.config.tables import Term
from engine.journals.events import Begin, Spans, Steps
from engine.live.fold_run import fold_run
from engine.live.replay import Replay
from engine.live.spike_lines import rare
from engine.live.spikes import Spike, said, spikes
from engine.live.state import ExperimentState, RunState, new_run
from engine.paths import ExperimentPaths, read_json, write_json
from tests.fixtures.recorded import HERE
from tests.tui.conftest import view
from tui.glyphs import BRAILLE
from tui.widgets.line import text_of, width_of
from tui.widgets.steptime import StepTimePlot, spiking_lines
from tui.widgets.where import WherePanel, where_lines

ROOT = Path(__file__).parent.parent
# Dots of the left and of the right column of a cell.
LEFT, RIGHT = 0x47, 0xB8


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real training, whose `skeleton` counts at every 4th step: those take some 112 ms more (medians of its lines)."""
    folder = tmp_path_factory.mktemp("recorded") / "surfaces"
    with tarfile.open(HERE / "long-surfaces.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def at(folder: Path, part: float) -> ExperimentState:
    replay = Replay(folder)
    return replay.state_at(replay.begins + part * (replay.ends - replay.begins))


def trained(
    terms: dict[str, int], seconds: Callable[[int], float], count: int, together: int = 1, device: str = "cpu",
    computed: Callable[[int], float] | None = None,
) -> RunState:
    """A run of `count` steps in lines of `together`, or of what one to three happen to come to."""
    chance, step = random.Random(1), 0
    run = msgspec.structs.replace(
        new_run(RunKey(fold=0, restart=0, seed=1)), rare=rare({name: Term(every=k) for name, k in terms.items()})
    )
    lines: list[Steps] = []
    while step < count:
        many = together or chance.choice((1, 2, 3))
        took = [seconds(number) * chance.uniform(0.97, 1.03) for number in range(step + 1, step + many + 1)]
        spans = Spans(forward=sum((computed or seconds)(number) for number in range(step + 1, step + many + 1)))
        step += many
        lines.append(Steps(
            epoch=1, step=step, steps=many, seconds=sum(took), low=min(took), high=max(took), spans=spans, t=float(step),
        ))
    return fold_run(run, [Begin(epochs=9, steps_per_epoch=1000, device=device), *lines])


def long(every: int, more: float, usual: float = 0.1) -> Callable[[int], float]:
    """Counted as the trainer does: the first step computes every term."""
    return lambda number: usual + more * ((number - 1) % every == 0)


def found(run: RunState) -> list[tuple[int, Sequence[str], float]]:
    return [(one.every, one.terms, round(one.seconds, 2 if one.seconds < 0.1 else 1)) for one in spikes(run)]


# ---------------------------------------------------------------- a real training


@pytest.mark.parametrize("part", [0.1, 0.4, 0.7, 1.0])
def test_every_fourth_step_of_the_real_one_is_told_with_what_it_takes(surfaces: Path, part: float) -> None:
    run = at(surfaces, part).run
    assert run is not None
    (one,) = spikes(run)
    assert one.every == 4 and one.terms == ("skeleton",)
    assert one.seconds == pytest.approx(0.112, abs=0.02) and one.usual == pytest.approx(0.275, abs=0.03)


def test_where_a_step_goes_says_it_and_the_curve_shows_each_spike(surfaces: Path) -> None:
    state = at(surfaces, 0.7)
    assert state.run is not None
    words = said(spikes(state.run)[0], "106 ms").split("+")[0]
    assert words == "every 4th step "
    panel = [text_of(line) for line in where_lines(view(state), 56, 12)]
    assert sum(line.startswith(words) and line.endswith("ms: skeleton") for line in panel) == 1
    drawn = spiking_lines(state.run, spikes(state.run), 60, 9)
    assert all(width_of(line) <= 60 for line in drawn) and "last 50 steps" in text_of(drawn[-1])
    comb = [line[-1][0] for line in drawn[: (len(drawn) - 1) // 2]]
    # Of every four columns of dots two reach the upper half: where the spike rises, and where it falls.
    above = [any((ord(row[at // 2]) - BRAILLE) & (LEFT, RIGHT)[at % 2] for row in comb) for at in range(2 * len(comb[0]))]
    rises = [at for at, now in enumerate(above) if now and not above[at - 1]]
    assert 9 <= len(rises) <= 13 and {(b - a) % 4 for a, b in pairwise(rises)} == {0}, "50 steps hold 12 or 13"
    assert {cell for line in drawn[:2] for cell in line[1][0]} == {chr(BRAILLE)}, "over whole periods no peak is left"


def test_on_a_small_screen_the_titles_say_it(surfaces: Path) -> None:
    state = at(surfaces, 0.7)
    where, curve = WherePanel(), StepTimePlot()
    for panel, height in ((where, 3), (curve, 5)):
        panel.draw(view(state), 40, height)
        assert "ms · every 4th +10" in str(panel.border_title)
    where.draw(view(state), 56, 12)
    assert "every" not in str(where.border_title), "it has its line there"


def test_status_and_report_say_it_too(surfaces: Path) -> None:
    def steptop(*words: str) -> str:
        argv = [sys.executable, "-m", "tui.cli", *words, "--logs", str(surfaces.parent)]
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert "  every 4th step +12" in (text := steptop("status", "surfaces")) and "ms: skeleton\n" in text
    (told,) = json.loads(steptop("status", "surfaces", "--json"))["spikes"]
    assert told["every"] == 4 and told["terms"] == ["skeleton"] and told["seconds"] == pytest.approx(0.112, abs=0.02)
    (row,) = [line for line in steptop("report", "surfaces").splitlines() if line.startswith("| every 4th step")]
    assert "longer by, for skeleton" in row and " ms" in row


def test_a_plan_whose_terms_all_count_at_every_step_has_none(surfaces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "without"
    folder.mkdir()
    for entry in surfaces.iterdir():
        if entry.name != "plan.json":
            (folder / entry.name).symlink_to(entry)
    plan = read_json(ExperimentPaths(surfaces).plan, Plan)
    assert plan is not None
    loss = plan.experiment.loss
    terms = {name: msgspec.structs.replace(term, every=1) for name, term in loss.terms.items()}
    changed = msgspec.structs.replace(plan.experiment, loss=msgspec.structs.replace(loss, terms=terms))
    write_json(ExperimentPaths(folder).plan, msgspec.structs.replace(plan, experiment=changed))
    run = at(folder, 0.7).run
    assert run is not None and run.step > 500 and spikes(run) == () and run.rare.lines == ()


# ---------------------------------------------------------------- what the lines may be like


@pytest.mark.parametrize("together", [0, 1, 2, 3, 7])
def test_lines_of_several_steps_tell_it_by_how_many_of_the_long_ones_they_hold(together: int) -> None:
    assert found(trained({"skeleton": 4, "dice": 1}, long(4, 0.05), 600, together)) == [(4, ("skeleton",), 0.05)]


def test_lines_that_all_hold_as_many_cannot_tell_and_nothing_is_said() -> None:
    assert found(trained({"skeleton": 4}, long(4, 0.05), 600, together=4)) == []


def test_two_intervals_are_told_apart_and_terms_of_one_interval_together() -> None:
    def seconds(number: int) -> float:
        return 0.1 + 0.04 * ((number - 1) % 4 == 0) + 0.6 * ((number - 1) % 50 == 0)

    run = trained({"skeleton": 4, "top_loss": 50, "cl_dice": 4}, seconds, 700)
    assert found(run) == [(4, ("skeleton", "cl_dice"), 0.04), (50, ("top_loss",), 0.6)]


def test_a_rare_term_is_said_once_it_has_come_often_enough() -> None:
    assert found(trained({"top_loss": 50}, long(50, 0.6), 140)) == []
    assert found(trained({"top_loss": 50}, long(50, 0.6), 260)) == [(50, ("top_loss",), 0.6)]


def test_a_term_that_costs_nothing_is_no_spike() -> None:
    assert found(trained({"skeleton": 4}, long(4, 0.0), 600)) == []


def test_stalls_are_not_laid_at_a_terms_door() -> None:
    def seconds(number: int) -> float:
        return 0.1 + 0.05 * ((number - 1) % 4 == 0) + 2.0 * (number in (441, 510, 565))

    assert found(trained({"skeleton": 4}, seconds, 600)) == [(4, ("skeleton",), 0.05)]


def test_on_a_gpu_whose_host_runs_ahead_its_own_clock_tells() -> None:
    run = trained({"skeleton": 4}, lambda _: 0.1, 600, device="cuda:0", computed=long(4, 0.04, 0.09))
    assert found(run) == [(4, ("skeleton",), 0.04)]
    waiting = trained({"skeleton": 4}, lambda _: 0.5, 600, device="cuda:0", computed=long(4, 0.04, 0.09))
    assert found(waiting) == [], "where the loader is the limit no step is longer for it"


def test_the_words() -> None:
    words = [said(Spike(k, ("a\x1b[31m",), 1.0, 1.0), "1 s") for k in (2, 3, 11, 21, 112)]
    assert [word.split()[1] for word in words] == ["2nd", "3rd", "11th", "21st", "112th"]
    assert "\x1b" not in words[0]
