"""What is written about profiles and test phases; part of engine.journals.events' union."""

from __future__ import annotations

import msgspec

from engine.journals.record import Mode, Record, Spans, Verdict

# ---------------------------------------------------------------- written by the trainer


class ProfileChanged(Record, frozen=True, kw_only=True, tag="profile"):
    """From the step after `step` on the trainer runs with `knobs` (all of them; `changed` are the ones that differ).

    `former`: the values they had. `seconds`: for which the training stood still, until the new loader's first batch
    was there. `mode`: train; resident repeats one batch; load only loads. `error` non-empty: it could not be done, and
    the former profile goes on.
    """

    id: str
    name: str
    knobs: dict[str, bool | int | float | str]
    changed: tuple[str, ...] = ()
    former: dict[str, bool | int | float | str] = {}
    step: int = 0
    epoch: int = 0
    seconds: float = 0.0
    mode: Mode = "train"
    error: str = ""


class ProfileMeasured(Record, frozen=True, kw_only=True, tag="measured"):
    """The steps that the request `id` asked for are done, and the trainer waits for the next one."""

    id: str
    steps: int


# ---------------------------------------------------------------- written by the supervisor


class ProfileAsked(Record, frozen=True, kw_only=True, tag="profile_asked"):
    """A speed-only profile was asked for in a living training; the trainer answers with `profile` in its journal."""

    id: str
    name: str
    knobs: dict[str, bool | int | float | str]
    by: str = ""


class PhaseBegun(Record, frozen=True, kw_only=True, tag="phase"):
    """One round of a test phase begins. `low`/`high`: samples per second expected, where anything is."""

    phase: int
    round: int
    name: str
    knobs: dict[str, bool | int | float | str]
    steps: int
    mode: Mode = "train"
    low: float | None = None
    high: float | None = None
    basis: str = ""
    trial: str = ""


class Use(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a phase used of the machine. Bytes, percent, cores, bytes per second; None where nothing says."""

    ram_peak: int | None = None
    ram_slope: float | None = None
    worker_pss: int | None = None
    worker_uss: int | None = None
    trainer_pss: int | None = None
    shm_peak: int | None = None
    gpu_util: float | None = None
    vram_allocated: int | None = None
    vram_reserved: int | None = None
    vram_device: int | None = None
    vram_total: int | None = None
    cores: int | None = None
    own_cores: float | None = None
    foreign_cores: float | None = None
    foreign_vram: int | None = None
    foreign_gpu: float | None = None


class PhaseEnded(Record, frozen=True, kw_only=True, tag="phase_ended"):
    """One round of a test phase is over: its raw steps, warm-up included, and what it used.

    `verdict.kind` ok, or what ended the test (an out-of-memory kill, say). `repeated`: another process disturbed it,
    it does not count and is done again.
    """

    phase: int
    round: int
    name: str
    knobs: dict[str, bool | int | float | str]
    verdict: Verdict
    mode: Mode = "train"
    seconds: tuple[float, ...] = ()
    samples: tuple[int, ...] = ()
    spans: Spans = Spans()
    load_seconds: float = 0.0
    load_squares: float = 0.0
    load_cpu: float = 0.0
    loads: int = 0
    trainer_cpu: float = 0.0
    swap_seconds: float = 0.0
    use: Use = Use()
    repeated: bool = False
    trial: str = ""
