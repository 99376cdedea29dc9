"""Pure folds from journal records to states, one for each journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

import msgspec

from engine.counts import plural
from engine.journals import clocks
from engine.journals.events import (
    AnyRecord,
    Begin,
    CheckpointWritten,
    End,
    EpochEnded,
    ExperimentEnded,
    Gap,
    Level,
    LimitReached,
    LimitSet,
    Memory,
    Metrics,
    Note,
    NotifyFailed,
    OnFinishRan,
    PhaseBegun,
    PhaseEnded,
    PrecisionActive,
    PrepareEnded,
    PrepareStarted,
    ProfileAsked,
    ProfileChanged,
    Progress,
    RunEnded,
    RunSkipped,
    RunStarted,
    Sample,
    SpanEnded,
    Steps,
    StopChanged,
    SupervisorStarted,
    Verdict,
)
from engine.live import loss_terms, pace
from engine.live.epochs import own_seconds
from engine.live.fold_limit import finished_words, limit_words, reached_words
from engine.live.fold_profile import begun_anew, changed_profile, say, visited, with_lines
from engine.live.held_out import with_figures
from engine.live.state import RECENT, SAMPLES, SENTENCES, ExperimentState, Part, RunState, Sentence, StopState

# ---------------------------------------------------------------- a run's journal


def fold_run(run: RunState, records: Iterable[AnyRecord]) -> RunState:
    """`run` with the trainer's records folded in, in order. Unknown kinds change nothing."""
    for kind, group in groupby(records, type):
        if kind is Steps:
            run = _fold_steps(run, list(group))  # type: ignore[arg-type]
        else:
            for record in group:
                run = _stamped(run, _fold_one(run, record), record)
    return run


def _stamped(before: RunState, after: RunState, record: AnyRecord) -> RunState:
    """`after` with its new sentence placed by the monotonic clock."""
    if after.sentences is before.sentences:
        return after
    boot = after.begin.boot_id if after.begin is not None else ""
    last = msgspec.structs.replace(after.sentences[-1], m=record.m, boot=boot)
    return msgspec.structs.replace(after, sentences=(*after.sentences[:-1], last))


