"""What the dashboard costs: bytes on the wire, time to the first full screen, CPU, memory.

`python -m tests.benchmarks.screen [SECONDS]`: the real program in a real pseudo-terminal, over an experiment that grows by
four records of steps a second and in which every machine figure moves every two seconds. Bytes are what it writes to
the terminal; CPU is processor time of one core; the first full screen is the time from exec to the last panel's text.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.tui import living
from tests.tui.terminal_session import ROOT, TerminalSession, steptop

STARTS = 5
READY = ("Progress", "GPU 0", "training", "epoch 12 done", "quit")


@contextlib.contextmanager
def growing(folder: Path) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", "tests.tui.living", str(folder)], cwd=ROOT) as process:
        try:
            yield
        finally:
            process.kill()


def look(folder: Path, seconds: float, *words: str, size: tuple[int, int] = (120, 40)) -> dict[str, float]:
    """Watch the dashboard for `seconds` once it has settled."""
    settings = {"XDG_CONFIG_HOME": str(folder.parent / "config")}
    with TerminalSession(steptop("--logs", str(folder.parent), *words), size, settings) as session:
        session.wait_for(*READY if size[1] >= 40 else READY[:3])
        time.sleep(4)
        start, cpu, began = len(session.raw), session.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        return {
            "bytes/s": round((len(session.raw) - start) / took),
            "CPU %": round((session.cpu_seconds() - cpu) / took * 100, 2),
            "RSS MB": round(session.memory() / 1e6, 1),
        }


def first_screen(folder: Path) -> dict[str, float]:
    """Medians over STARTS starts; the first one, which reads the disk, is left out."""
    times, written, work = [], [], []
    settings = {"XDG_CONFIG_HOME": str(folder.parent / "config")}
    for _ in range(STARTS + 1):
        with TerminalSession(steptop("--logs", str(folder.parent)), env=settings) as session:
            times.append(session.wait_for(*READY))
            work.append(session.cpu_seconds())
            time.sleep(0.2)
            written.append(len(session.raw))
    return {
        "first full screen s": round(median(times[1:]), 3),
        "first full screen CPU s": round(median(work[1:]), 3),
        "start-up bytes": median(written[1:]),
    }


def main() -> dict[str, float]:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = living.make(Path(temporary) / "logs" / "arc-meshnet26")
        living.claim(folder)
        figures |= first_screen(folder)
        idle = look(folder, seconds)
        figures |= {"idle CPU %": idle["CPU %"], "idle bytes/s": idle["bytes/s"]}
        with growing(folder):
            for name, words, size in (
                ("live", (), (120, 40)),
                ("live 80x24", (), (80, 24)),
                ("live 200x60", (), (200, 60)),
                ("live low-bandwidth", ("--low-bandwidth",), (120, 40)),
            ):
                figures |= {f"{name} {key}": value for key, value in look(folder, seconds, *words, size=size).items()}
    return figures


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:<34} {value:,}")
