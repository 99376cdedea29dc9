"""What the panels say, line by line, for moments of recorded experiments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.diagnosis.bottleneck import Share
from engine.journals.events import Metrics, Progress, Verdict
from engine.live.state import ExperimentState, Sentence, StopState
from tests.tui.conftest import ended, stopping, view
from tui.actions import COMMANDS, Situation
from tui.messages import Listed
from tui.screens.experiments import entry
from tui.widgets.banner import banner_lines
from tui.widgets.events import events_lines
from tui.widgets.finish import finish_lines
from tui.widgets.header import header_line
from tui.widgets.keybar import key_spans
from tui.widgets.line import Line, bar, cut, ends, spark, text_of, width_of
from tui.widgets.machine import machine_lines
from tui.widgets.progress import progress_lines
from tui.widgets.runs import runs_lines
from tui.widgets.small import small_lines
from tui.widgets.where import where_lines

Recorded = Callable[..., ExperimentState]
KILLED = Verdict(
    kind="gpu_oom",
    text="the GPU's memory was full",
    evidence=("torch.OutOfMemoryError: tried to allocate 2.00 GiB",),
    advice="a smaller batch_size, or precision = fp16",
)


def texts(lines: list[Line]) -> list[str]:
    return [text_of(line).rstrip() for line in lines]


def roles_of(lines: list[Line], word: str) -> set[str]:
    """The roles of spans that hold `word`."""
    return {role for line in lines for text, role in line if word in text}


# ---------------------------------------------------------------- progress


def test_progress_says_step_epoch_runs_and_three_speeds(arc: ExperimentState) -> None:
    assert texts(progress_lines(view(arc), 56, 5)) == [
        "step    74/148  ━━━━━━━━━━━───────────    17.9 s/step",
        "epoch   13/50   ━━━━━╸────────────────  0.0558 step/s",
        "runs     0/30   ╸─────────────────────  0.0558 sample/s",
        "now    training                          0.936 Mvoxel/s",
        "loss   0.3930  · lr 0.00075  · float16",
    ]


def test_a_long_step_shows_how_long_ago_the_last_one_was(arc: ExperimentState) -> None:
    later = msgspec.structs.replace(arc, now=arc.now + 12)
    assert "last step 12 s ago" in texts(progress_lines(view(later), 56, 5))[3]
    assert "ago" not in texts(progress_lines(view(later), 56, 5, calm=True))[3]


def test_evaluation_shows_how_far_it_is(arc: ExperimentState) -> None:
    run = msgspec.structs.replace(
        arc.run, activity="evaluate", activity_done=30, activity_total=75, activity_since=arc.now - 90
    )  # type: ignore[type-var]
    state = msgspec.structs.replace(arc, runs=(run, *arc.runs[1:]))
    line = texts(progress_lines(view(state), 100, 5))[3]
    assert "evaluating 30 of 75 · for 1m 30s" in line
    assert "━" in line


def test_preparing_volumes_is_shown_with_their_number(arc: ExperimentState) -> None:
    state = msgspec.structs.replace(
        arc,
        phase="preparing",
        current=None,
        preparing=Progress(name="prepare", done=7, total=16, text="sub-M2007"),
        runs=tuple(msgspec.structs.replace(run, phase="waiting", begin=None, step=0, epoch=0) for run in arc.runs),
    )
    for width in (56, 76, 100):
        line = texts(progress_lines(view(state), width, 5))[3]
        assert "preparing volumes 7 of 16 · sub-M2007" in line and "━" in line and len(line) <= width
    assert "preparing volumes" in text_of(header_line(view(state), 120))


def test_a_stalled_training_is_called_so_in_red(arc: ExperimentState) -> None:
    state = msgspec.structs.replace(arc, stalled_seconds=303.0)
    lines = progress_lines(view(state), 76, 5)
    assert "nothing new for 5m 03s" in texts(lines)[3]
    assert roles_of(lines, "nothing new") == {"alarm"}
    assert "stalled 5m 03s" in text_of(header_line(view(state), 120))


# ---------------------------------------------------------------- finish


def test_finish_has_time_left_range_and_clock_for_each(arc: ExperimentState) -> None:
    lines = texts(finish_lines(view(arc), 56, 5))
    assert [line.split("  ")[0].strip() for line in lines[:4]] == ["epoch 13", "run 1", "s stop after it", "experiment"]
    assert "±" in lines[0] and lines[0].endswith("05:31")
    assert "Sun 22 Nov" in lines[1]
    assert "measured here" in lines[4]


def test_a_pending_stop_is_marked_where_it_happens(arc: ExperimentState) -> None:
    lines = finish_lines(view(stopping(arc)), 56, 5)
    assert "stops after it" in texts(lines)[2]
    assert roles_of(lines, "stops after it") == {"notice"}


@pytest.mark.parametrize("mode", ["now", "force"])
def test_a_stop_that_does_not_wait_leaves_one_end_and_no_key(arc: ExperimentState, mode: str) -> None:
    lines = texts(finish_lines(view(stopping(arc, mode)), 56, 5))
    assert lines[0].startswith("ends ") and lines[0].endswith("05:09")
    assert not any("stop after it" in line or line.startswith("experiment") for line in lines)


def test_what_is_not_known_is_a_dash_with_its_reason(arc: ExperimentState) -> None:
    run = msgspec.structs.replace(arc.runs[0], begin=None, step=0, epoch=0, recent=(), pace=type(arc.runs[0].pace)())
    state = view(msgspec.structs.replace(arc, runs=(run, *arc.runs[1:])))
    lines = texts(finish_lines(state, 56, 5))
    assert all(line.endswith("  –") for line in lines[:4])
    assert lines[4] == "not known yet: no step has ended"
    assert all(line.endswith("–  not known yet") for line in texts(finish_lines(state, 56, 4)))


def test_an_ended_experiment_says_when_and_how_much_was_done(recorded: Recorded) -> None:
    state = recorded("quickstart", 4.0)
    lines = texts(finish_lines(view(state), 56, 5))
    assert lines[0].startswith("ended")
    assert lines[-1].endswith("4 of 4")


# ---------------------------------------------------------------- where a step goes


def test_the_limit_is_said_in_words_and_shown_in_red(arc: ExperimentState) -> None:
    lines = where_lines(view(arc), 56, 7)
    assert texts(lines)[0].startswith("data       ▆▆▆▆")
    assert texts(lines)[0].endswith("84 %")
    assert any(line.startswith("The loader is the limit: the GPU waits") for line in texts(lines))
    assert roles_of(lines, "The loader is the limit") == {"alarm"}
    assert roles_of(lines, "▆") >= {"badbar", "bar"}
    assert any("a sample, in the one worker" in line for line in texts(lines))


def test_computing_is_no_alarm(recorded: Recorded) -> None:
    lines = where_lines(view(recorded("compute", 0.25)), 56, 7)
    assert roles_of(lines, "The GPU is the limit") == {"number"}
    assert not roles_of(lines, "▆") & {"badbar", "warnbar"}


def test_small_spans_are_put_together_when_lines_are_few(recorded: Recorded) -> None:
    state = view(recorded("compute", 0.25))
    few = texts(where_lines(state, 56, 7))
    assert any(line.startswith("the rest") for line in few)
    many = texts(where_lines(state, 56, 14))
    assert [line.split()[0] for line in many[:6]] == ["data", "h2d", "forward", "loss", "backward", "optimizer"]


def test_where_there_is_room_every_part_keeps_its_row_whatever_it_takes(recorded: Recorded) -> None:
    state = view(recorded("compute", 0.25))
    for share in (0.0, 0.01, 0.4):
        shares = tuple(
            Share(part.name, share, share) if part.name == "h2d" else part
            for part in state.bottleneck.shares
            if part.name != "other"
        )
        limit = msgspec.structs.replace(state.bottleneck, shares=shares)
        names = [line.partition(" ")[0] for line in texts(where_lines(state._replace(bottleneck=limit), 56, 10))]
        assert names[:6] == ["data", "h2d", "forward", "loss", "backward", "optimizer"]


def test_where_there_is_none_the_same_few_are_shown_unless_another_is_much(recorded: Recorded) -> None:
    state = view(recorded("compute", 0.25))
    seen = set()
    for data, loss, shown in ((0.10, 0.02, "data"), (0.02, 0.10, "data"), (0.02, 0.3, "loss")):
        parts = {"data": data, "h2d": 0.01, "forward": 0.2, "loss": loss, "backward": 0.5, "optimizer": 0.05}
        limit = msgspec.structs.replace(
            state.bottleneck, shares=tuple(Share(name, part, part) for name, part in parts.items())
        )
        names = [line.split()[0] for line in texts(where_lines(state._replace(bottleneck=limit), 56, 6))]
        assert shown in names
        seen.add(tuple(names[:4]))
    assert len(seen) == 2


def test_at_eighty_columns_the_headline_stays(arc: ExperimentState) -> None:
    lines = texts(where_lines(view(arc), 76, 3))
    assert len(lines) == 3
    assert lines[0].startswith("data 15.0 s 84 %")
    assert lines[1].startswith("The loader is the limit")


# ---------------------------------------------------------------- runs, events, header, keys


def test_the_matrix_shows_figures_of_finished_runs_and_what_they_amount_to(recorded: Recorded) -> None:
    lines = texts(runs_lines(view(recorded("compute", 2.4)), 60, 12))
    assert lines[1].split()[:4] == ["fold", "0", ".87", ".87"] or lines[1].split()[2].startswith(".8")
    assert "▶" in lines[1]
    assert any(line.startswith("target Dice 0.876 ± 0.016") for line in lines)
    assert any(line.startswith("so far") and "2 runs" in line for line in lines)


def test_narrow_matrices_use_symbols(recorded: Recorded) -> None:
    lines = texts(runs_lines(view(recorded("compute", 2.4)), 40, 12))
    assert lines[1] == "fold 0    ✔  ✔  ▶  ·  ·  ·  ·  ·  ·  ·"


def test_the_newest_event_is_at_the_bottom_and_long_ones_go_on_below(arc: ExperimentState) -> None:
    long = Sentence(arc.now, "word " * 40, "warn")
    state = msgspec.structs.replace(arc, sentences=(*arc.sentences, long))
    lines = events_lines(view(state), 60, 5)
    assert len(lines) == 5
    assert texts(lines)[3].startswith("05:08:")
    assert texts(lines)[4].startswith("          word") and texts(lines)[4].endswith("…")
    assert roles_of(lines, "word") == {"warn"}


def test_looking_back_leaves_the_newest_out(arc: ExperimentState) -> None:
    newest = texts(events_lines(view(arc), 100, 3))
    assert texts(events_lines(view(arc), 100, 3, back=1))[-1] == newest[-2]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_the_header_never_loses_the_state(arc: ExperimentState, width: int) -> None:
    line = header_line(view(arc), width)
    assert width_of(line) <= width
    assert "● training" in text_of(line)
    assert "arc-meshnet26" in text_of(line)
    assert ("profile conservative" in text_of(line)) == (width >= 120)


def before_begin(state: ExperimentState, device: str, runs: int = 30) -> ExperimentState:
    """`state` before any trainer has said where it trains."""
    plan = msgspec.structs.replace(state.plan, device=device)
    waiting = tuple(msgspec.structs.replace(run, phase="waiting", begin=None, step=0) for run in state.runs[:runs])
    return msgspec.structs.replace(state, plan=plan, runs=waiting, current=None, phase="queued")


@pytest.mark.parametrize(
    ("asked", "said"), [("auto", "device –"), ("cpu", "CPU"), ("mps", "MPS"), ("1", "GPU 1"), ("cuda:1", "GPU 1")]
)
def test_before_a_trainer_says_its_device_the_header_says_what_was_asked_for_but_not_auto(
    arc: ExperimentState, asked: str, said: str
) -> None:
    assert f" {said} " in text_of(header_line(view(before_begin(arc, asked)), 120))
    assert "auto" not in text_of(header_line(view(before_begin(arc, asked)), 120))


def test_between_runs_the_header_keeps_the_device_of_the_one_before(recorded: Recorded) -> None:
    state = recorded("compute", 2.4)
    run = state.run
    assert run is not None and run.begin is not None and state.current is not None
    starting = msgspec.structs.replace(run, begin=None, step=0)
    runs = (*state.runs[: state.current], starting, *state.runs[state.current + 1 :])
    line = text_of(header_line(view(msgspec.structs.replace(state, runs=runs)), 120))
    assert run.begin.device_name.removeprefix("NVIDIA ") in line


def test_one_run_is_not_called_runs(arc: ExperimentState) -> None:
    one = before_begin(arc, "auto", runs=1)
    for said in (
        text_of(header_line(view(one), 120)),
        str(entry(Listed(Path("/logs/arc"), view(one)), 120)),
        *texts(runs_lines(view(one), 60, 12)),
    ):
        assert "1 runs" not in said and "1 folds" not in said
    assert " 1 run " in text_of(header_line(view(one), 120))


def test_the_key_bar_names_what_s_will_do(arc: ExperimentState) -> None:
    going = text_of([span for _, line in key_spans(Situation(view(arc)), 120) for span in line])
    assert " s stop after run 1 " in going and "quit (training goes on)" in going and "resume" not in going
    pending = text_of([span for _, line in key_spans(Situation(view(stopping(arc))), 120) for span in line])
    assert " s cancel the stop " in pending
    over = ended(arc, "failed", KILLED, "run 1 failed")
    bar_over = text_of([span for _, line in key_spans(Situation(view(over)), 120) for span in line])
    assert " r resume " in bar_over and "stop" not in bar_over and bar_over.endswith(" q quit ")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_key_bar_keeps_what_matters_when_it_is_narrow(arc: ExperimentState, width: int) -> None:
    spans = key_spans(Situation(view(arc)), width)
    assert sum(width_of(line) for _, line in spans) <= width
    assert {command.action for command, _ in spans} >= {"stop_after_run", "quit"}


def test_a_reader_is_offered_nothing_that_changes_anything(arc: ExperimentState) -> None:
    offered = {command.action for command in COMMANDS if command.possible(Situation(view(arc), readonly=True))}
    assert not offered & {"stop_after_run", "stop_now", "stop_force", "resume", "launch"}


# ---------------------------------------------------------------- the banner


def test_nothing_to_say_is_no_banner(arc: ExperimentState) -> None:
    assert banner_lines(view(arc), "", 118) == ([], "")


def test_a_pending_stop_says_when_and_how_to_take_it_back(arc: ExperimentState) -> None:
    lines, gravity = banner_lines(view(stopping(arc)), "", 118)
    assert gravity == "warn"
    assert texts(lines)[0].startswith(" ■ stops after run 1, Sun")
    assert "s takes it back" in texts(lines)[0]


@pytest.mark.parametrize("width", [79, 118])
def test_a_training_without_its_supervisor_is_said_in_one_line(arc: ExperimentState, width: int) -> None:
    (line,), gravity = banner_lines(view(msgspec.structs.replace(arc, supervisor_alive=False)), "", width)
    assert gravity == "warn" and width_of(line) <= width and "this run goes on" in text_of(line)


def test_stopping_now_says_what_happens(arc: ExperimentState) -> None:
    lines, _ = banner_lines(view(stopping(arc, "now")), "", 118)
    assert "finishes its step, writes a checkpoint and ends" in texts(lines)[0]
    assert "X by force" in texts(lines)[0]


def test_on_eighty_columns_a_request_is_said_whole_and_its_keys_are_in_the_key_bar(arc: ExperimentState) -> None:
    stop = StopState(id="1", mode="now", phase="requested")
    state = view(msgspec.structs.replace(arc, phase="stopping", stop=stop))
    (line,), _ = banner_lines(state, "", 79)
    assert text_of(line) == " ■ finishes its step, writes a checkpoint and ends (asked, not taken up yet)"
    assert "X force" in text_of([span for _, spans in key_spans(Situation(state), 80) for span in spans])


def test_a_resumed_experiment_says_that_its_run_is_taken_up_again(arc: ExperimentState) -> None:
    for phase, onward in (("stopped", "it is taken up again"), ("finished", "the next one starts")):
        run = msgspec.structs.replace(arc.runs[0], phase=phase)
        state = view(msgspec.structs.replace(arc, phase="queued", runs=(run, *arc.runs[1:])))
        assert f"run 1 {phase}; {onward}" in texts(progress_lines(state, 76, 5))[3]


def test_a_stop_chosen_at_launch_is_shown_too(arc: ExperimentState) -> None:
    lines, _ = banner_lines(view(msgspec.structs.replace(arc, stop_after_runs=1)), "", 118)
    assert "stops after run 1" in texts(lines)[0] and "as launched" in texts(lines)[0]


def test_a_failure_says_why_with_evidence_advice_and_what_can_be_done(arc: ExperimentState) -> None:
    lines, gravity = banner_lines(view(ended(arc, "failed", KILLED, "run 1 of 30 failed")), "", 118)
    said = "\n".join(texts(lines))
    assert gravity == "bad"
    for words in (
        "failed",
        "the GPU's memory was full",
        "torch.OutOfMemoryError",
        "a smaller batch_size",
        "r resume",
        "nothing of it is left running",
    ):
        assert words in said


def test_survivors_are_named_by_their_pid(arc: ExperimentState) -> None:
    lines, _ = banner_lines(view(ended(arc, "stopped", KILLED, "stopped as asked", survivors=(4301, 4302))), "", 118)
    said = "\n".join(texts(lines))
    assert "still running: process 4301, 4302" in said
    assert "nothing of it is left" not in said
    assert roles_of(lines, "4301") == {"alarm"}


def test_a_folder_that_cannot_be_read_is_said_above_everything(arc: ExperimentState) -> None:
    lines, gravity = banner_lines(view(arc), "/logs/x is not an experiment: it has no readable plan.json", 118)
    assert gravity == "bad" and "no readable plan.json" in texts(lines)[0]


# ---------------------------------------------------------------- small terminals, parts of lines


def test_twenty_by_five_still_says_how_it_is_and_when_it_ends(arc: ExperimentState) -> None:
    lines = texts(small_lines(view(arc)))
    assert lines[0].startswith("● training") and lines[1].startswith("ends Wed 6 Jan")
    assert "needs 60×15 cells" in lines


@pytest.mark.parametrize("width", range(1, 60, 7))
def test_no_panel_draws_beyond_its_width(recorded: Recorded, width: int) -> None:
    for state in (recorded("arc", 0.25), recorded("quickstart", 4.0), recorded("compute", 2.4)):
        seen = view(state)
        for draw in (progress_lines, finish_lines, where_lines, machine_lines, runs_lines, events_lines):
            for height in (1, 3, 5, 9):
                for line in draw(seen, width, height)[:height]:
                    assert width_of(cut(line, width)) <= width


def test_a_line_that_is_cut_ends_with_a_mark() -> None:
    assert text_of(cut([("loss ", "label"), ("0.231", "number")], 8)) == "loss 0.…"
    assert text_of(cut([("日本語", "text")], 5)) == "日本…"
    assert text_of(ends([("a", "text")], [("b", "text")], 4)) == "a  b"
    assert text_of(ends([("aaa", "text")], [("b", "text")], 4)) == "aaa"


def test_a_bar_moves_by_half_cells_and_is_never_empty_once_begun() -> None:
    assert text_of(bar(0.0, 4)) == "────"
    assert text_of(bar(0.01, 4)) == "╸───"
    assert text_of(bar(0.5, 4)) == "━━──"
    assert text_of(bar(1.7, 4)) == "━━━━"
    assert text_of(bar(None, 4)) == "────"


def test_a_spark_is_as_wide_as_asked_and_blank_where_nothing_was_read() -> None:
    assert spark([0.0, None, 50.0, 100.0], 6, 100.0)[0] == "  ▁ ▅█"


def test_a_metric_with_a_long_name_pushes_nothing_out(arc: ExperimentState) -> None:
    run = msgspec.structs.replace(
        arc.runs[0], losses={"x" * 300: 1.0}, validation=Metrics(split="val", values={"dice": 0.5})
    )
    line = progress_lines(view(msgspec.structs.replace(arc, runs=(run, *arc.runs[1:]))), 56, 5)[4]
    assert width_of(line) <= 56 and "val dice 0.500" in text_of(line)