def _fold_steps(run: RunState, steps: list[Steps]) -> RunState:
    last = steps[-1]
    known = next((s.loss for s in reversed(steps) if s.loss is not None), run.loss)
    changed = pace.add(run.pace, steps)
    boot = run.begin.boot_id if run.begin is not None else ""
    said = pace.changes(run.pace, changed)
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
            return new(
                run,
                begin=record, attempt=record.attempt, step=resumed,
                anew=begun_anew(run, record),
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


# ---------------------------------------------------------------- the supervisor's journal


def fold_supervisor(state: ExperimentState, records: Iterable[AnyRecord]) -> ExperimentState:
    """`state` with the supervisor's records folded in."""
    for record in records:
        before = state.sentences
        state = _fold_supervisor_one(state, record)
        if state.sentences is not before:
            last = msgspec.structs.replace(state.sentences[-1], m=record.m, boot=state.boot_id)
            state = msgspec.structs.replace(state, sentences=(*state.sentences[:-1], last))
    return state


def _fold_supervisor_one(state: ExperimentState, record: AnyRecord) -> ExperimentState:
    new = msgspec.structs.replace
    match record:
        case SupervisorStarted():
            again = "took over a training that was still running" if record.adopted else ""
            to_do = f"{plural(len(record.runs), 'run')} to do"
            return new(
                state,
                phase="running" if record.adopted else "queued",
                ended=None,
                reached=state.reached if record.adopted else None,
                survivors=(), verdict=None, stop=None,
                stop_after_runs=record.stop_after_runs,
                runs=tuple(new(run, failures=0) for run in state.runs),
                runs_ended_here=state.runs_ended_here if record.adopted else 0,
                processor=record.processor, cores=record.cores, boot_id=record.boot_id,
                sentences=_tell(state, record.t, again or f"supervisor started, {to_do}"),
            )
        case PrepareStarted():
            # Once a run has started this only looks whether all volumes are still there.
            phase = "preparing" if state.current is None else state.phase
            return new(state, phase=phase, prepare_started=record.t)
        case PrepareEnded():
            text = f"{state.cases} prepared in {record.seconds:.1f} s" if record.ok else _failure(record.verdict)
            return new(
                state,
                phase="queued" if record.ok else "failed",
                prepare_seconds=record.seconds,
                preparing=None,
                verdict=record.verdict,
                sentences=_tell(state, record.t, text, "info" if record.ok else "bad"),
            )
        case RunStarted():
            index = _index(state, record.at)
            if index is None:
                return state
            # By the monotonic clock: a machine that slept between two runs, or a clock that was set, is no gap.
            before = [run for run in state.runs if run.slot == record.slot]
            since = max((run.ended_monotonic for run in before), default=0.0)
            known = state.runs_ended_here and 0 < since <= record.m
            gaps = (*state.gaps, record.m - since)[-50:] if known else state.gaps
            run = new(
                state.runs[index],
                phase="running",
                attempt=record.attempt,
                slot=record.slot,
                started=state.runs[index].started or record.t,
                verdict=None,
                activity="startup",
                activity_since=record.t,
                activity_monotonic=record.m,
            )
            text = f"run {index + 1} started: {run.key.name}"
            text += f", attempt {record.attempt}" if record.attempt > 1 else ""
            return new(
                _with_run(state, index, run),
                phase="stopping" if state.stop else "running",
                current=index,
                verdict=None,
                gaps=gaps,
                sentences=_tell(state, record.t, text if state.plan.test is None else ""),
            )
        case RunEnded():
            index = _index(state, record.at)
            if index is None:
                return state
            run = new(
                state.runs[index],
                phase=record.outcome,
                verdict=record.verdict,
                ended=record.t, ended_monotonic=record.m,
                activity="",
                failures=state.runs[index].failures + (record.outcome == "failed"),
                elapsed=state.runs[index].elapsed + record.seconds,
                survivors=record.survivors,
            )
            level: Level = {"finished": "good", "stopped": "info"}.get(record.outcome, "bad")  # type: ignore[assignment]
            text = f"run {index + 1} {record.outcome}: {record.verdict.text}"
            text += f"; {plural(record.swept, 'left-over process')} ended" if record.swept else ""
            ended = state.runs_ended_here + (record.outcome == "finished")
            beside = [place for place in state.under_way if place != index]
            return new(
                _with_run(state, index, run),
                runs_ended_here=ended,
                current=beside[-1] if beside and state.current == index else state.current,
                verdict=record.verdict,
                # Every process of a test is stopped when it has done its part.
                sentences=_tell(
                    state, record.t, "" if state.plan.test is not None and level == "info" else text, level
                ),
            )
        case RunSkipped():
            index = _index(state, record.at)
            if index is None:
                return state
            run = new(state.runs[index], phase="finished")
            return _with_run(state, index, run)
        case StopChanged():
            return _fold_stop(state, record)
        case ProfileAsked():
            by = f" by {record.by}" if record.by else ""
            return new(state, sentences=_tell(state, record.t, f"profile {record.name} asked for{by}"))
        case PhaseBegun():
            text = f"phase {record.phase + 1} ({record.name}) begins" if record.round == 0 else ""
            return new(state, visits=(*state.visits, record), sentences=_tell(state, record.t, text))
        case PhaseEnded():
            return new(state, visits=(*state.visits, record), sentences=_tell(state, record.t, *visited(record)))
        case LimitSet():
            return new(state, limit=record, sentences=_tell(state, record.t, *limit_words(record, state.limit)))
        case LimitReached():
            return new(state, reached=record, sentences=_tell(state, record.t, *reached_words(record)))
        case OnFinishRan() | NotifyFailed():
            return new(state, sentences=_tell(state, record.t, *finished_words(record)))
        case ExperimentEnded():
            level = {"finished": "good", "stopped": "info"}.get(record.outcome, "bad")  # type: ignore[assignment]
            stop = new(state.stop, phase="done") if state.stop else None
            return new(
                state,
                phase=record.outcome,
                ended=record,
                survivors=record.survivors,
                stop=stop,
                verdict=record.verdict or state.verdict,
                sentences=_tell(state, record.t, record.text, level),
            )
        case Note():
            return new(state, sentences=_tell(state, record.t, record.text, record.level))
        case Gap():
            text = f"{plural(record.dropped, 'supervisor line')} could not be written: {record.reason}"
            return new(state, sentences=_tell(state, record.t, text, "bad"))
        case _:
            return state


def _fold_stop(state: ExperimentState, record: StopChanged) -> ExperimentState:
    new = msgspec.structs.replace
    after = "stop after this run" if state.plan.test is None else "stop after this visit"
    words = {"after_run": after, "now": "stop now", "force": "forced stop"}[record.mode]
    by = f" by {record.by}" if record.by else ""
    if record.phase == "cancelled":
        phase = "running" if state.phase == "stopping" else state.phase
        told = _tell(state, record.t, f"{words} cancelled{by}")
        return new(state, stop=None, stop_after_runs=0, phase=phase, sentences=told)
    stop = StopState(id=record.id, mode=record.mode, phase=record.phase, since=record.t)
    ended = state.phase in ("finished", "stopped", "failed")
    said = f"{words} asked for{by}" if record.phase == "acknowledged" else f"{words} done"
    return new(
        state,
        stop=stop,
        phase=state.phase if ended else "stopping",
        sentences=_tell(state, record.t, said, "warn" if record.phase == "acknowledged" else "info"),
    )


def _failure(verdict: Verdict | None) -> str:
    return verdict.text if verdict else "preparation failed"


def _index(state: ExperimentState, at: tuple[int, int, str]) -> int | None:
    return next((i for i, run in enumerate(state.runs) if run.key.at == at), None)


def _with_run(state: ExperimentState, index: int, run: RunState) -> ExperimentState:
    return msgspec.structs.replace(state, runs=(*state.runs[:index], run, *state.runs[index + 1 :]))


def _tell(state: ExperimentState, t: float, text: str, level: Level = "info") -> tuple[Sentence, ...]:
    return (*state.sentences, Sentence(t, text, level))[-SENTENCES:] if text else state.sentences


# ---------------------------------------------------------------- the sampler's journal


def fold_samples(state: ExperimentState, records: Sequence[AnyRecord]) -> ExperimentState:
    """`state` with machine readings appended, the newest SAMPLES kept."""
    samples = tuple(record for record in records if isinstance(record, Sample))
    if not samples:
        return state
    sentences = state.sentences
    for before, after in pairwise((*state.samples[-1:], *samples)):
        if moved := clocks.jump((before.t, before.m), (after.t, after.m)):
            said = Sentence(after.t, clocks.jump_words(moved), "info", after.m, state.boot_id)
            sentences = (*sentences, said)[-SENTENCES:]
    return msgspec.structs.replace(state, samples=(*state.samples, *samples)[-SAMPLES:], sentences=sentences)


def fold_prepare(state: ExperimentState, records: Sequence[AnyRecord]) -> ExperimentState:
    """`state` with the preparation's progress and notes."""
    for record in records:
        if isinstance(record, Progress):
            state = msgspec.structs.replace(state, preparing=record)
        elif isinstance(record, Note):
            state = msgspec.structs.replace(state, sentences=_tell(state, record.t, record.text, record.level))
    return state
