"""A program in a real pseudo-terminal: what it writes, byte by byte, and what a person would see of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyte

ROOT = Path(__file__).parent.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


class TerminalSession:
    """Starts `argv` on a pty of its own and reads it all the time. `ignore_hangup`: as under nohup."""

    def __init__(
        self,
        argv: Sequence[str],
        size: tuple[int, int] = (120, 40),
        env: Mapping[str, str] | None = None,
        ignore_hangup: bool = False,
    ) -> None:
        self.master, slave = pty.openpty()
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self.chunks: list[tuple[float, bytes]] = []
        self.resize(*size, tell=False)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONPATH": str(ROOT),
            **(env or {}),
        }

        def ready() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignore_hangup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        self.began = time.monotonic()
        self.child = subprocess.Popen(
            list(argv),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=ready,
            close_fds=True,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                if not select.select([self.master], [], [], 0.2)[0]:
                    continue
                data = os.read(self.master, 1 << 16)
            except (OSError, ValueError):
                return
            if not data:
                return
            with self._lock:
                self.chunks.append((time.monotonic(), data))

    @property
    def raw(self) -> bytes:
        with self._lock:
            return b"".join(data for _, data in self.chunks)

    def text(self) -> str:
        """What is on the screen now."""
        self._replay()
        return "\n".join(line.rstrip() for line in self.screen.display)

    _fed = 0

    def _replay(self) -> None:
        with self._lock:
            fresh, self._fed = self.chunks[self._fed :], len(self.chunks)
        for _, data in fresh:
            self._stream.feed(data)

    def wait_for(self, *words: str, seconds: float = 20.0) -> float:
        """Until all words are on the screen; the seconds since the start at which the bytes that showed them came."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._lock:
                last = self.chunks[-1][0] if self.chunks else self.began
            shown = self.text()
            if all(word in shown for word in words):
                return last - self.began
            if self.child.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.01)
        raise AssertionError(f"waited in vain for {words}; on the screen:\n{self.text()}")

    def send(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def resize(self, width: int, height: int, tell: bool = True) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        if tell:
            self._replay()
            self.screen.resize(height, width)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, field: str = "VmRSS") -> int:
        """Bytes, from /proc/pid/status."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        return 0

    def hang_up(self) -> None:
        """The terminal goes away."""
        os.close(self.master)
        self.master = -1

    def wait(self, seconds: float = 10.0) -> int:
        return self.child.wait(seconds)

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        if self.master >= 0:
            with contextlib.suppress(OSError):
                os.close(self.master)
        self._reader.join(2)

    def __enter__(self) -> TerminalSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def steptop(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "tui.cli", *words]
