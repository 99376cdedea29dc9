"""What a loader process costs in memory: told from one of them, then measured with two to four, forked and spawned.

Real DataLoaders over a dataset object of 300 MB: an array, and beside it a list of Python objects, whose reference counts
a forked worker writes to (so those pages stop being shared). Read as the sampler reads: PSS and USS of every process,
/dev/shm by its file system. Each number of workers is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from engine.budget import budget
from engine.footprint import Footprint, Loader
from engine.process import descendants
from engine.profile import defaults
from engine.sampler import role_of, smaps

MIB = 1 << 20
SIDE, BATCH, PREFETCH, LOADS = 64, 2, 2, 60
SAMPLE_BYTES = SIDE**3 * 4


class Big(Dataset[torch.Tensor]):
    """About 300 MB: `objects` of them as tuples in a list, the rest as one array."""

    def __init__(self, objects: int) -> None:
        self.table = np.ones((300 * MIB - objects * 100) // 8)
        self.rows = [(i, float(i), str(i)) for i in range(objects)]

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, index: int) -> torch.Tensor:
        value = self.table[index * 7919 % len(self.table)]
        if self.rows:
            # Looking at an object counts a reference, which is a write.
            value += sum(row[1] for row in self.rows[(index * 997) % len(self.rows) :][:5000])
        return torch.full((SIDE, SIDE, SIDE), float(value))


def start_worker(_number: int) -> None:
    torch.set_num_threads(1)


def shm() -> int:
    info = os.statvfs("/dev/shm")
    return (info.f_blocks - info.f_bfree) * info.f_frsize


def measure(context: str, workers: int, objects: int) -> dict[str, float]:
    """Runs in a process of its own: the loader, LOADS batches, then the memory of every process."""
    torch.set_num_threads(1)
    network = torch.nn.Conv3d(1, 4, 3)
    before = shm()
    loader = DataLoader(
        Big(objects), batch_size=BATCH, num_workers=workers, prefetch_factor=PREFETCH,
        multiprocessing_context=context, worker_init_fn=start_worker,
    )
    batches, trainer = iter(loader), os.getpid()
    readings = []
    for number in range(LOADS * workers):
        network(next(batches)[:, None]).sum().backward()
        if number >= LOADS * workers // 2 and number % workers == 0:
            readings.append(read(trainer, workers))
    return {name: median(reading[name] for reading in readings) for name in readings[0]} | {"shm": shm() - before}


def read(trainer: int, workers: int) -> dict[str, float]:
    """Now, bytes; of the workers the mean."""
    roles = {pid: role_of(pid, [trainer]) for pid in descendants(trainer)}
    of = [memory for pid, role in roles.items() if role == "worker" and (memory := smaps(pid))]
    own = smaps(trainer)
    assert own is not None and len(of) == workers, roles
    return {
        "trainer": own[1], "rss": sum(m[0] for m in of) / workers, "pss": sum(m[1] for m in of) / workers,
        "uss": sum(m[2] for m in of) / workers,
    }


def apart(*arguments: object) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.worker_memory", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return dict(json.loads(done.stdout))


def main() -> int:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
        return 0
    print(f"{'':<24}{'workers':>8}{'RSS':>9}{'USS':>9}{'told each':>11}{'each':>9}{'error':>8}{'told sum':>11}{'sum':>9}{'error':>8}")
    errors, naive = [], []
    for context in ("fork", "spawn"):
        for objects in (0, 500_000):
            one = apart(context, 1, objects)
            known = Footprint(
                sample_bytes=SAMPLE_BYTES,
                loader=Loader(workers=1, context=context, batch=BATCH, trainer=int(one["trainer"]), pss=one["pss"], uss=one["uss"]),
            )
            base = one["trainer"] + one["pss"]
            for workers in (2, 3, 4):
                found = apart(context, workers, objects)
                knobs = defaults() | {
                    "num_workers": workers, "prefetch_factor": PREFETCH, "batch_size": BATCH, "multiprocessing_context": context,
                }
                parts = {part.name: part for part in budget(knobs, known).ram.parts}
                told = parts["workers"].bytes / workers
                total = parts["trainer"].bytes + parts["workers"].bytes
                summed = found["trainer"] + workers * found["pss"]
                # What every worker beyond the first added to the sum of all processes.
                each = (summed - base) / (workers - 1)
                error, whole = told / each - 1, total / summed - 1
                errors += [abs(error)]
                naive += [one["rss"] / each]
                print(
                    f"{context + (', Python objects' if objects else ', one array'):<24}{workers:>8}{found['rss'] / MIB:>9.0f}"
                    f"{found['uss'] / MIB:>9.0f}{told / MIB:>11.1f}{each / MIB:>9.1f}{error:>+8.1%}{total / MIB:>11.0f}"
                    f"{summed / MIB:>9.0f}{whole:>+8.1%}", flush=True,
                )
    print(f"RSS of one worker says {min(naive):.1f} to {max(naive):.1f} times what each really adds")
    print(f"per worker: largest error {max(errors):.1%}, median {median(errors):.1%} (target 10 %). All figures in MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
