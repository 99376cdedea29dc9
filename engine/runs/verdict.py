"""Why a run ended: a pure classifier over what the trainer, its exit and the machine left behind.

A return code alone proves nothing (a forwarded SIGTERM makes torchrun exit 1; a killed process says nothing at all), so
the trainer's own last word comes first, then the exit, then the end of its log (engine.runs.log_end and signs). What is
not certain says so.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import msgspec

from engine.counts import plural
from engine.journals.events import Outcome, Stop, Verdict
from engine.journals.records import ResultInfo
from engine.runs.log_end import WORKER_TAKEN, ending, last_traceback, taken
from engine.runs.signs import BY_KIND, IN_WORKER, SAME, SIGNS, SMALLER_SHM, Sign
from engine.text import clean

EVIDENCE_LINES = 3
# A shell or a launcher in between reports signal n of its child as exit code 128 + n.
SHELL = 128
# /dev/shm may have been emptied between a SIGBUS and the look at it.
SHM_FULL = 0.9
FROM_OUTSIDE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What resuming does where no run had begun.
PREPARED = "goes on with what is prepared"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about an ended process. `rc` None: it was nobody's child here. `tail`: the end of its log.
    `oom_kills` and `cgroup_kills`: the kernel's while it ran, on the machine and in this control group.
    `saved`: there is a checkpoint to go on from. `preparing`: it was no run, it prepared volumes. `shm`: the part of
    /dev/shm that was used at the end, at most."""

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
    shm: float | None = None

    @property
    def number(self) -> int | None:
        """The signal that ended it, or its child where a shell stood in between."""
        if self.signal is not None or self.rc is None or self.rc <= SHELL:
            return self.signal
        return self.rc - SHELL if _is_signal(self.rc - SHELL) else None

    @property
    def onward(self) -> str:
        return f"`steptop resume` {PREPARED if self.preparing else onward(self.saved)}"


# Preparation names these itself, in a sentence that holds file and remedy.
TOLD = ("usage", "closed", "disk_full", "host_alloc", "worker_killed")

