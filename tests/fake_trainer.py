"""A stand-in trainer without torch: real process, real journal, real signals. `python fake_trainer.py RUN_FOLDER`.

FAKE_EPOCHS, FAKE_STEPS (per epoch), FAKE_STEP_SECONDS shape it. FAKE_FAIL makes it fail at its fifth step: exception,
nan, sigkill, oom_text; or ignore_term. FAKE_FAIL_ONLY=fold.restart.attempt,… leaves all others whole; without attempt each of
the run's fails; variant.fold.restart is one variant's. FAKE_GATE, named so too, waits before its first step until
`open_gate` was called. FAKE_SPAWN=n leaves n
children that ignore SIGTERM.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from engine.config.plan import Plan
from engine.journals.events import Begin, CheckpointWritten, End, EpochEnded, Metrics, Progress, SpanEnded, Spans, Steps
from engine.journals.journal import Writer
from engine.journals.records import ResultInfo
from engine.paths import ExperimentPaths, RunPaths, read_json, run_named, write_json
from engine.process import boot_id

EPOCHS = int(os.environ.get("FAKE_EPOCHS", "2"))
STEPS = int(os.environ.get("FAKE_STEPS", "10"))
STEP_SECONDS = float(os.environ.get("FAKE_STEP_SECONDS", "0.01"))
FAIL = os.environ.get("FAKE_FAIL", "")
FAIL_ONLY = tuple(word for word in os.environ.get("FAKE_FAIL_ONLY", "").split(",") if word)
GATE = os.environ.get("FAKE_GATE", "")
SPAWN = int(os.environ.get("FAKE_SPAWN", "0"))
STUCK = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"


class Stop:
    asked = False


def main(folder: Path) -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: setattr(Stop, "asked", FAIL != "ignore_term"))
    run = RunPaths(folder)
    plan = read_json(ExperimentPaths(folder.parent).plan, Plan)
    assert plan is not None
    at = run_named(folder)
    assert at is not None
    fold, restart, variant = at
    attempt = int(os.environ.get("STEPTOP_ATTEMPT", "1"))
    saved = read_json(run.latest, dict) or {"step": 0}
    children = [subprocess.Popen([sys.executable, "-c", STUCK], start_new_session=True) for _ in range(SPAWN)]
    with Writer(run.segment(attempt)) as journal:
        journal.write(
            Begin(
                attempt=attempt,
                fold=fold,
                restart=restart,
                variant=variant,
                seed=42 + restart,
                epochs=EPOCHS,
                steps_per_epoch=STEPS,
                device="cpu",
                resumed_from_step=saved["step"],
                pid=os.getpid(),
                boot_id=boot_id(),
                voxels_per_sample=1000,
                num_workers=SPAWN,
            )
        )
        journal.write(SpanEnded(name="startup", seconds=0.01))
        step = saved["step"]
        names = (f"{fold}.{restart}", f"{variant}.{fold}.{restart}", f"{fold}.{restart}.{attempt}")
        while GATE in names and not gate(folder.parent).exists() and not Stop.asked:
            time.sleep(0.02)
        while step < EPOCHS * STEPS:
            began = time.monotonic()
            time.sleep(STEP_SECONDS)
            step += 1
            epoch = (step - 1) // STEPS + 1
            if step == 5 and FAIL not in ("", "ignore_term") and fails(names):
                fail(run, attempt, step)
            seconds = time.monotonic() - began
            journal.write(
                Steps(
                    epoch=epoch,
                    step=step,
                    steps=1,
                    seconds=seconds,
                    low=seconds,
                    high=seconds,
                    samples=1,
                    spans=Spans(data=seconds * 0.6, forward=seconds * 0.2, backward=seconds * 0.2),
                    loss=1.0 / step,
                    lr=1e-3,
                    load_seconds=seconds * 0.6,
                    loads=1,
                )
            )
            if Stop.asked or step % STEPS == 0:
                write_json(run.latest, {"step": step})
                journal.write(CheckpointWritten(file=f"step-{step:08d}.pt", step=step, epoch=epoch, verified=True))
            if step % STEPS == 0:
                journal.write(EpochEnded(epoch=epoch, step=step, steps=STEPS, seconds=STEPS * seconds, loss=1.0 / step))
            if Stop.asked:
                return ended(run, journal, attempt, step, "stopped")
        journal.write(Progress(name="evaluate", done=0, total=2))
        journal.write(SpanEnded(name="evaluate", seconds=0.01, items=2))
        journal.write(Metrics(split="test", values={"dice": 0.8, "avd": 0.2, "mcc": 0.7}, step=step))
        write_json(run.results, {"config_hash": plan.training_hash, "test_dice": 0.8, "duration_seconds": 1.0})
        code = ended(run, journal, attempt, step, "finished")
    for child in children:
        child.kill()
        child.wait()
    return code


def gate(experiment: Path) -> Path:
    return experiment / "gate-is-open"


def open_gate(experiment: Path) -> None:
    """Let the run at the gate go on."""
    gate(experiment).touch()


def fails(names: tuple[str, ...]) -> bool:
    return not FAIL_ONLY or any(name in FAIL_ONLY for name in names)


def ended(run: RunPaths, journal: Writer, attempt: int, step: int, outcome: str) -> int:
    write_json(run.result, ResultInfo(outcome=outcome, attempt=attempt, step=step))  # type: ignore[arg-type]
    journal.write(End(outcome=outcome, step=step), sync=True)  # type: ignore[arg-type]
    return 0 if outcome == "finished" else 3


def fail(run: RunPaths, attempt: int, step: int) -> None:
    if FAIL == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    if FAIL == "oom_text":
        print("RuntimeError: CUDA out of memory. Tried to allocate 20.00 GiB", file=sys.stderr)
        raise SystemExit(1)
    name, text = ("NaNLoss", "loss is nan at step 5") if FAIL == "nan" else ("ValueError", "something broke")
    write_json(run.result, ResultInfo(outcome="failed", attempt=attempt, step=step, error_class=name, error=text))
    raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
