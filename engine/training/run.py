"""An attempt at a run as its process sees it: training, and the last word whatever happens."""

from __future__ import annotations

import contextlib
import sys
import traceback

from engine.journals.events import End, Outcome
from engine.journals.journal import Writer
from engine.training.job import Job
from engine.training.loop import Trainer
from engine.training.outcome import EXIT, result
from engine.training.recorder import LINE_SECONDS
from engine.training.stop import Stop, StopRequested
from engine.training.trial import Trial


def run(job: Job, journal: Writer, stop: Stop, began: float, line_seconds: float = LINE_SECONDS) -> int:
    """The process's exit code. A traceback goes to stderr, its class and words to result.json; `end` is the journal's
    last line. `began`: the process's start by `time.monotonic`."""
    trainer = (Trial if job.trial else Trainer)(job, journal, stop, began, line_seconds)
    outcome: Outcome = "finished"
    error: Exception | None = None
    try:
        trainer.run()
    except StopRequested:
        outcome = "stopped"
    except Exception as failure:
        with contextlib.suppress(OSError):  # the log may be on the disk that is full
            traceback.print_exception(failure)
            sys.stderr.flush()
        # Its frames hold the loader, whose processes end only when nothing holds it.
        outcome, error = "failed", failure.with_traceback(None)
    trainer.resources.close()
    stop.disarm()
    info = result(job, outcome, trainer.step, error)
    if trainer.begun:
        text = f"{info.error_class}: {info.error}" if error is not None else ""
        journal.write(End(outcome=outcome, step=info.step, epoch=info.epoch, error=text), sync=True)
    return EXIT[outcome]