RESULT_KINDS: dict[str, tuple[str, str, str]] = {
    "NaNLoss": (
        "nan_loss",
        "the loss became NaN",
        "a lower learning rate, or precision = fp32; the checkpoint before it is intact",
    ),
    "NaNGradients": (
        "nan_loss",
        "the gradients became NaN while the loss was a number",
        "a lower learning rate, or precision = fp32; the checkpoint before it is intact",
    ),
    "OutOfMemoryError": ("gpu_oom", BY_KIND["gpu_oom"].text, BY_KIND["gpu_oom"].advice),
    "MemoryError": ("host_alloc", BY_KIND["host_alloc"].text, BY_KIND["host_alloc"].advice),
    "DataError": ("bad_data", BY_KIND["bad_data"].text, BY_KIND["bad_data"].advice),
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
    if name in RESULT_KINDS and not (name == "MemoryError" and IN_WORKER.search(said)):
        kind, text, advice = RESULT_KINDS[name]
        text = f"{text}: {clean(e.result.error)[:300]}" if kind in ("bad_data", "bad_checkpoint") else text
        return "failed", Verdict(kind=kind, text=text, evidence=(said,), advice=advice)
    if e.result.kind in TOLD:
        text, advice = clean(e.result.error)[:500], "when that is mended: `steptop resume`"
        return "failed", Verdict(kind=e.result.kind, text=text, evidence=(said,), advice=advice)
    # The log may say more of the same error; without a traceback at its end it may as well speak of another.
    raised = last_traceback(e.tail) or [said]
    found = _signed(e, "\n".join([said, *raised, *taken(e.tail, raised)]))
    if found is not None:
        return found
    return "failed", Verdict(
        kind="crash",
        text=f"the trainer failed: {said}",
        evidence=_last_lines(e),
        advice="the log (l) has the whole traceback",
    )


def _worker_out_of_memory(e: Evidence) -> tuple[Outcome, Verdict] | None:
    """The kernel took a loader process rather than the trainer, which then fails with exit code 1."""
    killed = next((line for line in ending(e.tail).splitlines() if "is killed by signal: Killed" in line), "")
    if not WORKER_TAKEN.search(killed) or not (e.oom_kills or e.cgroup_kills):
        return None
    return "failed", _out_of_memory(e, "a loader worker", clean(killed).strip()[:300])


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
    if e.number is None:
        return None
    name = _signal_name(e.number)
    how = f"signal {e.number}" if e.signal is not None else f"exit code {e.rc}: 128 + signal {e.number}, of a child"
    if e.number == signal.SIGKILL:
        if e.oom_kills > 0 or e.cgroup_kills > 0:
            return "failed", _out_of_memory(e, "it", "" if e.signal is not None else how)
        return "failed", Verdict(
            kind="external_kill",
            text="killed from outside (SIGKILL): somebody's kill -9, or the memory killer",
            sure=False,
            evidence=(how, "no out-of-memory kill was counted meanwhile"),
            advice=e.onward,
        )
    if e.number in FROM_OUTSIDE:
        return "failed", Verdict(
            kind="external_kill",
            text=f"ended by {name}",
            sure=e.signal is not None,
            evidence=(how, *_last_lines(e)),
            advice=f"the log (l) may say more; {e.onward}",
        )
    found = _signed(e, ending(e.tail))
    if found is not None:
        return found
    if e.number == signal.SIGBUS:
        return "failed", _bus_error(e, "it", how)
    return "failed", Verdict(
        kind="crash",
        text=f"ended by {name}",
        sure=e.signal is not None,
        evidence=(how, *_last_lines(e)),
        advice=f"the log (l) may say more; {e.onward}",
    )


def _bus_error(e: Evidence, whom: str, line: str) -> Verdict:
    """That a page could not be had is certain; whether /dev/shm lacked it or a truncated file is not."""
    sign, verb = BY_KIND["worker_bus_error"], "was ended by SIGBUS"
    used = "how full /dev/shm was is not known"
    if e.shm is not None:
        used = f"/dev/shm was {e.shm:.0%} used at the end"  # noqa: S108  a text
    if e.shm is not None and e.shm >= SHM_FULL:
        return Verdict(
            kind="shm_exhausted",
            text=f"{whom} {verb}, and /dev/shm was full: the loader's workers pass batches through it",
            sure=False,
            evidence=(line, used),
            advice=SMALLER_SHM,
        )
    return Verdict(
        kind="bus_error",
        text=f"{whom} {verb}: a page of a mapped file was not to be had; "
        "the file was truncated, or /dev/shm was full for a moment",
        sure=False,
        evidence=(line, used),
        advice=f"`steptop check` reads every volume; if they are whole: {sign.advice}",
    )


def _exited(e: Evidence) -> tuple[Outcome, Verdict] | None:
    if e.rc is None:
        return None
    found = _signed(e, ending(e.tail))
    if found is not None:
        return found
    if e.disk_full and e.result is None:
        full = BY_KIND["disk_full"]
        said = ("there was no room for its last word", *_last_lines(e))
        return "failed", Verdict(kind=full.kind, text=full.text, evidence=said, advice=full.advice, sure=False)
    if e.rc == 0:
        return "failed", Verdict(
            kind="crash",
            text="it exited with 0 but never said that it had finished",
            evidence=_last_lines(e),
            advice="a trainer must write result.json as its last act (docs/journal.md)",
            sure=False,
        )
    return "failed", Verdict(
        kind="crash",
        text=f"it exited with {e.rc}",
        evidence=_last_lines(e),
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


def _signed(e: Evidence, text: str) -> tuple[Outcome, Verdict] | None:
    """The first sign in order of SIGNS, not of lines: a worker's death is told twice, its cause only once."""
    found = _sign(text)
    if found is None:
        return None
    sign, hits = found
    if sign.kind == "worker_bus_error":
        return "failed", _bus_error(e, "a loader worker", hits[-1])
    if sign.kind == "host_alloc" and IN_WORKER.search(text):
        sign = BY_KIND["worker_host_alloc"]
    # A line that more was written after, and no traceback holds, may be of something that was got over.
    final = e.result is not None or bool(last_traceback(e.tail)) or hits[-1] in _tail(e)
    return "failed", Verdict(
        kind=SAME.get(sign.kind, sign.kind), text=sign.text, evidence=hits, advice=sign.advice, sure=sign.sure and final
    )


def _sign(text: str) -> tuple[Sign, tuple[str, ...]] | None:
    """The sign that decides, and the last lines that show it."""
    lines = [clean(line).strip() for line in text.splitlines()]
    for sign in SIGNS:
        hits = dict.fromkeys(line[:300] for line in lines if sign.regex.search(line))
        if hits:
            return sign, tuple(hits)[-EVIDENCE_LINES:]
    return None


def _last_lines(e: Evidence) -> tuple[str, ...]:
    """How the log ends, and an error that it speaks of before: that one did not end it."""
    last = _tail(e)
    before = _sign(e.tail)
    if before is None or before[1][-1] in last:
        return last
    return (f"earlier in the log, and gone on after: {before[1][-1]}", *last)


def _tail(e: Evidence) -> tuple[str, ...]:
    lines = [clean(line).strip() for line in e.tail.splitlines()]
    return tuple(line[:300] for line in lines if line)[-EVIDENCE_LINES:]


def _is_signal(number: int) -> bool:
    return number in {one.value for one in signal.Signals}


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if _is_signal(number) else f"signal {number}"
