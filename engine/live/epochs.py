"""How long an epoch took, where a trainer's own figure may be the time since the start."""

from __future__ import annotations

from engine.journals.events import EpochEnded

# A trainer's own epoch seconds that exceed what the journal's clock says by more are taken for cumulative ones.
CUMULATIVE = 1.25
CUMULATIVE_SECONDS = 0.2


def clocked(record: EpochEnded, before: float | None) -> float | None:
    """Seconds since the end of the epoch before it by the journal's clock (`before`); None without one."""
    return record.m - before if before is not None and record.m > before else None


def own_seconds(record: EpochEnded, before: float | None) -> float:
    """This epoch's alone: what the trainer wrote, unless its figure cannot be that."""
    seen = clocked(record, before)
    cumulative = seen is not None and record.seconds > CUMULATIVE * seen + CUMULATIVE_SECONDS
    return seen if seen is not None and cumulative else record.seconds
