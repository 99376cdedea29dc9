"""What a supervisor writes about its runs and its own life; part of engine.journals.events' union."""

from __future__ import annotations

from typing import Literal

from engine.journals.record import Outcome, Record, Stop, Verdict


class SupervisorStarted(Record, frozen=True, kw_only=True, tag="supervisor"):
    """A supervisor took the lock; `runs` are the (fold, restart) pairs it will see to, in order, and `variants` each
    one's variant, nothing for an experiment without any. `processor` and `cores`: what it may use of its machine."""

    pid: int
    host: str
    boot_id: str
    runs: tuple[tuple[int, int], ...] = ()
    variants: tuple[str, ...] = ()
    stop_after_runs: int = 0
    adopted: int = 0
    processor: str = ""
    cores: int = 0


class PrepareStarted(Record, frozen=True, kw_only=True, tag="prepare_started"):
    pid: int


class PrepareEnded(Record, frozen=True, kw_only=True, tag="prepare_ended"):
    seconds: float
    ok: bool
    verdict: Verdict | None = None


class RunStarted(Record, frozen=True, kw_only=True, tag="run_started"):
    """`slot`: its place among the runs that go on side by side, from 0."""

    fold: int
    restart: int
    attempt: int
    pid: int
    device: str = "cpu"
    variant: str = ""
    slot: int = 0

    @property
    def at(self) -> tuple[int, int, str]:
        """The run it is, as `RunKey.at`."""
        return self.fold, self.restart, self.variant


class RunEnded(Record, frozen=True, kw_only=True, tag="run_ended"):
    """`swept` descendants were left after the trainer's end and ended; `survivors` could not be."""

    fold: int
    restart: int
    attempt: int
    outcome: Outcome
    verdict: Verdict
    seconds: float = 0.0
    rc: int | None = None
    swept: int = 0
    survivors: tuple[int, ...] = ()
    variant: str = ""

    @property
    def at(self) -> tuple[int, int, str]:
        return self.fold, self.restart, self.variant


class RunSkipped(Record, frozen=True, kw_only=True, tag="run_skipped"):
    """Already complete with this configuration's hash."""

    fold: int
    restart: int
    dice: float | None = None
    variant: str = ""

    @property
    def at(self) -> tuple[int, int, str]:
        return self.fold, self.restart, self.variant


class RunsPutBack(Record, frozen=True, kw_only=True, tag="runs_put_back"):
    """Runs that had failed for good and were put back into the queue by hand: fold, restart and variant of each."""

    runs: tuple[tuple[int, int, str], ...]


class RunsGivenUp(Record, frozen=True, kw_only=True, tag="runs_given_up"):
    """Runs of a variant that are not started any more (fold, restart and variant of each), and `why`."""

    runs: tuple[tuple[int, int, str], ...]
    variant: str
    why: str = ""


class StopChanged(Record, frozen=True, kw_only=True, tag="stop"):
    """A stop request's life: acknowledged, then done or cancelled."""

    id: str
    mode: Stop
    phase: Literal["acknowledged", "cancelled", "done"]
    by: str = ""


class ExperimentEnded(Record, frozen=True, kw_only=True, tag="experiment_ended"):
    """The supervisor's last line. `survivors`: processes of the tree that would not go, by id. `knobs`: what a test of
    profiles found best."""

    outcome: Outcome
    text: str
    verdict: Verdict | None = None
    survivors: tuple[int, ...] = ()
    knobs: dict[str, bool | int | float | str] | None = None
