"""What could be done where the loader is not the limit: of each remedy what it would save, what it takes, and whether
that is modelled or only bounded."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engine.config.knob import Value
from engine.diagnosis.evidence import Evidence
from engine.diagnosis.modelled import SAME, Range, workload_of
from engine.diagnosis.queueing import predict
from engine.figures import duration, significant
from engine.live.mean_step import MeanStep
from engine.live.state import ExperimentState
from engine.memory.budget import budget
from engine.memory.footprint import footprint, knobs_now
from engine.sizes import said

GUESS = "a guess, test it in a phase"
# Less than this of the time left, or of a step, is not worth a word.
WORTH_SECONDS = 1.0
VALIDATION_WORKERS = 2
HOW_OFTEN = ("val_every_epochs", "reconstruct_every_epochs")


def of_validation(state: ExperimentState) -> str:
    """Validating or reconstructing half as often, and loading for it in processes of its own: seconds of the end."""
    often = [name for name in HOW_OFTEN if int(knobs_now(state).get(name, 0))]
    if state.plan.test is not None or not often:
        return f"{' and '.join(HOW_OFTEN)} say how often; val_num_workers loads for it."
    if state.plan.experiment.command:
        return "How often it validates is for its own trainer to say."
    found = sorted(_rarer(state), key=lambda one: -one[0])
    return " ".join(text for _, text in found) or "It is nearly over: nothing here would save a second of it."


def _rarer(state: ExperimentState) -> Iterator[tuple[float, str]]:
    # Here, since it reads sheets of hardware, which few who ask for a limit need.
    from engine.whatif.until_end import seconds_more

    knobs = knobs_now(state)
    rest = "for half the points of its curve"
    for name in HOW_OFTEN:
        every = int(knobs.get(name, 0))
        saved = seconds_more(state, {name: 2 * every}, SAME) if every else Range()
        if every and saved.value is not None and -saved.value >= WORTH_SECONDS:
            yield -saved.value, f"{name} {every}→{2 * every}: {_less(saved)}, {rest} (it changes the metric)."
    workers = int(knobs.get("val_num_workers", 0))
    saved = seconds_more(state, {"val_num_workers": workers + VALIDATION_WORKERS}, SAME)
    if saved.value is not None and -saved.value >= WORTH_SECONDS:
        more = workers + VALIDATION_WORKERS
        takes = _memory(state, knobs, "val_num_workers", more)
        yield -saved.value, f"val_num_workers {workers}→{more}: {_less(saved)}, {takes}."


def _less(saved: Range) -> str:
    """`35m 10s–50m 02s less until the end`."""
    low, high = (max(0.0, -edge) for edge in (saved.high or 0.0, saved.low or 0.0))
    first, last = duration(low), duration(high)
    return f"{first if first == last else f'{first}–{last}'} less until the end"


def of_copying(state: ExperimentState, step: MeanStep) -> str:
    """At most the share of a step that copying has."""
    share = step.spans["h2d"] / step.whole
    most, why = f"at most {_times(share)} the samples/s", f"copying is {100 * share:.0f} % of a step"
    knobs = knobs_now(state)
    if state.plan.experiment.command:
        return f"Without copying {most}: {why}. Page-locked batches are copied faster."
    if knobs["pin_memory"]:
        return f"Copies are page-locked already; without any it would be {most}: {why}."
    takes = _memory(state, knobs, "pin_memory", True)
    return f"pin_memory false→true: {most}, {takes} ({GUESS}): {why}."


def of_computing(state: ExperimentState, step: MeanStep) -> str:
    """At most what remains beside computing can go."""
    share = max(0.0, min(0.9, step.spans["data"] / step.whole))
    text = "More workers will not help: the loader already keeps up"
    text += f" ({_times(share)} at most without any wait)." if share > 0.005 else "."
    knobs, run = knobs_now(state), state.run
    on_gpu = run is not None and run.begin is not None and run.begin.device.startswith("cuda")
    if not on_gpu or knobs.get("compile") or state.plan.experiment.command:
        return text
    return f"{text} compile false→true is {GUESS}."


def of_launching(state: ExperimentState, seen: Evidence) -> str:
    """At most what the GPU does not do meanwhile."""
    if state.plan.experiment.command:
        return "More workers will not help: fewer and larger kernels would (torch.compile, a larger batch)."
    if knobs_now(state).get("compile"):
        return "More workers will not help, and compile = true is on already: larger steps launch less often."
    util = seen.gpu_util or 0.0
    most = f"at most ×{significant(min(100.0, 100 / util), 2)} the samples/s, " if util >= 1 else ""
    return f"More workers will not help. compile false→true launches less: {most}{GUESS}."


def of_host(step: MeanStep) -> str:
    """Of what no span covers nobody knows more than how much it is."""
    share = step.spans["other"] / step.whole
    most = _times(share)
    return f"More workers will not help: the time is neither loading nor computing. Without it: {most} at most."


def of_storage(state: ExperimentState) -> str:
    """Volumes kept in RAM: what their loading waits for the disk would go, from the second epoch on."""
    knobs = knobs_now(state)
    workload, _ = workload_of(state)
    if knobs["cache"] != "disk" or workload is None or state.plan.experiment.command:
        return ""
    kept = msgspec.structs.replace(workload, load_seconds=min(workload.load_seconds, workload.load_cpu_seconds))
    most = 1.0
    if kept.load_seconds < workload.load_seconds:
        most = predict(kept, knobs).samples_per_second / predict(workload, knobs).samples_per_second
    takes = _memory(state, knobs, "cache", "ram")
    return f"cache disk→ram: at most ×{max(1.0, most):.2g} once each volume was read, {takes} ({GUESS})."


def _times(share: float) -> str:
    """How many times as fast without this share of a step."""
    return f"×{1 / max(0.01, 1 - share):.2f}"


def _memory(state: ExperimentState, knobs: dict[str, Value], name: str, value: Value) -> str:
    """What it takes more of RAM, and whether that is there."""
    known = footprint(state)
    here, there = budget(knobs, known), budget(knobs | {name: value}, known)
    more = max(0.0, there.ram.bytes - here.ram.bytes)
    fits = ", which does not fit" if there.ram.verdict == "over" else ""
    return f"{said(more)} more RAM{fits}"
