"""A trainer that fails for real, as FAIL in the environment says: `python -m tests.failing_trainer RUN_FOLDER`."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from pathlib import Path

from engine.events import Begin
from engine.journal import Writer
from engine.paths import RunPaths


def allocate() -> None:
    """Python's own allocation refused by a limit on the address space."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    bytearray(8 << 30)


def torch_allocates() -> None:
    import torch

    limit = 6 << 30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    torch.empty(16 << 30, dtype=torch.uint8)


def numpy_allocates() -> None:
    import numpy as np

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    np.ones(16 << 30, dtype=np.uint8)


class Bad:
    """A dataset whose item does something to its process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if self.number < 0:
            raise ValueError("this volume is not one")
        os.kill(os.getpid(), self.number)
        time.sleep(5)
        return index


def worker(number: int) -> None:
    from torch.utils.data import DataLoader

    list(DataLoader(Bad(number), num_workers=1))  # type: ignore[arg-type]


FAILURES = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "terminated": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "memory": allocate,
    "torch memory": torch_allocates,
    "numpy memory": numpy_allocates,
    "worker killed": lambda: worker(signal.SIGKILL),
    "worker bus error": lambda: worker(signal.SIGBUS),
    "worker raises": lambda: worker(-1),
    "bug": lambda: {}["dice"],
    "silent": lambda: None,
}


def main(folder: Path) -> int:
    attempt = int(os.environ["STEPTOP_ATTEMPT"])
    with Writer(RunPaths(folder).segment(attempt)) as journal:
        journal.write(Begin(attempt=attempt, epochs=1, steps_per_epoch=10, pid=os.getpid()), sync=True)
    FAILURES[os.environ["FAIL"]]()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
