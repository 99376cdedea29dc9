"""The same training on other GPUs, in sessions, and with fewer runs: what the estimates say, worked out once."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.errors import UsageError
from engine.live.state import ExperimentState
from engine.whatif import estimate, hardware, hardware_table, options as choices, session_limits
from engine.whatif.bring_about import commands as commands_for, typed
from engine.whatif.hardware_table import HardwareRow
from engine.whatif.known import Known
from engine.whatif.options import Decision, Option
from engine.whatif.session_limits import Session
from engine.whatif.what_if import Question

TESTED = "a test of profiles: what its training would take elsewhere is `steptop estimate`'s to say"


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """`rows`: the GPU it was measured on first. `commands`: what brings each option about, by its number. `why`: what
    is missing where there is nothing."""

    known: Known | None = None
    rows: tuple[HardwareRow, ...] = ()
    sessions: tuple[Session, ...] = ()
    options: tuple[Option, ...] = ()
    commands: dict[int, str] = {}
    decision: Decision | None = None
    why: str = ""


def elsewhere(state: ExperimentState) -> Elsewhere:
    """Of the whole experiment, finished runs included, on one GPU."""
    decision = choices.recorded(Path(state.folder))
    if state.plan.test is not None:
        return Elsewhere(why=TESTED, decision=decision)
    try:
        sheet, sessions = hardware.gpus(), session_limits.sessions()
        subject = estimate.of_state(state, Path(state.folder).parent, sheet)
        known, question, others = subject.known, subject.question, subject.others

        def asked(of: Question) -> HardwareRow:
            return hardware_table.row(known, of, known.gpu, sessions, (), others)

        rows = hardware_table.table(known, question, sheet, sessions, (), others)
        found = choices.options(known, question, asked)
        commands = {one.number: typed(commands_for(known, question, one, subject.live)) for one in found}
    except UsageError as error:
        return Elsewhere(why=str(error), decision=decision)
    return Elsewhere(
        known=known, rows=rows, sessions=sessions, options=found, commands=commands, decision=decision
    )
