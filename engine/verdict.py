"""Why a run ended: a pure classifier over what the trainer, its exit and the machine left behind.

A return code alone proves nothing (a forwarded SIGTERM makes torchrun exit 1; a killed process says nothing at all), so
the trainer's own last word comes first, then the exit, then the end of its log. What is not certain says so.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from engine.counts import plural
from engine.events import Outcome, Stop, Verdict
from engine.records import ResultInfo
from engine.text import clean

EVIDENCE_LINES = 3
# What resuming does where no run had begun.
PREPARED = "goes on with what is prepared"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about an ended process. `rc` None: it was nobody's child here. `tail`: the end of its log.
    `oom_kills` and `cgroup_kills`: the kernel's while it ran, on the machine and in this control group.
    `saved`: there is a checkpoint to go on from. `preparing`: it was no run, it prepared volumes."""

    result: ResultInfo | None = None
    rc: int | None = None
    signal: int | None = None
    stop: Stop | None = None
    escalated: bool = False
    oom_kills: int = 0
    cgroup_kills: int = 0
    tail: str = ""
    rebooted: bool = False
    saved: bool = True
    preparing: bool = False
    disk_full: bool = False

    @property
    def onward(self) -> str:
        return f"`steptop resume` {PREPARED if self.preparing else onward(self.saved)}"


class Pattern(NamedTuple):
    """A line that gives a kind away, in a log or an exception's text."""

    kind: str
    regex: re.Pattern[str]
    text: str
    advice: str


PATTERNS = tuple(
    Pattern(kind, re.compile(regex, re.IGNORECASE), text, advice)
    for kind, regex, text, advice in (
        (
            "gpu_oom",
            r"CUDA out of memory|torch\.OutOfMemoryError|CUDA error: out of memory"
            r"|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
            "the GPU's memory was full",
            "a smaller batch_size, or precision = fp16; another process may hold memory (see the Machine panel)",
        ),
        (
            "shm_exhausted",
            r"unable to allocate shared memory|No space left on device \(28\).*torch_"
            r"|killed by signal: Bus error|out of shared memory",
            "/dev/shm was full: the loader's workers pass batches through it",  # noqa: S108  a text
            "fewer num_workers or a smaller prefetch_factor, or a larger /dev/shm",
        ),
        (
            "host_alloc",
            r"DefaultCPUAllocator: can't allocate memory|ArrayMemoryError|^MemoryError|Cannot allocate memory",
            "the machine refused memory to the trainer",
            "fewer num_workers, a smaller batch_size, or other programs ended",
        ),
        (
            "worker_killed",
            r"DataLoader worker \(pid.* is killed by signal: \w+",
            "a loader worker was killed from outside",
            "most often the kernel ran out of memory: fewer num_workers; then `steptop resume`",
        ),
        (
            "worker_crash",
            r"DataLoader worker \(pid.* exited unexpectedly|Caught \w+ in DataLoader worker process",
            "a loader worker crashed",
            "the log names the sample; `steptop check` reads every volume",
        ),
        (
            "pin_memory",
            r"Pin memory thread exited unexpectedly",
            "the thread that copies batches into page-locked memory died",
            "pin_memory = false; the log may say what CUDA refused",
        ),
        (
            "disk_full",
            r"No space left on device|Disk quota exceeded|Errno 28|Errno 122",
            "the disk is full",
            "free some space; the last whole checkpoint is intact; then `steptop resume`",
        ),
        (
            "bad_data",
            r"\bDataError\b",
            "a volume cannot be trained on",
            "`steptop check` lists every such file and its remedy",
        ),
    )
)

BY_KIND = {pattern.kind: pattern for pattern in PATTERNS}

# Preparation names these itself, in a sentence that holds file and remedy.
TOLD = ("usage", "closed", "disk_full", "host_alloc", "worker_killed")

