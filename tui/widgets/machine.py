"""The machine: GPUs, processors, memory, loader workers, disk. What cannot be read is a dash and says why."""

from __future__ import annotations

import msgspec

from engine.journals.events import Gpu, Sample, Worker
from engine.live.state import ExperimentState
from tui.format import DASH, clock, duration, fraction, percent, scaled, size
from tui.glyphs import FALLING, RISING
from tui.messages import View
from tui.plain import clipped
from tui.widgets.line import Line, bar, ends, spark, width_of
from tui.widgets.panel import Panel
from tui.words import ENDED

LABEL, SPARK, RATE, RSS = 9, 40, 11, 12
AFTER = ", after its end"
HOT, NEARLY_FULL, FULL = 83.0, 0.85, 0.95
# Five readings of the sampler's: without them the last one says how it was, not how it is.
OLD_SECONDS = 10.0
# What is not of this moment is not bright; a warning stays one, for it may be why it ended.
_FADED = {"number": "text", "bar": "faint", "accent": "faint"}


def is_old(state: ExperimentState) -> bool:
    """Whether the newest reading says nothing about now: the sampler is silent, or ended with the experiment."""
    return bool(state.samples) and (state.phase in ENDED or state.now - state.samples[-1].t > OLD_SECONDS)


def machine_lines(view: View, width: int, height: int) -> list[Line]:
    """As many readings as there are lines, the ones that limit first; spare lines list the processes."""
    if not view.state.samples:
        return [[("no reading yet", "label")]]
    old = is_old(view.state)
    lines = _readings(view, width, height, old)
    return [[(text, _FADED.get(role, role)) for text, role in line] for line in lines] if old else lines


def _readings(view: View, width: int, height: int, old: bool) -> list[Line]:
    samples = view.state.samples
    sample = without_processes(samples[-1]) if old else samples[-1]
    short = height < 5
    lines = gpu_lines((*samples[:-1], sample), width, 1 if short or len(sample.gpus) > 2 else 2)
    workers = _workers(view, sample, width, old)
    if height == 1:
        return [_one_line(sample, width)]
    if short:
        devices = lines[: max(1, height - 2)] if height > 2 or sample.gpus else []
        return [*devices, _cpu_and_ram(sample, width), workers]
    lines += [_cpu(samples, width, old), _ram(sample, width), workers, _disk(sample, width)]
    memory = view.state.run.memory if view.state.run is not None else None
    if memory is not None and len(lines) + 1 < height:
        lines.append(
            [
                (f"{'torch':<{LABEL}}", "label"),
                (DASH if old else size(memory.allocated), "text"),
                (" allocated  ", "label"),
                (size(memory.peak_allocated), "text"),
                (" at most", "label"),
            ]
        )
    spare = height - len(lines) - 1
    if spare >= 3 and sample.workers:
        lines += [[], *process_lines(sample.workers, spare, width)]
    return lines


def without_processes(sample: Sample) -> Sample:
    """`sample` without what it says of processes that have ended since, or may have."""
    gpus = tuple(msgspec.structs.replace(gpu, own_memory=None) for gpu in sample.gpus)
    return msgspec.structs.replace(sample, gpus=gpus, workers=())


def gpu_lines(samples: tuple[Sample, ...], width: int, each: int) -> list[Line]:
    """One or two lines for every GPU; without one, why."""
    sample = samples[-1]
    if not sample.gpus:
        return [
            [
                (f"{'GPU':<{LABEL}}", "label"),
                (f"{DASH}  ", "number"),
                (clipped(sample.gpu_reason or "none seen", width - 12), "label"),
            ]
        ]
    found: list[Line] = []
    for gpu in sample.gpus:
        name = f"{f'GPU {gpu.index}':<{LABEL}}"
        if gpu.error:
            found.append([(name, "label"), (f"{DASH}  ", "number"), (clipped(gpu.error, width - 12), "warn")])
            continue
        past = [next((g.util for g in s.gpus if g.index == gpu.index), None) for s in samples[-SPARK:]]
        right = _heat(gpu)
        used: Line = [(percent_of(gpu.util).rjust(5), "number"), ("  ", "text")]
        if each == 1:
            memory: Line = [
                ("   VRAM ", "label"),
                (fraction(gpu.memory_used, gpu.memory_total), _full(gpu.memory_used, gpu.memory_total)),
            ]
            found.append(ends([(name, "label"), *used, *memory], right, width))
            continue
        room = min(SPARK, width - LABEL - 7 - width_of(right) - 2)
        found.append(ends([(name, "label"), *used, spark(past, room, 100.0)], right, width))
        found.append(_vram(gpu, width))
    return found


def percent_of(value: float | None) -> str:
    return DASH if value is None else f"{value:.0f} %"


