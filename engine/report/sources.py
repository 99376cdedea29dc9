"""Where numbers are from, in words: the bases that the sections share."""

from __future__ import annotations

from collections.abc import Sequence

from engine.journals.events import Sample, Steps
from engine.live.spikes import present
from engine.live.state import RunState
from engine.report.facts import Facts, TestFolder
from engine.report.model import Basis
from engine.report.numbers import moment
from engine.text import clean


def planned(facts: Facts) -> Basis:
    return Basis("set", f"set at launch: {facts.paths.plan.name}")


def manifest(facts: Facts) -> Basis:
    return Basis("set", f"set at launch, as written down in {facts.paths.manifest.name}")


def data(facts: Facts) -> Basis:
    return Basis("counted", f"counted: {facts.paths.data.name}, while volumes were prepared")


def cut(facts: Facts) -> Basis:
    """How many samples validation takes of what is held out."""
    return Basis("counted", f"counted: {facts.paths.data.name}, as validation's knobs and its most cases make it")


def events(facts: Facts) -> Basis:
    return Basis("measured", f"measured: {facts.paths.events.name}, by the supervisor")


def runs(facts: Facts) -> Basis:
    return Basis("counted", f"counted: {facts.paths.plan.name} and {facts.paths.events.name}")


def segment(facts: Facts, run: RunState) -> str:
    """The journal of a run's present attempt."""
    files = facts.paths.run(*run.key.at)
    return f"{files.folder.name}/{files.segment(max(1, run.attempt)).name}"


def journal(facts: Facts, run: RunState, what: str = "") -> Basis:
    """What a trainer wrote itself."""
    return Basis("measured", f"measured: {segment(facts, run)}" + (f", {what}" if what else ""))


def steps(facts: Facts, run: RunState, first: int, last: int) -> Basis:
    return journal(facts, run, f"steps {first:,}–{last:,}" if last != first else f"step {last:,}")


def lately(facts: Facts) -> Basis:
    """The newest records of the present pace."""
    records: Sequence[Steps] = facts.lately
    if facts.run is None or not records:
        return Basis("measured", "measured: no step yet")
    return steps(facts, facts.run, records[0].step - records[0].steps + 1, records[-1].step)


def spikes(facts: Facts) -> Basis:
    """The lines of the present pace that tell rare terms of the loss from the others."""
    lines = present(facts.run) if facts.run is not None else []
    if facts.run is None or not lines:
        return Basis("measured", "measured: no step yet")
    first, last = lines[0].last - lines[0].steps + 1, lines[-1].last
    return journal(facts, facts.run, f"steps {first:,}–{last:,}, least squares over their lines")


def evidence(facts: Facts) -> Basis:
    """What is said of those steps, with what the machine did meanwhile."""
    name = f" and the newest readings of {facts.paths.machine.name}" if facts.state.samples else ""
    return Basis("measured", f"{lately(facts).text}{name}")


def growth(facts: Facts) -> Basis:
    """The slope of memory."""
    return readings(facts, facts.state.samples, "slope by Theil and Sen")


def going_on(facts: Facts) -> Basis:
    """What comes of memory if it goes on growing like that."""
    seen = growth(facts).text.removeprefix("measured: ")
    return Basis("modelled", f"modelled: growth that goes on as it was seen, {seen}")


def whole(facts: Facts, run: RunState) -> Basis:
    """All steps of a run that count, over its attempts."""
    return Basis("measured", f"measured: {_files(facts, run)}, steps 1–{run.step:,}")


def _files(facts: Facts, run: RunState) -> str:
    """The journals of all attempts."""
    index = next(i for i, one in enumerate(facts.state.runs) if one is run)
    names = facts.files[index].segments
    if len(names) < 2:
        return names[0] if names else segment(facts, run)
    return f"{names[0]} to {names[-1].rpartition('/')[2]}"


def everywhere(facts: Facts, what: str) -> Basis:
    begun = [run for run in facts.state.runs if run.begin is not None]
    if len(begun) == 1:
        return Basis("measured", f"measured: {what} in {_files(facts, begun[0])}")
    return Basis("measured", f"measured: {what} in the journals of {len(begun)} runs")


def reading(facts: Facts, sample: Sample) -> Basis:
    at = moment(sample.t, seconds_too=True)
    return Basis("measured", f"measured: {facts.paths.machine.name}, the reading of {at}")


def readings(facts: Facts, samples: Sequence[Sample], what: str = "") -> Basis:
    """Several readings, from the first to the last one's moment."""
    name = facts.paths.machine.name
    if not samples:
        return Basis("measured", f"measured: {name}, no reading yet")
    first, last = moment(samples[0].t, seconds_too=True), moment(samples[-1].t, seconds_too=True)
    more = f", {what}" if what else ""
    return Basis("measured", f"measured: {name}, {len(samples):,} readings from {first} to {last}{more}")


def modelled(basis: str) -> Basis:
    return Basis("modelled", clean(basis if basis.startswith("modelled") else f"modelled from: {basis}"))


def expected(basis: str) -> Basis:
    """Of a forecast."""
    words = "modelled: forecast with a 90 % range, counted work times unit costs"
    return Basis("modelled", clean(f"{words}; a step {basis}"))


def phase(facts: Facts, test: TestFolder | None, number: int, count: int, visits: int) -> Basis:
    """Steps of a phase in a test's folder; without one, of the experiment's own."""
    where = f"{test.name}/{facts.paths.events.name}" if test is not None else facts.paths.events.name
    times = f" in {visits} visits" if visits > 1 else ""
    return Basis("measured", f"measured: {where}, phase {number + 1}, {count:,} steps{times}; 95 % interval")


def quoted(source: str, at: str = "") -> Basis:
    return Basis("quoted", clean(f"quoted: {source}" + (f", {at}" if at else "")))