RESULT_KINDS: dict[str, tuple[str, str, str]] = {
    "NaNLoss": (
        "nan_loss",
        "the loss became NaN",
        "a lower learning rate, or precision = fp32; the checkpoint before it is intact",
    ),
    "OutOfMemoryError": ("gpu_oom", PATTERNS[0].text, PATTERNS[0].advice),
    "MemoryError": ("host_alloc", PATTERNS[2].text, PATTERNS[2].advice),
    "DataError": ("bad_data", PATTERNS[7].text, PATTERNS[7].advice),
    "CheckpointError": (
        "bad_checkpoint",
        "no valid checkpoint to go on from",
        "look at the run's folder; to train from the beginning, move the folder away",
    ),
    "ConfigMismatch": (
        "bad_checkpoint",
        "the checkpoint belongs to another configuration",
        "resume with the settings it was made with, or start under another --name",
    ),
}


def onward(saved: bool) -> str:
    """What resuming does."""
    return "goes on from the last checkpoint" if saved else "starts this run again: it had no checkpoint yet"


def classify(evidence: Evidence) -> tuple[Outcome, Verdict]:
    """The outcome and its verdict; the first rule that speaks decides."""
    for rule in RULES:
        found = rule(evidence)
        if found is not None:
            return found
    return "lost", Verdict(
        kind="lost",
        text="it is gone and nobody wrote down how it ended"
        + (": the machine was restarted" if evidence.rebooted else ""),
        advice=evidence.onward,
        sure=evidence.rebooted,
    )


def _finished(e: Evidence) -> tuple[Outcome, Verdict] | None:
    if e.result is not None and e.result.outcome == "finished":
        return "finished", Verdict(kind="finished", text=f"all of {plural(e.result.step, 'step')} done")
    return None


def _user_stop(e: Evidence) -> tuple[Outcome, Verdict] | None:
    if e.result is None or e.result.outcome != "stopped":
        return None
    if e.preparing:
        asked = "as asked" if e.stop is not None else "by a signal from outside"
        text = f"stopped {asked} while volumes were being prepared; what is prepared is kept"
        return "stopped", Verdict(kind="external_stop" if e.stop is None else "user_stop", text=text, advice=e.onward)
    if e.stop is None:
        text = f"asked to end by a signal from outside; saved after step {e.result.step:,}"
        return "stopped", Verdict(kind="external_stop", text=text, advice="`steptop resume` goes on from there")
    text = f"stopped as asked after step {e.result.step:,}, checkpoint saved"
    return "stopped", Verdict(kind="user_stop", text=text, advice="`steptop resume` goes on from there")


def _forced(e: Evidence) -> tuple[Outcome, Verdict] | None:
    if e.stop == "force" or (e.escalated and e.signal == signal.SIGKILL):
        why = "it did not end in time after being asked to" if e.escalated else "as asked"
        lost = f"; {'steps since the last checkpoint' if e.saved else 'all its steps'} are lost"
        return "stopped", Verdict(
            kind="forced",
            text=f"ended by force, {why}{' while volumes were being prepared' if e.preparing else lost}",
            advice=e.onward,
        )
    return None


def _said_failure(e: Evidence) -> tuple[Outcome, Verdict] | None:
    if e.result is None or e.result.outcome != "failed":
        return None
    said = clean(f"{e.result.error_class}: {e.result.error}" if e.result.error else e.result.error_class)[:500]
    name = e.result.error_class.rsplit(".", 1)[-1]
    if name in RESULT_KINDS:
        kind, text, advice = RESULT_KINDS[name]
        text = f"{text}: {clean(e.result.error)[:300]}" if kind in ("bad_data", "bad_checkpoint") else text
        return "failed", Verdict(kind=kind, text=text, evidence=(said,), advice=advice)
    if e.result.kind in TOLD:
        text, advice = clean(e.result.error)[:500], "when that is mended: `steptop resume`"
        return "failed", Verdict(kind=e.result.kind, text=text, evidence=(said,), advice=advice)
    found = _pattern(f"{said}\n{e.tail}")
    if found is not None:
        return found
    return "failed", Verdict(
        kind="crash",
        text=f"the trainer failed: {said}",
        evidence=_last_lines(e.tail),
        advice="the log (l) has the whole traceback",
    )


