"""Webhooks: which URLs are taken, how they are shown (never whole), and a POST that gives up in time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from engine import __version__
from engine.errors import UsageError

ANSWER_SECONDS = 10.0
# Before the second and the third try.
WAITS_SECONDS = (2.0, 8.0)
AGAIN = (408, 425, 429, 500, 502, 503, 504)
LONGEST = 2048


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is posted. `text` and `content` hold the same sentence: chat services read one or the other."""

    event: str
    experiment: str
    state: str
    text: str
    content: str
    host: str = ""
    at: float = 0.0
    version: int = 1


class Failure(NamedTuple):
    """Why a webhook did not take a message, without anything of its address but scheme and host."""

    target: str
    error: str
    tries: int


def checked(url: str, where: str = "--notify") -> str:
    """`url` if messages can be posted to it; raises UsageError that does not repeat it."""
    try:
        parts = urlsplit(url)
        port_is_right = parts.port is None or 0 < parts.port < 65_536
    except ValueError:
        raise UsageError(f"{where}: not a URL; write it as https://host/path") from None
    if parts.scheme not in ("http", "https"):
        said = f"{parts.scheme!r} cannot be posted to" if parts.scheme.isalpha() else "not a URL"
        raise UsageError(f"{where}: {said}; an address begins with https:// (or http://)")
    if not parts.hostname or not port_is_right:
        raise UsageError(f"{where}: the address names no host; write it as https://host/path")
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"{where}: a user and password before the host are not sent; use a token in the path or query")
    if len(url) > LONGEST or not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        raise UsageError(f"{where}: the address has characters that must be written as %XX, or is too long")
    return url


def shown(url: str) -> str:
    """`https://host`: all that is ever printed of it."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port is not None else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def post(url: str, message: Message, waits: Sequence[float] = WAITS_SECONDS) -> Failure | None:
    """None once it is taken (any 2xx). Tried again after each of `waits` where that may help."""
    # Here, for a supervisor only starts others that post: it would carry six more megabytes.
    import http.client
    import urllib.error
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """An address that points elsewhere gets nothing: who is told is what the user wrote."""

        def redirect_request(self, *_: object, **__: object) -> None:
            return None

    opener = urllib.request.build_opener(NoRedirect)
    body = msgspec.json.encode(message)
    headers = {"Content-Type": "application/json", "User-Agent": f"steptop/{__version__}"}
    error, tries = "", 0
    for wait in (*waits, None):
        tries += 1
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310  checked
        try:
            with opener.open(request, timeout=ANSWER_SECONDS):
                return None
        except urllib.error.HTTPError as failed:
            error = f"it answered {failed.code}"
            failed.close()
            if failed.code not in AGAIN:
                break
        except (OSError, http.client.HTTPException, ValueError) as failed:
            error = reason(failed)
        if wait is not None:
            time.sleep(wait)
    return Failure(shown(url), error, tries)


def reason(error: Exception) -> str:
    """In words that hold nothing of the address."""
    inner = getattr(error, "reason", error)
    if isinstance(inner, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:.0f} s"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return type(inner).__name__
