"""The process that reads the machine beside a training: started again where it died, ended with the supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

AGAIN_SECONDS = 10.0
END_SECONDS = 5.0


class Sampling:
    """Holds the sampler (engine.machine.sampler) of one experiment's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.child: subprocess.Popen[bytes] | None = None
        self._due = 0.0

    @property
    def pids(self) -> set[int]:
        return {self.child.pid} if self.child is not None else set()

    def keep(self) -> None:
        """A sampler that died is started again, but not more often than every ten seconds."""
        if self.child is not None and self.child.poll() is None:
            return
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + AGAIN_SECONDS
            self.child = subprocess.Popen(
                [sys.executable, "-P", "-m", "engine.machine.sampler", str(self.folder), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
            )

    def close(self) -> None:
        if self.child is not None:
            self.child.terminate()
            self.child.wait(END_SECONDS)
            self.child = None
