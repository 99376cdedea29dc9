"""A run's journal folded into its state."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import msgspec

from engine.counts import plural
from engine.journals.events import (
    AnyRecord,
    Begin,
    CheckpointWritten,
    End,
    EpochEnded,
    Gap,
    Memory,
    Metrics,
    Note,
    PrecisionActive,
    ProfileChanged,
    Progress,
    SpanEnded,
    Steps,
)
from engine.live import loss_terms, pace, pace_words, spike_lines
from engine.live.epochs import own_seconds
from engine.live.fold_profile import begun_anew, changed_profile, formers, relaunched, with_lines
from engine.live.held_out import with_figures
from engine.live.sentences import say, stamped
from engine.live.state import RECENT, SENTENCES, Part, RunState, Sentence


def fold_run(run: RunState, records: Iterable[AnyRecord]) -> RunState:
    """`run` with the trainer's records folded in, in order. Unknown kinds change nothing."""
    for kind, group in groupby(records, type):
        if kind is Steps:
            run = _fold_steps(run, list(group))  # type: ignore[arg-type]
        else:
            for record in group:
                folded = _fold_one(run, record)
                boot = folded.begin.boot_id if folded.begin is not None else ""
                run = stamped(run, folded, record.m, boot)
    return run


def _fold_steps(run: RunState, steps: list[Steps]) -> RunState:
    last = steps[-1]
    known = next((s.loss for s in reversed(steps) if s.loss is not None), run.loss)
    changed = pace.add(run.pace, steps)
    boot = run.begin.boot_id if run.begin is not None else ""
    said = pace_words.changes(run.pace, changed)
    at = {step.t: step.m for step in steps} if said else {}
    sentences = run.sentences + tuple(Sentence(t, text, level, at.get(t, last.m), boot) for t, text, level in said)
    return msgspec.structs.replace(
        run,
        step=last.step,
        epoch=last.epoch,
        activity="",
        pace=changed,
        recent=(*run.recent, *steps)[-RECENT:],
        tested=with_lines(run.tested, steps),
        loss=known,
        lr=last.lr if last.lr is not None else run.lr,
        losses={**run.losses, **(last.losses or {})},
        term_sums=loss_terms.added(run.term_sums, steps),
        rare=spike_lines.added(run.rare, steps),
        last_monotonic=last.m,
        sentences=sentences[-SENTENCES:],
    )


def _fold_one(run: RunState, record: AnyRecord) -> RunState:
    new = msgspec.structs.replace
    run = new(run, last_monotonic=record.m)
    match record:
        case Begin():
            resumed = record.resumed_from_step
            first = not run.begin
            anew = begun_anew(run, record)
            return new(
                run,
                begin=record,
                attempt=record.attempt,
                step=resumed,
                anew=anew,
                tested=relaunched(run, record),
                formers=formers(run, anew.attempt, run.step) if anew is not run.anew else run.formers,
                activity="startup",
                activity_since=record.t,
                activity_monotonic=record.m,
                epoch=_epoch_of(resumed, record.steps_per_epoch),
                pace=pace.rewound(run.pace, resumed),
                curves={name: tuple(p for p in points if p[0] <= resumed) for name, points in run.curves.items()},
                started=run.started if not first else record.t,
                started_monotonic=record.m,
                epoch_ended=None,
                recent=(),
                rare=spike_lines.begun(run.rare),
                phase="running",
                verdict=None,
                ended=0.0,
                sentences=say(run, record.t, f"resumed after step {resumed:,}" if resumed else ""),
            )
        case Progress():
            fresh = run.activity != record.name
            return new(
                run,
                activity=record.name,
                activity_done=record.done,
                activity_total=record.total,
                activity_since=record.t if fresh else run.activity_since,
                activity_monotonic=record.m if fresh else run.activity_monotonic,
            )
        case SpanEnded():
            part = run.parts.get(record.name, Part())
            parts = run.parts | {
                record.name: Part(
                    part.count + 1, part.seconds + record.seconds, record.seconds, part.items + record.items
                )
            }
            return new(run, parts=parts, activity="" if run.activity == record.name else run.activity)
        case EpochEnded():
            seconds = own_seconds(record, run.epoch_ended)
            text = f"epoch {record.epoch} done: {seconds / max(record.steps, 1):.3g} s/step"
            text += f", loss {record.loss:.4g}" if record.loss is not None else ""
            run = loss_terms.with_epoch(run, record)
            sentences = say(run, record.t, text)
            return new(run, epoch_seconds=seconds, epoch_ended=record.m, sentences=sentences)
        case Metrics():
            return with_figures(run, record)
        case CheckpointWritten():
            if record.error:
                text = (
                    f"checkpoint {record.file} could NOT be written: {record.error}; training goes on and tries again"
                )
                return new(run, checkpoint=record, sentences=say(run, record.t, text, "bad"))
            verb = "written and verified" if record.verified else "written"
            text = f"checkpoint {record.file} {record.bytes / 1e6:.1f} MB {verb} in {record.seconds:.2g} s"
            return new(run, checkpoint=record, sentences=say(run, record.t, text))
        case PrecisionActive():
            asked, active = record.requested, record.active
            text = f"precision {asked}: hidden layers compute in {active}"
            odd = (
                asked not in (active, "auto")
                and {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}.get(asked) != active
            )
            return new(run, precision=record, sentences=say(run, record.t, text, "warn" if odd else "info"))
        case Memory():
            return new(run, memory=record)
        case ProfileChanged():
            return changed_profile(run, record)
        case Note():
            return new(run, sentences=say(run, record.t, record.text, record.level))
        case Gap():
            text = f"{plural(record.dropped, 'journal line')} could not be written: {record.reason}"
            return new(run, sentences=say(run, record.t, text, "bad"))
        case End():
            return new(run, activity="", ended=record.t, phase=record.outcome)
        case _:
            return run


def _epoch_of(step: int, steps_per_epoch: int) -> int:
    return step // steps_per_epoch + 1 if steps_per_epoch else 1
