"""What the supervisor and its sampler cost while a training runs: CPU of one core, and memory.

`python -m tests.benchmarks.supervisor [SECONDS]`: a real experiment of the stand-in trainer, four steps a second.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from engine import process
from engine.machine.sampler import TICKS, smaps
from engine.runs import control
from tests.conftest import Laboratory, fake_plan, wait_until


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def main() -> dict[str, float]:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    os.environ |= {"FAKE_STEPS": "100000", "FAKE_STEP_SECONDS": "0.25"}
    with tempfile.TemporaryDirectory() as folder:
        lab = Laboratory(Path(folder))
        try:
            paths = lab.launch(fake_plan())
            trainer = lab.trainer(paths).who.pid
            supervisor = lab.supervisor(paths).who.pid
            wait_until(lambda: len(process.children(supervisor)) == 2, what="the sampler")
            sampler = next(pid for pid in process.children(supervisor) if pid != trainer)
            time.sleep(5)
            before = {pid: cpu_seconds(pid) for pid in (supervisor, sampler)}
            began = time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - began
            figures: dict[str, float] = {}
            for name, pid in (("supervisor", supervisor), ("sampler", sampler)):
                memory = smaps(pid)
                assert memory is not None
                figures[f"{name} CPU %"] = round((cpu_seconds(pid) - before[pid]) / took * 100, 3)
                figures[f"{name} RSS MB"] = round(memory[0] / 1e6, 1)
                figures[f"{name} PSS MB"] = round(memory[1] / 1e6, 1)
            control.request(paths, "stop_force")
            wait_until(lambda: not process.alive(lab.supervisor(paths).who), what="the end")
        finally:
            lab.close()
    return figures


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:<20} {value}")
