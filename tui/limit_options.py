"""Options that limit a launch, and that say what happens after its end: typed, and in the settings file."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from engine.errors import UsageError
from engine.journals.limit_events import OnFinish
from engine.limit import limits as reading, on_finish, webhook
from engine.limit.limits import Wanted
from tui import settings

URL = re.compile(r"https?://\S+", re.IGNORECASE)
OFF = "off"


def limits(sub: argparse.ArgumentParser) -> None:
    """What ends it in time, with a checkpoint."""
    group = sub.add_argument_group("limits (it stops in time, with a checkpoint; the earliest one counts)")
    group.add_argument("--until", metavar="12h", help="at most so long from now on: 90m, 12h, 1d6h")
    group.add_argument("--deadline", metavar="TIME", help="2026-11-22T08:00, local or with a zone; 08:00: the next")
    group.add_argument("--budget", metavar="25USD", help="at most so much money, all attempts together")
    group.add_argument("--price", metavar="1.89USD", help="of a device's hour (default: the GPU sheet's high end)")
    group.add_argument(
        "--partial-runs",
        choices=("yes", "no"),
        help="begin a run that will not be done in time (default: yes where steptop's own trainer can resume it)",
    )
    group.add_argument(
        "--session-limit", metavar="24h", help="how long Kaggle or Colab let a session last, or none (default: quoted)"
    )


def afterwards(sub: argparse.ArgumentParser) -> None:
    """What happens once it has ended."""
    group = sub.add_argument_group("afterwards")
    group.add_argument(
        "--on-finish", metavar="CMD", help='run this when it has ended, without a shell: "sudo poweroff", or ["a", "b"]'
    )
    group.add_argument(
        "--on-finish-always", action="store_true", help="also after a stop that was asked for, now or at launch"
    )
    group.add_argument(
        "--on-finish-timeout", metavar="10m", default="10m", help="the command is ended after this (default 10m)"
    )
    group.add_argument(
        "--notify",
        action="append",
        metavar="URL",
        help="POST to this when it ends, stalls, slows down, or a limit is at risk; repeatable; off: to nobody",
    )


# ---------------------------------------------------------------- what was typed


def wanted(options: argparse.Namespace) -> Wanted:
    names = ("until", "deadline", "budget", "price", "partial_runs", "session_limit")
    return Wanted(**{name: getattr(options, name, None) for name in names})


def command(options: argparse.Namespace) -> OnFinish | None:
    """The command for after the end: as typed, else as the settings file says, else none. Raises UsageError."""
    if not hasattr(options, "on_finish"):
        return None
    seconds = reading.duration(options.on_finish_timeout, "--on-finish-timeout")
    if seconds > on_finish.LONGEST_SECONDS:
        raise UsageError(f"--on-finish-timeout {options.on_finish_timeout!r}: at most a day")
    if options.on_finish is not None:
        argv: tuple[str, ...] | None = on_finish.parsed(options.on_finish)
    else:
        argv = settings_command(settings.path())
    if argv is None:
        if options.on_finish_always:
            raise UsageError("--on-finish-always: there is no --on-finish command")
        return None
    return OnFinish(argv=argv, always=options.on_finish_always, timeout_seconds=seconds)


def addresses(options: argparse.Namespace) -> tuple[str, ...] | None:
    """Webhooks: as typed; None where nothing was. Raises UsageError."""
    typed: Sequence[str] | None = getattr(options, "notify", None)
    if typed is None:
        return None
    if OFF in typed:
        return ()
    return tuple(dict.fromkeys(webhook.checked(url) for url in typed))


def unsaid(words: Sequence[str]) -> tuple[str, ...]:
    """A command line as it may be written down: of addresses only scheme and host."""
    return tuple(URL.sub(lambda found: _host(found[0]), word) for word in words)


def _host(url: str) -> str:
    try:
        return webhook.shown(url)
    except ValueError:
        return url.partition("://")[0] + "://…"


# ---------------------------------------------------------------- the settings file


def settings_addresses(file: Path) -> tuple[str, ...]:
    """`notify = ["https://…"]`. Raises UsageError naming the file."""
    found = settings.raw(file).get("notify", [])
    if not isinstance(found, list) or not all(isinstance(url, str) for url in found):
        raise UsageError(f'{file}: notify is a list of addresses, as notify = ["https://host/path"]')
    return tuple(webhook.checked(url, f"{file}: notify") for url in found)


def settings_command(file: Path) -> tuple[str, ...] | None:
    """`on_finish = ["sudo", "poweroff"]`. Raises UsageError naming the file."""
    found = settings.raw(file).get("on_finish")
    if found is None:
        return None
    where = f"{file}: on_finish"
    return on_finish.parsed(found, where) if isinstance(found, str) else on_finish.checked(found, where)
