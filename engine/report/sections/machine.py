"""On what it runs: hardware as it was read, software as it was written down at launch."""

from __future__ import annotations

from engine.journals.events import Gpu, Sample
from engine.report import numbers, sources
from engine.report.facts import Facts
from engine.report.model import Block, Missing, Name, Pieces, Row, Section, Table, Value, row, say
from engine.text import clean

NO_READING = "the machine has not been read yet"
NO_MANIFEST = "no manifest was written"


def section(facts: Facts) -> Section:
    hardware = Table(id="hardware", columns=("hardware", "", "of it in use"), rows=tuple(_hardware(facts)))
    software = Table(id="software", columns=("software", ""), rows=tuple(_software(facts)))
    blocks: tuple[Block, ...] = (hardware, software)
    return Section("machine", "Hardware and software", blocks)


def _hardware(facts: Facts) -> list[Row]:
    sample, begin = facts.sample, facts.run.begin if facts.run is not None else None
    device = say(Name(clean(begin.device_name or begin.device))) if begin is not None else say(Missing("not begun yet"))
    host = facts.manifest.get("host")
    rows = [
        row("host", say(Name(clean(str(host))) if host else Missing(NO_MANIFEST)), ""),
        row("trains on", device, ""),
    ]
    if sample is None:
        return [*rows, row("processor, memory, disk", say(Missing(NO_READING)), "")]
    basis = sources.reading(facts, sample)
    used = sample.ram_total - sample.ram_available
    rows += [
        row("processor", say(numbers.count(sample.cores, basis, unit="cores")), say(_cores(facts, sample))),
        row("RAM", say(numbers.size(sample.ram_total, basis)), say(numbers.size(used, basis))),
        row("shared memory", _shared(facts, sample), say(numbers.size(sample.shm_used, basis))),
        row("disk", say(numbers.size(sample.disk_total, basis)), say(numbers.size(sample.disk_free, basis), " free")),
    ]
    return [*rows, *(_gpu(facts, sample, gpu) for gpu in sample.gpus)] if sample.gpus else [*rows, _no_gpu(sample)]


def _cores(facts: Facts, sample: Sample) -> Value:
    basis = sources.reading(facts, sample)
    return numbers.sentence(f"{sample.cpu:.1f} cores, {sample.own_cpu:.1f} of them by this training", basis)


def _shared(facts: Facts, sample: Sample) -> Pieces:
    total = sample.shm_total or None
    return say(numbers.size(total, sources.reading(facts, sample), "there is none, or it was not read"))


def _gpu(facts: Facts, sample: Sample, gpu: Gpu) -> Row:
    basis = sources.reading(facts, sample)
    why = clean(gpu.error) or "the driver does not say"
    said = say(Name(clean(gpu.name)), ", ", numbers.size(gpu.memory_total, basis, why))
    if gpu.power_limit is not None:
        said += say(", up to ", numbers.number(gpu.power_limit, basis, "W"))
    use = say(numbers.size(gpu.memory_used, basis, why))
    if gpu.util is not None:
        use += say(", busy ", numbers.share(gpu.util / 100, basis))
    if gpu.temperature is not None:
        use += say(", ", numbers.number(gpu.temperature, basis, "°C"))
    return row(say("GPU ", numbers.count(gpu.index, basis)), said, use)


def _no_gpu(sample: Sample) -> Row:
    return row("GPU", say(Missing(clean(sample.gpu_reason) or "none was found")), "")


def _software(facts: Facts) -> list[Row]:
    known = facts.manifest
    if not known:
        return [row("versions", say(Missing(NO_MANIFEST)))]
    basis = sources.manifest(facts)
    rows = [
        row(word, say(numbers.sentence(str(known[name]), basis) if known.get(name) else Missing(why)))
        for name, word, why in (
            ("platform", "system", NO_MANIFEST),
            ("python", "Python", NO_MANIFEST),
            ("git", "commit", "not started inside a repository"),
            ("data", "data", NO_MANIFEST),
            ("data_hash", "hash of the data", "volumes are not prepared yet, or the trainer brings its own"),
            ("training_hash", "hash of the configuration", NO_MANIFEST),
            ("created", "launched", NO_MANIFEST),
        )
    ]
    versions = known.get("versions")
    if isinstance(versions, dict):
        rows += [row(Name(clean(str(name))), numbers.sentence(str(at), basis)) for name, at in versions.items() if at]
    seeds = known.get("seeds")
    if isinstance(seeds, list):
        rows.append(row("seeds", numbers.sentence(", ".join(map(str, seeds)), basis)))
    command = known.get("command")
    if isinstance(command, list):
        rows.append(row("command", Name(clean(" ".join(map(str, command))))))
    return rows
