"""The experiment's status as a documented contract (`steptop status --json`); docs/status.md describes every field."""

from __future__ import annotations

from pathlib import Path

from engine.beside import beside, device_label, step_seconds
from engine.config.leading import measure
from engine.config.sources import trained_on
from engine.diagnosis.bottleneck import Bottleneck, bottleneck
from engine.eta.forecast import Estimate, Forecast, forecast
from engine.eta.ladder import Rung
from engine.journals.events import Metrics
from engine.limit.allowance import Allowance, allowance
from engine.live.held_out import epochs_since
from engine.live.spikes import spikes
from engine.live.state import ENDED, ExperimentState, RunState
from engine.memory.footprint import trend_of
from engine.runs import so_far
from engine.runs.hints import with_name
from engine.status_contract import (
    BottleneckStatus as BottleneckStatus,
    ChangeStatus as ChangeStatus,
    CreepStatus as CreepStatus,
    FiguresStatus as FiguresStatus,
    ForecastStatus as ForecastStatus,
    LeadingStatus as LeadingStatus,
    LimitStatus as LimitStatus,
    MachineStatus as MachineStatus,
    Moment as Moment,
    PartStatus as PartStatus,
    RungStatus as RungStatus,
    RunStatus as RunStatus,
    SoFarStatus as SoFarStatus,
    SpikeStatus as SpikeStatus,
    Status as Status,
    StopStatus as StopStatus,
)
from engine.text import clean
from engine.visit_status import test_status, test_verdict

VERSION = 1
# Five readings of the sampler's: an older one says how the machine was, not how it is.
OLD_SECONDS = 10.0
OF_TEST = "a test of profiles; `test` says when it ends"


def status(state: ExperimentState) -> Status:
    """`state` as the contract says it. A test of profiles has no epoch or run that would end."""
    expected = forecast(state) if state.plan.test is None else Forecast(text=OF_TEST)
    limit, run = bottleneck(state), state.run
    element = measure(state.plan.experiment).element
    shares = {share.name: share.seconds for share in limit.shares}
    return Status(
        version=VERSION,
        experiment=state.plan.name,
        folder=state.folder,
        state=state.phase,
        profile=state.plan.profile.name,
        device=clean(run.begin.device if run and run.begin else state.plan.device),
        run=run_status(state, run, expected.run if run.phase == "running" else None) if run is not None else None,
        beside=tuple(
            run_status(state, state.runs[place], beside(state, place).ends)
            for place in state.under_way
            if place != state.current
        ),
        runs_finished=state.runs_finished,
        step_seconds=limit.step_seconds,
        samples_per_second=limit.samples_per_second,
        voxels_per_second=limit.voxels_per_second if element == "voxel" else None,
        tokens_per_second=limit.voxels_per_second if element == "token" else None,
        data=clean(trained_on(state.plan)),
        spans=shares,
        load_seconds=limit.load_seconds,
        bottleneck=_bottleneck(limit),
        forecast=_forecast(expected),
        stop=_stop(state, expected),
        limit=_limit(allowance(state)),
        machine=machine(state),
        precision=run.precision.active if run and run.precision else None,
        checkpoint=run.checkpoint.file if run and run.checkpoint and not run.checkpoint.error else None,
        stalled_seconds=state.stalled_seconds,
        supervisor_alive=state.supervisor_alive,
        trainer_alive=state.trainer_alive,
        survivors=state.survivors,
        disk_full=state.disk_full,
        verdict=with_name(test_verdict(state), Path(state.folder).name),
        test=test_status(state, limit.step_seconds),
        so_far=_so_far(state) if state.plan.test is None else (),
        not_started=tuple(run.key.name for run in state.runs if run.given_up),
        spikes=_spikes(run),
    )


def run_status(state: ExperimentState, run: RunState, ends: Estimate | None = None) -> RunStatus:
    """`ends`: of a run under way, when it ends by its own pace."""
    seen, kind = run.test or run.validation, measure(state.plan.experiment)
    return RunStatus(
        index=state.runs.index(run) + 1,
        total=len(state.runs),
        fold=run.key.fold,
        restart=run.key.restart,
        variant=run.key.variant,
        seed=run.key.seed,
        attempt=run.attempt,
        state=run.phase,
        epoch=run.epoch,
        epochs=run.epochs,
        step=run.step_in_epoch,
        steps_per_epoch=run.steps_per_epoch,
        steps_done=run.step,
        steps_total=run.steps_total,
        activity=run.activity,
        loss=run.loss,
        dice=seen.values.get("dice") if seen else None,
        leading=LeadingStatus(
            figure=kind.figure, value=seen.values.get(kind.figure) if seen else None, better=kind.better
        ),
        validation=_figures(run, run.validation),
        whole=_figures(run, run.whole),
        device=device_label(state.plan, run),
        step_seconds=step_seconds(run) if run.phase == "running" else None,
        ends=_moment(ends) if ends is not None and state.plan.test is None else None,
    )


def _spikes(run: RunState | None) -> tuple[SpikeStatus, ...]:
    found = spikes(run) if run is not None else ()
    return tuple(
        SpikeStatus(
            every=one.every, terms=tuple(clean(name) for name in one.terms), seconds=one.seconds, usual=one.usual
        )
        for one in found
    )