def _heat(gpu: Gpu) -> Line:
    line: Line = []
    if gpu.temperature is not None:
        line += [(f"{gpu.temperature:.0f} °C", "warn" if gpu.temperature >= HOT else "text")]
    if gpu.power is not None:
        limit = f"/{gpu.power_limit:.0f}" if gpu.power_limit else ""
        line += [("  " if line else "", "text"), (f"{gpu.power:.0f}{limit} W".rjust(9), "text")]
    return line


def _vram(gpu: Gpu, width: int) -> Line:
    role = _full(gpu.memory_used, gpu.memory_total)
    text = fraction(gpu.memory_used, gpu.memory_total)
    own = f"  ours {size(gpu.own_memory)}" if gpu.own_memory is not None else ""
    part = gpu.memory_used / gpu.memory_total if gpu.memory_used is not None and gpu.memory_total else None
    room = width - LABEL - 16 - len(own)
    middle = (
        bar(part, room, "badbar" if role == "alarm" else "warnbar" if role == "notice" else "bar")
        if part is not None
        else []
    )
    return [(f"{'VRAM':<{LABEL}}", "label"), (f"{text:<16}", role), *middle, (own, "label")]


def _full(used: float | None, total: float | None) -> str:
    if not used or not total:
        return "number"
    return "alarm" if used >= FULL * total else "notice" if used >= NEARLY_FULL * total else "number"


def _cpu(samples: tuple[Sample, ...], width: int, old: bool = False) -> Line:
    sample = samples[-1]
    past = [s.cpu / s.cores if s.cores else None for s in samples[-SPARK:]]
    share = sample.cpu / sample.cores if sample.cores else None
    own = DASH if old else f"{sample.own_cpu:.1f}"
    right: Line = [("ours ", "label"), (own, "text"), (f" of {sample.cores} cores", "label")]
    left: Line = [(f"{'CPU':<{LABEL}}", "label"), (percent(share).rjust(5), "number"), ("  ", "text")]
    room = min(SPARK, width - width_of(left) - width_of(right) - 2)
    return ends([*left, spark(past, room, 1.0)], right, width)


def _memory(sample: Sample) -> tuple[str, str]:
    used = sample.ram_total - sample.ram_available
    return fraction(used, sample.ram_total), _full(used, sample.ram_total)


def _shm(sample: Sample) -> Line:
    if not sample.shm_total:
        return []
    share = sample.shm_used / sample.shm_total
    role = "alarm" if share >= FULL else "notice" if share >= 0.7 else "text"
    return [("shm ", "label"), (percent(share), role), (f" of {size(sample.shm_total)}", "label")]


def _ram(sample: Sample, width: int) -> Line:
    text, role = _memory(sample)
    right = _shm(sample)
    part = (sample.ram_total - sample.ram_available) / sample.ram_total if sample.ram_total else None
    room = width - LABEL - 16 - (width_of(right) + 2 if right else 0)
    left: Line = [
        (f"{'RAM':<{LABEL}}", "label"),
        (f"{text:<16}", role),
        *bar(part, min(room, 40), "warnbar" if role != "number" else "bar"),
    ]
    return ends(left, right, width)


def _cpu_and_ram(sample: Sample, width: int) -> Line:
    text, role = _memory(sample)
    share = sample.cpu / sample.cores if sample.cores else None
    line: Line = [
        (f"{'CPU':<{LABEL}}", "label"),
        (percent(share).rjust(5), "number"),
        (f" of {sample.cores}", "label"),
        ("   RAM ", "label"),
        (text, role),
    ]
    shm, disk = _shm(sample), [("disk ", "label"), (f"{size(sample.disk_free)} free", _room(sample))]
    for more in (shm, disk):
        if more and width_of(line) + 3 + width_of(more) <= width:
            line = [*line, ("   ", "text"), *more]
    return line


def _one_line(sample: Sample, width: int) -> Line:
    """What is used of each GPU, of the processors and of the memory, as far as it fits."""
    text, role = _memory(sample)
    share = sample.cpu / sample.cores if sample.cores else None
    parts: list[Line] = [
        [
            (f"GPU {gpu.index}", "label"),
            (percent_of(gpu.util).rjust(6), "number"),
            ("  VRAM ", "label"),
            (fraction(gpu.memory_used, gpu.memory_total), _full(gpu.memory_used, gpu.memory_total)),
        ]
        for gpu in sample.gpus[:2]
    ]
    parts += [[("CPU", "label"), (percent(share).rjust(6), "number"), (f" of {sample.cores}", "label")]]
    parts += [[("RAM ", "label"), (text, role)], _shm(sample)]
    parts += [[("disk ", "label"), (f"{size(sample.disk_free)} free", _room(sample))]]
    line: Line = []
    for part in parts:
        gap: Line = [("   ", "text")] if line else []
        if part and width_of(line) + width_of(gap) + width_of(part) <= width:
            line += [*gap, *part]
    return line


