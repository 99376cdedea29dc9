"""What the question comes to on the machine it was measured on, beside how it is; and what is to be said of it."""

from __future__ import annotations

from engine.diagnosis.consequences import Range
from tui.estimating import between, measured_words, middle
from tui.plain import wrapped
from tui.what_if import Board
from tui.widgets.asking import BoardPanel
from tui.widgets.line import Line

NAME, NOW, THEN = 11, 10, 10
LIMITS = {
    "loader": "The loader is the limit: a faster GPU brings nothing.",
    "cores": "The cores are the limit: loaders and trainers need more.",
    "loading in the trainer": "Loading in the trainer is the limit: num_workers = 0.",
    "compute": "The GPU is the limit: a faster one helps.",
}


def answer_lines(board: Board, width: int, height: int) -> list[Line]:
    if board.problem:
        return [[(line, "warn")] for line in wrapped(board.problem, width, height)]
    if board.subject is None or board.answer is None:
        return [[("reading what was measured …", "label")]]
    answer = board.answer
    own, before = answer.own, answer.before
    changed = board.question != board.subject.question
    head: Line = [(" " * NAME, "text"), ("as it is".rjust(NOW), "faint")]
    if changed:
        head += [("asked".rjust(THEN), "faint"), ("  90 % range", "faint")]
    else:
        head += [("  90 % range", "faint")]
    lines = [head]
    names = ("step", "epoch", "run", "experiment")
    for name in names:
        then: Range = getattr(own, name)
        lines.append(_row(name, getattr(before, name), then, changed, board.waiting))
    said: list[tuple[str, str]] = []
    if own.experiment.value is None:
        said.append((own.why, "warn"))
    elif own.limit:
        said.append((limit_words(own.limit, board.subject.known.device), "text"))
    said += [(text, "warn" if "locked" in text or "not " in text else "label") for text in answer.remarks]
    if board.decision is not None:
        said.append((f"decided: {board.decision.title}, on {board.decision.hardware}", "good"))
    if own.parts:
        said.append((parts_words(own.parts), "label"))
    room = height - len(lines)
    told: list[Line] = [[]] if room > len(said) + 2 else []
    for text, role in said:
        told += [[(line, role)] for line in wrapped(text, width, 2)]
    basis: list[Line] = [[(line, "faint")] for line in wrapped(measured_words(board.subject.known), width, 1)]
    return [*lines, *told[: max(0, room - 1)], *basis]


def limit_words(limit: str, device: str) -> str:
    if limit == "compute" and device == "cpu":
        return "The CPU is the limit: it computes."
    return LIMITS.get(limit, limit)


def parts_words(parts: dict[str, float]) -> str:
    """`train 97 %, evaluate 2 %`: what takes the time of all runs."""
    total = sum(parts.values())
    found = sorted(parts.items(), key=lambda part: -part[1])
    told = [f"{name} {100 * seconds / total:.0f} %" for name, seconds in found if seconds >= 0.005 * total]
    return f"of which {', '.join(told)}"


def _row(name: str, before: Range, then: Range, changed: bool, waiting: bool) -> Line:
    main = name == "experiment"
    line: Line = [(f"{name:<{NAME}}", "text" if main else "label")]
    line.append((middle(before).rjust(NOW), "text" if changed else "number" if main else "text"))
    if changed:
        line.append((("…" if waiting else middle(then)).rjust(THEN), "accent" if main else "number"))
    if not waiting or not changed:
        line.append((f"  {between(then):<12}", "number" if main else "label"))
    if changed and not waiting and before.value and then.value:
        factor = before.value / then.value
        if factor > 1.01:
            line.append((f" {factor:.2g}× as fast", "good"))
        elif factor < 0.99:
            line.append((f" {1 / factor:.2g}× as long", "warn"))
        else:
            line.append((" the same", "label"))
    return line


class AnswerPanel(BoardPanel):
    """Not to be chosen in: it only says."""

    TITLE = "What it comes to"
    NUMBER = 2
    HELP = (
        "On the machine it was measured on. Whole experiments, from their start: validation, checkpoints, evaluation "
        "and gaps counted as in the forecast; the range holds nine times in ten.\n"
        "Only what was measured is scaled: what a GPU computes with the GPU, loading with cores and workers."
    )

    def show(self, board: Board, width: int, height: int) -> list[Line]:
        on = board.subject.known.machine if board.subject is not None else ""
        self.entitle(f"on {on}" if on else "", "$label")
        return answer_lines(board, width, height)
