"""The journals of one experiment folded into its state as far as they are read: as they grow, or up to a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from engine.eta.validation import mismatches
from engine.journals.events import AnyRecord
from engine.live import spike_lines
from engine.live.causes import cause
from engine.live.fold_experiment import fold_prepare, fold_samples, fold_supervisor
from engine.live.fold_run import fold_run
from engine.live.pace_words import change_words, changed
from engine.live.sentences import say, stamped
from engine.live.state import ExperimentState, RunState
from engine.paths import ExperimentPaths

# machine.jsonl grows by about 0.7 kB every 2 s; this is the last half hour of it.
SAMPLES_TAIL = 1 << 19


class Source(Protocol):
    """A journal that is followed: every call goes on where the last one ended."""

    @property
    def damaged(self) -> int: ...

    def read_all(self) -> Iterator[list[AnyRecord]]: ...


# A journal's first and last records: path, and how many bytes of each end.
Ends = Callable[[Path, int, int], list[AnyRecord]]


class History:
    """Folds in what is new. `follow` opens a journal, from an offset on."""

    def __init__(self, paths: ExperimentPaths, follow: Callable[[Path, int], Source], samples_from: int = 0) -> None:
        self._paths = paths
        self._follow = follow
        self._events = follow(paths.events, 0)
        self._prepare = follow(paths.prepare, 0)
        self._machine = follow(paths.machine, samples_from)
        self._finish = follow(paths.finish, 0)
        self._runs: dict[Path, Source] = {}

    def fold(self, state: ExperimentState) -> ExperimentState:
        # Preparing first: that it has ended is the supervisor's to say.
        for records in self._prepare.read_all():
            state = fold_prepare(state, records)
        for records in self._events.read_all():
            state = fold_supervisor(state, records)
        for records in self._finish.read_all():
            state = fold_supervisor(state, records)
        for records in self._machine.read_all():
            state = fold_samples(state, records)
        for index, run in enumerate(state.runs):
            if run.phase != "waiting" or index == state.current:
                state = self._fold_run(state, index)
        # The samples may begin in the middle of a line, which is no damage.
        damaged = sum(source.damaged for source in (self._events, self._prepare, *self._runs.values()))
        return msgspec.structs.replace(state, damaged=damaged)

    def _fold_run(self, state: ExperimentState, index: int) -> ExperimentState:
        run = state.runs[index]
        folded = run
        for path in self._paths.run(*run.key.at).segments():
            source = self._runs.get(path)
            if source is None:
                source = self._runs[path] = self._follow(path, 0)
            for records in source.read_all():
                folded = self._explained(folded, fold_run(folded, records))
        if folded is run:
            return state
        return _alarmed(with_run(state, index, as_supervised(folded, run)), index)

    def _explained(self, before: RunState, after: RunState) -> RunState:
        """`after` with the likely causes of its new changes of pace, in the sentences about them too."""
        if after.pace is before.pace:
            return after
        for segment in changed(before.pace, after.pace):
            why = cause(after, segment, self._paths.machine)
            text = f"step time {change_words(segment, seconds=True)}"
            sentences = tuple(
                msgspec.structs.replace(one, text=f"{text}: {why}") if one.text == text else one
                for one in after.sentences
            )
            after = msgspec.structs.replace(after, causes=after.causes | {segment.first: why}, sentences=sentences)
        return after


def _alarmed(state: ExperimentState, index: int) -> ExperimentState:
    """With a sentence, once each, where the run counts otherwise than the data make it. Of runs side by side all
    screens say so, whichever is shown, with the run's name."""
    for text in mismatches(state, state.runs[index]):
        run = state.runs[index]
        at = run.activity_since if run.activity else run.sentences[-1].t if run.sentences else run.started
        boot = run.begin.boot_id if run.begin is not None else ""
        if state.plan.slots > 1:
            text = f"{run.key.name}: {text}"
            if not any(sentence.text == text for sentence in state.sentences):
                told = msgspec.structs.replace(state, sentences=say(state, at, text, "warn"))
                state = stamped(state, told, run.last_monotonic, boot)
        elif not any(sentence.text == text for sentence in run.sentences):
            said = msgspec.structs.replace(run, sentences=say(run, at, text, "warn"))
            state = with_run(state, index, stamped(run, said, run.last_monotonic, boot))
    return state


def glance(state: ExperimentState, paths: ExperimentPaths, ends: Ends) -> ExperimentState:
    """A new `state` with the ends of the journals alone folded in, however long they are; curves are partial."""
    state = fold_prepare(state, ends(paths.prepare, 1 << 14, 1 << 16))
    state = fold_supervisor(state, ends(paths.events, 1 << 16, 1 << 16))
    state = fold_supervisor(state, ends(paths.finish, 1 << 14, 1 << 14))
    state = fold_samples(state, ends(paths.machine, 0, 1 << 15))
    for place in dict.fromkeys((*state.under_way, *(() if state.current is None else (state.current,)))):
        run = state.runs[place]
        files = paths.run(*run.key.at)
        present = [path for path in files.segments() if path <= files.segment(run.attempt)]
        records = [record for path in present[-1:] for record in ends(path, 1 << 14, 1 << 16)]
        state = with_run(state, place, as_supervised(fold_run(_forgotten(run), records), run))
    return msgspec.structs.replace(state, partial=True)


def with_run(state: ExperimentState, index: int, run: RunState) -> ExperimentState:
    return msgspec.structs.replace(state, runs=(*state.runs[:index], run, *state.runs[index + 1 :]))


def as_supervised(folded: RunState, run: RunState) -> RunState:
    """`folded` with what only the supervisor knows: an old attempt's last line neither ends nor revives a run."""
    ended = run.phase in ("finished", "stopped", "failed", "lost")
    return msgspec.structs.replace(
        folded,
        phase=run.phase,
        attempt=run.attempt,
        slot=run.slot,
        verdict=run.verdict,
        started=run.started or folded.started,
        ended=run.ended,
        activity="" if ended else folded.activity,
    )


def _forgotten(run: RunState) -> RunState:
    """A run as the supervisor knows it, its own journal still to be read."""
    return RunState(
        key=run.key,
        rare=spike_lines.begun(run.rare),
        phase=run.phase,
        attempt=run.attempt,
        slot=run.slot,
        started=run.started,
        ended=run.ended,
        elapsed=run.elapsed,
        failures=run.failures,
        verdict=run.verdict,
        survivors=run.survivors,
    )
