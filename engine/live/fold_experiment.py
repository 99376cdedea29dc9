"""The journals of an experiment folded into its state: the supervisor's, the preparation's and the sampler's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from engine.counts import plural
from engine.journals import clocks
from engine.journals.events import (
    AnyRecord,
    ExperimentEnded,
    Gap,
    Level,
    LimitReached,
    LimitSet,
    Note,
    NotifyFailed,
    OnFinishRan,
    Outcome,
    PhaseBegun,
    PhaseEnded,
    PrepareEnded,
    PrepareStarted,
    ProfileAsked,
    Progress,
    RunEnded,
    RunsGivenUp,
    RunSkipped,
    RunsPutBack,
    RunStarted,
    Sample,
    StopChanged,
    SupervisorStarted,
    Verdict,
)
from engine.live.fold_limit import finished_words, limit_words, reached_words
from engine.live.fold_profile import visited
from engine.live.sentences import say, stamped
from engine.live.state import SAMPLES, SENTENCES, ExperimentState, RunState, Sentence, StopState


def fold_supervisor(state: ExperimentState, records: Iterable[AnyRecord]) -> ExperimentState:
    """`state` with the supervisor's records folded in."""
    for record in records:
        folded = _fold_supervisor_one(state, record)
        state = stamped(state, folded, record.m, folded.boot_id)
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
                survivors=(),
                verdict=None,
                stop=None,
                stop_after_runs=record.stop_after_runs,
                runs=tuple(new(run, failures=0, given_up=False) for run in state.runs),
                runs_ended_here=state.runs_ended_here if record.adopted else 0,
                processor=record.processor,
                cores=record.cores,
                boot_id=record.boot_id,
                sentences=say(state, record.t, again or f"supervisor started, {to_do}"),
            )
        case PrepareStarted():
            # Once a run has started this only looks whether all volumes are still there.
            phase = "preparing" if state.current is None else state.phase
            return new(state, phase=phase)
        case PrepareEnded():
            text = f"{state.cases} prepared in {record.seconds:.1f} s" if record.ok else _failure(record.verdict)
            return new(
                state,
                phase="queued" if record.ok else "failed",
                prepare_seconds=record.seconds,
                preparing=None,
                verdict=record.verdict,
                sentences=say(state, record.t, text, "info" if record.ok else "bad"),
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
                sentences=say(state, record.t, text if state.plan.test is None else ""),
            )
        case RunEnded():
            index = _index(state, record.at)
            if index is None:
                return state
            run = new(
                state.runs[index],
                phase=record.outcome,
                verdict=record.verdict,
                ended=record.t,
                ended_monotonic=record.m,
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
                sentences=say(state, record.t, "" if state.plan.test is not None and level == "info" else text, level),
            )
        case RunSkipped():
            index = _index(state, record.at)
            if index is None:
                return state
            run = new(state.runs[index], phase="finished")
            return _with_run(state, index, run)
        case RunsPutBack():
            # They wait as if they had not been tried: their next failure is the first one.
            back = (new(run, failures=0, given_up=False) if run.key.at in record.runs else run for run in state.runs)
            return new(state, runs=tuple(back))
        case RunsGivenUp():
            kept = tuple(new(run, given_up=True) if run.key.at in record.runs else run for run in state.runs)
            text = f"{record.why}: the rest of it is not started ({plural(len(record.runs), 'run')})"
            return new(state, runs=kept, sentences=say(state, record.t, text, "bad"))
        case StopChanged():
            return _fold_stop(state, record)
        case ProfileAsked():
            by = f" by {record.by}" if record.by else ""
            return new(state, sentences=say(state, record.t, f"profile {record.name} asked for{by}"))
        case PhaseBegun():
            text = f"phase {record.phase + 1} ({record.name}) begins" if record.round == 0 else ""
            return new(state, visits=(*state.visits, record), sentences=say(state, record.t, text))
        case PhaseEnded():
            return new(state, visits=(*state.visits, record), sentences=say(state, record.t, *visited(record)))
        case LimitSet():
            return new(state, limit=record, sentences=say(state, record.t, *limit_words(record, state.limit)))
        case LimitReached():
            return new(state, reached=record, sentences=say(state, record.t, *reached_words(record)))
        case OnFinishRan() | NotifyFailed():
            return new(state, sentences=say(state, record.t, *finished_words(record)))
        case ExperimentEnded():
            level = {"finished": "good", "stopped": "info"}.get(record.outcome, "bad")  # type: ignore[assignment]
            stop = new(state.stop, phase="done") if state.stop else None
            return new(
                state,
                phase=record.outcome,
                ended=record,
                survivors=record.survivors,
                stop=stop,
                verdict=record.verdict or _reason(state, record.outcome),
                sentences=say(state, record.t, record.text, level),
            )
        case Note():
            return new(state, sentences=say(state, record.t, record.text, record.level))
        case Gap():
            text = f"{plural(record.dropped, 'supervisor line')} could not be written: {record.reason}"
            return new(state, sentences=say(state, record.t, text, "bad"))
        case _:
            return state


def _fold_stop(state: ExperimentState, record: StopChanged) -> ExperimentState:
    new = msgspec.structs.replace
    after = "stop after this run" if state.plan.test is None else "stop after this visit"
    words = {"after_run": after, "now": "stop now", "force": "forced stop"}[record.mode]
    by = f" by {record.by}" if record.by else ""
    if record.phase == "cancelled":
        phase = "running" if state.phase == "stopping" else state.phase
        told = say(state, record.t, f"{words} cancelled{by}")
        return new(state, stop=None, stop_after_runs=0, phase=phase, sentences=told)
    stop = StopState(id=record.id, mode=record.mode, phase=record.phase, since=record.t)
    ended = state.phase in ("finished", "stopped", "failed")
    said = f"{words} asked for{by}" if record.phase == "acknowledged" else f"{words} done"
    return new(
        state,
        stop=stop,
        phase=state.phase if ended else "stopping",
        sentences=say(state, record.t, said, "warn" if record.phase == "acknowledged" else "info"),
    )


def _reason(state: ExperimentState, outcome: Outcome) -> Verdict | None:
    """Where its end gives none: the last run's, but a failure is not for the one that finished last."""
    if outcome != "failed" or state.verdict is None or state.verdict.kind != "finished":
        return state.verdict
    failed = [run for run in state.runs if run.phase == "failed"]
    return max(failed, key=lambda run: run.ended).verdict if failed else state.verdict


def _failure(verdict: Verdict | None) -> str:
    return verdict.text if verdict else "preparation failed"


def _index(state: ExperimentState, at: tuple[int, int, str]) -> int | None:
    return next((i for i, run in enumerate(state.runs) if run.key.at == at), None)


def _with_run(state: ExperimentState, index: int, run: RunState) -> ExperimentState:
    return msgspec.structs.replace(state, runs=(*state.runs[:index], run, *state.runs[index + 1 :]))


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
            state = msgspec.structs.replace(state, sentences=say(state, record.t, record.text, record.level))
    return state
