"""What test phases showed, each beside what was expected of it and beside the first one, as data for table and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt

import msgspec

from engine.config.plan import Plan
from engine.config.prepared import Prepared, steps_per_epoch
from engine.config.profile import KNOBS, Profile, Value
from engine.diagnosis.queueing import predict
from engine.diagnosis.workload import fit
from engine.journals.events import SPANS, AnyRecord, Mode, PhaseBegun, PhaseEnded, Steps, Use, Verdict
from engine.machine.contention import crowded, disturbance
from engine.machine.cores import machine
from engine.phase.measure import Load, Measurement, measured, merged, period
from engine.phase.ratio import Ratio, ratio
from engine.phase.space import differing

# An interval from a third to three times says nothing.
UNKNOWN = 9.0
# Verdicts that claim a difference.
DOES = {"train": "training", "resident": "computing alone", "load": "loading alone"}
SURE = ("faster", "slower")


class PhaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """One phase. `changed`: its knobs that differ from the first phase's. `verdict`: ok, faster, slower, not
    distinguishable, unstable, or the kind of end the test came to. `ratio`: samples/s over the first phase's.
    `low`/`high`: samples per second expected before it began. `seconds`: what an epoch, a run and the experiment
    would take, training steps alone."""

    number: int
    name: str
    knobs: dict[str, Value]
    mode: Mode = "train"
    changed: dict[str, Value] = {}
    measured: Measurement | None = None
    verdict: str = "waiting"
    text: str = ""
    evidence: tuple[str, ...] = ()
    advice: str = ""
    ratio: Ratio | None = None
    low: float | None = None
    high: float | None = None
    basis: str = ""
    use: Use = Use()
    rounds: int = 0
    repeated: int = 0
    swap_seconds: float | None = None
    seconds: dict[str, float] = {}

    @property
    def attributable(self) -> bool:
        """Whether an effect can be put down to one knob."""
        return len(self.changed) <= 1


# ---------------------------------------------------------------- one phase's visits


def counted(done: Sequence[PhaseEnded]) -> list[PhaseEnded]:
    """The visit of each round that counts: the last one or, where others disturbed that too, the least disturbed one.
    A round whose visit is being repeated has none yet."""
    rounds: dict[tuple[int, int], list[PhaseEnded]] = {}
    for visit in done:
        rounds.setdefault((visit.phase, visit.round), []).append(visit)
    found = []
    for visits in rounds.values():
        last = visits[-1]
        if last.repeated:
            continue
        sound = [visit for visit in reversed(visits) if visit.verdict.kind == "ok"]
        found.append(min(sound, key=lambda visit: disturbance(visit.use)) if last.verdict.kind == "ok" else last)
    return found


def measurement(done: Sequence[PhaseEnded], number: int) -> Measurement | None:
    """Of all visits to a phase that count; None while none of them gives any."""
    visits = [visit for visit in counted(done) if visit.phase == number and visit.verdict.kind == "ok"]
    found = [one for visit in visits if (one := visited(visit)) is not None]
    return merged(found) if found else None


def visited(visit: PhaseEnded) -> Measurement | None:
    """Of one visit alone; None if it holds no whole block of steps."""
    steps = len(visit.seconds)
    load = None
    if visit.loads and visit.mode == "train":
        mean = visit.load_seconds / visit.loads
        spread = max(0.0, visit.load_squares / visit.loads - mean**2)
        load = Load(seconds=mean, cv=sqrt(spread) / mean if mean else None, cpu_seconds=visit.load_cpu / visit.loads)
    try:
        found = measured(
            visit.seconds,
            visit.samples,
            period(visit.knobs) if visit.mode != "resident" else 1,
            knobs=visit.knobs,
            spans={name: getattr(visit.spans, name) / steps for name in SPANS} if steps else {},
            load=load,
            trainer_cpu_seconds=visit.trainer_cpu / steps if steps else None,
            mode=visit.mode,
        )
    except ValueError:
        return None
    found = within_step(found, sum(visit.seconds) / steps)
    others = crowded(visit.use, machine().cores)
    return msgspec.structs.replace(found, unstable=others) if others else found


def within_step(found: Measurement, all_seconds: float) -> Measurement:
    """With spans, which hold the warm-up too, in proportion to the steps that count. `all_seconds`: a step of all."""
    share = found.step_seconds / all_seconds if all_seconds > 0 else 1.0
    return msgspec.structs.replace(found, spans={name: seconds * share for name, seconds in found.spans.items()})


def unstable(done: Sequence[PhaseEnded], number: int) -> str:
    """Why a phase's figures cannot be relied on; '' if they can, or if there are none yet."""
    found = measurement(done, number)
    return found.unstable if found is not None else ""


