"""A trainer that fails for real, as FAIL in the environment says: `python -m tests.failing_trainer RUN_FOLDER`."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from engine.journals.events import Begin
from engine.journals.journal import Writer
from engine.paths import RunPaths

KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


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

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        self.act()
        time.sleep(5)
        return index


def worker(act: Callable[[], object]) -> None:
    from torch.utils.data import DataLoader

    list(DataLoader(Bad(act), num_workers=1))  # type: ignore[arg-type]


def kill(number: int) -> None:
    os.kill(os.getpid(), number)


def is_no_volume() -> None:
    raise ValueError("this volume is not one")


def reads_truncated() -> None:
    """A mapped volume that something else cuts off: its pages are no longer to be had."""
    with tempfile.TemporaryFile() as file:
        file.truncate(1 << 20)
        pages = mmap.mmap(file.fileno(), 1 << 20)
        file.truncate(0)
        pages[1 << 19]


def skips_then_fails() -> None:
    """It gets over an error, trains on, and then falls over another."""
    try:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    except RuntimeError:
        traceback.print_exc()
    print("batch skipped", *(f"step {i}" for i in range(40)), sep="\n", flush=True)
    bug()


def bug() -> None:
    dict[str, float]()["dice"]


FAILURES: dict[str, Callable[[], object]] = {
    "killed": lambda: kill(signal.SIGKILL),
    "segfault": lambda: kill(signal.SIGSEGV),
    "terminated": lambda: kill(signal.SIGTERM),
    "killed behind a launcher": lambda: sys.exit(128 - subprocess.run([sys.executable, "-c", KILLED]).returncode),
    "truncated file": reads_truncated,
    "caught": skips_then_fails,
    "memory": allocate,
    "torch memory": torch_allocates,
    "numpy memory": numpy_allocates,
    "worker killed": lambda: worker(lambda: kill(signal.SIGKILL)),
    "worker segfaults": lambda: worker(lambda: ctypes.string_at(0)),
    "worker memory": lambda: worker(allocate),
    "worker truncated file": lambda: worker(reads_truncated),
    "worker raises": lambda: worker(is_no_volume),
    "bug": bug,
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
