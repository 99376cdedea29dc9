"""What limits a training: named with its evidence and how sure that is, and what to try next."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from engine.config.knob import Kind as KnobKind, shown
from engine.config.profile import KNOBS
from engine.diagnosis import remedies
from engine.diagnosis.advice import Advice, Proposal, advice
from engine.diagnosis.evidence import CPU_SHARE, Evidence, evidence
from engine.journals.phase_events import PhaseBegun
from engine.live.mean_step import COMPUTE, FEWEST_STEPS, MeanStep, lately, mean_step
from engine.live.state import ExperimentState, RunState
from engine.memory.footprint import knobs_now

__all__ = ["Bottleneck", "Share", "bottleneck", "lately"]

# A kind is the limit when it takes at least this share of a step.
LIMITS = {"data": 0.5, "h2d": 0.4, "other": 0.4, "compute": 0.7}
KINDS = {"data": "loader", "h2d": "copy", "other": "host", "compute": "compute"}
# Waiting for data less than this is keeping up.
KEEPS_UP = 0.1
# Validation and reconstruction take as much of the time as this: shortening steps changes little.
VALIDATION = 0.4
# A GPU that is busy less than this while a step "computes" waits for its instructions.
LAUNCHING = 60.0
SURE_STEPS = 20

Kind: TypeAlias = Literal["loader", "storage", "memory", "compute", "host", "copy", "validation", "balanced", "unknown"]
Confidence: TypeAlias = Literal["sure", "likely", "a guess"]


class Share(msgspec.Struct, frozen=True):
    """One part of the mean step: a span, or `other` for what no span covers. `share` is 0 to 1."""

    name: str
    seconds: float
    share: float


class Bottleneck(msgspec.Struct, frozen=True, kw_only=True):
    """What limits a step. `load_seconds`: to load one sample, measured inside the workers. `evidence`: what shows it.
    `advice`: the next best change in words, `change` the same as data; `useless`: what will not help, and why."""

    kind: Kind = "unknown"
    headline: str = "no steps yet"
    confidence: Confidence = "a guess"
    evidence: tuple[str, ...] = ()
    advice: str = ""
    change: Proposal | None = None
    useless: tuple[str, ...] = ()
    step_seconds: float | None = None
    samples_per_second: float | None = None
    voxels_per_second: float | None = None
    shares: tuple[Share, ...] = ()
    load_seconds: float | None = None


def bottleneck(state: ExperimentState, advised: Advice | None = None) -> Bottleneck:
    """From the present run's last records, a multiple of `num_workers` steps (bursts have that period). `advised`: the
    advice of a moment ago, which takes up to 40 ms to work out; None for a new one."""
    run = state.run
    if run is None or run.begin is None or not run.recent:
        return Bottleneck(headline=_waiting(state, run))
    step = mean_step(lately(run))
    if step.seconds <= 0:
        return Bottleneck(headline="the journal gives steps no time")
    rate = step.samples / step.seconds
    known = Bottleneck(
        step_seconds=step.seconds,
        samples_per_second=rate or None,
        voxels_per_second=rate * run.begin.voxels_per_sample or None,
        shares=tuple(
            Share(name, seconds, seconds / step.whole)
            for name, seconds in step.spans.items()
            if name != "other" or seconds > 0
        ),
        load_seconds=step.load,
    )
    new = msgspec.structs.replace
    if run.pace.warming or step.steps < FEWEST_STEPS:
        many = f"{run.pace.steps:,} step{'s' if run.pace.steps != 1 else ''}"
        return new(known, headline=f"warming: {many} so far; what limits it is not known yet")
    if not any(seconds for name, seconds in step.spans.items() if name != "other"):
        return new(known, headline="the trainer does not say where a step goes")
    seen, advised = evidence(state, run, step), advised or advice(state)
    kind = _kind(step, seen, advised)
    return new(
        known,
        kind=kind,
        headline=_headline(kind, step, run, seen, _anew(state)),
        confidence=_confidence(kind, step, seen),
        evidence=(*seen.lines, *([advised.change.refused] if advised.change and advised.change.refused else [])),
        advice=_advice(kind, step, state, run, advised, seen),
        change=advised.change if kind in ("loader", "storage", "memory", "balanced") else None,
        useless=advised.useless,
    )


def _kind(step: MeanStep, seen: Evidence, advised: Advice) -> Kind:
    if seen.validating >= VALIDATION:
        return "validation"
    parts = {name: step.spans[name] for name in ("data", "h2d", "other")} | {"compute": step.compute}
    for name, least in LIMITS.items():
        if parts[name] >= least * step.whole:
            kind: Kind = KINDS[name]  # type: ignore[assignment]
            break
    else:
        return "balanced"
    if kind == "loader" and step.load_computing is not None and step.load_computing < CPU_SHARE and seen.reading:
        return "storage"
    if kind == "loader" and advised.change is not None and advised.change.refused:
        return "memory"
    if kind == "compute" and seen.gpu_util is not None and seen.gpu_util < LAUNCHING:
        return "host"
    return kind


def _confidence(kind: Kind, step: MeanStep, seen: Evidence) -> Confidence:
    if kind in ("balanced", "unknown") or seen.contradiction:
        return "a guess"
    return "sure" if step.steps >= SURE_STEPS else "likely"


# ---------------------------------------------------------------- in words


def _waiting(state: ExperimentState, run: RunState | None) -> str:
    if state.phase == "preparing":
        return "volumes are being prepared"
    return "starting" if run is not None and run.phase == "running" else "no steps yet"


def _anew(state: ExperimentState) -> str:
    """What a loader does that keeps nothing of what it prepared."""
    tested = next((visit.knobs for visit in reversed(state.visits) if isinstance(visit, PhaseBegun)), None)
    knobs = tested if state.plan.test is not None and tested is not None else knobs_now(state)
    own = not state.plan.experiment.command
    return ", preparing each sample anew" if own and knobs.get("cache") == "none" else ""


def _headline(kind: Kind, step: MeanStep, run: RunState, seen: Evidence, anew: str = "") -> str:
    device = _device(run)
    data, compute = step.spans["data"], sum(step.spans[name] for name in COMPUTE)
    who = "the trainer" if device == "CPU" else "the GPU"
    match kind:
        case "validation":
            return f"Validation is the limit: {100 * seen.validating:.0f} % of the time is not training."
        case "loader" | "memory" if run.begin is not None and run.begin.num_workers == 0:
            return f"Loading is the limit{anew}: it takes {_of(data, step.seconds)} in the trainer itself."
        case "loader":
            return f"The loader is the limit{anew}: {who} waits {_of(data, step.seconds)}."
        case "memory":
            return f"Memory limits the loader: {who} waits {_of(data, step.seconds)}, and more workers do not fit."
        case "storage":
            return f"Storage is the limit: {who} waits {_of(data, step.seconds)} for samples that wait for the disk."
        case "compute":
            return f"The {device} is the limit: it computes {_of(compute, step.seconds)}."
        case "copy":
            return f"Copying to the {device} is the limit: {_of(step.spans['h2d'], step.seconds)}."
        case "host" if step.spans["other"] >= LIMITS["other"] * step.whole:
            return f"The trainer's own code is the limit: {_of(step.spans['other'], step.seconds)} is in no span."
        case "host":
            return f"Launching is the limit: the GPU is busy {seen.gpu_util:.0f} % of a step that only computes."
    return f"No single limit: data {100 * data / step.whole:.0f} %, computing {100 * compute / step.whole:.0f} %."


def _advice(
    kind: Kind, step: MeanStep, state: ExperimentState, run: RunState, advised: Advice, seen: Evidence
) -> str:
    on_cpu = _device(run) == "CPU" and kind in ("compute", "balanced")
    if seen.crowded and (on_cpu or (kind == "loader" and (step.load_computing or 0) > CPU_SHARE)):
        return f"Other processes use {seen.foreign:.1f} of {state.samples[-1].cores} cores; no setting here helps that."
    match kind:
        case "validation":
            return remedies.of_validation(state)
        case "copy":
            return remedies.of_copying(state, step) if _device(run) == "GPU" else ""
        case "host" if step.spans["other"] < LIMITS["other"] * step.whole:
            return remedies.of_launching(state, seen)
        case "host":
            return remedies.of_host(step)
        case "compute" if step.spans["data"] < KEEPS_UP * step.seconds:
            return remedies.of_computing(state, step)
    if kind == "storage" and state.plan.profile["cache"] == "disk" and run.epoch <= 1:
        return "The first epoch reads from the disk; the next ones find in RAM what fits there."
    kept = remedies.of_storage(state) if kind == "storage" else ""
    if advised.change is None:
        return kept or _no_change(state, run)
    return f"{proposed(advised.change)} {kept}".rstrip()


def proposed(change: Proposal) -> str:
    """`num_workers 1→4: 4.3–4.7 s/step expected, 28 GiB of RAM.`"""
    said = f"{change.knob} {shown(change.before)}→{shown(change.after)}: {_range(change.low, change.high)} expected"
    said += f", {change.memory}" if change.memory else ""
    said += ", which does not fit" if change.refused else ""
    kind = KNOBS[change.knob].kind
    other = "" if kind is KnobKind.SPEED else f" In a test phase only: it {kind}."
    return f"{said}.{other}" + (f" Locked: {change.lock}" if change.lock else "")


def _no_change(state: ExperimentState, run: RunState) -> str:
    workers = run.begin.num_workers if run.begin is not None else 0
    cores = state.samples[-1].cores if state.samples else None
    if cores is None or (state.plan.experiment.command and not workers):
        return ""  # a trainer of one's own that names no workers may have no loader that could have some
    if workers >= cores:
        return "More workers will not help: there are no more cores than workers."
    both = "the CPU computes and loads" if _device(run) == "CPU" else "the rest is computing"
    return f"More workers will hardly help: {both}."


def _device(run: RunState) -> str:
    return "CPU" if run.begin is None or run.begin.device == "cpu" else "GPU"


def _of(part: float, whole: float) -> str:
    """`15.2 of 18.1 s`: both in the unit of the whole."""
    if whole >= 1:
        return f"{part:.1f} of {whole:.1f} s"
    digits = 0 if whole >= 0.02 else 1
    return f"{part * 1000:.{digits}f} of {whole * 1000:.{digits}f} ms"


def _range(low: float, high: float) -> str:
    if high >= 1:
        return f"{low:.1f}–{high:.1f} s/step"
    return f"{low * 1000:.3g}–{high * 1000:.3g} ms/step"
