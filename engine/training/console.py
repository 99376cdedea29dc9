"""What the journal's rare records say, for the log: a training's output can be read without the dashboard."""

from __future__ import annotations

import contextlib
import time

from engine.config.run_keys import RunKey
from engine.journals.events import Begin, Memory, Progress, Record, SpanEnded, Steps
from engine.journals.journal import Writer
from engine.live.fold_run import fold_run
from engine.live.state import new_run

# Several a second; the dashboard draws them, a log would drown in them.
FREQUENT = (Steps, Progress, SpanEnded, Memory)


class TellingWriter(Writer):
    """A journal's writer that also prints each rare record as the sentence that the dashboard shows for it."""

    def write(self, *records: Record, sync: bool = False) -> bool:
        written = super().write(*records, sync=sync)
        for record in records:
            if not isinstance(record, FREQUENT):
                for text in sentences(record):
                    # A full disk takes no log either; that must not end the training.
                    with contextlib.suppress(OSError):
                        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}", flush=True)
        return written


def sentences(record: Record) -> list[str]:
    """What a reader of the log is told of `record`; nothing for most kinds."""
    said = []
    if isinstance(record, Begin):
        said.append(
            f"attempt {record.attempt} of {_run(record).name} "
            f"on {record.device_name or record.device}: {record.epochs} epochs of {record.steps_per_epoch} steps, "
            f"{record.parameters:,} parameters"
        )
    state = fold_run(new_run(RunKey(fold=0, restart=0, seed=0)), [record])  # type: ignore[list-item]
    return said + [sentence.text for sentence in state.sentences]


def _run(record: Begin) -> RunKey:
    return RunKey(fold=record.fold, restart=record.restart, seed=record.seed, variant=record.variant)
