"""How far it is and how fast it goes: step, epoch, runs, what happens now, the loss."""

from __future__ import annotations

from engine.config.leading import measure
from engine.live.held_out import epochs_since
from engine.live.state import ExperimentState, RunState
from tui.format import DASH, count, duration, loss, rate, significant, whole
from tui.messages import View
from tui.widgets.details import run_details
from tui.widgets.line import Line, bar, width_of
from tui.widgets.panel import Panel
from tui.widgets.visiting import expected_line, visit_rows
from tui.words import ENDED, doing

SPEED_WIDTH = 16
GAP = "  "
# From here on there is room for the facts of the run.
ROOMY = 12


def fraction_of_run(run: RunState | None) -> float:
    return run.step / run.steps_total if run is not None and run.steps_total else 0.0


def fraction_of_experiment(state: ExperimentState) -> float:
    """Finished runs, and the parts of those under way; of the last one where none is."""
    shown = [state.run] if state.run is not None and state.run.phase != "finished" else []
    some = [state.runs[place] for place in state.under_way] or shown
    return (state.runs_finished + sum(map(fraction_of_run, some))) / len(state.runs) if state.runs else 0.0


def run_name(view: View) -> str:
    """Which of several runs the panels show; '' while only one goes on, for then the header says it."""
    run, place = view.state.run, view.state.current
    return f"run {place + 1} · {run.key.name}" if view.beside and run is not None and place is not None else ""


def speeds(view: View) -> list[tuple[str, str]]:
    """Number and unit of each throughput, slowest unit first."""
    step = view.bottleneck.step_seconds
    elements = f"{measure(view.state.plan.experiment).element}/s"
    if not step:
        return [(DASH, "s/step"), (DASH, "step/s"), (DASH, "sample/s"), (DASH, elements)]
    return [
        _split(f"{duration(step)}/step"),
        _split(rate(1 / step, "step/s")),
        _split(rate(view.bottleneck.samples_per_second, "sample/s")),
        _split(rate(view.bottleneck.voxels_per_second, elements)),
    ]


def _split(text: str) -> tuple[str, str]:
    number, _, unit = text.partition(" ")
    return number, unit


def progress_lines(view: View, width: int, height: int, calm: bool = False) -> list[Line]:
    """Three bars, what happens now, and below them what is being learned. `calm`: no running seconds."""
    state, run = view.state, view.state.run
    step, steps = (run.step_in_epoch, run.steps_per_epoch) if run else (0, 0)
    epoch, epochs = (
        (run.epoch, run.epochs or state.plan.experiment.epochs) if run else (0, state.plan.experiment.epochs)
    )
    rows: list[tuple[str, str, str, float]] = [
        ("step", count(step), count(steps) if steps else "–", step / steps if steps else 0.0),
        ("epoch", count(epoch), count(epochs), fraction_of_run(run)),
        ("runs", count(state.runs_finished), count(len(state.runs)), fraction_of_experiment(state)),
    ]
    if state.plan.test is not None:
        rows = visit_rows(view)
    # As wide as it will ever be: a number that grows moves nothing.
    after = max(len(r[2]) for r in rows)
    before = max(after, *(len(r[1]) for r in rows))
    fast = speeds(view)
    room = width - 7 - (before + after + 1) - 2 * len(GAP) - SPEED_WIDTH
    lines: list[Line] = []
    for (label, done, total, part), (number, unit) in zip(rows, fast, strict=False):
        lines.append(
            [
                (f"{label:<7}", "label"),
                (done.rjust(before), "number"),
                (f"/{total}".ljust(after + 1), "label"),
                (GAP, "text"),
                *bar(part, room),
                (GAP, "text"),
                (number.rjust(6), "number"),
                (f" {unit}", "label"),
            ]
        )
    lines.append(_now(view, width, fast[3], calm, height <= 4 and state.plan.test is None))
    if height > 4:
        lines.append(_learned(view, width) if state.plan.test is None else expected_line(state))
    if height >= ROOMY:
        lines += [[], *run_details(view)]
    return lines


def _now(view: View, width: int, voxels: tuple[str, str], calm: bool, with_loss: bool = False) -> Line:
    """What happens, and where there is no line for it below, the loss."""
    state, run = view.state, view.state.run
    text, part, role = doing(state)
    right: Line = [(voxels[0].rjust(6), "number"), (f" {voxels[1]}".ljust(SPEED_WIDTH - 6), "label")]
    # Where no speed is known yet, what happens has the whole line.
    fast = voxels[0] != DASH or part is None
    room = width - 7 - (SPEED_WIDTH + len(GAP) if fast else 0)
    if text == "training" and run is not None and run.recent and not calm:
        ago = state.now - run.recent[-1].t
        text += f" · last step {whole(ago)} ago" if 1.5 <= ago < 86_400 else ""
    left: Line = [(f"{'now':<7}", "label"), (text, role)]
    said = f" · loss {loss(run.loss)}" if with_loss and run is not None and run.loss is not None else ""
    if said and len(text) + len(said) <= room:
        left += [(" · loss ", "label"), (loss(run.loss), "number")] if run is not None else []
        text += said
    if len(text) > room or state.phase in ENDED:
        return left
    if part is not None and room - len(text) >= 8:
        left += [(GAP, "text"), *bar(part, min(room - len(text) - 2, 24), "accent")]
    return [*left, (" " * (width - SPEED_WIDTH - width_of(left)), "text"), *right] if fast else left


def _learned(view: View, width: int) -> Line:
    run = view.state.run
    line: Line = [(f"{'loss':<7}", "label"), (loss(run.loss) if run else "–", "number")]
    if run is None:
        return line
    parts: list[tuple[str, str]] = []
    kind = measure(view.state.plan.experiment)
    first = kind.figure
    for metrics, split in ((run.validation, "val"), (run.whole, kind.whole), (run.test, "test")):
        if metrics is None:
            continue
        # What is drawn between epochs has figures of its own.
        name = first if first in metrics.values or metrics is not run.whole else next(iter(metrics.values), first)
        if name in metrics.values:
            since = f" @{metrics.epoch}" if split != "test" and epochs_since(run, metrics) else ""
            parts.append((f"{split} {name}", significant(metrics.values[name]) + since))
    if run.lr is not None:
        parts.append(("lr", f"{run.lr:.2g}"))
    if run.precision is not None:
        parts.append(("", run.precision.active))
    parts += [(name, loss(value)) for name, value in run.losses.items()]
    for name, value in parts:
        part: Line = [(f"  · {name} " if name else "  · ", "label"), (value, "text")]
        if width_of(line) + width_of(part) <= width:
            line += part
    return line


class ProgressPanel(Panel):
    """Is it alive, and how far is it."""

    TITLE = "Progress"
    NUMBER = 1
    HELP = (
        "step: optimizer steps of this epoch. epoch: the bar is the whole run. runs: finished ones; the bar adds the "
        "part of the one under way.\n"
        "On the right how fast it goes: the mean of the last steps, warm-up left out.\n"
        "now: what is happening at this moment. A training that writes nothing for a minute and ten steps is called "
        "stalled.\n"
        "val, volume: held-out figures of patches or a few volumes, and of whole volumes. @5: carried from epoch 5, no "
        "newer ones were due. A loss among them is the main output's, a sample at a time, without rare terms: not what "
        "training minimises."
    )

    def __init__(self, *, calm: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._calm = calm

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        self.entitle(run_name(view))
        return progress_lines(view, width, height, self._calm)
