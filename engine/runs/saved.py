"""Whether a run has a checkpoint to go on from."""

from __future__ import annotations

from pathlib import Path

from engine.journals.events import CheckpointWritten, decode_many
from engine.paths import RunPaths


def saved(run: RunPaths) -> bool:
    """A file of steptop's own, or one that a trainer of the user's says in its journal it has written."""
    return bool(run.checkpoints()) or any(_told(path) for path in run.segments())


def _told(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            lines = b"".join(line for line in file if b'"checkpoint"' in line)
    except OSError:
        return False
    records, _ = decode_many(lines)
    return any(isinstance(record, CheckpointWritten) and not record.error for record in records)
