"""What a loader process holds while it loads samples, with freed blocks given back to the kernel and as glibc does it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from engine.machine.sampler import smaps
from engine.training.loader import give_back_memory

LOADS = 300


class Ones(Dataset[torch.Tensor]):
    def __init__(self, side: int) -> None:
        self.side = side

    def __len__(self) -> int:
        return LOADS

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((1, self.side, self.side, self.side), float(index))


def as_it_is(_number: int) -> None:
    torch.set_num_threads(1)


def giving_back(number: int) -> None:
    as_it_is(number)
    give_back_memory()


def measure(side: int, gives_back: bool) -> str:
    batches = iter(DataLoader(Ones(side), num_workers=1, worker_init_fn=giving_back if gives_back else as_it_is))
    next(batches)
    began, most = time.perf_counter(), 0
    worker = batches._workers[0].pid  # type: ignore[attr-defined]
    for number, _ in enumerate(batches):
        if number % 10 == 0:
            most = max(most, (smaps(worker) or (0, 0, 0))[2])
    return f"{most / 2**20:>8.0f} MiB {(time.perf_counter() - began) / LOADS * 1000:>8.2f} ms a sample"


def main() -> int:
    if len(sys.argv) > 1:
        print(measure(int(sys.argv[1]), sys.argv[2] == "yes"))
        return 0
    for side in (33, 64, 128, 180):
        for gives_back in (False, True):
            command = [sys.executable, "-m", "tests.benchmarks.freed_memory", str(side), "yes" if gives_back else "no"]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
            how = "given back" if gives_back else "as glibc does it"
            print(f"samples of {side**3 * 4 / 2**20:>5.2f} MiB, {how:<17}{done.stdout.rstrip()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