def expected(done: Sequence[PhaseEnded], knobs: dict[str, Value]) -> tuple[float | None, float | None, str]:
    """Samples per second to be expected of `knobs` (90 % range) from what has been measured so far, and the basis.

    Where samples come from is in no model: what was measured with another `cache` says nothing.
    """
    probes = [
        one for number in sorted({v.phase for v in done})
        if (one := measurement(done, number)) is not None and one.knobs.get("cache") == knobs.get("cache")
    ]
    try:
        workload = fit(probes, machine().cores)
    except ValueError:
        return None, None, ""
    low, high = predict(workload, knobs).samples_range
    return low, high, f"modelled from {sum(one.steps for one in probes)} steps measured here"


def of_lines(lines: Sequence[Steps], knobs: dict[str, Value]) -> Measurement | None:
    """Of a living training's journal: step by step where it says each one's seconds, else line by line."""
    if not lines:
        return None
    single = all(line.each is not None for line in lines)
    seconds = [s for line in lines for s in line.each or ()] if single else [line.seconds for line in lines]
    samples = [n for line in lines for n in shared(line)] if single else [line.samples for line in lines]
    steps, loads = sum(line.steps for line in lines), sum(line.loads for line in lines)
    load = None
    if loads:
        mean = sum(line.load_seconds for line in lines) / loads
        squares = sum(line.load_squares for line in lines) / loads
        load = Load(
            seconds=mean,
            cv=sqrt(max(0.0, squares - mean**2)) / mean if mean and squares else None,
            cpu_seconds=sum(line.load_cpu for line in lines) / loads,
        )
    spans = {name: sum(getattr(line.spans, name) for line in lines) / steps for name in SPANS}
    cpu = sum(line.trainer_cpu for line in lines) / steps
    size = period(knobs) if single else 1
    try:
        found = measured(seconds, samples, size, knobs=knobs, spans=spans, load=load, trainer_cpu_seconds=cpu or None)
    except ValueError:
        return None
    if single:
        return within_step(found, sum(seconds) / steps)
    return msgspec.structs.replace(found, step_seconds=sum(line.seconds for line in lines) / steps)