def _so_far(state: ExperimentState) -> tuple[SoFarStatus, ...]:
    """What finished runs amount to, of each variant."""
    return tuple(
        SoFarStatus(
            variant=one.variant,
            figure=measure(state.plan.experiment).figure,
            per=one.per,
            runs=one.runs,
            count=one.count,
            mean=one.mean,
            std=one.std,
            standard_error=one.error,
            one_more=one.one_more,
            missing=one.missing,
        )
        for one in so_far.so_far(state)
    )


def _figures(run: RunState, found: Metrics | None) -> FiguresStatus | None:
    if found is None:
        return None
    since = epochs_since(run, found)
    return FiguresStatus(split=found.split, epoch=found.epoch, step=found.step, carried=since, values=found.values)


def machine(state: ExperimentState) -> MachineStatus:
    """The newest reading, of when it is, and where memory is going."""
    if not state.samples:
        return MachineStatus()
    sample, trend = state.samples[-1], trend_of(state)
    current = state.phase not in ENDED and state.now - sample.t <= OLD_SECONDS
    return MachineStatus(
        cores=sample.cores,
        cpu=sample.cpu,
        own_cpu=sample.own_cpu,
        ram_total=sample.ram_total,
        ram_available=sample.ram_available,
        shm_total=sample.shm_total,
        shm_used=sample.shm_used,
        disk_total=sample.disk_total,
        disk_free=sample.disk_free,
        workers=sum(worker.role == "worker" for worker in sample.workers),
        worker_bytes=trend.per_worker_bytes,
        bytes_per_hour=trend.bytes_per_hour if current else None,
        full_in_seconds=trend.full_in_seconds if current else None,
        bytes_at_most=trend.at_most if current else None,
        gpus=sample.gpus,
        gpu_reason=sample.gpu_reason,
        at=sample.t or None,
        current=current,
    )


def _moment(estimate: Estimate) -> Moment:
    return Moment(seconds=estimate.seconds, low=estimate.low, high=estimate.high, at=estimate.at, basis=estimate.basis)


def _forecast(expected: Forecast) -> ForecastStatus:
    return ForecastStatus(
        epoch=_moment(expected.epoch),
        run=_moment(expected.run),
        stop_here=_moment(expected.stop_here),
        experiment=_moment(expected.experiment),
        warming=expected.warming,
        text=expected.text,
        ladder=tuple(_rung(rung) for rung in expected.ladder),
        changes=tuple(
            ChangeStatus(step=c.first, since=c.since, noticed=c.noticed, ratio=c.ratio, cause=c.cause)
            for c in expected.changes
        ),
        creep=_creep(expected),
        intervals=expected.intervals,
    )


def _rung(rung: Rung) -> RungStatus:
    end = rung.estimate
    return RungStatus(
        rung=rung.name,
        label=rung.label,
        runs=rung.runs,
        seconds=end.seconds,
        low=end.low,
        high=end.high,
        at=end.at,
        basis=end.basis,
        kind=rung.kind,
        parts=tuple(
            PartStatus(name=p.name, seconds=p.seconds, times=p.times, each=p.each, basis=p.basis, kind=p.kind)
            for p in rung.parts
        ),
    )


def _creep(expected: Forecast) -> CreepStatus | None:
    creep = expected.creep
    if creep is None:
        return None
    return CreepStatus(step=creep.first, since=creep.since, grown=creep.grown, seconds_per_step=creep.per_step)


def _stop(state: ExperimentState, expected: Forecast) -> StopStatus | None:
    """What was asked for; where nothing was, what `--stop-after-run N` promised at launch."""
    stop, run = state.stop, state.run
    if stop is None:
        left = state.stop_after_runs - state.runs_ended_here
        if left < 1 or state.phase in ENDED:
            return None
        since, at = state.plan.created, expected.experiment.at
        return StopStatus(mode="after_run", phase="planned", since=since, at=at, after_runs=left)
    if stop.mode != "after_run" or stop.phase == "done":
        return StopStatus(mode=stop.mode, phase=stop.phase, since=stop.since, at=None)
    left = int(run is not None and run.phase == "running")
    return StopStatus(mode=stop.mode, phase=stop.phase, since=stop.since, at=expected.stop_here.at, after_runs=left)


def _limit(allowed: Allowance | None) -> LimitStatus | None:
    if allowed is None:
        return None
    first, fit, rate = allowed.first, allowed.fit, allowed.rate
    return LimitStatus(
        kind=first.kind,
        text=first.text,
        at=first.at,
        seconds=first.seconds,
        quoted=first.quoted,
        runs_fit=fit.runs if fit else None,
        runs_surely=fit.surely if fit else None,
        runs_at_best=fit.at_best if fit else None,
        runs_total=fit.total if fit else None,
        late_seconds=fit.late_seconds if fit else None,
        sentence=fit.text if fit else "",
        budget=allowed.budget,
        spent=allowed.spent,
        currency=rate.currency if rate else None,
        hourly=rate.per_second * 3600 if rate else None,
        price_basis=rate.basis if rate else "",
        also=tuple(due.text for due in allowed.dues[1:]),
    )


def _bottleneck(limit: Bottleneck) -> BottleneckStatus:
    return BottleneckStatus(kind=limit.kind, headline=limit.headline, advice=limit.advice)