def _workers(view: View, sample: Sample, width: int, old: bool = False) -> Line:
    """How much memory the loader's processes take, where that is going, and when it runs out."""
    if old:
        return [(f"{'workers':<{LABEL}}", "label"), (DASH, "text")]
    workers = [worker for worker in sample.workers if worker.role == "worker"]
    trend, name = view.trend, f"{'workers':<{LABEL}}"
    if not workers:
        trainer = next((w for w in sample.workers if w.role == "trainer"), None)
        line: Line = [(name, "label"), ("none", "text")]
        if trainer is not None:
            line += [("   trainer ", "label"), (size(trainer.pss or trainer.rss), "number")]
        return line
    each = trend.per_worker_bytes or sum(w.pss or w.uss or w.rss for w in workers) / len(workers)
    line = [(name, "label"), (f"{len(workers)} × ", "label"), (size(each), "number")]
    slope = trend.bytes_per_hour
    if slope is not None and abs(slope) >= 1 << 20:
        arrow, sign = (RISING, "+") if slope > 0 else (FALLING, "-")
        number, unit = scaled(abs(slope))
        soon = trend.full_in_seconds is not None and trend.full_in_seconds < 3 * 86_400 and not ends_before(view)
        line += [(f"   {arrow} {sign}{number} {unit}/h", "notice" if soon else "warn" if slope > 0 else "label")]
    if trend.full_in_seconds is not None and ends_before(view):
        line += [("  full in ", "label"), (duration(trend.full_in_seconds), "text")]
        line += [(AFTER, "label")] if width_of(line) + len(AFTER) <= width else []
    elif trend.full_in_seconds is not None:
        line += [
            ("  full in ", "label"),
            (duration(trend.full_in_seconds), "alarm" if trend.full_in_seconds < 86_400 else "text"),
        ]
    elif slope is not None and trend.at_most is not None:
        line += [("  at most ", "label"), (size(trend.at_most), "number"), (" more", "label")]
    return line


def ends_before(view: View) -> bool:
    """Whether everything has surely ended when memory would be full at its present slope: nothing to be alarmed at."""
    full, most = view.trend.full_in_seconds, view.forecast.experiment.high
    return full is not None and most is not None and most < full


def _room(sample: Sample) -> str:
    return "alarm" if sample.disk_free < 2e9 else "notice" if sample.disk_free < 10e9 else "text"


def _disk(sample: Sample, width: int) -> Line:
    line: Line = [(f"{'disk':<{LABEL}}", "label"), (f"{size(sample.disk_free)} free", _room(sample))]
    rates: Line = []
    between = "  " if width > 60 else " "
    for value, word in ((sample.disk_read, "read"), (sample.disk_write, "write")):
        rate: Line = [(between, "text"), (word, "label"), (f"{size(value)}/s".rjust(RATE), "text")]
        if value is not None and width_of(line) + 1 + width_of(rates) + width_of(rate) <= width:
            rates += rate
    return ends(line, rates, width)


def process_lines(workers: tuple[Worker, ...], room: int, width: int) -> list[Line]:
    """The run's processes: USS is what would be freed if it ended, PSS adds its part of what is shared, RSS
    (where there is room) all of it."""
    head = "process      pid      CPU         USS         PSS"
    rss = width >= len(head) + RSS
    rows: list[Line] = [
        [
            (f"{w.role:<8}", "label"),
            (f"{w.pid:>8}", "text"),
            (f"{w.cpu:>9.1f}", "text"),
            (size(w.uss).rjust(12), "text"),
            (size(w.pss).rjust(12), "number"),
            (size(w.rss).rjust(RSS) if rss else "", "label"),
        ]
        for w in sorted(workers, key=lambda w: (w.role != "trainer", w.role != "worker", w.pid))
    ]
    titles: Line = [(head + "RSS".rjust(RSS) if rss else head, "faint")]
    if len(rows) >= room:
        rows = [*rows[: room - 2], [(f"and {len(rows) - room + 2} more", "label")]]
    return [titles, *rows]


class MachinePanel(Panel):
    """What the machine is doing."""

    TITLE = "Machine"
    NUMBER = 4
    HELP = (
        "Readings of the last twenty minutes, one every two seconds. GPU: the share of time something ran on it, not "
        "how hard.\n"
        "workers: loader processes and the mean memory of one (PSS: shared pages divided among their owners, without "
        "files); the arrow is the slope, 'full in' when free memory ends at that slope (red within a day, unless it "
        "has ended by then), 'at most' what a cache that fills up still takes. shm: /dev/shm, through which workers "
        "pass batches.\n"
        "After the end, or when no reading came for ten seconds: what the last one said, its time in the title; a dash "
        "for processes."
    )

    def depends(self, view: View) -> tuple[object, ...]:
        memory = view.state.run.memory if view.state.run is not None else None
        return view.state.samples, memory, is_old(view.state), ends_before(view)

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        state = view.state
        silent = state.phase not in ENDED
        when = f"at {clock(state.samples[-1].t, state.now)}" if is_old(state) else ""
        self.entitle(when, "$warn" if silent else "$label")
        return machine_lines(view, width, height)
