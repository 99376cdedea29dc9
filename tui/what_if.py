"""Everything the what-if screen shows at one moment, and how one thing asked is changed for another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from engine.config.profile import KNOBS
from engine.errors import UsageError
from engine.memory.footprint import Estimate
from engine.whatif import hardware_table, options as choices
from engine.whatif.estimate import Subject
from engine.whatif.hardware import Gpu
from engine.whatif.hardware_table import HardwareRow
from engine.whatif.known import Known
from engine.whatif.options import Decision, Option
from engine.whatif.remarks import remarks
from engine.whatif.session_limits import Session
from engine.whatif.what_if import Question, Times, shape_of, times

ALL_SESSIONS = "all there are"
KEYS = (
    ("↑↓", "choose"),
    ("←→", "change"),
    ("tab", "panel"),
    ("enter", "launch"),
    ("d", "record"),
    ("r", "as it is"),
    ("?", "help"),
    ("esc", "back"),
)
HELP = (
    ("↑ ↓  j k", "Choose", "What is asked, a GPU, or an option: in the panel that has the focus."),
    ("← →  - +", "Change what is asked", "Type a number for larger steps; backspace corrects, enter takes it."),
    ("tab", "Next panel", "What is asked, hardware, options. The GPU chosen there is the one the options are of."),
    ("enter", "Launch the option", "Opens the launch dialog with it; in the hardware table: decide about this GPU."),
    ("d", "Record the option", "In the experiment's folder: what was decided, on what figures; status shows it."),
    ("r", "As it is", "Everything that was changed is as it was."),
    ("esc", "Back", "Nothing was changed in the training."),
)


class Ask(NamedTuple):
    """One thing that can be different. `value` and `before`: as asked, and as it is."""

    name: str
    label: str
    value: int | str
    before: int | str
    help: str

    @property
    def changed(self) -> bool:
        return self.value != self.before


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a question came to. `before`: times as it is, on the machine it was measured on."""

    question: Question
    rows: tuple[HardwareRow, ...]
    before: Times
    options: tuple[Option, ...]
    hardware: str
    remarks: tuple[str, ...] = ()
    live: bool = False

    @property
    def own(self) -> Times:
        return self.rows[0].times


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """`subject` None: still being read, or `problem` says why nothing can be asked. `answer` may be of the question
    before the present one while it is worked out. `entry`: what is being typed."""

    subject: Subject | None = None
    question: Question = Question()
    answer: Answer | None = None
    problem: str = ""
    cursor: int = 0
    entry: str | None = None
    session: int = 0
    sessions: tuple[Session, ...] = ()
    gpu: str = ""
    option: int = 0
    decision: Decision | None = None
    barred: str = ""

    @property
    def asks(self) -> tuple[Ask, ...]:
        return asks_of(self.subject, self.question, self.session_name) if self.subject is not None else ()

    @property
    def session_name(self) -> str:
        return self.sessions[self.session - 1].name if self.session else ALL_SESSIONS

    @property
    def chosen_sessions(self) -> tuple[Session, ...]:
        return (self.sessions[self.session - 1],) if self.session else self.sessions

    @property
    def waiting(self) -> bool:
        """Whether the answer shown is of an earlier question."""
        return self.answer is None or self.answer.question != self.question


def asks_of(subject: Subject, question: Question, session: str) -> tuple[Ask, ...]:
    """Those that mean something for this training."""
    known, base = subject.known, subject.question
    now, then = shape_of(known, question), shape_of(known, base)
    found = [
        Ask("epochs", "epochs", now.epochs, then.epochs, "of every run"),
        Ask("steps_per_epoch", "steps an epoch", _steps(now.steps), _steps(then.steps), "optimizer steps"),
        Ask("folds", "folds", now.folds, then.folds, "the first so many"),
        Ask("restarts", "restarts", _restarts(now.runs), _restarts(then.runs), "of every fold"),
    ]
    if not known.plan.experiment.command:
        found.append(_knob(known, base, question, "val_every_epochs", "validate every", "epochs; 0 never"))
        if known.workload is not None:
            found.append(_knob(known, base, question, "num_workers", "workers", "loader processes of each run"))
            found.append(_knob(known, base, question, "batch_size", "batch", "samples in a forward pass"))
    if known.device != "cpu":
        found.append(Ask("gpus", "GPUs", question.gpus, base.gpus, "runs side by side on this machine"))
        if known.cores:
            cores = question.cores or known.cores
            found.append(Ask("cores", "cores", cores, base.cores or known.cores, "of the machine it would run on"))
    if known.done or known.finished:
        words = {True: "what is left", False: "all of it"}
        found.append(Ask("rest", "runs", words[question.rest], words[base.rest], "from the first step, or from now on"))
    return (*found, Ask("session", "session", session, ALL_SESSIONS, "how long one may last; ← → goes through them"))


def _steps(steps: dict[int, int]) -> int:
    return max(steps.values(), default=0)


def _restarts(runs: Sequence[object]) -> int:
    return len({getattr(key, "restart", 0) for key in runs})


def _knob(known: Known, base: Question, question: Question, name: str, label: str, text: str) -> Ask:
    held = known.knobs | base.knobs
    return Ask(name, label, int((held | question.knobs)[name]), int(held[name]), text)


def with_value(subject: Subject, question: Question, name: str, value: int) -> Question:
    """`question` with another number; what equals the training's own is not asked. Raises UsageError naming the
    range."""
    known, base = subject.known, subject.question
    if name in KNOBS and name != "steps_per_epoch":
        checked = KNOBS[name].check(value)
        knobs = {**question.knobs, name: checked}
        if checked == (known.knobs | base.knobs)[name]:
            knobs = {k: v for k, v in knobs.items() if k != name} | {k: v for k, v in base.knobs.items() if k == name}
        return msgspec.structs.replace(question, knobs=knobs)
    if name == "folds":
        most = known.plan.experiment.runs.folds
        if not 1 <= value <= most:
            raise UsageError(f"folds = {value}: the experiment has {most}")
        return msgspec.structs.replace(question, folds=tuple(range(value)))
    if value < 1:
        raise UsageError(f"{name.replace('_', ' ')} = {value}: it is 1 or more")
    return msgspec.structs.replace(question, **{name: value})


def stepped(ask: Ask, by: int) -> int:
    """The next number that way: of many a tenth more."""
    assert isinstance(ask.value, int)
    size = max(1, ask.value // 10) if ask.name == "steps_per_epoch" else 1
    return max(0 if ask.name in ("val_every_epochs", "num_workers") else 1, ask.value + by * size)


def answered(
    subject: Subject,
    question: Question,
    sheet: Sequence[Gpu],
    sessions: Sequence[Session],
    gpu: str,
    memory: Estimate | None = None,
) -> Answer:
    """Worked out: up to a second where loading times vary. Raises UsageError for a question that cannot be asked."""
    known = subject.known
    rows = hardware_table.table(known, question, sheet, sessions, (), subject.others, memory)
    on = next((row for row in rows if row.name == gpu), rows[0])
    found = choices.options(
        known, question, lambda asked: hardware_table.row(known, asked, on.gpu, (), (), subject.others, memory)
    )
    return Answer(
        question=question,
        rows=rows,
        before=times(known, subject.question),
        options=found,
        hardware=on.name,
        remarks=remarks(known, question, rows[0].times),
        live=subject.live,
    )
