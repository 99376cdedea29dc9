"""What trainings run on, as benchmark keys call it, and which earlier experiments ran on the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from engine.counts import plural
from engine.eta.steady import newest_begin
from engine.eta.timing import KeyTiming
from engine.journals.events import Begin
from engine.live.state import ExperimentState, RunState

COUNTED = re.compile(r"(?P<model>.*), \d+ cores?")
UNCOUNTED = "how many cores it had is not known"


def called(name: str, device: str, cores: int) -> str:
    """A GPU by its name; a processor with the cores that it may use, since a few and all of them are two paces.

    `device`: cpu, cuda:0, mps. `cores`: 0 where nobody wrote them down.
    """
    return f"{name}, {plural(cores, 'core')}" if device == "cpu" and cores else name


def device_called(begin: Begin) -> str:
    """What an attempt trains on."""
    return called(begin.device_name, begin.device, begin.cores)


def devices(state: ExperimentState, run: RunState | None) -> tuple[str, ...]:
    """What `run` trains on. Before any has begun what it may get: one of the GPUs that the sampler sees, else the
    supervisor's processor; nothing where neither is known."""
    begin = run.begin if run is not None and run.begin is not None else newest_begin(state.runs)
    if begin is not None:
        return (device_called(begin),)
    gpus = {gpu.name for sample in state.samples[-1:] for gpu in sample.gpus}
    if gpus and state.plan.device != "cpu":
        return tuple(sorted(gpus))
    return (called(state.processor, "cpu", state.cores),) if state.processor else ()


def on_its_device(state: ExperimentState, run: RunState | None, history: Sequence[KeyTiming]) -> list[KeyTiming]:
    """Earlier experiments on what `run` trains on, or may get."""
    names = devices(state, run)
    if len(names) == 1:
        return on_device(history, names[0])
    return [timing for timing in history if timing.device_name in names]


def on_device(timings: Sequence[KeyTiming], device: str) -> list[KeyTiming]:
    """Those that were measured on it. Where none of a key was, but one on a processor of the same model that did not
    say how many cores it had, that one counts, and its name says so."""
    own = [timing for timing in timings if timing.device_name == device]
    known = {key for timing in own for key in (timing.key, *timing.paces)}
    likened = [timing for timing in as_counted(timings, device) if timing.device_name == device and timing not in own]
    return [*own, *(timing for timing in likened if timing.key not in known)]


def as_counted(timings: Sequence[KeyTiming], device: str) -> list[KeyTiming]:
    """`timings`, those of the same processor without its cores as if they had been of `device`."""
    found = COUNTED.fullmatch(device)
    model = found["model"] if found is not None else device
    return [_as(timing, device) if timing.device_name == model != device else timing for timing in timings]


def _as(timing: KeyTiming, device: str) -> KeyTiming:
    return msgspec.structs.replace(
        timing,
        key=_moved(timing.key, timing.device_name, device),
        paces={_moved(key, timing.device_name, device): pace for key, pace in timing.paces.items()},
        device_name=device,
        experiment=f"{timing.experiment} ({UNCOUNTED})",
    )


def _moved(key: str, device: str, other: str) -> str:
    """The key with another device: its last part of that name, since a command may hold anything."""
    before, bar, after = key.rpartition(f"|{device}|")
    return f"{before}|{other}|{after}" if bar else key
