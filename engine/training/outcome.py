"""What became of an attempt: result.json always, results.json when the run is complete."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from engine.config.sources import trained_on
from engine.journals.events import Outcome
from engine.journals.journal import read_ends
from engine.journals.records import ResultInfo
from engine.paths import write_json
from engine.training.evaluate import Scores
from engine.training.job import Job
from engine.training.results import RunResults

ERROR_CHARACTERS = 2000
# Figures with fields of their own in results.json.
FIELDS = ("dice", "avd", "mcc")
EXIT: dict[Outcome, int] = {"finished": 0, "failed": 1, "stopped": 3}


def result(job: Job, outcome: Outcome, step: int, error: BaseException | None = None) -> ResultInfo:
    """Write result.json, the trainer's last word about this attempt. On a full disk only the exit code says it."""
    info = ResultInfo(
        outcome=outcome, attempt=job.attempt, step=step, epoch=-(-step // job.steps_per_epoch),
        config_hash=job.config_hash,
        error_class=type(error).__name__ if error is not None else "", error=words(error) if error is not None else "",
        at=time.time(),
    )
    with contextlib.suppress(OSError):
        write_json(job.run.result, info)
    return info


def words(error: BaseException) -> str:
    """What an error says, in its own words: of one that came out of a loader process the last line, which names it, and
    of a loader process that died the signal, which torch gives as the cause only."""
    text = str(error).strip()
    cause = error.__cause__
    if "DataLoader worker" in text and "exited unexpectedly" in text and isinstance(cause, RuntimeError):
        text = f"{str(cause).strip()} ({text})"
    if "Original Traceback" in text:
        text = text.splitlines()[-1]
    return text[:ERROR_CHARACTERS]


def run_results(job: Job, scores: Scores, train_loss: float | None, seconds: float, started: float) -> RunResults:
    """Write results.json: the run is complete."""
    means = scores.mean()
    each = {name: [_defined(value) for value in values] for name, values in scores.subjects.items() if name != "loss"}
    found = RunResults(
        outer_fold=job.key.fold, restart=job.key.restart, variant=job.key.variant, seed=job.key.seed,
        test_dice=means.get("dice"), test_avd=means.get("avd"), test_mcc=means.get("mcc"), final_train_loss=train_loss,
        checkpoint_path=str(job.run.final), duration_seconds=seconds, per_subject_dice=each.get("dice", []),
        per_subject_avd=each.get("avd", []), per_subject_mcc=each.get("mcc", []), subject_indices=list(job.split.test),
        subject_ids=[subject.id for subject in job.held_out], config_hash=job.config_hash,
        data=trained_on(job.plan), epochs=job.plan.experiment.epochs, attempts=len(job.run.segments()),
        started=_first_start(job, started),
        ended=time.time(), figures={name: means.get(name) for name in each if name not in FIELDS},
        per_subject={
            name: values for name, values in each.items() if name not in FIELDS and len(values) == len(job.held_out)
        },
    )
    write_json(job.run.results, found)
    return found


def earlier_seconds(job: Job) -> float:
    """How long earlier attempts lasted by their journals, steps that were lost and done again included."""
    spans = []
    for segment in job.run.segments():
        if segment != job.run.segment(job.attempt):
            records = read_ends(segment)[0]
            if records:
                spans.append(records[-1].m - records[0].m)
    return sum(spans)


def _first_start(job: Job, started: float) -> float:
    begins: Sequence[float] = [records[0].t for s in job.run.segments() if (records := read_ends(s)[0])]
    return min([started, *begins])


def _defined(value: float) -> float | None:
    return value if value == value else None
