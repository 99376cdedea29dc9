"""What a loader process costs in memory: told from one of them, then measured with two to four, forked and spawned.

Real DataLoaders over a dataset object of 300 MB: an array, or an array and a list of Python objects, whose reference
counts a forked worker writes to (so those pages stop being shared); each worker keeps the last eight volumes of 8 MiB it
cut patches from. Read as the sampler reads: PSS and USS of every process. Each number of workers is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from engine.config.profile import defaults
from engine.machine.sampler import role_of, smaps
from engine.memory.budget import budget
from engine.memory.footprint import Footprint, Loader
from engine.process import descendants
from engine.training.loader import start_worker

MIB = 1 << 20
SIDE, BATCH, PREFETCH, LOADS = 64, 2, 2, 40
SAMPLE_BYTES = SIDE**3 * 4


class Big(Dataset[torch.Tensor]):
    """About 300 MB: `objects` of them as tuples in a list, the rest as one array."""

    def __init__(self, objects: int) -> None:
        self.table = np.ones((300 * MIB - objects * 100) // 8)
        self.rows = [(i, float(i), str(i)) for i in range(objects)]

    def __len__(self) -> int:
        return 1 << 20

    @lru_cache(maxsize=8)  # noqa: B019 - as long as the worker lives
    def volume(self, number: int) -> np.ndarray:
        return np.full((128, 128, 128), number, np.float32)

    def __getitem__(self, index: int) -> torch.Tensor:
        value = self.volume(index * 31 % 40)[:SIDE, :SIDE, :SIDE].sum() + self.table[index * 7919 % len(self.table)]
        if self.rows:
            # Looking at an object counts a reference, which is a write. Anywhere, as a shuffled order does.
            value += sum(row[1] for row in self.rows[index * 7_368_787 % len(self.rows) :][:5000])
        return torch.full((SIDE, SIDE, SIDE), float(value))


def measure(context: str, workers: int, objects: int) -> dict[str, float]:
    """Runs in a process of its own: the loader, LOADS batches, then the memory of every process."""
    torch.set_num_threads(1)
    network = torch.nn.Conv3d(1, 4, 3)
    loader = DataLoader(
        Big(objects),
        batch_size=BATCH,
        num_workers=workers,
        prefetch_factor=PREFETCH,
        multiprocessing_context=context,
        worker_init_fn=start_worker,
    )
    batches, trainer = iter(loader), os.getpid()
    readings = []
    for number in range(LOADS * workers):
        network(next(batches)[:, None]).sum().backward()
        if number >= LOADS * workers // 2 and number % workers == 0:
            readings.append(read(trainer, workers))
    return {name: median(reading[name] for reading in readings) for name in readings[0]}



def read(trainer: int, workers: int) -> dict[str, float]:
    """Now, bytes; of the workers the mean."""
    roles = {pid: role_of(pid, [trainer]) for pid in descendants(trainer)}
    of = [memory for pid, role in roles.items() if role == "worker" and (memory := smaps(pid))]
    own = smaps(trainer)
    assert own is not None and len(of) == workers, roles
    return {
        "trainer": own[1],
        "rss": sum(m[0] for m in of) / workers,
        "pss": sum(m[1] for m in of) / workers,
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
    print(
        f"{'MiB':<24}{'workers':>8}{'RSS':>7}{'USS':>7}{'told':>7}{'error':>8}{'sum':>9}{'told':>9}{'error':>8}{'by RSS':>9}"
    )
    errors, sums = [], []
    for context in ("fork", "spawn"):
        for objects in (0, 500_000):
            one = apart(context, 1, objects)
            known = Footprint(
                sample_bytes=SAMPLE_BYTES,
                loader=Loader(
                    workers=1, context=context, batch=BATCH, trainer=int(one["trainer"]), pss=one["pss"], uss=one["uss"]
                ),
            )
            for workers in (2, 3, 4):
                found = apart(context, workers, objects)
                knobs = defaults() | {
                    "num_workers": workers,
                    "prefetch_factor": PREFETCH,
                    "batch_size": BATCH,
                    "multiprocessing_context": context,
                }
                parts = {part.name: part for part in budget(knobs, known).ram.parts}
                each = parts["workers"].bytes / workers
                total = parts["trainer"].bytes + parts["workers"].bytes
                summed = found["trainer"] + workers * found["pss"]
                error, whole = each / found["uss"] - 1, total / summed - 1
                errors, sums = [*errors, abs(error)], [*sums, abs(whole)]
                by_rss = one["trainer"] + workers * one["rss"]
                print(
                    f"{context + (', Python objects' if objects else ', one array'):<24}{workers:>8}{found['rss'] / MIB:>7.0f}"
                    f"{found['uss'] / MIB:>7.0f}{each / MIB:>7.0f}{error:>+8.1%}{summed / MIB:>9.0f}{total / MIB:>9.0f}"
                    f"{whole:>+8.1%}{by_rss / MIB:>9.0f}",
                    flush=True,
                )
    print(f"a worker's own memory (USS): largest error {max(errors):.1%}, median {median(errors):.1%} (target 10 %)")
    print(
        f"all processes together (sum of PSS): largest error {max(sums):.1%}, median {median(sums):.1%} (target 10 %)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