def _worker_out_of_memory(e: Evidence) -> tuple[Outcome, Verdict] | None:
    """The kernel took a loader process rather than the trainer, which then fails with exit code 1."""
    killed = re.search(r"DataLoader worker \(pid.* is killed by signal: Killed", e.tail)
    if killed is None or not (e.oom_kills or e.cgroup_kills):
        return None
    return "failed", _out_of_memory(e, "a loader worker", clean(killed[0]))


def _out_of_memory(e: Evidence, whom: str, line: str = "") -> Verdict:
    """Which limit it was; that the kill counted was this very one is likely, not certain."""
    where = "in this control group" if e.cgroup_kills else "on this machine"
    why = "its control group's memory limit was reached" if e.cgroup_kills else "the machine ran out of memory"
    count = plural(e.cgroup_kills or e.oom_kills, "out-of-memory kill")
    return Verdict(
        kind="cgroup_oom_kill" if e.cgroup_kills else "host_oom_kill",
        text=f"the kernel killed {whom}: {why}",
        sure=False,
        evidence=(f"{count} {where} while it ran", *([line] if line else [])),
        advice="fewer num_workers or a smaller prefetch_factor; then `steptop resume`",
    )


def _killed(e: Evidence) -> tuple[Outcome, Verdict] | None:
    if e.signal is None:
        return None
    name = _signal_name(e.signal)
    if e.signal == signal.SIGKILL:
        if e.oom_kills > 0 or e.cgroup_kills > 0:
            return "failed", _out_of_memory(e, "it")
        return "failed", Verdict(
            kind="external_kill",
            text="killed from outside (SIGKILL): somebody's kill -9, or the memory killer",
            sure=False,
            evidence=("signal 9", "no out-of-memory kill was counted meanwhile"),
            advice=e.onward,
        )
    found = _pattern(e.tail)
    if found is not None:
        return found
    return "failed", Verdict(
        kind="external_kill" if e.signal in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) else "crash",
        text=f"ended by {name}",
        evidence=(f"signal {e.signal}", *_last_lines(e.tail)),
        advice=f"the log (l) may say more; {e.onward}",
    )


def _exited(e: Evidence) -> tuple[Outcome, Verdict] | None:
    if e.rc is None:
        return None
    found = _pattern(e.tail)
    if found is not None:
        return found
    if e.disk_full and e.result is None:
        full = BY_KIND["disk_full"]
        said = ("there was no room for its last word", *_last_lines(e.tail))
        return "failed", Verdict(kind=full.kind, text=full.text, evidence=said, advice=full.advice, sure=False)
    if e.rc == 0:
        return "failed", Verdict(
            kind="crash",
            text="it exited with 0 but never said that it had finished",
            evidence=_last_lines(e.tail),
            advice="a trainer must write result.json as its last act (docs/journal.md)",
            sure=False,
        )
    return "failed", Verdict(
        kind="crash",
        text=f"it exited with {e.rc}",
        evidence=_last_lines(e.tail),
        advice="the log (l) has the whole output",
    )


RULES: tuple[Callable[[Evidence], tuple[Outcome, Verdict] | None], ...] = (
    _finished,
    _forced,
    _user_stop,
    _worker_out_of_memory,
    _said_failure,
    _killed,
    _exited,
)


def _pattern(text: str) -> tuple[Outcome, Verdict] | None:
    """The first pattern in order of PATTERNS, not of lines: a worker's death is told twice, its cause only once."""
    lines = [clean(line) for line in text.splitlines()]
    for pattern in PATTERNS:
        hits = [line.strip() for line in lines if pattern.regex.search(line)]
        if hits:
            return "failed", Verdict(
                kind=pattern.kind,
                text=pattern.text,
                evidence=tuple(h[:300] for h in hits[-EVIDENCE_LINES:]),
                advice=pattern.advice,
            )
    return None


def _last_lines(tail: str) -> tuple[str, ...]:
    lines = [clean(line).strip() for line in tail.splitlines()]
    return tuple(line[:300] for line in lines if line)[-EVIDENCE_LINES:]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
