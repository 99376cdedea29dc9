"""What may be written to a journal: typed records, one line of JSON each.

One writer each: the trainer's `steps-NNN.jsonl`, the supervisor's `events.jsonl`, the sampler's `machine.jsonl`, and
`finish.jsonl` of what is done after the end. A trainer not written here can write the first: docs/journal.md.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from engine.journals.limit_events import (
    LimitReached as LimitReached,
    LimitSet as LimitSet,
    NotifyFailed as NotifyFailed,
    OnFinishRan as OnFinishRan,
)
from engine.journals.machine_events import Gpu as Gpu, Sample as Sample, Worker as Worker
from engine.journals.phase_events import (
    PhaseBegun as PhaseBegun,
    PhaseEnded as PhaseEnded,
    ProfileAsked as ProfileAsked,
    ProfileChanged as ProfileChanged,
    ProfileMeasured as ProfileMeasured,
    Use as Use,
)
from engine.journals.record import (
    FORMAT as FORMAT,
    SPANS as SPANS,
    Level as Level,
    Mode as Mode,
    Outcome as Outcome,
    Record as Record,
    Spans as Spans,
    Stop as Stop,
    Verdict as Verdict,
)
from engine.journals.run_events import (
    ExperimentEnded as ExperimentEnded,
    PrepareEnded as PrepareEnded,
    PrepareStarted as PrepareStarted,
    RunEnded as RunEnded,
    RunsGivenUp as RunsGivenUp,
    RunSkipped as RunSkipped,
    RunsPutBack as RunsPutBack,
    RunStarted as RunStarted,
    StopChanged as StopChanged,
    SupervisorStarted as SupervisorStarted,
)

# ---------------------------------------------------------------- written by the trainer


class Begin(Record, frozen=True, kw_only=True, tag="begin"):
    """First line of an attempt. `cores`: that it may use, as a scheduler or a container grants them (0: not known).
    `knobs`: its whole profile."""

    v: int = FORMAT
    attempt: int = 1
    fold: int = 0
    restart: int = 0
    variant: str = ""
    seed: int = 0
    epochs: int
    steps_per_epoch: int
    batch_size: int = 1
    voxels_per_sample: int = 0
    device: str = "cpu"
    device_name: str = ""
    num_workers: int = 0
    parameters: int = 0
    config_hash: str = ""
    resumed_from_step: int = 0
    resumed_from: str = ""
    pid: int = 0
    boot_id: str = ""
    cores: int = 0
    knobs: dict[str, bool | int | float | str] = {}


class Steps(Record, frozen=True, kw_only=True, tag="steps"):
    """`steps` optimizer steps that ended with number `step` (counted over the whole run, from 1).

    `each`: the seconds of every single one, written while a profile is being measured. `load_seconds` and its squares
    are summed over `loads` samples, in the workers; `load_cpu` is the CPU time of the same. `trainer_cpu`: CPU seconds
    of the trainer's own process, all threads.
    """

    epoch: int
    step: int
    steps: int
    seconds: float
    low: float
    high: float
    samples: int = 0
    spans: Spans = Spans()
    load_seconds: float = 0.0
    loads: int = 0
    loss: float | None = None
    lr: float | None = None
    losses: dict[str, float] | None = None
    each: tuple[float, ...] | None = None
    load_squares: float = 0.0
    load_cpu: float = 0.0
    trainer_cpu: float = 0.0


class SpanEnded(Record, frozen=True, kw_only=True, tag="span"):
    """Something beside the steps took `seconds`: startup, validate, reconstruct, checkpoint, evaluate, prepare."""

    name: str
    seconds: float
    epoch: int = 0
    step: int = 0
    items: int = 0


class Progress(Record, frozen=True, kw_only=True, tag="progress"):
    """How far a long span has come; the first one marks its beginning (`done` = 0)."""

    name: str
    done: int
    total: int
    text: str = ""


class EpochEnded(Record, frozen=True, kw_only=True, tag="epoch"):
    """`seconds` is the whole epoch's wall time, validation and checkpoints included."""

    epoch: int
    step: int
    steps: int
    seconds: float
    loss: float | None = None


class Metrics(Record, frozen=True, kw_only=True, tag="metrics"):
    """Validation or test figures by the field's names: dice, avd, mcc, loss."""

    split: str
    values: dict[str, float]
    epoch: int = 0
    step: int = 0


class CheckpointWritten(Record, frozen=True, kw_only=True, tag="checkpoint"):
    """`error` non-empty: it could not be written; training goes on and tries again."""

    file: str
    step: int
    epoch: int = 0
    bytes: int = 0
    seconds: float = 0.0
    verified: bool = False
    error: str = ""


class PrecisionActive(Record, frozen=True, kw_only=True, tag="precision"):
    """What the hidden layers really computed in, seen from their outputs, not from the request."""

    requested: str
    active: str
    evidence: str = ""


class Memory(Record, frozen=True, kw_only=True, tag="memory"):
    """The trainer's own view of its device, bytes."""

    allocated: int
    reserved: int
    peak_allocated: int
    peak_reserved: int


class Note(Record, frozen=True, kw_only=True, tag="note"):
    """A plain sentence for the list of events."""

    text: str
    level: Level = "info"


class Gap(Record, frozen=True, kw_only=True, tag="gap"):
    """Lines that could not be written (a full disk, say)."""

    dropped: int
    reason: str


class End(Record, frozen=True, kw_only=True, tag="end"):
    """Last line of an attempt that could say how it ended."""

    outcome: Outcome
    step: int = 0
    epoch: int = 0
    error: str = ""


TrainerRecord: TypeAlias = (
    Begin
    | Steps
    | SpanEnded
    | Progress
    | EpochEnded
    | Metrics
    | CheckpointWritten
    | PrecisionActive
    | Memory
    | Note
    | Gap
    | ProfileChanged
    | ProfileMeasured
    | End
)
SupervisorRecord: TypeAlias = (
    SupervisorStarted
    | PrepareStarted
    | PrepareEnded
    | RunStarted
    | RunEnded
    | RunSkipped
    | RunsGivenUp
    | RunsPutBack
    | StopChanged
    | ProfileAsked
    | PhaseBegun
    | PhaseEnded
    | LimitSet
    | LimitReached
    | OnFinishRan
    | NotifyFailed
    | ExperimentEnded
    | Note
    | Gap
)
AnyRecord: TypeAlias = TrainerRecord | SupervisorRecord | Sample

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)


def encode(record: Record) -> bytes:
    """One line, newline included. Characters that are no Unicode (undecodable file names) become '?'."""
    try:
        return _encoder.encode(record) + b"\n"
    except UnicodeEncodeError:
        return _encoder.encode(_readable(msgspec.to_builtins(record))) + b"\n"


def _readable(value: object) -> object:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {_readable(key): _readable(item) for key, item in value.items()}
        case list() | tuple():
            return [_readable(item) for item in value]
        case _:
            return value


def decode(line: bytes) -> AnyRecord | None:
    """The record, or None for a damaged line or a kind this version does not know."""
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def decode_many(block: bytes) -> tuple[list[AnyRecord], int]:
    """All records of a block of whole lines, and how many lines were passed over."""
    try:
        return _decoder.decode_lines(block), 0
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        lines = [line for line in block.split(b"\n") if line.strip()]
        records = [record for line in lines if (record := decode(line)) is not None]
        return records, len(lines) - len(records)