def shared(line: Steps) -> list[int]:
    """A line's samples over its steps, as evenly as whole numbers go: a smaller last batch is not told apart."""
    return [line.samples // line.steps + (i < line.samples % line.steps) for i in range(line.steps)]


# ---------------------------------------------------------------- all of them


def results(plan: Plan, prepared: Prepared | None, records: Sequence[AnyRecord]) -> tuple[PhaseResult, ...]:
    """Every phase of the plan, and those that the course made up, in the order of their numbers."""
    begun = [record for record in records if isinstance(record, PhaseBegun)]
    done = [record for record in records if isinstance(record, PhaseEnded)]
    planned = plan.test.phases if plan.test is not None else ()
    count = max([len(planned), *(record.phase + 1 for record in begun)])
    found: list[PhaseResult] = []
    for number in range(count):
        first = next((record for record in begun if record.phase == number), None)
        if first is None and number >= len(planned):
            continue
        name = first.name if first is not None else planned[number].name
        knobs = first.knobs if first is not None else planned[number].knobs
        found.append(
            PhaseResult(
                number=number,
                name=name,
                knobs=knobs,
                mode=first.mode if first is not None else "train",
                low=first.low if first is not None else None,
                high=first.high if first is not None else None,
                basis=first.basis if first is not None else "",
            )
        )
    base = measurement(done, found[0].number) if found else None
    return tuple(_result(one, found[0], base, plan, prepared, begun, done) for one in found)


def _result(
    one: PhaseResult,
    first: PhaseResult,
    base: Measurement | None,
    plan: Plan,
    prepared: Prepared | None,
    begun: Sequence[PhaseBegun],
    done: Sequence[PhaseEnded],
) -> PhaseResult:
    visits = [visit for visit in done if visit.phase == one.number]
    known = counted(visits)
    failed = next((visit.verdict for visit in known if visit.verdict.kind != "ok"), None)
    found = measurement(done, one.number)
    beside = one.mode == "train" and one.number != first.number
    compared = ratio(base, found) if beside and base is not None and found is not None else None
    under_way = sum(record.phase == one.number for record in begun) > len(visits)
    verdict, text = verdict_of(found, compared, failed, under_way)
    if compared is not None and verdict in SURE and base is not None and base.unstable:
        verdict, text = "unstable", f"{first.name}: {base.unstable}"
    return msgspec.structs.replace(
        one,
        changed=differing(first.knobs, one.knobs),
        measured=found,
        verdict=verdict,
        text=text,
        evidence=failed.evidence if failed else (),
        advice=failed.advice if failed else "",
        ratio=compared,
        use=_use([visit.use for visit in known]),
        rounds=len(known),
        repeated=sum(visit.repeated for visit in visits),
        swap_seconds=next((visit.swap_seconds for visit in known if visit.swap_seconds), None),
        seconds=extrapolated(plan, prepared, one.knobs, found) if found is not None and one.mode == "train" else {},
    )


def verdict_of(
    found: Measurement | None, compared: Ratio | None, failed: Verdict | None, under_way: bool
) -> tuple[str, str]:
    """A phase's verdict and why."""
    if failed is not None:
        return failed.kind, failed.text
    if found is None:
        return ("running", "") if under_way else ("waiting", "")
    if found.unstable:
        return "unstable", found.unstable
    if compared is not None:
        return compared.verdict, ""
    return "ok", ""


def _use(uses: Sequence[Use]) -> Use:
    """The peak of peaks; means of the rest."""
    if not uses:
        return Use()
    merged_use: dict[str, float | int | None] = {}
    for field in msgspec.structs.fields(Use):
        values = [value for use in uses if (value := getattr(use, field.name)) is not None]
        whole = field.name in ("gpu_util", "own_cores", "foreign_cores", "foreign_gpu", "ram_slope")
        merged_use[field.name] = (sum(values) / len(values) if whole else max(values)) if values else None
    return msgspec.convert(merged_use, Use)


def extrapolated(
    plan: Plan, prepared: Prepared | None, knobs: dict[str, Value], found: Measurement
) -> dict[str, float]:
    """Seconds of training steps in an epoch, a run and the experiment, every variant at the pace of the one measured;
    what else happens is not in them."""
    if prepared is None:
        return {}
    profile = Profile(name="", knobs=knobs)
    per_fold = {split.fold: steps_per_epoch(split, profile) * found.step_seconds for split in prepared.splits}
    experiment = plan.experiment
    first = per_fold.get(plan.runs[0].fold, 0.0)
    trained = [per_fold.get(fold, 0.0) for fold in experiment.runs.only] or per_fold.values()
    return {
        "epoch": first,
        "run": first * experiment.epochs,
        "experiment": sum(trained) * experiment.epochs * experiment.runs.restarts
        * max(1, len(experiment.variants)),
    }


# ---------------------------------------------------------------- what follows from them


def against_first(found: Sequence[PhaseResult]) -> list[PhaseResult]:
    """Phases of several folders as if they were of one: numbered on, each beside the first."""
    base, said = (found[0].measured if found else None), []
    for number, one in enumerate(found):
        compared = ratio(base, one.measured) if number and base is not None and one.measured is not None else None
        verdict, text = one.verdict, one.text
        if compared is not None and one.mode != found[0].mode:
            # Loading alone is no faster training: it does less.
            text = f"{DOES[one.mode]}, {ranged(compared)} the samples/s of {DOES[found[0].mode]}"
            text += ": not the same work, no gain"
            compared = None
        if number == 0 and verdict in ("faster", "slower", "not distinguishable"):
            verdict = "ok"
        elif verdict in ("ok", "faster", "slower", "not distinguishable") and compared is not None:
            verdict = compared.verdict
        changed = differing(found[0].knobs, one.knobs)
        fresh = {"number": number, "ratio": compared, "verdict": verdict, "text": text, "changed": changed}
        said.append(msgspec.structs.replace(one, **fresh))
    return said


def best(found: Sequence[PhaseResult], knobs: dict[str, Value] | None = None) -> PhaseResult | None:
    """The phase with `knobs`, where a test has said which; else the fastest one that is surely faster than the first,
    and the first one when none is."""
    if knobs is not None:
        return next((one for one in found if one.knobs == knobs), None)
    tried = [one for one in found if one.mode == "train" and one.measured is not None]
    if not tried:
        return None
    faster = [one for one in tried if one.verdict == "faster"]
    return max(faster, key=lambda one: one.measured.samples_per_second if one.measured else -inf, default=tried[0])


def ranged(found: Ratio) -> str:
    """`×1.94 (1.27–2.96)`; a question mark where the interval is so wide that it says nothing."""
    if not found.low or found.high > UNKNOWN * found.low:
        return f"×{found.value:.2f} (?)"
    return f"×{found.value:.2f} ({found.low:.2f}–{found.high:.2f})"


def effect(one: PhaseResult) -> str:
    """What a phase brought, in words."""
    if one.ratio is None:
        return one.text
    value = ranged(one.ratio)
    if one.verdict == "not distinguishable":
        return f"{value}: no difference that could be told from chance"
    if one.verdict == "unstable":
        return f"{value}, but {one.text}"
    what = (
        "" if one.attributable else f"; {len(one.changed)} knobs changed at once, so it belongs to none of them alone"
    )
    return f"{value}: {one.verdict}{what}"


def optimisation(one: PhaseResult) -> tuple[str, ...]:
    """The changed knobs that change more than the speed."""
    return tuple(name for name in one.changed if KNOBS[name].kind != "speed only")
