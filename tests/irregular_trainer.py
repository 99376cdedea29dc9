"""A trainer of one's own whose steps are uneven, as some are: `python -m tests.irregular_trainer RUN_FOLDER`.

A small network on volumes of varying size, a loss on distances every 16 steps, a look at held-out volumes every 40
steps inside the loop that nobody is told of, a checkpoint now and then. The work is real; UNEVEN in the environment is
JSON: epochs, steps, side (largest side of a volume, voxels).
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from scipy import ndimage

from engine.config.plan import Plan
from engine.journals.events import Begin, CheckpointWritten, End, EpochEnded, Progress, SpanEnded, Steps
from engine.journals.journal import Writer
from engine.journals.records import ResultInfo
from engine.paths import ExperimentPaths, RunPaths, read_json, write_json
from engine.process import boot_id

DISTANT, LOOK, SAVE_EPOCHS, LINE_SECONDS = 16, 40, 4, 0.25
stopped: list[int] = []


def main(folder: Path) -> int:
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    wanted, run = json.loads(os.environ["UNEVEN"]), RunPaths(folder)
    plan = read_json(ExperimentPaths(folder.parent).plan, Plan)
    assert plan is not None
    epochs, per_epoch, attempt = wanted["epochs"], wanted["steps"], int(os.environ["STEPTOP_ATTEMPT"])
    rng = random.Random(7)
    torch.manual_seed(7)
    net = torch.nn.Sequential(
        torch.nn.Conv3d(1, 6, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(6, 6, 3, padding=2, dilation=2),
        torch.nn.ReLU(), torch.nn.Conv3d(6, 2, 1),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    with Writer(run.segment(attempt)) as journal:
        journal.write(Begin(
            attempt=attempt, epochs=epochs, steps_per_epoch=per_epoch, device_name="CPU", pid=os.getpid(),
            boot_id=boot_id(), config_hash=plan.training_hash,
        ))
        held: list[float] = []
        for step in range(1, epochs * per_epoch + 1):
            if stopped:
                break
            began, epoch = time.perf_counter(), (step - 1) // per_epoch + 1
            loss = train(net, optimizer, volume(rng, wanted["side"]), step % DISTANT == 0)
            if step % LOOK == 0:
                with torch.no_grad():
                    for _ in range(6):
                        net(volume(rng, wanted["side"]))
            held.append(time.perf_counter() - began)
            if sum(held) >= LINE_SECONDS or step % per_epoch == 0:
                journal.write(Steps(
                    epoch=epoch, step=step, steps=len(held), seconds=sum(held), low=min(held), high=max(held),
                    samples=len(held), loss=loss,
                ))
                held = []
            if step % per_epoch == 0:
                journal.write(EpochEnded(epoch=epoch, step=step, steps=per_epoch, seconds=1.0))
                if epoch % SAVE_EPOCHS == 0:
                    save(net, run, journal, step, epoch)
        outcome = "stopped" if stopped else "finished"
        write_json(run.result, ResultInfo(outcome=outcome, attempt=attempt, step=step))  # type: ignore[arg-type]
        write_json(run.results, {"config_hash": plan.training_hash})
        journal.write(End(outcome=outcome, step=step))  # type: ignore[arg-type]
    return 3 if stopped else 0


def volume(rng: random.Random, side: int) -> torch.Tensor:
    return torch.randn(1, 1, *(rng.randrange(side // 2, side + 1) for _ in range(3)))


def train(net: torch.nn.Module, optimizer: torch.optim.Optimizer, image: torch.Tensor, distant: bool) -> float:
    """One step; `distant`: with a loss that weighs voxels by their distance to the label's edge."""
    label = (image[:, 0] > 0.5).long()
    logits = net(image)
    weight = torch.ones_like(label, dtype=torch.float32)
    if distant:
        weight += torch.from_numpy(ndimage.distance_transform_edt(label.numpy()[0]))[None].float()
    loss = (torch.nn.functional.cross_entropy(logits, label, reduction="none") * weight).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.item())


def save(net: torch.nn.Module, run: RunPaths, journal: Writer, step: int, epoch: int) -> None:
    began = time.perf_counter()
    journal.write(Progress(name="checkpoint", done=0, total=1))
    path = run.folder / "last.pt"
    torch.save(net.state_dict(), path)
    took = time.perf_counter() - began
    journal.write(
        SpanEnded(name="checkpoint", seconds=took, epoch=epoch, step=step, items=1),
        CheckpointWritten(file=path.name, step=step, epoch=epoch, bytes=path.stat().st_size, seconds=took),
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
